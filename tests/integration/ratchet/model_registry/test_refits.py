"""A refit in the registry: it serves after its judged model, and gives way to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.render_status import render_status
from ratchet.core.errors import GateError, RegistryUnavailableError
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import RefitRecord
from ratchet.model_registry.champion import resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, reconcile, rollback
from ratchet.model_registry.refits import settle
from ratchet.model_registry.status import status
from ratchet.model_registry.tags import REFIT_OF
from ratchet.project.run import Run
from tests.support.interruptions import counted, fail_at
from tests.support.models import save_noshow
from tests.support.records import noshow_record
from tests.support.refits import WORSE, refit_record, refitted, write_confirmation, write_refit
from tests.support.registry import (
    artifacts,
    baseline,
    candidate,
    client,
    copied,
    move,
    statuses,
    stored_record,
    trained,
)
from training_pipeline.register import offer, register


def judged(run: Run) -> GateRecord:
    return GateRecord.read(run.paths.gate / "candidate.json")


def refit(run: Run, **changes: Any) -> RefitRecord:
    """The project after training, evaluation and refit."""
    trained(run)
    return write_refit(run, judged(run), **changes)


def history(run: Run) -> list[tuple[str, int]]:
    return [(entry["kind"], entry["version"]) for entry in status(ModelRegistry.open(run))["history"]]


@pytest.fixture(scope="session")
def refit_registry(tmp_path_factory: pytest.TempPathFactory, empty_registry: Run) -> Run:
    """A project in whose registry a baseline, a candidate and its refit (version 3) were promoted, in this order."""
    run = copied(empty_registry, tmp_path_factory.mktemp("refit") / "project")
    refit(run)
    register(run)
    return run


@pytest.fixture
def served_refit(tmp_path: Path, refit_registry: Run) -> Run:
    return copied(refit_registry, tmp_path / "served_refit")


def test_the_policy_promotes_the_refit_after_its_judged_model(served_refit: Run) -> None:
    """Both are in the history; running the step again changes nothing."""
    report = register(served_refit)
    assert {"version": 3, "digest": refitted().digest, "status": "serving"} == report["refit"]
    assert "served" == report["candidate"]["status"]
    assert [("promotion", 1), ("promotion", 2), ("promotion", 3)] == history(served_refit)
    champion = resolve_champion(ModelRegistry.open(served_refit))
    assert (3, refitted().digest, candidate().digest) == (
        champion.version,
        champion.model.digest,
        champion.record.champion,
    )


def test_mlflow_says_what_it_was_made_from(served_refit: Run) -> None:
    """A tag holds the judged model's digest; the card names its version, and `ratchet status` does."""
    version = client(served_refit).get_model_version(served_refit.scope.namespace, "3")
    assert candidate().digest == version.tags[REFIT_OF]
    assert "refit of version 2: passed" in version.description
    assert "refit of 2" in render_status(status(ModelRegistry.open(served_refit)))


def test_a_rollback_leads_to_the_judged_model(served_refit: Run) -> None:
    """And a second one to what served before."""
    store = ModelRegistry.open(served_refit)
    rollback(store, by="me", reason="trying")
    assert 2 == resolve_champion(store).version
    rollback(store, by="me", reason="trying")
    assert 1 == resolve_champion(store).version
    promote(store, 3, by="me")
    assert 3 == resolve_champion(store).version


def test_a_failed_refit_leaves_the_judged_model_serving(unserved: Run) -> None:
    """It is registered with the checks that it failed, and nobody can promote it."""
    refit(unserved, change=0.9)
    register(unserved)
    store = ModelRegistry.open(unserved)
    assert 2 == resolve_champion(store).version
    found = status(store)["versions"][2]
    assert ("failed", "golden:change") == (found["verdict"], found["failed"])
    with pytest.raises(GateError, match="golden:change"):
        promote(store, 3, by="me")
    assert [("promotion", 1), ("promotion", 2)] == history(unserved)


def test_a_refit_of_another_evaluation_is_not_offered(unserved: Run) -> None:
    """The candidate was judged again since: it serves as without a refit."""
    refit(unserved)
    directory = unserved.paths.models / "candidate"
    again = noshow_record(unserved, candidate(), baseline().digest, directory, blocks=9)
    again.write(unserved.paths.gate / "candidate.json")
    report = register(unserved)
    assert ("serving", None) == (report["candidate"]["status"], report["refit"]["version"])


def uncommitted(run: Run) -> Run:
    """A baseline, a candidate and its refit, of which a policy promotes none."""
    trained(run, dirty=True)
    dirty = replace(refitted(), contract=refitted().contract.model_copy(update={"dirty": True}))
    write_refit(run, judged(run), dirty)
    register(run)
    return run


def test_a_person_promotes_a_refit_by_the_same_rule(unserved: Run) -> None:
    """Of an uncommitted model, as of any: its judged model serves first, and a click in MLflow is enough."""
    made = uncommitted(unserved)
    assert ["waits", "candidate", "waits"] == [text.partition(" ")[0] for text in statuses(made)]
    promote(ModelRegistry.open(made), 1, by="me")
    move(made, "requested", 3)
    assert 3 == reconcile(ModelRegistry.open(made))["champion"]["version"]
    assert [1, 2, 3] == [version for _, version in history(made)]


def test_a_refit_of_a_model_that_was_compared_with_another_champion_is_refused(served: Run) -> None:
    """What serves is not what its judged model was found superior to."""
    other = save_noshow(candidate(5), served.paths.models / "other")
    record = noshow_record(served, candidate(5), baseline().digest, other)
    offer(ModelRegistry.open(served), other, record)
    folder = save_noshow(refitted(), served.paths.models / "refitted")
    version = offer(ModelRegistry.open(served), folder, refit_record(served, refitted(), record, folder))
    assert "compares with" in statuses(served)[-1]
    with pytest.raises(GateError, match="compares with"):
        promote(ModelRegistry.open(served), version, by="eve")
    assert 2 == resolve_champion(ModelRegistry.open(served)).version


def test_a_refit_needs_its_judged_model_in_the_registry(served: Run) -> None:
    """There would be nothing to return to."""
    record = noshow_record(served, candidate(5), candidate().digest)
    folder = save_noshow(refitted(), served.paths.models / "refitted")
    offer(ModelRegistry.open(served), folder, refit_record(served, refitted(), record, folder))
    assert "not registered" in statuses(served)[-1]
    assert 2 == resolve_champion(ModelRegistry.open(served)).version


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"added": 300', '"added": 301'))


@pytest.mark.parametrize(("tamper", "word"), [(_edit, "signature"), (Path.unlink, "no gate record")])
def test_a_tampered_refit_does_not_serve(served: Run, tamper: Callable[[Path], None], word: str) -> None:
    """Neither an edited record nor a lost one lets it through."""
    record = GateRecord.read(served.paths.gate / "candidate.json")
    folder = save_noshow(refitted(), served.paths.models / "refitted")
    failed = refit_record(served, refitted(), record, folder, change=0.9)
    version = offer(ModelRegistry.open(served), folder, failed)
    tamper(stored_record(served, version))
    with pytest.raises(GateError, match=word):
        promote(ModelRegistry.open(served), version, by="eve")
    assert 2 == resolve_champion(ModelRegistry.open(served)).version


def test_lost_files_of_a_refit_are_put_back(served_refit: Run) -> None:
    """Also if the candidate was judged again since, and is no longer superior to what serves."""
    again = noshow_record(
        served_refit,
        candidate(),
        refitted().digest,
        served_refit.paths.models / "candidate",
        n=0,
        rolled_forward=True,
    )
    again.write(served_refit.paths.gate / "candidate.json")
    (artifacts(served_refit, 3) / "model.skops").unlink()
    register(served_refit)
    assert (artifacts(served_refit, 3) / "model.skops").exists()
    assert 3 == resolve_champion(ModelRegistry.open(served_refit)).version


def test_a_refit_that_is_shown_to_be_worse_gives_way(served_refit: Run) -> None:
    """To its judged model, by the policy, with the reason in the history; no rollback holds the policy back."""
    record = write_refit(served_refit, judged(served_refit))
    write_confirmation(served_refit, record, WORSE)
    register(served_refit)
    found = status(ModelRegistry.open(served_refit))
    assert (2, None) == (found["champion"], found["hold"])
    assert ("withdrawal", 2, "policy") == tuple(found["history"][-1][key] for key in ("kind", "version", "by"))
    assert "worse" in found["history"][-1]["reason"]
    assert "withdrawn" in render_status(found)
    assert 1 == found["previous"]
    register(served_refit)
    assert 2 == resolve_champion(ModelRegistry.open(served_refit)).version


def test_a_person_may_bring_a_withdrawn_refit_back(served_refit: Run) -> None:
    """An answer is acted on once."""
    write_confirmation(served_refit, write_refit(served_refit, judged(served_refit)), WORSE)
    register(served_refit)
    promote(ModelRegistry.open(served_refit), 3, by="me")
    register(served_refit)
    assert 3 == resolve_champion(ModelRegistry.open(served_refit)).version


@pytest.mark.parametrize("blocks", [3, 10])
def test_a_refit_that_is_not_shown_to_be_worse_stays(served_refit: Run, blocks: int) -> None:
    """While rows are too few, and for good afterwards; the status says which."""
    write_confirmation(served_refit, write_refit(served_refit, judged(served_refit)), blocks=blocks)
    register(served_refit)
    found = status(ModelRegistry.open(served_refit))
    assert (3, "pending" if blocks == 3 else "confirmed") == (
        found["champion"],
        found["versions"][2]["confirmation"]["outcome"],
    )


def _ends_alike(run: Run, work: Callable[[Run], object], folder: Path) -> list[tuple[str, int]]:
    """The history after the work, which is the same if the work failed at any of its writes and was done again."""
    undisturbed = copied(run, folder / "undisturbed")
    with counted() as writes:
        work(undisturbed)
    assert writes.done > 3
    for number in range(1, writes.done + 1):
        again = copied(run, folder / f"failed-{number}")
        with pytest.raises(RegistryUnavailableError), counted(fail_at(number)):
            work(again)
        work(again)
        assert (history(undisturbed), statuses(undisturbed)) == (history(again), statuses(again))
    return history(undisturbed)


def test_a_withdrawal_can_be_killed_anywhere(served_refit: Run, tmp_path: Path) -> None:
    """Done again, it ends where an undisturbed one does."""
    answer = write_confirmation(served_refit, write_refit(served_refit, judged(served_refit)), WORSE)
    ended = _ends_alike(served_refit, lambda run: settle(ModelRegistry.open(run), answer), tmp_path)
    assert [("promotion", 1), ("promotion", 2), ("promotion", 3), ("withdrawal", 2)] == ended


def test_a_promotion_can_be_killed_anywhere(unserved: Run, tmp_path: Path) -> None:
    """Between a refit and its judged model, too."""
    waiting = uncommitted(unserved)
    promote(ModelRegistry.open(waiting), 1, by="me")
    ended = _ends_alike(waiting, lambda run: promote(ModelRegistry.open(run), 3, by="me"), tmp_path)
    assert [("promotion", 1), ("promotion", 2), ("promotion", 3)] == ended
