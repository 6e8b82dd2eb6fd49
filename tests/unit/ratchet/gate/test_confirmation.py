"""What later rows say about a refit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ratchet.core.errors import GateError
from ratchet.core.settings import GateSettings
from ratchet.gate.confirmation import Outcome, confirm, verify_confirmation
from ratchet.gate.evidence import Gain
from ratchet.gate.gate import Gate
from ratchet.gate.signing import SigningKey
from ratchet.project.run import Run
from tests.support.records import good_score, noshow_record
from tests.support.refits import CONFIRMED, WORSE, comparison, judged_candidate, refit_record, refitted
from tests.support.runs import noshow_project

POLICY = GateSettings(block="day", min_rows=500, min_blocks=10)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path)


@pytest.mark.parametrize(
    ("outcome", "word", "gain", "changes"),
    [
        ("confirmed", "not shown to be worse", CONFIRMED, {}),
        ("confirmed", "not shown to be worse", Gain(value=-0.01, lower=-0.02, upper=0.0), {}),
        ("withdrawn", "shown to be worse", WORSE, {}),
        ("withdrawn", "no bound", Gain(value=0.1, lower=None, upper=None), {}),
        ("withdrawn", "2 of its 500", CONFIRMED, {"refit": good_score("f").model_copy(update={"invalid": 2})}),
        ("withdrawn", "invalid", CONFIRMED, {"refit": good_score("f").model_copy(update={"invalid": None})}),
        ("pending", "9 of 10 days", WORSE, {"blocks": 9}),
        ("pending", "499 of 500 rows", WORSE, {"n": 499}),
        ("pending", "500 of 600 requests", WORSE, {"requests": 600}),
        (
            "pending",
            "gone",
            WORSE,
            {"judged": good_score("a").model_copy(update={"invalid": None, "obstacle": "gone"})},
        ),
    ],
)
def test_what_follows_from_a_comparison(
    run: Run, outcome: Outcome, word: str, gain: Gain, changes: dict[str, Any]
) -> None:
    """It waits for the gate's minimums, and a refit without evidence gives way."""
    record = refit_record(run, refitted(), noshow_record(run, judged_candidate()))
    found = confirm("name", comparison(record, gain, **changes), POLICY)
    assert outcome == found.outcome
    assert word in found.reason


@pytest.mark.parametrize(
    ("changes", "is_signed"),
    [({"outcome": "withdrawn"}, False), ({"outcome": "withdrawn"}, True), ({"model_name": "other"}, True)],
)
def test_a_forged_answer_is_refused(run: Run, changes: dict[str, Any], is_signed: bool) -> None:
    """It must be signed, about this model, and follow from its comparison."""
    gate, key = Gate.open(run), SigningKey.open(run)
    record = refit_record(run, refitted(), noshow_record(run, judged_candidate()))
    found = key.sign(confirm(run.scope.namespace, comparison(record), run.settings.gate))
    verify_confirmation(found, gate)
    forged = found.model_copy(update=changes)
    with pytest.raises(GateError):
        verify_confirmation(key.sign(forged) if is_signed else forged, gate)
