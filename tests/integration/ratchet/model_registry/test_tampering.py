"""What somebody changed by hand, in MLflow or among its files, never serves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ratchet.core.errors import GateError, RegistryError
from ratchet.gate.record import Waiver
from ratchet.gate.signing import SigningKey
from ratchet.model_registry.champion import resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, reconcile, rollback
from ratchet.model_registry.status import status
from ratchet.model_registry.tags import DIGEST, RECORD
from ratchet.models.model import load
from ratchet.models.model_files import CONTRACT, REFERENCE
from ratchet.project.run import Run
from tests.support.interruptions import LAZY
from tests.support.models import noshow_contract, rewrite_schema, save_noshow
from tests.support.noshow import use_case
from tests.support.records import good_score, noshow_record
from tests.support.registry import (
    NO_GAIN,
    WORSE,
    artifacts,
    baseline,
    candidate,
    client,
    move,
    offer_model,
    statuses,
    stored_record,
    with_namespace,
)
from tests.support.runs import NOSHOW_END


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"lower": -0.08', '"lower": 0.08'))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * 100)


@pytest.mark.parametrize(
    ("tamper", "word"),
    [
        (edit, "signature"),
        (truncate, "no gate record"),
        (garble, "no gate record"),
        (Path.unlink, "no gate record"),
    ],
)
def test_a_tampered_record_is_refused(served: Run, tamper: Callable[[Path], None], word: str) -> None:
    """A record that was edited, cut off or deleted in the artifact store lets nothing through."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    tamper(stored_record(served, version))
    with pytest.raises(GateError, match=word):
        promote(ModelRegistry.open(served), version, by="eve")
    assert resolve_champion(ModelRegistry.open(served)).version == 2


def test_a_record_of_another_model_is_refused(served: Run) -> None:
    """A good record does not help a model that it is not about."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    other = noshow_record(served, candidate(6), candidate().digest)
    stored_record(served, version).write_text(other.model_dump_json())
    move(served, "champion", version)
    refused = reconcile(ModelRegistry.open(served))["refused"]
    assert version == refused["version"]
    assert re.search(f"about.* {candidate(6).digest[:12]}, .* {candidate(5).digest[:12]}$", refused["reason"])


def test_a_record_is_not_registered_for_another_model(unserved: Run) -> None:
    """Offering a model with the record of another is an error, and makes no version."""
    with pytest.raises(GateError, match=f"{'a' * 12}.*{baseline().digest[:12]}"):
        offer_model(unserved, baseline(), None, candidate=good_score("a" * 64))
    assert status(ModelRegistry.open(unserved))["versions"] == []


def test_a_request_in_somebody_elses_name_is_nobodys(served: Run) -> None:
    """Who can write to MLflow can move an alias, but not have the history say that ann did."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    promote(ModelRegistry.open(served), 2, by="ann", reason="not so slow")
    signed = client(served).get_registered_model(served.scope.namespace).tags["ratchet.request"]
    forged = signed.replace('"version":2', '"version":1').replace('"after":3', '"after":4')
    client(served).set_registered_model_tag(served.scope.namespace, "ratchet.request", forged)
    move(served, "requested", 1)
    reconcile(ModelRegistry.open(served))
    entry = status(ModelRegistry.open(served))["history"][-1]
    assert (entry["version"], entry["by"]) == (1, "MLflow")


def test_a_version_made_by_hand_is_refused(served: Run) -> None:
    """Asking for a version that never saw the gate changes nothing but that version's status."""
    source = client(served).get_model_version(served.scope.namespace, "2").source
    client(served).create_model_version(served.scope.namespace, source)
    move(served, "requested", 3)
    refused = reconcile(ModelRegistry.open(served))["refused"]
    assert 3 == refused["version"]
    assert "not registered" in refused["reason"]
    assert statuses(served) == ["served", "serving", f"refused: {refused['reason']}"]


@pytest.mark.parametrize(("run_id", "word"), [(None, "not registered"), ("a" * 32, "no gate record")])
def test_a_version_made_by_hand_with_a_digest_is_refused(served: Run, run_id: str | None, word: str) -> None:
    """Tags that look like ours help no version without a run that holds a record, and stop nobody else."""
    source = client(served).get_model_version(served.scope.namespace, "2").source
    tags = {"ratchet.digest": candidate(5).digest}
    client(served).create_model_version(served.scope.namespace, source, run_id, tags)
    move(served, "requested", 3)
    refused = reconcile(ModelRegistry.open(served))["refused"]
    assert 3 == refused["version"]
    assert word in refused["reason"]
    assert resolve_champion(ModelRegistry.open(served)).version == 2


def test_an_old_request_put_back_is_nobodys(served: Run) -> None:
    """A signed request that was granted once does not name who moved the alias to the same version later."""
    promote(ModelRegistry.open(served), 1, by="ann", reason="slow")
    signed = client(served).get_registered_model(served.scope.namespace).tags["ratchet.request"]
    promote(ModelRegistry.open(served), 2, by="bob", reason="not so slow")
    client(served).set_registered_model_tag(served.scope.namespace, "ratchet.request", signed)
    move(served, "requested", 1)
    reconcile(ModelRegistry.open(served))
    entry = status(ModelRegistry.open(served))["history"][-1]
    assert (entry["version"], entry["by"]) == (1, "MLflow")


def test_a_version_under_another_digest_does_not_return(served: Run) -> None:
    """A version that served once has no more right to serve when its digest was changed since."""
    client(served).set_model_version_tag(served.scope.namespace, "1", "ratchet.digest", candidate(5).digest)
    move(served, "requested", 1)
    reason = reconcile(ModelRegistry.open(served))["refused"]["reason"]
    assert re.search(f"about.* {baseline().digest[:12]}, .* {candidate(5).digest[:12]}$", reason)


def test_a_version_that_became_another_model_does_not_return(unserved: Run) -> None:
    """Given all that belongs to a refused one, with its true record, a version that served does not let it in."""
    offer_model(unserved, baseline(), None)
    offer_model(unserved, candidate(), baseline().digest)
    refused = offer_model(unserved, candidate(5), candidate().digest, gain=WORSE)
    shutil.copy2(stored_record(unserved, refused), stored_record(unserved, 1).parent)
    shutil.copytree(artifacts(unserved, refused), artifacts(unserved, 1), dirs_exist_ok=True)
    tags = client(unserved).get_model_version(unserved.scope.namespace, str(refused)).tags
    for name in (DIGEST, RECORD):
        client(unserved).set_model_version_tag(unserved.scope.namespace, "1", name, tags[name])
    move(unserved, "champion", 1)
    assert "served" in reconcile(ModelRegistry.open(unserved))["refused"]["reason"]
    assert 2 == resolve_champion(ModelRegistry.open(unserved)).version


def test_files_that_load_as_another_model_are_refused(served: Run) -> None:
    """A signed record vouches for files; that they are the model which was judged shows when they are loaded."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    directory = save_noshow(candidate(6), artifacts(served, version))
    record = noshow_record(served, candidate(5), candidate().digest, directory)
    stored_record(served, version).write_text(record.model_dump_json(), encoding="utf-8")
    move(served, "champion", version)
    assert "loaded" in reconcile(ModelRegistry.open(served))["refused"]["reason"]


def test_an_edited_waiver_is_refused(served: Run) -> None:
    """Prolonging a waiver in MLflow breaks its signature."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError):
        promote(ModelRegistry.open(served), version, by="ann", reason="half the size", until=NOSHOW_END)
    tags = client(served).get_model_version(served.scope.namespace, str(version)).tags
    longer = tags["ratchet.waiver"].replace("2024-", "2034-")
    client(served).set_model_version_tag(served.scope.namespace, str(version), "ratchet.waiver", longer)
    refused = reconcile(ModelRegistry.open(served))["refused"]
    assert "signature" in refused["reason"]


def test_a_waiver_for_another_model_waives_nothing(served: Run) -> None:
    """A word that was given for a model under one name does not hold for an equal one under another."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    waiver = Waiver(
        model_name="noshow-hospital",
        candidate=candidate(5).digest,
        by="ann",
        reason="smaller",
        expires=NOSHOW_END + timedelta(days=1),
    )
    text = SigningKey.open(served).sign(waiver).model_dump_json()
    client(served).set_model_version_tag(served.scope.namespace, str(version), "ratchet.waiver", text)
    with pytest.raises(GateError, match="noshow-hospital"):
        promote(ModelRegistry.open(served), version, by="eve")


def test_a_forged_history_yields_no_model(served: Run) -> None:
    """An entry that this checkout's key did not sign stops readers and reconcile alike, and says so."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    tags = client(served).get_registered_model(served.scope.namespace).tags
    forged = tags["ratchet.history.000002"].replace('"number":2,"version":2', f'"number":3,"version":{version}')
    client(served).set_registered_model_tag(served.scope.namespace, "ratchet.history.000003", forged)
    for step in (resolve_champion, reconcile):
        with pytest.raises(RegistryError, match=r"ratchet\.history\.000003 .*RATCHET_SIGNING_KEY"):
            step(ModelRegistry.open(served))


def test_a_replayed_history_entry_yields_no_model(served: Run) -> None:
    """A signed entry counts only in its own place."""
    tags = client(served).get_registered_model(served.scope.namespace).tags
    client(served).set_registered_model_tag(
        served.scope.namespace, "ratchet.history.000003", tags["ratchet.history.000001"]
    )
    with pytest.raises(RegistryError, match=r"ratchet\.history\.000003 .*RATCHET_SIGNING_KEY"):
        resolve_champion(ModelRegistry.open(served))


def test_a_history_entry_of_another_model_yields_no_model(served: Run) -> None:
    """An entry that let a model serve under another name lets none serve here, though version and digest are equal."""
    other = with_namespace(served)
    for model, champion, gain in ((baseline(), None, None), (candidate(), baseline().digest, WORSE)):
        named = replace(model, contract=model.contract.model_copy(update={"model_name": other.scope.namespace}))
        version = offer_model(other, named, champion, gain=gain)
    tags = client(served).get_registered_model(served.scope.namespace).tags
    client(other).set_registered_model_tag(
        other.scope.namespace, "ratchet.history.000002", tags["ratchet.history.000002"]
    )
    move(other, "champion", version)
    for step in (resolve_champion, reconcile):
        with pytest.raises(RegistryError, match=r"ratchet\.history\.000002 .*RATCHET_SIGNING_KEY"):
            step(ModelRegistry.open(other))


def break_booster(directory: Path) -> None:
    """Bend a tree so that LightGBM ends the process that reads it."""
    rewrite_schema(directory, lambda schema: schema.replace("split_feature=", "split_feature=99999 ", 1))


def claim_another_commit(directory: Path) -> None:
    edited = noshow_contract().model_copy(update={"commit": "a" * 40})
    (directory / CONTRACT).write_text(edited.model_dump_json(), encoding="utf-8")


def swap_reference(directory: Path) -> None:
    (directory / REFERENCE).write_bytes(b"what monitoring would compare with")


TAMPERED = [break_booster, claim_another_commit, swap_reference]


def in_another_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What the work returns or raises, where its process lives to say so; BrokenProcessPool where it died."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["ratchet.model_registry.promotion", "ratchet.models.model", *LAZY])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def test_a_booster_can_end_the_process_that_reads_it(tmp_path: Path) -> None:
    """LightGBM aborts on the booster that the tests below hide in an archive: whoever parses it is gone."""
    directory = save_noshow(candidate(), tmp_path / "model")
    break_booster(directory)
    with pytest.raises(BrokenProcessPool):
        in_another_process(load, directory, use_case)


@pytest.mark.parametrize("tamper", TAMPERED)
def test_a_version_with_a_tampered_file_is_refused(served: Run, tamper: Callable[[Path], None]) -> None:
    """No file of a version counts but those that were judged, and none other is parsed: the process lives to refuse it."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    tamper(artifacts(served, version))
    move(served, "champion", version)
    refused = in_another_process(reconcile, ModelRegistry.open(served))["refused"]
    assert version == refused["version"]
    assert "files" in refused["reason"]


@pytest.mark.parametrize("tamper", TAMPERED)
def test_a_serving_model_that_was_tampered_with_is_an_error(unserved: Run, tamper: Callable[[Path], None]) -> None:
    """With the registry's files and this checkout's copy spoilt alike there is no model, and a process that says so."""
    version = offer_model(unserved, candidate(), None)
    copy = resolve_champion(ModelRegistry.open(unserved)).directory
    for directory in (copy, artifacts(unserved, version)):
        tamper(directory)
    with pytest.raises(RegistryError, match=r"files.*`ratchet promote VERSION`"):
        in_another_process(resolve_champion, ModelRegistry.open(unserved))


def test_a_serving_model_whose_artifacts_changed_is_not_used(unserved: Run) -> None:
    """Replaced model files yield no model, though the copy that was verified before goes on serving this checkout."""
    offer_model(unserved, baseline(), None)
    save_noshow(candidate(), artifacts(unserved, 1))
    assert resolve_champion(ModelRegistry.open(unserved)).model.digest == baseline().digest
    (unserved.paths.state / "models" / baseline().digest / "model.skops").unlink()
    with pytest.raises(RegistryError, match=r"noshow-clinic version 1, .* files"):
        resolve_champion(ModelRegistry.open(unserved))


def test_a_spoilt_copy_is_fetched_again(served: Run) -> None:
    """The local copy of a model is worth no more than its digest."""
    (served.paths.state / "models" / candidate().digest / "model.skops").write_bytes(b"spoilt")
    assert resolve_champion(ModelRegistry.open(served)).model.digest == candidate().digest
