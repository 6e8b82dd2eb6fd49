"""Train and evaluate on a real feature store: what is fitted on, what is judged on, and what is signed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis import _

from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.code.git import CodeVersion
from ratchet.core.errors import DataError, SettingsError
from ratchet.core.settings import TrainingSettings
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.gate.gate import Gate
from ratchet.gate.record import GateRecord, verify
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote
from ratchet.models.contract import Contract
from ratchet.models.metrics import METRICS
from ratchet.models.model import Model, load, save
from ratchet.models.model_files import REFERENCE
from ratchet.project.run import Run
from ratchet.project.step_reports import Step
from ratchet.use_case.contract import Task
from tests.support.accepted import accept_all
from tests.support.checkout import commit, run_command
from tests.support.killing import contents
from tests.support.messages import missing
from tests.support.mistakes import outcome_in_the_request, with_examples
from tests.support.registry import copied
from tests.support.runs import noshow_project
from tests.support.variants import with_gate, with_use_case
from training_pipeline.dataset import dataset, find_leaks
from training_pipeline.evaluate import constant, evaluate, evaluate_model, read_trial
from training_pipeline.frozen_set import read_findings, read_training_set
from training_pipeline.register import register
from training_pipeline.train import fit_candidate, train


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A checkout with features, models and gate records."""
    run = noshow_project(tmp_path_factory.mktemp("checkout"), rows_per_week=150)
    accept_all(run)
    featurize(run)
    materialize(run)
    dataset(run)
    train(run)
    evaluate(run)
    return run


def _record(run: Run, name: str) -> GateRecord:
    return GateRecord.read(run.paths.gate / f"{name}.json")


def _model(run: Run, name: str) -> Model:
    return load(run.paths.models / name, run.use_case)


def test_no_label_known_in_the_holdout_is_trained_on(built: Run) -> None:
    """Requests of the last days before the holdout are left out: their outcome was not known yet."""
    training, start = read_training_set(built), np.datetime64("2024-05-14T14:30")
    assert training.rows["label_known_at"].max() < start
    assert start - training.rows["event_timestamp"].max() > np.timedelta64(3, "D")
    assert training.rows["event_timestamp"][training.is_stopping].min() >= np.datetime64("2024-04-30T14:30")
    assert _model(built, "candidate").contract.trained_until == built.period("holdout").start


def test_a_label_known_at_the_first_instant_of_the_holdout_is_not_trained_on(tmp_path: Path) -> None:
    """What counts was known strictly before, as for features."""
    run = noshow_project(tmp_path, rows_per_week=30)
    start = ibis.literal(run.period("holdout").start).cast("timestamp('UTC', 6)")
    that_day = _.label_known_at.truncate("D") == start.truncate("D")
    at_start = that_day.ifelse(start, _.label_known_at)
    run = with_examples(run, lambda rows: rows.mutate(label_known_at=at_start))
    accept_all(run)
    featurize(run)
    apply(FeatureStore.open(run))
    dataset(run)
    known = pq.read_table(run.paths.features / "labels", columns=["label_known_at"])["label_known_at"].to_pylist()
    assert run.period("holdout").start in known
    assert read_training_set(run).rows["label_known_at"].max() < np.datetime64("2024-05-14T00:00")


def test_candidate_is_superior_to_the_baseline_and_both_are_signed(built: Run) -> None:
    """Nothing serves: the baseline is held against a constant, the candidate against the baseline."""
    baseline, candidate = _record(built, "baseline"), _record(built, "candidate")
    for name, record in (("baseline", baseline), ("candidate", candidate)):
        verify(record, _model(built, name).digest, Gate.open(built))
        assert record.verdict == "superior"
    assert (baseline.champion, baseline.reference) == (None, constant(_model(built, "baseline")).digest)
    assert (candidate.champion, candidate.reference) == (baseline.candidate, baseline.candidate)


def test_all_labelled_requests_of_the_holdout_are_judged(built: Run) -> None:
    """Every accepted row whose request falls into the holdout is evidence."""
    start, end = (np.datetime64(text) for text in ("2024-05-14T14:30", "2024-07-14T14:30"))
    asked = pq.read_table(built.paths.accepted / "appointments", columns=["reminder_at"])["reminder_at"].to_numpy()
    evidence = _record(built, "candidate").evidence
    assert evidence.n == ((asked >= start) & (asked < end)).sum()
    assert (evidence.start, evidence.end) == (built.period("holdout").start, built.period("holdout").end)
    assert evidence.leaks is not None
    assert len(evidence.leaks.tables["requests"].cut_offs) == built.settings.gate.leak_cut_offs


def test_a_leak_alone_refuses(built: Run) -> None:
    """Requests that carry the outcome are found on the project's own rows, and the record fails for nothing else."""
    leaks, baseline = find_leaks(outcome_in_the_request(built)), _model(built, "baseline")
    trial = replace(read_trial(built), leaks=leaks)
    record = evaluate_model(built, trial, built.paths.models / "candidate", baseline, baseline)
    assert "refused" == record.verdict
    assert ["leaks"] == [check.name for check in record.checks if check.status == "failed"]


def test_a_contract_says_whether_its_code_was_committed(built: Run, tmp_path: Path) -> None:
    """Outside a repository there is no commit; in one the contract names it, and says what was changed since."""
    run = copied(built, tmp_path / "copy")
    (run.root / ".gitignore").write_text("/data/\n/state/\n/feature_repo/\n", encoding="utf-8")
    run_command(run.root, "git", "init", "--quiet")
    commit(run.root, "Begin")
    committed = read_training_set(run).contract
    (run.root / "params.yaml").write_text("use_case: another\n", encoding="utf-8")
    changed = read_training_set(run).contract
    head = run_command(run.root, "git", "rev-parse", "HEAD").stdout.strip()
    contracts = (_model(built, "candidate").contract, committed, changed)
    assert [(None, True), (head, False), (head, True)] == [(each.commit, each.dirty) for each in contracts]


def test_model_directories_are_self_contained(built: Run) -> None:
    """Reference rows carry the model's own predictions, and the candidate brings its pictures."""
    for name in ("baseline", "candidate"):
        table = pq.read_table(built.paths.models / name / REFERENCE)
        model = _model(built, name)
        assert table.column_names == [*model.contract.inputs, "label", "prediction"]
        assert table.num_rows == built.settings.drift.reference_rows
    plots = sorted(path.name for path in (built.paths.models / "candidate" / "plots").iterdir())
    assert plots == [
        f"{name}.png" for name in ("early_stopping", "importance", "precision_recall", "reliability", "roc")
    ]


def test_running_again_gives_the_same_bytes_and_reports(built: Run, tmp_path: Path) -> None:
    """Train and evaluate are functions of the feature store: what they wrote is written again."""
    kept = tmp_path / "kept"
    shutil.copytree(built.paths.data, kept)
    reports = train(built), evaluate(built)
    for folder in (built.paths.models, built.paths.gate):
        for path in (found for found in folder.rglob("*") if found.is_file()):
            assert (kept / path.relative_to(built.paths.data)).read_bytes() == path.read_bytes()
    assert reports[0]["models"] == {name: _model(built, name).digest for name in ("baseline", "candidate")}
    assert reports[0]["rows"]["train"] > reports[0]["rows"]["early_stopping"] > 0
    assert set(reports[1]["candidate"]["metrics"]) == {*METRICS["binary"], "n", "from", "to"}
    assert reports[1]["champion"]["metrics"] == reports[1]["baseline"]["metrics"]


def test_worse_candidate_offered_outside_the_pipeline_is_refused(built: Run, tmp_path: Path) -> None:
    """The same trees, stopped after two, do not get past a champion that has them all."""
    champion, baseline = _model(built, "candidate"), _model(built, "baseline")
    worse = fit_candidate(read_training_set(built), 2, built.settings.training, threads=1)
    save(worse, tmp_path / "worse", pa.table({"prediction": [0.0]}))
    record = evaluate_model(built, read_trial(built), tmp_path / "worse", baseline, champion)
    assert record.verdict == "refused"
    assert "ratchet:non-inferior" in {check.name for check in record.checks if check.status == "failed"}


def test_candidate_is_held_against_what_serves(built: Run, tmp_path: Path) -> None:
    """Once a model serves it is the champion: itself is identical to it, and one of three trees is worse."""
    shutil.copytree(built.root, tmp_path / "copy")
    run = replace(built, root=tmp_path / "copy")
    register(run)
    for version in (1, 2):  # uncommitted, so that the policy leaves them to a person
        promote(ModelRegistry.open(run), version, by="ann")
    dataset(run)
    assert {} == read_findings(run)[1]
    champion, again = _model(run, "candidate"), evaluate(run)["candidate"]
    assert [check["name"] for check in again["checks"] if check["status"] == "failed"] == [
        "ratchet:another-model",
        "ratchet:superior",
    ]
    few = TrainingSettings(lightgbm={"n_estimators": 3})
    train(run.with_settings(training=few))
    assert evaluate(run)["candidate"]["verdict"] == "refused"
    assert _record(run, "candidate").champion == champion.digest


def test_champion_that_trained_into_the_holdout_rolls_it_forward(built: Run) -> None:
    """Rows that the champion may have learnt from are no evidence; the record says that they were left out."""
    champion = _model(built, "candidate")
    later = built.period("holdout").start.replace(month=6)
    seen = replace(champion, contract=champion.contract.model_copy(update={"trained_until": later}))
    record = evaluate_model(built, read_trial(built), built.paths.models / "candidate", _model(built, "baseline"), seen)
    assert (record.evidence.start, record.evidence.rolled_forward) == (later, True)
    assert record.evidence.n < _record(built, "candidate").evidence.n


def test_period_without_two_different_labels_is_a_clear_error(built: Run) -> None:
    """What cannot be learnt from is an error that names the period."""
    short = built.settings.windows.model_copy(update={"early_stopping": timedelta(days=1)})
    with pytest.raises(DataError, match=r"^the early-stopping period: .*two.* labels"):
        dataset(built.with_settings(windows=short))


class FittedError(AssertionError):
    """Something was fitted."""


@pytest.fixture
def fitted(built: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the checkout in which fitting anything again is an error."""

    def fit(*_arguments: object) -> None:
        raise FittedError

    monkeypatch.setattr("training_pipeline.train.fit_baseline", fit)
    return copied(built, tmp_path / "copy")


def test_what_was_fitted_is_not_fitted_again(built: Run, fitted: Run) -> None:
    """The same rows, code and settings: report and files stay as they are."""
    before = contents(fitted.paths.models)
    assert train(fitted)["models"]["candidate"] == _model(built, "candidate").digest
    assert before == contents(fitted.paths.models)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.with_settings(training=TrainingSettings(seed=8)),
        lambda run: run.with_settings(drift=run.settings.drift.model_copy(update={"reference_rows": 500})),
        lambda run: with_use_case(run, baseline=((),)),
        lambda run: (run.paths.models / "candidate" / REFERENCE).unlink() or run,
        lambda run: shutil.rmtree(run.paths.models / "baseline") or run,
        lambda run: shutil.rmtree(run.paths.reports / "plots") or run,
    ],
    ids=["seed", "reference", "baseline", "lost file", "lost model", "lost plots"],
)
def test_a_change_is_fitted(fitted: Run, change: Callable[[Run], Run]) -> None:
    """Of settings, of the use case, or of what was written."""
    with pytest.raises(FittedError):
        train(change(fitted))


def test_uncommitted_models_are_fitted_again_once_they_are_committed(
    fitted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise no policy would ever promote them."""
    clean = CodeVersion("c" * 40, dirty=False)
    monkeypatch.setattr("training_pipeline.frozen_set.code_version", lambda _root: clean)
    with pytest.raises(FittedError):
        train(fitted)


def test_settings_reach_the_estimator(built: Run) -> None:
    """What params.yaml says of LightGBM is what the contract records."""
    contract: Contract = _model(built, "candidate").contract
    settings: TrainingSettings = built.settings.training
    assert {**contract.params, "n_estimators": 0} == {
        **settings.lightgbm,
        "n_estimators": 0,
        "random_state": settings.seed,
    }


@pytest.mark.parametrize(
    ("step", "keyword", "change"),
    [
        (train, "baseline", lambda run: with_use_case(run, baseline=(("clinics",), ()))),
        (train, "baseline", lambda run: with_use_case(run, baseline=(("reminder_at",), ()))),
        (evaluate, "gate.slices", lambda run: with_gate(run, slices=("clinics",))),
        (evaluate, "gate.block", lambda run: with_gate(run, block="days")),
    ],
)
def test_a_column_that_there_is_not_is_named(
    built: Run, tmp_path: Path, step: Step, keyword: str, change: Callable[[Run], Run]
) -> None:
    """The declaration that names it is the error's, and nothing is written."""
    run = copied(built, tmp_path / "copy")
    before = contents(run.root)
    with pytest.raises(SettingsError, match=keyword):
        step(change(run))
    assert before == contents(run.root)


def test_an_input_that_there_is_not_is_named(built: Run, tmp_path: Path) -> None:
    """When a model is fitted: until then a column may still come of `on_demand`."""
    inputs = {**built.use_case.inputs, "clinics": "category"}
    run = with_use_case(copied(built, tmp_path / "copy"), inputs=inputs)
    apply(FeatureStore.open(run))
    dataset(run)
    with pytest.raises(SettingsError, match=r"inputs.*clinics.*'clinic'"):
        train(run)


@pytest.mark.parametrize(
    ("task", "value", "word"),
    [("binary", 2.0, "0 nor 1"), ("regression", float("nan"), "finite")],
)
def test_label_that_says_nothing_is_a_clear_error(tmp_path: Path, task: Task, value: float, word: str) -> None:
    """A few impossible labels, which no rule has quarantined, are named in training and in the holdout."""
    run = noshow_project(tmp_path, rows_per_week=150)
    accept_all(run)
    odd = (_.request_id.right(2) == "42").ifelse(ibis.literal(value), _.label)
    run = with_use_case(with_examples(run, lambda rows: rows.mutate(label=odd)), task=task)
    featurize(run)
    apply(FeatureStore.open(run))
    with pytest.raises(DataError) as error:
        dataset(run)
    assert [] == missing(error.value.problem, "19 of 2,855", word, f"{value:g}")
    assert not run.paths.dataset.exists()
