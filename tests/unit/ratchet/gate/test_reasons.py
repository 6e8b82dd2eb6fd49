"""A person's signed reason: what it covers, and what does not count as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.code.git import CodeVersion
from ratchet.core.errors import GateError
from ratchet.gate.checks import PLAUSIBLE, run_checks, verdict_of
from ratchet.gate.evidence import Evidence
from ratchet.gate.gate import Gate
from ratchet.gate.plausibility import LinearFit
from ratchet.gate.reasons import Reason, accept, find_reason
from ratchet.gate.record import GateRecord, admit, build_record, verify
from ratchet.gate.signing import SigningKey
from ratchet.project.run import Run
from tests.support.models import noshow_baseline
from tests.support.records import good_evidence, good_score
from tests.support.registry import with_namespace
from tests.support.runs import noshow_project

MODEL = noshow_baseline()
CONTRACT = MODEL.contract
LEAKED = LinearFit(explained=1.0, columns=("casual", "registered"))
REASON = "both are known at noon"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path)


def signed(run: Run, reason: str = REASON) -> Reason:
    return accept(Gate.open(run), CONTRACT.feature_service, CONTRACT.fingerprint, by="ann", reason=reason)


def too_good(reason: Reason | None = None, **changes: Any) -> Evidence:
    evidence = {"candidate": good_score(MODEL.digest), "champion": None, "linear_fit": LEAKED, "skill": 0.95}
    return good_evidence(**evidence, reason=reason, **changes)


def record(run: Run, evidence: Evidence) -> GateRecord:
    files: dict[str, str] = {}
    made = build_record(
        CONTRACT, evidence, run.settings.gate, files=files, data_version="d", code=CodeVersion(None, dirty=True)
    )
    return SigningKey.open(run).sign(made)


def edit(run: Run, **changes: Any) -> None:
    path = Gate.open(run).reasons_file
    (entry,) = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps([{**entry, **changes}]), encoding="utf-8")


def test_it_is_found_for_what_it_was_signed_for(run: Run) -> None:
    """The file is beside the use case, and says who accepts what, why and since when."""
    reason = signed(run)
    assert (reason, "") == find_reason(Gate.open(run), CONTRACT.fingerprint)
    assert ("ann", REASON, run.clock.now()) == (reason.by, reason.reason, reason.at)
    assert Gate.open(run).reasons_file.is_relative_to(run.root)


def test_without_a_file_there_is_none_and_no_objection(run: Run) -> None:
    """Nobody has to sign what is not too good."""
    assert (None, "") == find_reason(Gate.open(run), CONTRACT.fingerprint)


def test_other_inputs_ask_for_a_new_one(run: Run) -> None:
    """The reason is about the inputs and features that it was signed for."""
    signed(run)
    found, objection = find_reason(Gate.open(run), "9" * 64)
    assert found is None
    assert "other inputs or features" in objection


@pytest.mark.parametrize("change", [{"reason": "another"}, {"by": "bob"}, {"fingerprint": "9" * 64}, {"signature": ""}])
def test_edited_one_does_not_count(run: Run, change: dict[str, str]) -> None:
    """Whoever edits the file without the key signs nothing."""
    signed(run)
    edit(run, **change)
    found, objection = find_reason(Gate.open(run), change.get("fingerprint", CONTRACT.fingerprint))
    assert found is None
    assert "signature does not fit" in objection


@pytest.mark.parametrize("content", ["", "[", "{}", '[{"reason": "because"}]', "\x00"])
def test_file_that_is_no_list_of_reasons_is_an_objection(run: Run, content: str) -> None:
    """It is named, and nothing is taken for a reason."""
    signed(run)
    Gate.open(run).reasons_file.write_text(content, encoding="utf-8")
    found, objection = find_reason(Gate.open(run), CONTRACT.fingerprint)
    assert found is None
    assert "no list" in objection


@pytest.mark.parametrize("reason", ["", "  \n "])
def test_empty_reason_is_not_signed(run: Run, reason: str) -> None:
    """Nor is a file made."""
    with pytest.raises(GateError, match="answers for nothing"):
        signed(run, reason)
    assert not Gate.open(run).reasons_file.exists()


def test_one_of_another_source_stays_and_covers_nothing_here(run: Run) -> None:
    """A use case that is fed from two places has a reason for each; the newest of each is kept."""
    other = with_namespace(run)
    signed(other)
    assert (None, "") == find_reason(Gate.open(run), CONTRACT.fingerprint)
    signed(run, "first")
    assert "second" == signed(run, "second").reason
    assert 2 == len(json.loads(Gate.open(run).reasons_file.read_text(encoding="utf-8")))
    assert find_reason(Gate.open(other), CONTRACT.fingerprint)[0] is not None


def test_signed_reason_lets_a_model_pass_and_stands_in_its_record(run: Run) -> None:
    """The checks show value and bound as they are, and who accepts them why."""
    made = record(run, too_good(signed(run)))
    assert "superior" == made.verdict
    verify(GateRecord.model_validate_json(made.model_dump_json()), MODEL.digest, Gate.open(run))
    details = [check.detail for check in made.checks if check.name.startswith(PLAUSIBLE)]
    assert 2 == len([detail for detail in details if detail.endswith(f"ann: {REASON}")])


def test_without_a_reason_the_refusal_names_columns_and_command(run: Run) -> None:
    """Who is turned away learns what to take out, and how to answer for it instead."""
    with pytest.raises(GateError, match="plausible:linear-fit, plausible:error") as refused:
        admit(record(run, too_good()), MODEL.digest, None, None, Gate.open(run))
    assert {"casual, registered", "accept too-good"} <= {
        part for part in ("casual, registered", "accept too-good") if part in refused.value.remedy
    }


def test_objection_is_in_the_check(run: Run) -> None:
    """A reason that does not count says so where it is missed."""
    checks = run_checks(too_good(objection="the signature does not fit"), run.settings.gate)
    (found,) = (check for check in checks if check.name == f"{PLAUSIBLE}linear-fit")
    assert ("failed", True) == (found.status, "the signature does not fit" in found.detail)


@pytest.mark.parametrize("change", [{"linear_fit": LinearFit(explained=None)}, {"skill": None}])
def test_missing_evidence_is_covered_by_no_reason(run: Run, change: dict[str, Any]) -> None:
    """A reason is about a figure, not about its absence."""
    evidence = too_good(signed(run)).model_copy(update=change)
    assert "refused" == verdict_of(run_checks(evidence, run.settings.gate))


def test_reason_within_a_record_is_verified_again(run: Run) -> None:
    """An unsigned reason, or one for other features, vouches for nothing, though the record be signed."""
    reason = signed(run)
    strangers = {
        "signature does not fit": reason.model_copy(update={"reason": "trust me"}),
        "other inputs or features": SigningKey.open(run).sign(reason.model_copy(update={"fingerprint": "9" * 64})),
        "it was signed for elsewhere": SigningKey.open(run).sign(reason.model_copy(update={"model_name": "elsewhere"})),
    }
    for problem, stranger in strangers.items():
        with pytest.raises(GateError, match=problem):
            verify(record(run, too_good(stranger)), MODEL.digest, Gate.open(run))
