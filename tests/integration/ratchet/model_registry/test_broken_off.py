"""Promotions at once, and what a killed one leaves to be fixed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from ratchet.core.errors import RegistryError
from ratchet.model_registry.champion import champion_version, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, rollback
from ratchet.model_registry.status import status
from ratchet.project.reconcile import reconcile
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.interruptions import counted, fail_at, killed
from tests.support.registry import (
    NO_GAIN,
    candidate,
    copied,
    move,
    offer_model,
)
from tests.support.runs import NOSHOW_END


def test_reconciling_again_changes_nothing(served: Run) -> None:
    """With nothing to do there is nothing written."""
    report = reconcile(served)
    with counted() as writes:
        assert reconcile(served) == report
    assert writes.done == 0


def test_two_reconciles_at_once_promote_once(served: Run) -> None:
    """Of two that see the same request, one promotes and the other finds it done."""
    move(served, "requested", 1)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(reconcile, [served, served])
    assert first == second
    assert [entry["version"] for entry in status(ModelRegistry.open(served))["history"]] == [1, 2, 1]


def promote_candidate(run: Run) -> None:
    promote(ModelRegistry.open(run), 3, by="ann", reason="smaller", until=NOSHOW_END + timedelta(days=1))


def roll_back(run: Run) -> None:
    rollback(ModelRegistry.open(run), by="ann", reason="slow")


@pytest.mark.parametrize("move_on", [promote_candidate, roll_back])
def test_a_move_that_breaks_off_at_any_write_is_finished_by_the_next(
    served: Run, tmp_path: Path, move_on: Callable[[Run], None]
) -> None:
    """Wherever the database goes away, asking again ends where an undisturbed move ends, without a second entry."""
    offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    undisturbed = copied(served, tmp_path / "undisturbed")
    with counted() as writes:
        move_on(undisturbed)
    assert writes.done >= 5
    for number in range(1, writes.done + 1):
        disturbed = copied(served, tmp_path / str(number))
        with counted(fail_at(number)), pytest.raises(RegistryError, match="the database went away"):
            move_on(disturbed)
        move_on(disturbed)
        assert status(ModelRegistry.open(disturbed)) == status(ModelRegistry.open(undisturbed))
        assert read_json(disturbed.paths.serving_file) == read_json(undisturbed.paths.serving_file)
        assert resolve_champion(ModelRegistry.open(disturbed)).version == champion_version(
            ModelRegistry.open(undisturbed)
        )


def test_reconcile_finishes_what_a_killed_promotion_began(served: Run) -> None:
    """Until the history has its entry readers get what served before; reconcile alone completes it, in the same name."""
    with counted(fail_at(4)), pytest.raises(RegistryError):
        rollback(ModelRegistry.open(served), by="ann", reason="slow")
    assert resolve_champion(ModelRegistry.open(served)).version == 2
    reconcile(served)
    assert resolve_champion(ModelRegistry.open(served)).version == 1
    assert status(ModelRegistry.open(served))["history"][-1]["by"] == "ann"


@pytest.mark.soak
def test_a_reconcile_killed_at_any_write_is_finished_by_the_next(served: Run, tmp_path: Path) -> None:
    """After SIGKILL before each of its writes, running again ends where an undisturbed run ends."""
    move(served, "requested", 1)
    undisturbed = copied(served, tmp_path / "undisturbed")
    with counted() as writes:
        report = reconcile(undisturbed)
    assert writes.done >= 5
    for number in range(1, writes.done + 1):
        disturbed = copied(served, tmp_path / str(number))
        killed(reconcile, disturbed, at=number)
        assert reconcile(disturbed) == report
        assert status(ModelRegistry.open(disturbed)) == status(ModelRegistry.open(undisturbed))
        assert read_json(disturbed.paths.serving_file) == read_json(undisturbed.paths.serving_file)
