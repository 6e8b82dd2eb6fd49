"""The whole loop, killed at random times and run again: it ends where an undisturbed run ends."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.status import status
from ratchet.project.run import Run
from tests.support.checkout import environment, noshow_checkout, run_command
from tests.support.killing import contents

KILLS = 8
LONGEST = 12.0
"""Seconds: longer than any stage takes, so that most attempts get further than the one before."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout in which nothing has run yet; its copies sign with one key. Do not change it."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_SIGNING_KEY", str(folder / "keys" / "gate.key"))
        yield noshow_checkout(folder / "checkout")


@pytest.fixture(scope="module")
def undisturbed(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `dvc repro` leaves when nobody disturbs it."""
    checkout = shutil.copytree(begun, tmp_path_factory.mktemp("undisturbed") / "checkout")
    run_command(checkout, "dvc", "repro")
    return facts(checkout)


def facts(checkout: Path) -> dict[str, Any]:
    """All that must not depend on how a run came about: every byte of data and reports, DVC's record, and what serves."""
    found = status(ModelRegistry.open(Run.load(checkout)))
    return {
        **{name: contents(checkout / name) for name in ("data", "reports")},
        "lock": yaml.safe_load((checkout / "dvc.lock").read_text(encoding="utf-8")),
        "registry": {**found, "history": [{**entry, "at": None} for entry in found["history"]]},
    }


def delete_torn_lock(checkout: Path) -> None:
    """What README says to do where DVC was killed while it wrote the lock that it keeps for itself."""
    lock = checkout / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(lock.read_text(encoding="utf-8")) if lock.exists() else None
    except ValueError:
        lock.unlink()


def killed(checkout: Path, seconds: float) -> bool:
    """Run `dvc repro`, with all that it starts, and kill it after some seconds; whether it had to be."""
    delete_torn_lock(checkout)
    with subprocess.Popen(["dvc", "repro"], cwd=checkout, env=environment(), start_new_session=True) as process:
        try:
            assert process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True
    return False


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_it_ends_right_when_run_again(
    begun: Path, undisturbed: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    """A first run is killed again and again; the last one leaves every byte as it is where nobody disturbed it."""
    checkout, delays = shutil.copytree(begun, tmp_path / "checkout"), random.Random(seed)
    kills = sum(killed(checkout, delays.uniform(0, LONGEST)) for _ in range(KILLS))
    assert kills > 2
    delete_torn_lock(checkout)
    run_command(checkout, "dvc", "repro")
    assert undisturbed == facts(checkout)
