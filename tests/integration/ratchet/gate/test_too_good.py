"""A leak from the file to the gate: what the sum of its parts gives away asks for a person's signed reason at each step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authoring.check import check
from authoring.init.answers import Answers, UnansweredError
from ratchet.core.errors import GateError
from ratchet.gate.checks import PLAUSIBLE
from ratchet.gate.gate import Gate
from ratchet.gate.record import GateRecord, admit, verify
from ratchet.project.run import Run
from ratchet.project.steps import STEPS
from tests.support.begun import begun, project_of
from tests.support.csv_files import bikes, checkout
from tests.support.messages import missing
from tests.support.remedies import follow
from tests.support.variants import with_use_case

BIKES = Answers(label="cnt", time="at", known_after="1h", timezone="UTC", entity=("none",))
PREPARING = ("ingest", "validate", "featurize", "materialize", "dataset", "train")


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A use case that was begun with both parts of the sum as inputs, for a reason that was then lost; models are trained."""
    root = checkout(tmp_path_factory.mktemp("bikes"))
    begun(root, "bikes", bikes(root / "bikes.csv"), replace(BIKES, too_good="told at noon"))
    with project_of(root, "bikes") as run:
        for step in PREPARING:
            STEPS[step].load()(run)
        yield run


@pytest.fixture
def without_reason(leaking: Run) -> Iterator[Run]:
    """The use case while its reason is away."""
    path = Gate.open(leaking).reasons_file
    kept = path.read_bytes()
    path.unlink()
    yield leaking
    path.write_bytes(kept)


def plausible(run: Run) -> dict[str, str]:
    """What the gate says of the candidate in its two checks: name → status and detail."""
    checks: list[dict[str, Any]] = STEPS["evaluate"].load()(run)["candidate"]["checks"]
    found = {check["name"]: f"{check['status']}: {check['detail']}" for check in checks}
    return {name: said for name, said in found.items() if name.startswith(PLAUSIBLE)}


def test_init_asks_which_columns_are_known_late(tmp_path: Path) -> None:
    """It names both parts of the sum and nothing else; with them as late the question is gone, and check finds nothing."""
    path = bikes(checkout(tmp_path) / "bikes.csv")
    with pytest.raises(UnansweredError) as asked:
        begun(tmp_path, "bikes", path, BIKES)
    assert [] == missing(asked.value.problem, "casual, registered", "cnt")
    assert [] == missing(asked.value.remedy, "--late casual --late registered", "--too-good")
    begun(tmp_path, "bikes", path, replace(BIKES, late=("casual", "registered")))
    with project_of(tmp_path, "bikes") as run:
        assert [] == check(run)


def test_check_finds_it_until_the_reason_is_signed(without_reason: Run) -> None:
    """At the line of the inputs, with the columns and the command; following that ends it."""
    (found,) = check(without_reason)
    assert "too-good" == found.what
    assert "casual, registered" in found.problem
    assert "bikes/__init__.py:" in found.where
    assert follow(without_reason, found.remedy) is None
    assert [] == check(without_reason)


def test_other_inputs_ask_again(leaking: Run) -> None:
    """A reason for some inputs covers no others."""
    assert [] == check(leaking)
    fewer = {name: kind for name, kind in leaking.use_case.inputs.items() if name != "warmth"}
    (found,) = check(with_use_case(leaking, inputs=fewer))
    assert "other inputs or features" in found.problem


def test_gate_passes_with_the_reason_in_its_record(leaking: Run) -> None:
    """Who accepts it why stands in the check, and the record holds by itself."""
    said = plausible(leaking)
    assert "accepted by" in said["plausible:linear-fit"]
    assert said["plausible:linear-fit"].startswith("passed")
    record = GateRecord.read(leaking.paths.gate / "candidate.json")
    Gate.open(leaking).reasons_file.rename(Gate.open(leaking).reasons_file.with_suffix(".away"))
    verify(record, record.candidate, Gate.open(leaking))
    Gate.open(leaking).reasons_file.with_suffix(".away").rename(Gate.open(leaking).reasons_file)


def test_gate_refuses_without_a_reason_and_tells_the_way(without_reason: Run) -> None:
    """The columns are named; the command in the refusal, and judging again, has the checks pass."""
    said = plausible(without_reason)["plausible:linear-fit"]
    assert said.startswith("failed: ")
    assert [] == missing(said, "casual, registered")
    record = GateRecord.read(without_reason.paths.gate / "candidate.json")
    with pytest.raises(GateError, match="plausible:linear-fit") as refused:
        admit(record, record.candidate, record.champion, None, Gate.open(without_reason))
    assert "refused" == record.verdict
    follow(without_reason, refused.value.remedy.partition("; then")[0])
    assert plausible(without_reason)["plausible:linear-fit"].startswith("passed")


def test_gate_takes_no_edited_reason(without_reason: Run) -> None:
    """Somebody who writes the file by hand is named an editor, not believed."""
    entry = {
        "model_name": without_reason.scope.namespace,
        "feature_service": "x",
        "fingerprint": "9" * 64,
        "signature": "00",
    }
    text = json.dumps([{**entry, "by": "eve", "reason": "trust me", "at": "2024-01-01T00:00:00Z"}])
    Gate.open(without_reason).reasons_file.write_text(text, encoding="utf-8")
    said = plausible(without_reason)["plausible:linear-fit"]
    assert said.startswith("failed")
    assert "signature does not fit" in said
