"""Where nothing serves: who may be the first, and that every remedy which a message prints leads on."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ibis import _

from cli.summary import build, render, write
from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.core.errors import GateError, OtherFeaturesError, RatchetError, RegistryError
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.gate import record as gate_record
from ratchet.gate.gate import Gate
from ratchet.gate.record import GateRecord
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.champion import champion_version, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, rollback
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.accepted import accept_all
from tests.support.mistakes import with_examples
from tests.support.registry import client, create_registry
from tests.support.remedies import follow
from tests.support.runs import committed, noshow_project
from tests.support.variants import with_use_case
from training_pipeline.dataset import dataset
from training_pipeline.evaluate import evaluate
from training_pipeline.register import offer, register
from training_pipeline.train import train

Baseline = tuple[tuple[str, ...], ...]
QUICK = {"leak_cut_offs": 1, "resamples": 200}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A checkout with features and models, none of which was judged."""
    run = noshow_project(committed(tmp_path_factory.mktemp("trained")), rows_per_week=150)
    run = run.with_settings(gate=run.settings.gate.model_copy(update=QUICK))
    accept_all(run)
    reports.run_step(
        run, "validate", lambda _: {"rows": {}, "reasons": {}, "refused": {}, "warned": {}, "overruled": {}}
    )
    featurize(run)
    materialize(run)
    dataset(run)
    train(run)
    create_registry(run)  # once for all
    return run


@pytest.fixture(scope="module")
def judged_once(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A checkout in which both models are good and were judged."""
    run = copied(trained, tmp_path_factory.mktemp("judged"))
    reports.run_step(run, "evaluate", evaluate)
    return run


@pytest.fixture
def judged(judged_once: Run, tmp_path: Path) -> Run:
    """A test's own checkout, in which both models are good and were judged, and nothing serves."""
    return copied(judged_once, tmp_path)


def copied(run: Run, folder: Path) -> Run:
    """The project with all its files elsewhere."""
    shutil.copytree(run.root, folder / "copy")
    return replace(run, root=folder / "copy")


def grouped_by_nothing(run: Run, baseline: Baseline = (("hour",), ())) -> Run:
    """The project with a baseline that groups by what says nothing of the label, or not at all, trained and judged."""
    run = with_use_case(run, baseline=baseline)
    train(run)
    reports.run_step(run, "evaluate", evaluate)
    return run


def record(run: Run, name: str) -> GateRecord:
    return GateRecord.read(run.paths.gate / f"{name}.json")


def failed(made: GateRecord) -> set[str]:
    return {check.name for check in made.checks if check.status == "failed"}


@pytest.mark.parametrize("baseline", [(("hour",), ()), ((),)], ids=["of an hour", "constant"])
def test_a_good_candidate_is_the_first_where_the_baseline_explains_nothing(
    trained: Run, tmp_path: Path, baseline: Baseline
) -> None:
    """The baseline is refused, the candidate is compared with it and with a constant, and serves; there is no way back."""
    run = grouped_by_nothing(copied(trained, tmp_path), baseline)
    assert "first:over-constant" in failed(record(run, "baseline"))
    candidate = record(run, "candidate")
    assert (None, "superior") == (candidate.champion, candidate.verdict)
    assert {"first:over-reference", "first:over-constant"} <= {check.name for check in candidate.checks}
    assert "serving" == register(run)["candidate"]["status"]
    assert candidate.candidate == load_champion(ModelRegistry.open(run)).model.digest
    with pytest.raises(RegistryError):
        rollback(ModelRegistry.open(run), by="ann", reason="to see")
    assert candidate.candidate == resolve_champion(ModelRegistry.open(run)).model.digest


def test_labels_of_pure_noise_let_nothing_serve(trained: Run, tmp_path: Path) -> None:
    """Neither beats a constant beyond chance; the summary shows why, as far as reports go."""
    noise = (_.request_id.hash() % 13 < 4).cast("float64")
    run = with_examples(copied(trained, tmp_path), lambda rows: rows.mutate(label=noise))
    featurize(run)
    dataset(run)
    train(run)
    reports.run_step(run, "evaluate", evaluate)
    reports.run_step(run, "register", register)
    for name in ("baseline", "candidate"):
        assert {"first:over-constant", "first:over-reference"} & failed(record(run, name))
    assert champion_version(ModelRegistry.open(run)) is None
    with pytest.raises(RegistryError):
        load_champion(ModelRegistry.open(run))
    summary = build(run)
    write(run, summary)
    assert summary == read_json(run.paths.reports / "summary.json")
    told = render(summary)
    assert "no version serves" in told
    assert "✗ first:over-" in told
    assert "make serve" not in told


def problem(run: Run, version: int) -> RatchetError:
    with pytest.raises(GateError) as refused:
        promote(ModelRegistry.open(run), version, by="ann", reason="please")
    return refused.value


def test_bounds_that_were_changed_ask_for_another_judgement_which_helps(judged: Run) -> None:
    """Judged by the bounds of before, a model is refused; the commands in the message have it serve."""
    gate = judged.settings.gate.model_copy(update={"min_skill": 0.001})
    changed = judged.with_settings(gate=gate)
    register(changed)
    refused = problem(changed, 1)
    assert "other bounds" in refused.problem
    assert follow(changed, refused.remedy) is None
    assert record(changed, "candidate").candidate == resolve_champion(ModelRegistry.open(changed)).model.digest


def test_a_model_that_was_compared_with_one_that_does_not_serve_is_led_on(judged: Run) -> None:
    """The message names what to promote first, and the commands that judge again do both."""
    version = offer(ModelRegistry.open(judged), judged.paths.models / "candidate", record(judged, "candidate"))
    refused = problem(judged, version)
    assert record(judged, "baseline").candidate[:12] in refused.remedy
    assert follow(judged, refused.remedy) is None
    assert version == resolve_champion(ModelRegistry.open(judged)).version


@pytest.mark.parametrize("lost", [("gate.key", "gate.pub"), ("gate.key",)])
def test_a_lost_key_leads_to_beginning_anew(judged: Run, lost: tuple[str, ...]) -> None:
    """Whichever half is lost: what the error tells, done to the letter, ends with a model that serves."""
    register(judged)
    for name in lost:
        (judged.paths.shared_state / "keys" / name).unlink()
    with pytest.raises(RatchetError) as error:
        evaluate(judged)
    told = str(error.value)
    assert re.search(rf"registered model {judged.scope.namespace} in MLflow", told)
    client(judged).delete_registered_model(judged.scope.namespace)
    if "remove the .pub file" in told:
        (judged.paths.shared_state / "keys" / "gate.pub").unlink()
    assert follow(judged, told) is None
    assert record(judged, "candidate").candidate == load_champion(ModelRegistry.open(judged)).model.digest


def test_a_lost_public_half_is_made_again(judged: Run) -> None:
    """The private half is there: no one has to begin anew."""
    (judged.paths.shared_state / "keys" / "gate.pub").unlink()
    with pytest.raises(GateError) as error:
        gate_record.verify(record(judged, "baseline"), record(judged, "baseline").candidate, Gate.open(judged))
    follow(judged, error.value.remedy.partition(";")[0])
    gate_record.verify(record(judged, "baseline"), record(judged, "baseline").candidate, Gate.open(judged))


def test_changed_features_lead_to_the_reason_why_the_new_model_does_not_serve(judged: Run) -> None:
    """The champion's code was never committed, so that no model on other features can be compared: the summary says so."""
    shutil.rmtree(judged.root / ".git")
    train(judged)
    evaluate(judged)
    register(judged)
    for version in (1, 2):
        promote(ModelRegistry.open(judged), version, by="ann")
    inputs: dict[str, Any] = {name: kind for name, kind in judged.use_case.inputs.items() if name != "hour"}
    changed = with_use_case(judged, inputs=inputs)
    with pytest.raises(OtherFeaturesError) as error:
        load_champion(ModelRegistry.open(changed))
    apply(FeatureStore.open(changed))
    dataset(changed)
    train(changed)
    reports.run_step(changed, "evaluate", evaluate)
    assert "`ratchet summary`" in error.value.remedy
    assert "never committed" in render(build(changed))
