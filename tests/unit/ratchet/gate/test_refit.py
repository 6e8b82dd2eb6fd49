"""A refit is the judged recipe on more rows, or it does not serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchet.core.errors import GateError
from ratchet.core.settings import GateSettings
from ratchet.gate.evidence import Gain, Score
from ratchet.gate.gate import Gate
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import (
    RefitRecord,
    admit_refit,
    differences,
    recipe_of,
    refit_verdict,
    run_refit_checks,
    verify,
)
from ratchet.gate.signing import SigningKey
from ratchet.project.run import Run
from tests.support.models import TRAINED_UNTIL
from tests.support.records import good_evidence, good_score, noshow_record
from tests.support.refits import WORSE, good_refit_evidence, judged_candidate, later, refit_record, refitted
from tests.support.runs import noshow_project

POLICY = GateSettings()
NAN = float("nan")
CHAMPION = "b" * 64


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path)


def judged(run: Run, **evidence: Any) -> GateRecord:
    """The record of the candidate, superior to the champion `bbb…` but for changes."""
    return noshow_record(run, judged_candidate(), CHAMPION, **evidence)


def refit_score(**metrics: float | None) -> Score:
    return later(good_score("f" * 64, **{"log_loss": 0.49, "auc": 0.81, "brier": 0.19, **metrics}))


def test_the_same_recipe_that_behaves_alike_passes() -> None:
    """Every check passes."""
    checks = run_refit_checks(good_refit_evidence(), POLICY)
    assert refit_verdict(checks) == "passed"
    assert {"passed"} == {check.status for check in checks}


def test_no_check_is_no_evidence() -> None:
    """Nothing passes by nothing."""
    assert refit_verdict(()) == "failed"


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("added", {"added": 0}),
        ("later", {"refit": refit_score().model_copy(update={"trained_until": TRAINED_UNTIL})}),
        ("another-model", {"judged": good_score("f" * 64)}),
        ("recipe", {"recipe": "other"}),
        ("contract", {"different": ("params",)}),
        ("golden:invalid", {"invalid": 1}),
        ("golden:change", {"change": 0.51}),
        ("golden:change", {"change": None}),
        ("metric:log_loss", {"refit": refit_score(log_loss=0.5001)}),
        ("metric:log_loss", {"refit": refit_score(log_loss=None)}),
        ("metric:log_loss", {"refit": refit_score(log_loss=NAN)}),
        ("metric:log_loss", {"refit": refit_score().model_copy(update={"invalid": 1})}),
        ("metric:log_loss", {"judged": good_score("a" * 64, log_loss=None)}),
        ("metric:auc", {"refit": refit_score(auc=0.79)}),
        ("metric:auc", {"judged": good_score("a" * 64, auc=NAN)}),
        ("metric:brier", {"refit": refit_score(brier=0.203)}),
        ("metric:calibration_error", {"refit": refit_score(calibration_error=0.11)}),
        ("metric:calibration_error", {"refit": refit_score(calibration_error=None)}),
    ],
)
def test_a_spoilt_refit_fails(check: str, changes: dict[str, Any]) -> None:
    """Worse on rows that it was fitted on, another recipe, or without evidence."""
    checks = run_refit_checks(good_refit_evidence(**changes), POLICY)
    assert check in [each.name for each in checks if not each.passed]
    assert refit_verdict(checks) == "failed"


@pytest.mark.parametrize("metrics", [{"rmse": 5.1, "mae": 3.0}, {"rmse": 5.0}, {"rmse": 4.9, "mae": 3.1}])
def test_a_regression_is_compared_by_its_own_metrics(metrics: dict[str, float | None]) -> None:
    """RMSE may not be worse, and MAE must be there and by no more than the margin."""
    before = good_score("a" * 64).model_copy(update={"metrics": {"rmse": 5.0, "mae": 3.0}})
    after = refit_score().model_copy(update={"metrics": metrics})
    evidence = good_refit_evidence(task="regression", judged=before)
    well = refit_score().model_copy(update={"metrics": {"rmse": 4.9, "mae": 3.02}})
    assert refit_verdict(run_refit_checks(evidence.model_copy(update={"refit": well}), POLICY)) == "passed"
    assert refit_verdict(run_refit_checks(evidence.model_copy(update={"refit": after}), POLICY)) == "failed"


def test_a_recipe_is_all_but_the_rows() -> None:
    """Other rows are no other recipe; other parameters, inputs, features or code are, and the contract names them."""
    before, after = judged_candidate().contract, refitted().contract
    assert recipe_of(before, "code") == recipe_of(after, "code") != recipe_of(after, "other code")
    assert () == differences(after, before)
    for name, value in {"params": {"seed": 8}, "inputs": {"clinic": "category"}, "fingerprint": "e" * 64}.items():
        changed = after.model_copy(update={name: value})
        assert (name,) == differences(changed, before)
        assert recipe_of(changed, "code") != recipe_of(before, "code")


def test_it_serves_after_its_judged_model_or_where_that_may(run: Run) -> None:
    """Its judged model serves, or what serves is what that was found superior to."""
    gate, model = Gate.open(run), refitted()
    record = refit_record(run, model, judged(run))
    for serving in (judged_candidate().digest, CHAMPION):
        admit_refit(record, model.digest, serving, gate)
    for serving in ("c" * 64, None):
        with pytest.raises(GateError, match="compares with"):
            admit_refit(record, model.digest, serving, gate)


def test_the_first_model_may_be_refitted_too(run: Run) -> None:
    """Where nothing serves: if its judged model may be the first, so may the refit, but in nothing else's place."""
    record = refit_record(run, refitted(), noshow_record(run, judged_candidate()))
    admit_refit(record, refitted().digest, None, Gate.open(run))
    with pytest.raises(GateError, match="compares with nothing"):
        admit_refit(record, refitted().digest, CHAMPION, Gate.open(run))


@pytest.mark.parametrize(
    ("evidence", "word"),
    [
        ({"gain": WORSE}, "refused"),
        ({"gain": Gain(value=0.0, lower=-0.005, upper=0.005)}, "non-inferior"),
        ({"n": 10, "rolled_forward": True}, "undecided"),
    ],
)
@pytest.mark.parametrize("serving", [CHAMPION, judged_candidate().digest])
def test_no_refit_of_a_model_that_is_not_superior_serves(
    run: Run, evidence: dict[str, Any], word: str, serving: str
) -> None:
    """Even while that model serves, as by a person's waiver."""
    record = refit_record(run, refitted(), judged(run, **evidence))
    with pytest.raises(GateError, match=word):
        admit_refit(record, refitted().digest, serving, Gate.open(run))


def test_a_failed_refit_does_not_serve(run: Run) -> None:
    """The refusal names the check."""
    record = refit_record(run, refitted(), judged(run), change=0.9)
    with pytest.raises(GateError, match="golden:change"):
        admit_refit(record, refitted().digest, CHAMPION, Gate.open(run))


def test_other_bounds_are_other_evidence(run: Run) -> None:
    """A record by earlier settings admits nothing."""
    record = refit_record(run, refitted(), judged(run))
    changed = run.with_settings(gate=run.settings.gate.model_copy(update={"max_refit_change": 0.4}))
    with pytest.raises(GateError, match="bounds"):
        admit_refit(record, refitted().digest, CHAMPION, Gate.open(changed))


def resigned(run: Run, record: RefitRecord, **changes: Any) -> RefitRecord:
    """The record with changes, signed with the checkout's own key."""
    return SigningKey.open(run).sign(record.model_copy(update=changes))


ATTACKS: dict[str, tuple[Callable[[Run, RefitRecord], RefitRecord], str]] = {
    "edited": (lambda _, record: record.model_copy(update={"files": {"model.skops": "0"}}), "signature"),
    "unsigned": (lambda _, record: record.model_copy(update={"signature": ""}), "signature"),
    "another key": (
        lambda run, record: SigningKey(run.root / "other.key", run.scope).sign(record),
        "signature",
    ),
    "another model name": (lambda run, record: resigned(run, record, model_name="other"), "about other"),
    "a verdict of its own": (lambda run, record: resigned(run, record, verdict="failed"), "does not follow"),
    "checks of its own": (lambda run, record: resigned(run, record, checks=record.checks[1:]), "does not follow"),
    "other data": (lambda run, record: resigned(run, record, data_version="other"), "other data"),
    "the record of another judged model": (
        lambda run, record: resigned(run, record, judged=noshow_record(run, judged_candidate(5), CHAMPION)),
        "is about model",
    ),
    "an edited judged record": (
        lambda run, record: resigned(run, record, judged=record.judged.model_copy(update={"verdict": "superior"})),
        "signature",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_forged_record_is_refused(run: Run, attack: str) -> None:
    """Whoever edits a part of it, or signs a part with the key, gets no refit in."""
    forge, word = ATTACKS[attack]
    spoilt = {"gain": WORSE} if attack == "an edited judged record" else {}
    record = forge(run, refit_record(run, refitted(), judged(run, **spoilt)))
    for check in (verify, lambda *args: admit_refit(args[0], args[1], CHAMPION, args[2])):
        with pytest.raises(GateError, match=word):
            check(record, refitted().digest, Gate.open(run))


def test_it_is_about_one_model(run: Run) -> None:
    """The refit's record helps no other model, and not its judged one."""
    record = refit_record(run, refitted(), judged(run))
    for digest in (judged_candidate().digest, "0" * 64):
        with pytest.raises(GateError, match="is about model"):
            verify(record, digest, Gate.open(run))


def test_a_gate_record_is_verified_as_ever(run: Run) -> None:
    """One function verifies both kinds."""
    verify(judged(run), judged_candidate().digest, Gate.open(run))
    with pytest.raises(GateError, match="is about model"):
        verify(judged(run), refitted().digest, Gate.open(run))


def test_a_record_survives_its_file(run: Run, tmp_path: Path) -> None:
    """And a file that holds none is an error that says what to do."""
    record = refit_record(run, refitted(), judged(run))
    record.write(tmp_path / "record.json")
    assert record == RefitRecord.read(tmp_path / "record.json")
    (tmp_path / "record.json").write_text(good_evidence().model_dump_json())
    with pytest.raises(GateError, match="stage refit"):
        RefitRecord.read(tmp_path / "record.json")


def test_what_a_person_would_have_to_answer_for_stays_so(run: Run) -> None:
    """A refit of an uncommitted model is uncommitted, whatever was committed since."""
    dirty = judged(run).model_copy(update={"dirty": True, "experiment": "exp"})
    record = refit_record(run, refitted(), SigningKey.open(run).sign(dirty))
    assert (True, "exp") == (record.dirty, record.experiment)
