"""The gate fails closed: what passes, what is refused, and what is not believed."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.core.environment import Environment
from ratchet.core.errors import GateError
from ratchet.core.settings import GateSettings
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.gate.checks import Verdict, run_checks, verdict_of
from ratchet.gate.evidence import Evidence, FirstGains, Gain, SliceScore
from ratchet.gate.gate import Gate
from ratchet.gate.plausibility import LEAST_ERROR, LinearFit
from ratchet.gate.record import GateRecord, Waiver, admit, verify
from ratchet.gate.signing import SigningKey
from ratchet.project.run import Run
from tests.support.models import TRAINED_UNTIL, noshow_baseline
from tests.support.records import GAIN, NO_LEAK, NO_LEAKS, good_evidence, good_score, noshow_record
from tests.support.runs import NOSHOW_END, noshow_project

POLICY = GateSettings(min_rows=200, min_slice_rows=50)
MODEL = noshow_baseline()
NAN = float("nan")
NO_GAIN = Gain(value=0.001, lower=0.0, upper=0.002)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path)


def _gain(value: float | None) -> Gain:
    return Gain.model_construct(value=value, lower=value, upper=value)


def _failed(evidence: Evidence) -> list[str]:
    return [check.name for check in run_checks(evidence, POLICY) if check.status == "failed"]


def test_good_evidence_is_superior() -> None:
    """A candidate that is better beyond doubt passes every check."""
    checks = run_checks(good_evidence(), POLICY)
    assert verdict_of(checks) == "superior"
    assert all(check.passed for check in checks)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"n": 199}, "undecided"),
        ({"blocks": 6}, "undecided"),
        ({"n": 0, "blocks": 0, "skill": None, "gain": None, "requests": 0, "leaks": None}, "undecided"),
        ({"n": 199, "candidate": good_score("b" * 64)}, "refused"),
        ({"skill": None}, "refused"),
        ({}, "superior"),
    ],
)
def test_without_rows_that_the_champion_does_not_know_nobody_is_judged(
    changes: dict[str, Any], verdict: Verdict
) -> None:
    """That says nothing bad about a candidate, unless it is the champion itself; with enough rows it is judged as ever."""
    checks = run_checks(good_evidence(rolled_forward=True, **changes), POLICY)
    assert verdict == verdict_of(checks)
    assert ("leaks" in [check.name for check in checks]) == (verdict != "undecided" and "n" not in changes)


def test_an_undecided_model_does_not_serve(run: Run) -> None:
    """Whoever asks for it hears how much is lacking."""
    record = noshow_record(run, MODEL, "b" * 64, n=150, blocks=3, rolled_forward=True)
    with pytest.raises(GateError, match=r"not judged yet: 3 of 7 weeks and 150 of 200 rows since .*advance"):
        admit(record, MODEL.digest, "b" * 64, None, Gate.open(run))


def test_baseline_passes_the_same_checks_where_nothing_serves() -> None:
    """Without a champion there is nothing to compare with, and the record says so."""
    checks = run_checks(good_evidence(champion=None), POLICY)
    assert verdict_of(checks) == "superior"
    assert [check.name for check in checks if check.name.startswith("ratchet")] == ["ratchet:no-champion"]


SPOILED: list[tuple[str, dict[str, Any]]] = [
    ("rows", {"n": 199}),
    ("blocks", {"blocks": 6}),
    ("label_coverage", {"requests": 1053}),
    ("label_coverage", {"requests": 0}),
    ("skill", {"skill": 0.0}),
    ("skill", {"skill": None}),
    ("skill", {"skill": NAN}),
    ("predictions:candidate", {"candidate": good_score("a" * 64).model_copy(update={"invalid": 1})}),
    ("predictions:candidate", {"candidate": good_score("a" * 64).model_copy(update={"invalid": None})}),
    ("metrics:candidate", {"candidate": good_score("a" * 64).model_copy(update={"metrics": {}})}),
    ("metrics:reference", {"reference": good_score("0" * 64, brier=None)}),
    ("metrics:champion", {"champion": good_score("b" * 64, brier=NAN)}),
    ("trained_before:candidate", {"start": TRAINED_UNTIL - timedelta(microseconds=1)}),
    ("calibration", {"candidate": good_score("a" * 64, calibration_error=0.101)}),
    ("calibration", {"candidate": good_score("a" * 64, calibration_error=None)}),
    ("calibration", {"candidate": good_score("a" * 64, calibration_error=NAN)}),
    ("calibration", {"candidate": good_score("a" * 64).model_copy(update={"metrics": {}})}),
    ("ranking", {"candidate": good_score("a" * 64, auc=0.789)}),
    ("ranking", {"candidate": good_score("a" * 64, auc=None)}),
    ("ranking", {"reference": good_score("0" * 64, auc=NAN)}),
    ("leaks", {"leaks": None}),
    ("plausible:linear-fit", {"linear_fit": LinearFit(explained=0.9901, columns=("casual", "registered"))}),
    ("plausible:linear-fit", {"linear_fit": LinearFit(explained=None)}),
    ("plausible:linear-fit", {"linear_fit": LinearFit.model_construct(explained=NAN, columns=())}),
    ("plausible:error", {"skill": 0.901}),
    ("plausible:error", {"skill": None}),
    ("first:over-reference", {"champion": None, "first": None}),
    ("first:over-reference", {"champion": None, "first": FirstGains(over_reference=None, over_constant=GAIN)}),
    ("first:over-reference", {"champion": None, "first": FirstGains(over_reference=NO_GAIN, over_constant=GAIN)}),
    ("first:over-constant", {"champion": None, "first": None}),
    ("first:over-constant", {"champion": None, "first": FirstGains(over_reference=GAIN, over_constant=None)}),
    ("first:over-constant", {"champion": None, "first": FirstGains(over_reference=GAIN, over_constant=NO_GAIN)}),
    ("slices:clinic", {"slices": ()}),
    ("slices:clinic", {"slices": (SliceScore(column="clinic", value="north", n=49, skill=0.9),)}),
    ("slices:clinic", {"slices": (SliceScore(column="clinic", value="north", n=999, skill=0.9),)}),
    ("slice:clinic=north", {"slices": (SliceScore(column="clinic", value="north", n=50, skill=-0.06),)}),
    ("slice:clinic=north", {"slices": (SliceScore(column="clinic", value="north", n=50, skill=None),)}),
    ("ratchet:non-inferior", {"gain": _gain(-0.01)}),
    ("ratchet:non-inferior", {"gain": None}),
    ("ratchet:non-inferior", {"gain": _gain(None)}),
    ("ratchet:non-inferior", {"gain": _gain(NAN)}),
    ("ratchet:another-model", {"champion": good_score("a" * 64), "gain": _gain(0.0)}),
]


@pytest.mark.parametrize(("name", "change"), SPOILED)
def test_one_spoiled_piece_of_evidence_refuses(name: str, change: dict[str, Any]) -> None:
    """Whatever is too little, missing or not a number fails its check, and the verdict with it."""
    evidence = good_evidence(**change)
    assert name in _failed(evidence)
    assert verdict_of(run_checks(evidence, POLICY)) == "refused"


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("routes", {"changed": 1}),
        ("routes", {"compared": 0}),
        ("routes", {"hidden": 0}),
        ("labels", None),
        ("requests", None),
    ],
)
def test_leak_or_a_leak_check_that_saw_nothing_refuses(table: str, change: dict[str, Any] | None) -> None:
    """A changed feature fails, and so does a table that was not compared, or had nothing hidden from it: each is named."""
    others = {name: found for name, found in NO_LEAKS.tables.items() if name != table}
    tables = {**others, table: NO_LEAK.model_copy(update=change)} if change else others
    evidence = good_evidence(leaks=LeakEvidence(tables=tables))
    assert _failed(evidence) == ["leaks"]
    (check,) = [check for check in run_checks(evidence, POLICY) if check.name == "leaks"]
    assert table in check.detail
    assert not any(other in check.detail for other in others)


def test_table_after_which_nothing_came_cannot_leak() -> None:
    """Rows that were compared where no source row came later, such as those of a single census, have nothing to hide."""
    tables = {**NO_LEAKS.tables, "census": NO_LEAK.model_copy(update={"later": 0, "hidden": 0})}
    assert _failed(good_evidence(leaks=LeakEvidence(tables=tables))) == []


def test_thin_slice_is_listed_as_insufficient() -> None:
    """A slice with too few rows neither passes nor fails; it is there to be read."""
    evidence = good_evidence()
    thin = SliceScore(column="clinic", value="west", n=3, skill=-9.0)
    checks = run_checks(evidence.model_copy(update={"slices": (*evidence.slices, thin)}), POLICY)
    assert [check.status for check in checks if check.name == "slice:clinic=west"] == ["insufficient"]
    assert verdict_of(checks) == "superior"


@pytest.mark.parametrize(
    ("lower", "verdict"), [(0.001, "superior"), (0.0, "non-inferior"), (-0.009, "non-inferior"), (-0.011, "refused")]
)
def test_lower_bound_of_the_gain_decides(lower: float, verdict: Verdict) -> None:
    """Above zero is better, within the margin is not worse, and the rest is refused, however much was gained on these rows."""
    gain = Gain(value=0.05, lower=lower, upper=0.1)
    assert verdict == verdict_of(run_checks(good_evidence(gain=gain), POLICY))


def test_what_is_asked_of_probabilities_is_asked_of_nothing_else() -> None:
    """A regression has neither calibration nor ranking, and passes by its own metrics."""
    asked = {check.name for check in run_checks(good_evidence(), POLICY)}
    scores = {
        role: good_score(digest * 64).model_copy(update={"metrics": {"rmse": 2.0, "mae": 1.0}})
        for role, digest in (("candidate", "a"), ("reference", "0"), ("champion", "b"))
    }
    checks = run_checks(good_evidence(task="regression", **scores), POLICY)
    assert {"calibration", "ranking"} == asked - {check.name for check in checks}
    assert "superior" == verdict_of(checks)


def test_metrics_of_another_task_are_missing_metrics() -> None:
    """What the task is measured by has to be there, whatever else is; the check names what is not."""
    check = next(
        check for check in run_checks(good_evidence(task="regression"), POLICY) if check.name == "metrics:candidate"
    )
    assert ("failed", 2, "rmse, mae without a value") == (check.status, check.value, check.detail)


def test_bounds_of_probabilities_are_the_policy_s() -> None:
    """Rows may be ranked a little worse than by the reference, and probabilities be a little off: as much as is set."""
    evidence = good_evidence(candidate=good_score("a" * 64, auc=0.75, calibration_error=0.25))
    assert ["calibration", "ranking"] == _failed(evidence)
    lax = POLICY.model_copy(update={"max_calibration_error": 0.25, "max_auc_loss": 0.06})
    assert "superior" == verdict_of(run_checks(evidence, lax))


def test_rows_split_by_entity_are_no_evidence_about_time() -> None:
    """The record says so in a check of its own, which is not passed."""
    assert "time" not in {check.name for check in run_checks(good_evidence(), POLICY)}
    check = next(check for check in run_checks(good_evidence(split="entity"), POLICY) if check.name == "time")
    assert (None, "insufficient") == (check.value, check.status)
    assert "no time evidence" in check.detail


def test_no_checks_are_no_pass() -> None:
    """An empty list of checks does not decide for the model."""
    assert verdict_of(()) == "refused"


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_gives_a_verdict_and_nothing_but_good_ones_pass(skill: float, lower: float) -> None:
    """No float, however odd, crashes the judge or slips through."""
    verdict = verdict_of(run_checks(good_evidence(skill=skill, gain=_gain(lower)), POLICY))
    good = math.isfinite(skill) and skill > 0 and 1 - skill >= LEAST_ERROR and math.isfinite(lower)
    assert ("superior" if good and lower > 0 else "non-inferior" if good and lower > -0.01 else "refused") == verdict


def test_record_survives_its_file(run: Run, tmp_path: Path) -> None:
    """Written and read again, the record is the same, and verifies."""
    record = noshow_record(run, MODEL, skill=0.1 + 0.2)
    record.write(tmp_path / "record.json")
    assert record == GateRecord.read(tmp_path / "record.json")
    verify(GateRecord.read(tmp_path / "record.json"), MODEL.digest, Gate.open(run))


def _edit(record: GateRecord, path: Path, edit: dict[str, Any]) -> GateRecord:
    path.write_text(json.dumps({**json.loads(record.model_dump_json()), **edit}))
    return GateRecord.read(path)


def test_edited_record_is_refused(run: Run, tmp_path: Path) -> None:
    """One changed word and the signature no longer fits."""
    record = noshow_record(run, MODEL, skill=-1.0)
    edited = _edit(record, tmp_path / "record.json", {"verdict": "superior"})
    with pytest.raises(GateError, match="it was edited"):
        verify(edited, MODEL.digest, Gate.open(run))


def test_unsigned_record_is_refused(run: Run, tmp_path: Path) -> None:
    """No signature, or one that is not even hexadecimal, is no signature."""
    record = noshow_record(run, MODEL)
    for signature in ("", "not hexadecimal"):
        with pytest.raises(GateError, match="signature"):
            verify(_edit(record, tmp_path / "record.json", {"signature": signature}), MODEL.digest, Gate.open(run))


def test_signed_verdict_is_not_believed(run: Run) -> None:
    """Even a signed record counts for nothing when its checks do not follow from its evidence."""
    record = noshow_record(run, MODEL, skill=-1.0)
    good = run_checks(good_evidence(), POLICY)
    for lie in ({"verdict": "superior"}, {"verdict": "superior", "checks": good}, {"checks": ()}):
        with pytest.raises(GateError, match="follow from its evidence"):
            verify(SigningKey.open(run).sign(record.model_copy(update=lie)), MODEL.digest, Gate.open(run))


def test_the_wording_of_a_check_may_change(run: Run) -> None:
    """A signed record whose details have other words than this code would write is as good as before."""
    record = noshow_record(run, MODEL)
    worded = tuple(check.model_copy(update={"detail": f"formerly: {check.detail}"}) for check in record.checks)
    verify(SigningKey.open(run).sign(record.model_copy(update={"checks": worded})), MODEL.digest, Gate.open(run))


def test_record_of_another_model_is_refused(run: Run) -> None:
    """A good record does not lend itself to another model, nor to another city."""
    with pytest.raises(GateError, match=f"about.*{MODEL.digest[:12]}.*eeeeeeeeeeee"):
        verify(noshow_record(run, MODEL), "e" * 64, Gate.open(run))
    stranger = SigningKey.open(run).sign(noshow_record(run, MODEL).model_copy(update={"model_name": "elsewhere"}))
    with pytest.raises(GateError, match="about elsewhere"):
        verify(stranger, MODEL.digest, Gate.open(run))


def test_unknown_field_is_no_record(run: Run, tmp_path: Path) -> None:
    """A record with a field that nobody knows is not read."""
    with pytest.raises(GateError, match="no record of `evaluate`"):
        _edit(noshow_record(run, MODEL), tmp_path / "record.json", {"override": True})


def test_number_that_is_none_is_no_record(run: Run, tmp_path: Path) -> None:
    """NaN in a record's file is refused where it is read."""
    path = tmp_path / "record.json"
    noshow_record(run, MODEL).write(path)
    path.write_text(path.read_text().replace('"skill": 0.2', '"skill": NaN'))
    with pytest.raises(GateError, match="no record of `evaluate`"):
        GateRecord.read(path)


def test_absent_record_is_one_clear_error(tmp_path: Path) -> None:
    """No record says what to run."""
    with pytest.raises(GateError, match="ratchet stage evaluate"):
        GateRecord.read(tmp_path / "record.json")


def test_admission_needs_the_champion_that_serves(run: Run) -> None:
    """A record that compares with something else than what serves now does not admit."""
    record = noshow_record(run, MODEL, champion="b" * 64)
    admit(record, MODEL.digest, "b" * 64, None, Gate.open(run))
    for serving in ("c" * 64, None):
        with pytest.raises(GateError, match=rf"bbbbbbbbbbbb.* {(serving or 'nothing')[:12]} serves"):
            admit(record, MODEL.digest, serving, None, Gate.open(run))


def test_baseline_is_admitted_only_where_nothing_serves(run: Run) -> None:
    """The record without a champion is worth nothing once there is one."""
    record = noshow_record(run, MODEL)
    admit(record, MODEL.digest, None, None, Gate.open(run))
    with pytest.raises(GateError, match=r"nothing.*bbbbbbbbbbbb"):
        admit(record, MODEL.digest, "b" * 64, None, Gate.open(run))


def test_admission_needs_the_bounds_of_today(run: Run) -> None:
    """A record judged by bounds that were changed since, to whatever side, does not admit."""
    record = noshow_record(run, MODEL)
    changed = run.settings.gate.model_copy(update={"min_skill": 0.1})
    with pytest.raises(GateError, match="other bounds than"):
        admit(record, MODEL.digest, None, None, Gate.open(run.with_settings(gate=changed)))


def test_refusal_names_the_failed_checks(run: Run) -> None:
    """Who is turned away learns why."""
    record = noshow_record(run, MODEL, skill=-1.0, n=3)
    with pytest.raises(GateError, match="rows, label_coverage, skill"):
        admit(record, MODEL.digest, None, None, Gate.open(run))


def _waiver(run: Run, **changes: Any) -> Waiver:
    fields = {
        "model_name": run.scope.namespace,
        "candidate": MODEL.digest,
        "by": "ada",
        "reason": "half the size",
        "expires": NOSHOW_END + timedelta(1),
    }
    return SigningKey.open(run).sign(Waiver(**{**fields, **changes}))


def test_non_inferior_model_needs_a_waiver(run: Run) -> None:
    """Not worse is enough only with a person's signed reason."""
    record = noshow_record(run, MODEL, champion="b" * 64, gain=_gain(0.0))
    with pytest.raises(GateError, match="not shown to be better"):
        admit(record, MODEL.digest, "b" * 64, None, Gate.open(run))
    admit(record, MODEL.digest, "b" * 64, _waiver(run), Gate.open(run))


def test_waiver_must_be_for_this_model_signed_and_unexpired(run: Run) -> None:
    """An expired, foreign or edited waiver waives nothing."""
    record = noshow_record(run, MODEL, champion="b" * 64, gain=_gain(0.0))
    edited = _waiver(run).model_copy(update={"expires": datetime(2099, 1, 1, tzinfo=UTC)})
    waivers = {
        "it is for noshow-clinic eeeeeeeeeeee": _waiver(run, candidate="e" * 64),
        "until 2024-08-01": _waiver(run, expires=NOSHOW_END),
        "it was edited": edited,
    }
    for problem, waiver in waivers.items():
        with pytest.raises(GateError, match=problem):
            admit(record, MODEL.digest, "b" * 64, waiver, Gate.open(run))


def test_waiver_does_not_help_a_refused_model(run: Run) -> None:
    """A reason waives superiority, never a failed check."""
    record = noshow_record(run, MODEL, champion="b" * 64, gain=_gain(-0.5))
    with pytest.raises(GateError, match="it failed ratchet:non-inferior"):
        admit(record, MODEL.digest, "b" * 64, _waiver(run), Gate.open(run))


def test_waiver_needs_a_name_and_a_reason(run: Run) -> None:
    """Nobody, for no reason, is not a waiver."""
    for empty in ({"by": ""}, {"reason": ""}):
        with pytest.raises(ValueError, match="at least 1 character"):
            _waiver(run, **empty)


class _Promise(Waiver):
    """Another kind of document with a waiver's fields."""


def test_signature_of_a_document_is_none_of_another_kind(run: Run) -> None:
    """A signature covers the kind too, so that none vouches for what its signer did not mean, though it say the same."""
    waiver = _waiver(run)
    SigningKey.open(run).verify(Waiver.model_validate(waiver.model_dump()))
    with pytest.raises(GateError, match="signature"):
        SigningKey.open(run).verify(_Promise.model_validate(waiver.model_dump()))


def test_key_of_another_checkout_is_refused(run: Run, tmp_path: Path) -> None:
    """A record signed elsewhere says nothing here."""
    elsewhere = noshow_project(tmp_path / "elsewhere")
    noshow_record(run, MODEL)
    with pytest.raises(GateError, match="signed with another key"):
        verify(noshow_record(elsewhere, MODEL), MODEL.digest, Gate.open(run))


def test_lost_keys_are_errors(run: Run) -> None:
    """Without the public key nothing verifies; without the private one nothing is signed, and no new pair is made."""
    record = noshow_record(run, MODEL)
    keys = run.paths.shared_state / "keys"
    (keys / "gate.key").unlink()
    verify(record, MODEL.digest, Gate.open(run))
    with pytest.raises(GateError, match="private key"):
        noshow_record(run, MODEL)
    (keys / "gate.pub").unlink()
    with pytest.raises(GateError, match="no public key"):
        verify(record, MODEL.digest, Gate.open(run))


def test_halves_of_two_pairs_sign_nothing(run: Run, tmp_path: Path) -> None:
    """A private key that was restored beside another public one is told at once, and neither is replaced."""
    noshow_record(run, MODEL)
    elsewhere = noshow_project(tmp_path / "elsewhere")
    noshow_record(elsewhere, MODEL)
    ours, theirs = (one.paths.shared_state / "keys" / "gate.pub" for one in (run, elsewhere))
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(GateError, match=r"gate\.pub: .*pair"):
        noshow_record(run, MODEL)
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff"])
def test_spoilt_keys_are_errors(run: Run, content: bytes) -> None:
    """What is no key is named, whichever half it is."""
    record = noshow_record(run, MODEL)
    keys = run.paths.shared_state / "keys"
    for name in ("gate.pub", "gate.key"):
        (keys / name).write_bytes(content)
    with pytest.raises(GateError, match=r"gate\.pub: is no Ed25519 key"):
        verify(record, MODEL.digest, Gate.open(run))
    with pytest.raises(GateError, match=r"gate\.key: is no Ed25519 key"):
        SigningKey.open(run).sign(record)


def test_public_key_is_restored_from_the_private_one(run: Run) -> None:
    """A kill between the two halves of a new pair does no harm."""
    record = noshow_record(run, MODEL)
    (run.paths.shared_state / "keys" / "gate.pub").unlink()
    assert record == noshow_record(run, MODEL)
    verify(record, MODEL.digest, Gate.open(run))


def test_private_key_is_for_its_owner_alone_and_lies_where_it_is_told(tmp_path: Path) -> None:
    """The key is not readable by others, and RATCHET_SIGNING_KEY moves it out of the checkout."""
    path = tmp_path / "vault" / "mine.key"
    run = Run(tmp_path, noshow_project(tmp_path).settings, None, Environment(signing_key=str(path)))
    verify(noshow_record(run, MODEL), MODEL.digest, Gate.open(run))
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(found.name for found in path.parent.iterdir()) == ["mine.key", "mine.pub"]
