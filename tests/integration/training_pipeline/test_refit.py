"""The refit on a real feature store: what it is fitted on, when it is made again, and what later rows say about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import summary
from cli.commands.demo import offer_worse
from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.core.errors import GateError, StoreError
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import RefitRecord
from ratchet.gate.signing import SigningKey
from ratchet.model_registry.champion import resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.status import status
from ratchet.models.model import Model, load, save
from ratchet.models.model_files import checksums
from ratchet.project.headlines import HEADLINES
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from tests.support.accepted import accept_all
from tests.support.killing import contents
from tests.support.messages import missing
from tests.support.registry import copied
from tests.support.runs import committed, noshow_project
from tests.support.windows import with_days
from training_pipeline.dataset import dataset
from training_pipeline.evaluate import evaluate
from training_pipeline.frozen_set import read_refit_set, read_training_set
from training_pipeline.refit import refit
from training_pipeline.register import register
from training_pipeline.train import fit_recipe, reference_rows, train

DAYS = (date(2024, 1, 1), date(2024, 4, 1), date(2024, 4, 15), date(2024, 5, 15), date(2024, 5, 29))


def refitting(root: Path) -> Run:
    """A project that refits, with features up to August and training as of the end of May."""
    run = noshow_project(root, rows_per_week=300)
    features = run.instants
    run = with_days(run, DAYS)
    assert features
    assert run.instants
    run = replace(run, instants=run.instants.model_copy(update={"feature": features.feature}))
    settings = run.settings.training.model_copy(update={"refit": "after_gate"})
    return run.with_settings(training=settings, gate=run.settings.gate.model_copy(update={"block": "day"}))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project with a superior candidate, before the step refit."""
    run = refitting(committed(tmp_path_factory.mktemp("evaluated") / "project"))
    accept_all(run)
    for step in (featurize, materialize, dataset, train, evaluate):
        step(run)
    return run


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, evaluated: Run) -> Run:
    """A project in which a refit serves."""
    run = copied(evaluated, tmp_path_factory.mktemp("registered") / "project")
    for step in (evaluate, refit, register):
        run_step(run, step.__name__, step)
    return run


@pytest.fixture
def project(evaluated: Run, tmp_path: Path) -> Run:
    return copied(evaluated, tmp_path / "project")


@pytest.fixture
def serving(registered: Run, tmp_path: Path) -> Run:
    return copied(registered, tmp_path / "serving")


def later(run: Run, days: int) -> Run:
    """The project after training was advanced."""
    assert run.instants
    training = run.instants.training + timedelta(days=days)
    return replace(run, instants=run.instants.model_copy(update={"training": training}))


def trained_again(run: Run) -> dict[str, Any]:
    """The report of evaluating a new candidate."""
    dataset(run)
    train(run)
    return evaluate(run)


def the_refit(run: Run) -> Model:
    return load(run.paths.refit_model, run.use_case)


def test_it_is_fitted_on_what_was_known_when_the_fresh_window_began(project: Run) -> None:
    """Training, early stopping and holdout; no label from after the end, and none is lost that is known by then."""
    report = refit(project)["refit"]
    rows, end = read_refit_set(project), project.period("holdout").end
    known = rows.rows["label_known_at"]
    assert known.max() < np.datetime64(end.replace(tzinfo=None))
    assert len(known) == report["rows"]["all"] == len(np.unique(rows.rows["request_id"]))
    weeks = (end - project.period("train").start - timedelta(days=3)).days / 7
    assert abs(len(known) - 297 * weeks) < 60  # 300 a week, of which 1% are dirt; a label is known after three days
    assert rows.is_added.sum() == report["rows"]["added"] == len(known) - len(read_training_set(project).rows["label"])
    assert end == the_refit(project).contract.trained_until
    assert "2024-05-15" == report["until"]


def test_it_is_the_recipe_that_was_judged(project: Run) -> None:
    """The same settings, inputs, features and number of trees; another model."""
    refit(project)
    before, after = load(project.paths.models / "candidate", project.use_case).contract, the_refit(project).contract
    assert before == after.model_copy(update={"trained_until": before.trained_until})
    record = RefitRecord.read(project.paths.refit_record)
    assert ("passed", before.trained_until) == (record.verdict, project.period("holdout").start)
    assert record.judged == GateRecord.read(project.paths.gate / "candidate.json")
    assert checksums(project.paths.refit_model) == record.files


def test_it_is_made_once_and_the_same_again(project: Run) -> None:
    """With nothing changed no file is written; from nothing the same bytes come."""
    first = refit(project)
    written = {path: path.stat().st_mtime_ns for path in project.paths.refit.rglob("*")}
    assert first == refit(project)
    assert written == {path: path.stat().st_mtime_ns for path in project.paths.refit.rglob("*")}
    before = contents(project.paths.refit)
    shutil.rmtree(project.paths.refit)
    assert first == refit(project)
    assert before == contents(project.paths.refit)


def test_a_damaged_refit_is_made_again(project: Run) -> None:
    """What a kill or a hand left is no refit."""
    refit(project)
    before = contents(project.paths.refit)
    (project.paths.refit_model / "model.skops").write_bytes(b"")
    refit(project)
    assert before == contents(project.paths.refit)


def test_never_is_never(project: Run) -> None:
    """An earlier refit is removed, the report says why, and the candidate serves."""
    refit(project)
    never = project.with_settings(training=project.settings.training.model_copy(update={"refit": "never"}))
    assert "never" in refit(never)["reason"]
    assert [] == [*never.paths.refit.iterdir()]
    assert "refit" not in register(never)
    assert 2 == resolve_champion(ModelRegistry.open(never)).version


def test_no_refused_candidate_is_refitted(project: Run) -> None:
    """Its report says what the candidate is; a refit of an earlier candidate is removed."""
    refit(project)
    strict = project.with_settings(gate=project.settings.gate.model_copy(update={"min_skill": 0.9}))
    (strict.paths.refit / "made_from.json").unlink()
    evaluate(strict)
    report = refit(strict)
    assert report["refit"] is None
    assert "refused" in HEADLINES["refit"](report)
    assert [] == [*strict.paths.refit.iterdir()]


def _other_rows(run: Run) -> Run:
    moved = later(run, 1)
    dataset(moved)
    return moved


def _other_settings(run: Run) -> Run:
    return run.with_settings(training=run.settings.training.model_copy(update={"seed": 8}))


def _edited_model(run: Run) -> Run:
    (run.paths.models / "candidate" / "contract.json").write_text("{}")
    return run


def _edited_record(run: Run) -> Run:
    path = run.paths.gate / "candidate.json"
    path.write_text(path.read_text().replace('"kind": "lightgbm"', '"kind": "baseline"'))
    return run


@pytest.mark.parametrize("change", [_other_rows, _other_settings, _edited_model, _edited_record])
def test_only_what_was_judged_is_refitted(project: Run, change: Callable[[Run], Run]) -> None:
    """Other rows, settings, files or an edited record are an error that says what to run; nothing is written."""
    changed = change(project)
    with pytest.raises((StoreError, GateError), match="stage"):
        refit(changed)
    assert not project.paths.refit.exists()


def test_the_summary_says_what_serves(serving: Run) -> None:
    """On how many rows it was fitted and until when, and which version was judged."""
    told = summary.render(summary.build(serving))
    assert [] == missing(told, "5,571 rows until 2024-05-15", "version 3 serves: version 2")


def test_the_demo_s_worse_candidate_is_judged_on_rows_that_nobody_knows(serving: Run) -> None:
    """Against the model that was judged on them: it is refused because it is worse, and not for want of rows."""
    worse = offer_worse(serving)
    assert ("refused", True) == (worse["verdict"], "ratchet:superior" in worse["reason"])
    assert 3 == resolve_champion(ModelRegistry.open(serving)).version


def test_until_there_are_rows_nobody_is_judged(serving: Run) -> None:
    """A day after the refit, the report says how much is lacking, of the candidate and of the refit itself."""
    moved = later(serving, 3)
    report = trained_again(moved)
    assert "undecided" == report["candidate"]["verdict"]
    assert "3 of 7 days" in HEADLINES["evaluate"](report)
    assert ("pending", True) == (report["confirmation"]["outcome"], "3 of 7 days" in report["confirmation"]["reason"])
    assert "undecided" in refit(moved)["reason"]
    register(moved)
    found = status(ModelRegistry.open(moved))
    assert 3 == found["champion"]
    assert "not be judged yet" in found["versions"][-1]["next"]


def test_a_holdout_that_the_refit_knows_whole_judges_nobody(serving: Run) -> None:
    """On the same instant again: no row is newer than the refit, which stays, with its files."""
    before = contents(serving.paths.refit)
    report = trained_again(serving)
    assert "0 of 7 days" in HEADLINES["evaluate"](report)
    assert refit(serving)["refit"]
    assert before == contents(serving.paths.refit)
    assert ("served", "serving") == tuple(register(serving)[name]["status"] for name in ("candidate", "refit"))


def test_later_rows_confirm_it_once(serving: Run) -> None:
    """On the rows after its own; another evaluation does not ask again."""
    moved = later(serving, 9)
    report = trained_again(moved)
    comparison = report["confirmation"]
    assert "confirmed" == comparison["outcome"]
    assert "since 2024-05-14T14:30Z" in comparison["reason"]
    register(moved)
    last = later(serving, 14)
    assert comparison == trained_again(last)["confirmation"]
    assert 3 == resolve_champion(ModelRegistry.open(moved)).version


def test_later_rows_take_a_worse_one_back(project: Run) -> None:
    """A refit that passed its checks and is worse all the same gives way to its judged model."""
    refit(project)
    _spoil(project)
    register(project)
    store = ModelRegistry.open(project)
    assert 3 == resolve_champion(store).version
    moved = later(project, 9)
    report = trained_again(moved)
    assert "withdrawn" in HEADLINES["evaluate"](report)
    register(moved)
    assert 2 == resolve_champion(store).version
    assert ("withdrawal", 2) == tuple(status(store)["history"][-1][key] for key in ("kind", "version"))
    assert trained_again(moved)["confirmation"] is None


def _spoil(run: Run) -> None:
    """Put a model of one tree in the place of the refit, with a signed record."""
    record, rows = RefitRecord.read(run.paths.refit_record), read_refit_set(run)
    contract = the_refit(run).contract
    poor = contract.model_copy(update={"params": {**contract.params, "n_estimators": 1}})
    model = fit_recipe(poor, rows.rows, run.use_case.postprocess, 1)
    save(model, run.paths.refit_model, reference_rows(model, rows.rows, 100))
    score = record.evidence.refit.model_copy(update={"digest": model.digest})
    evidence = record.evidence.model_copy(update={"refit": score})
    changed = record.model_copy(update={"files": checksums(run.paths.refit_model), "evidence": evidence})
    SigningKey.open(run).sign(changed).write(run.paths.refit_record)
