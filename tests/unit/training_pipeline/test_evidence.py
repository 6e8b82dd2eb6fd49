"""Evidence: metrics, skill, slices and the paired block bootstrap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ratchet.core.clock import Period
from ratchet.core.settings import GateSettings
from ratchet.gate.checks import run_checks, verdict_of
from ratchet.gate.evidence import Evidence, Gain
from ratchet.models.metrics import Floats
from ratchet.models.model import Model
from ratchet.use_case.contract import Columns, Task
from tests.support.messages import missing
from tests.support.models import TRAINED_UNTIL, noshow_baseline, noshow_candidate, noshow_columns, noshow_contract
from tests.support.noshow import use_case
from training_pipeline import evidence as evidence_module
from training_pipeline.evidence import (
    block_codes,
    collect,
    paired_gain,
    relative_gain,
    slice_scores,
)
from training_pipeline.frozen_set import Answers, Holdout, select

POLICY = GateSettings(slices=("clinic",), block="week", min_rows=500, min_slice_rows=100, min_blocks=3, resamples=300)
TASKS: tuple[Task, ...] = ("regression", "binary")
END = datetime(2024, 6, 1, tzinfo=UTC)
losses = arrays(np.float64, st.just(40), elements=st.floats(0.01, 100.0))
BLOCKS = np.arange(40) % 8


def _gain(task: Task, candidate: Floats, champion: Floats, blocks: Any = BLOCKS, policy: GateSettings = POLICY) -> Gain:
    return paired_gain(task, candidate, champion, blocks, policy, seed=7)


def _numbers(gain: Gain) -> Floats:
    return np.array([gain.value, gain.lower, gain.upper], dtype=np.float64)


@pytest.mark.parametrize("task", TASKS)
@given(same=losses)
def test_model_gains_nothing_over_itself(task: Task, same: Floats) -> None:
    """The gain of a model over itself is exactly nothing, and so are its bounds."""
    assert _gain(task, same, same.copy()) == Gain(value=0.0, lower=0.0, upper=0.0)


@pytest.mark.parametrize("task", TASKS)
@given(candidate=losses, champion=losses, scale=st.floats(1e-3, 1e3))
def test_unit_of_the_loss_does_not_matter(task: Task, candidate: Floats, champion: Floats, scale: float) -> None:
    """Minutes or seconds: the relative gain is the same."""
    scaled = _gain(task, candidate * scale, champion * scale)
    np.testing.assert_allclose(_numbers(scaled), _numbers(_gain(task, candidate, champion)), atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
@given(candidate=losses, champion=losses, order=st.permutations(range(40)))
def test_order_of_rows_does_not_matter(task: Task, candidate: Floats, champion: Floats, order: list[int]) -> None:
    """The same rows in another order are the same evidence."""
    shuffled = _gain(task, candidate[order], champion[order], BLOCKS[order])
    np.testing.assert_allclose(_numbers(shuffled), _numbers(_gain(task, candidate, champion)), atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
@given(champion=losses, extra=losses)
def test_worse_on_every_row_is_never_superior(task: Task, champion: Floats, extra: Floats) -> None:
    """Whatever blocks are drawn, a model that is worse on each row gains less than nothing, and its mirror more."""
    worse, better = _gain(task, champion + extra, champion), _gain(task, champion, champion + extra)
    assert _numbers(worse).max() < 0 < _numbers(better).min()


@given(candidate=losses, champion=losses)
def test_bounds_enclose(candidate: Floats, champion: Floats) -> None:
    """The lower bound is never above the upper one."""
    _, lower, upper = _numbers(_gain("regression", candidate, champion))
    assert lower <= upper


@settings(max_examples=10)
@given(candidate=losses, champion=losses)
def test_bounds_are_those_of_repeating_rows_block_by_block(candidate: Floats, champion: Floats) -> None:
    """Summing by block gives what a bootstrap that copies the rows of drawn blocks gives."""
    draws = np.random.default_rng(7).multinomial(8, np.full(8, 1 / 8), POLICY.resamples)
    gains = []
    for draw in draws:
        rows = np.concatenate([np.tile(np.flatnonzero(block == BLOCKS), times) for block, times in enumerate(draw)])
        gains.append(1 - np.sqrt(candidate[rows].mean()) / np.sqrt(champion[rows].mean()))
    student = 1.89457860509  # below it lies 95% of Student's t with 7 degrees of freedom
    outside = NormalDist().cdf(-np.sqrt(8 / 7) * student)
    expected = np.quantile(gains, [outside, 1 - outside])
    np.testing.assert_allclose(_numbers(_gain("regression", candidate, champion))[1:], expected, atol=1e-9)


@pytest.mark.parametrize("days", [7, 14, 30])
def test_equally_good_models_are_seldom_called_superior(days: int) -> None:
    """Where two models are equally good, the ratchet is wrong about as often as its confidence allows: also on few days."""
    rng, wrong = np.random.default_rng(1), 0
    blocks = np.repeat(np.arange(days), 20)
    for _ in range(1000):
        hard_days, either = (np.repeat(rng.gamma(2.0, size=(k, days)), 20, axis=1) for k in (1, 2))
        candidate, champion = hard_days * either * rng.gamma(2.0, size=(2, len(blocks)))
        wrong += bool(_numbers(_gain("regression", candidate, champion, blocks))[1] > 0)
    assert wrong / 1000 < 0.08


def test_draws_of_many_blocks_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few draws are held at once, the bounds are the same."""
    rng = np.random.default_rng(3)
    both = rng.gamma(2.0, size=(2, 400))
    expected = _gain("regression", *both, np.arange(400))
    monkeypatch.setattr(evidence_module, "MOST_DRAWN", 1000)
    assert expected == _gain("regression", *both, np.arange(400))


def test_a_single_block_has_no_bounds() -> None:
    """What one day says holds for that day."""
    gain = _gain("regression", BLOCKS + 1.0, BLOCKS + 2.0, np.zeros(40, dtype=np.int64))
    assert (gain.lower, gain.upper) == (None, None)
    assert gain.value is not None


def test_perfect_champion_leaves_no_number() -> None:
    """Nothing can be divided by an error of zero: the gain is absent, not infinite."""
    assert _gain("regression", BLOCKS * 1.0, BLOCKS * 0.0) == Gain(value=None, lower=None, upper=None)


def test_infinite_loss_leaves_no_number() -> None:
    """A prediction without bounds makes the gain absent, on whichever side it stands."""
    odd = np.where(BLOCKS == 3, np.inf, 1.0)
    absent = Gain(value=None, lower=None, upper=None)
    assert [_gain("regression", odd, BLOCKS + 1.0), _gain("regression", odd, odd)] == [absent, absent]


def test_skill_is_one_minus_the_ratio_of_errors() -> None:
    """Half the RMSE is a skill of one half; half the log loss too."""
    assert relative_gain("regression", np.float64(1.0), np.float64(4.0)) == 0.5
    assert relative_gain("binary", np.float64(2.0), np.float64(4.0)) == 0.5


def test_blocks_are_local_days_weeks_from_monday_or_a_column() -> None:
    """Ten minutes before Adelaide's midnight is another day than ten minutes after, and Sunday another week than Monday."""
    timestamps = ["2024-05-18T14:20", "2024-05-18T14:40", "2024-05-19T14:20", "2024-05-19T14:40"]
    rows = {"event_timestamp": np.array(timestamps, "datetime64[us]"), "clinic": np.array(list("baba"), dtype=object)}
    blocks = {name: block_codes(rows, name, use_case.timezone).tolist() for name in ("day", "week", "clinic")}
    assert blocks == {"day": [0, 1, 1, 2], "week": [0, 0, 0, 1], "clinic": [1, 0, 1, 0]}


def test_slices_have_their_own_skill_and_missing_values_their_own_slice() -> None:
    """Every value of a column is judged apart, numbers by their plain names."""
    rows = {
        "zone": np.array([74.0, 74.0, 7.5, np.nan]),
        "name": np.array(["b", None, "a", "b"], dtype=object),
    }
    candidate, reference = np.array([1.0, 1.0, 4.0, 9.0]), np.array([4.0, 4.0, 4.0, 1.0])
    found = slice_scores("regression", rows, ["zone", "name"], candidate, reference)
    assert [(score.column, score.value, score.n, score.skill) for score in found] == [
        ("zone", "7.5", 1, 0.0),
        ("zone", "74", 2, 0.5),
        ("zone", "missing", 1, -2.0),
        ("name", "a", 1, 0.0),
        ("name", "b", 2, pytest.approx(1 - 2**0.5)),
        ("name", "missing", 1, 0.5),
    ]


@dataclass(frozen=True)
class _Broken(Model):
    """A model that answers with what it is given."""

    answer: float = 0.0

    def predict(self, columns: Columns) -> Floats:
        predicted = super().predict(columns)
        predicted[0] = self.answer
        return predicted


def _holdout(rows: int = 2200) -> Holdout:
    columns = noshow_columns(rows, seed=9, start=TRAINED_UNTIL)
    return Holdout(columns, columns["event_timestamp"], Period(TRAINED_UNTIL, END), noshow_contract().fingerprint)


def _collect(candidate: Model, champion: Model | None, holdout: Holdout | None = None) -> Evidence:
    models = {"candidate": candidate, "reference": noshow_baseline()} | ({"champion": champion} if champion else {})
    return collect(use_case, holdout or _holdout(), models, POLICY, 7, None)


def _failed(evidence: Evidence) -> list[str]:
    return [check.name for check in run_checks(evidence, POLICY) if check.status == "failed" and check.name != "leaks"]


def test_postprocess_sees_no_label() -> None:
    """A use case whose own function would answer with the outcome is judged without it, as it will answer in service."""
    candidate = noshow_candidate()
    cheat = replace(candidate, postprocess=lambda columns, numbers: columns.get("label", numbers))
    assert _collect(candidate, None).candidate == _collect(cheat, None).candidate


def test_requests_without_a_label_are_counted() -> None:
    """They are what the rows are a share of; a holdout that rolls forward counts from there."""
    holdout = _holdout()
    half = replace(holdout, rows=select(holdout.rows, np.arange(2200) % 2 == 0))
    evidence = _collect(noshow_candidate(), None, half)
    assert (1100, 2200) == (evidence.n, evidence.requests)
    assert "label_coverage" in _failed(evidence)
    rolled = half.after(TRAINED_UNTIL + timedelta(days=10))
    assert (740, 1480) == (len(rolled.rows["label"]), len(rolled.request_times))


def test_better_candidate_is_seen_to_be_better() -> None:
    """LightGBM beats the baseline on every count that the gate looks at."""
    evidence = _collect(noshow_candidate(), noshow_baseline())
    assert _failed(evidence) == []
    assert evidence.n == 2200
    assert {score.value for score in evidence.slices} == {"north", "south"}
    assert evidence.candidate.metrics["log_loss"] < evidence.reference.metrics["log_loss"]  # type: ignore[operator]


def test_candidate_with_fewer_trees_is_seen_to_be_worse() -> None:
    """The same trees, stopped too soon, are refused by the ratchet, and for probabilities that hardly differ."""
    assert _failed(_collect(noshow_candidate(trees=2), noshow_candidate())) == [
        "calibration",
        "ratchet:non-inferior",
        "ratchet:superior",
    ]


def test_same_model_is_refused_as_identical() -> None:
    """Offering what serves already gains exactly nothing."""
    evidence = _collect(noshow_candidate(), noshow_candidate())
    assert evidence.gain == Gain(value=0.0, lower=0.0, upper=0.0)
    assert _failed(evidence) == ["ratchet:another-model", "ratchet:superior"]
    assert verdict_of(run_checks(evidence, POLICY)) == "refused"


@pytest.mark.parametrize("answer", [np.nan, np.inf, -0.1, 1.1])
def test_one_prediction_that_is_no_probability_spoils_the_evidence(answer: float) -> None:
    """A single odd prediction among thousands is counted, and no metric is made of the rest."""
    candidate = noshow_candidate()
    evidence = _collect(_Broken(candidate.contract, candidate.pipeline, answer=answer), noshow_baseline())
    assert (evidence.candidate.invalid, set(evidence.candidate.metrics.values())) == (1, {None})
    assert {"predictions:candidate", "metrics:candidate"} <= set(_failed(evidence))


def test_champion_of_another_feature_service_is_not_scored() -> None:
    """Its columns are not computed here: the comparison is missing, which fails and says why."""
    stranger = noshow_candidate(noshow_contract(fingerprint="9" * 64))
    evidence = _collect(noshow_candidate(), stranger)
    checks = {check.name: check for check in run_checks(evidence, POLICY)}
    assert evidence.gain == Gain(value=None, lower=None, upper=None)
    assert [] == missing(checks["predictions:champion"].detail, "noshow_99999999", "compute")
    assert {"predictions:champion", "ratchet:non-inferior"} <= set(_failed(evidence))


def test_champion_of_another_feature_service_is_scored_by_what_its_own_code_predicted() -> None:
    """Predictions are matched by request, in whatever order they came; the evidence is what it would be on one service."""
    stranger, holdout = noshow_candidate(noshow_contract(fingerprint="9" * 64), trees=2), _holdout()
    predicted = pd.Series(stranger.predict(holdout.rows), index=holdout.rows["request_id"])[::-1]
    found = _collect(noshow_candidate(), stranger, replace(holdout, answers={stranger.digest: Answers(predicted)}))
    expected = _collect(noshow_candidate(), noshow_candidate(trees=2))
    assert expected.gain == found.gain
    assert expected.champion is not None
    assert expected.champion.model_copy(update={"digest": stranger.digest}) == found.champion


def test_champion_that_could_not_be_asked_is_an_obstacle() -> None:
    """Whatever kept its code from answering is in the record, and nothing takes its place."""
    stranger = noshow_candidate(noshow_contract(fingerprint="9" * 64))
    answers = {stranger.digest: Answers.none("its code was never committed")}
    evidence = _collect(noshow_candidate(), stranger, replace(_holdout(), answers=answers))
    checks = run_checks(evidence, POLICY)
    details = {check.name: check.detail for check in checks}
    assert "its code was never committed" == details["predictions:champion"]
    assert "refused" == verdict_of(checks)


def test_empty_holdout_is_evidence_of_nothing() -> None:
    """Without rows every figure is absent, and every check that needs one fails."""
    failed = _failed(_collect(noshow_candidate(), noshow_baseline(), _holdout(0)))
    assert {"rows", "blocks", "skill", "slices:clinic", "metrics:candidate", "ratchet:superior"} <= set(failed)


def test_holdout_rolls_forward_past_what_a_champion_has_seen() -> None:
    """Only rows from the champion's own end of training on are left, and the record says so."""
    instant = TRAINED_UNTIL + timedelta(days=10)
    rolled = _holdout().after(instant)
    assert (rolled.period, rolled.rolled_forward) == (Period(instant, END), True)
    assert rolled.rows["event_timestamp"].min() == np.datetime64("2024-05-11", "us")
    assert len(rolled.rows["label"]) == 2200 - 720


def test_holdout_stays_where_the_champion_saw_nothing_of_it() -> None:
    """A champion trained up to the holdout's first instant moves nothing."""
    holdout = _holdout()
    assert holdout.after(TRAINED_UNTIL) is holdout
