"""The text that MLflow shows with a refit."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.model_registry.model_card import LIMIT
from ratchet.model_registry.refit_card import refit_card
from tests.support.messages import missing
from tests.support.records import noshow_record
from tests.support.refits import judged_candidate, refit_record, refitted
from tests.support.runs import noshow_project


@pytest.mark.parametrize(("judged", "name"), [([2], "version 2"), ([], f"model {judged_candidate().digest[:12]}")])
def test_it_says_what_was_judged_and_what_was_added(tmp_path: Path, judged: list[int], name: str) -> None:
    """Rows, how far they go, the checks, and how to promote it; and that no quality is measured."""
    run = noshow_project(tmp_path)
    record = refit_record(run, refitted(), noshow_record(run, judged_candidate(), "b" * 64))
    text = refit_card(record, refitted().contract, 3, judged)
    parts = (f"refit of {name}: passed", "1,500 rows", "2024-07-01", "300 more", "golden:change", "ratchet promote 3")
    assert [] == missing(text, *parts)
    assert "no quality is measured" in text
    assert len(text) <= LIMIT


def test_a_failed_refit_sends_to_its_judged_model(tmp_path: Path) -> None:
    """Nobody can promote it."""
    run = noshow_project(tmp_path)
    record = refit_record(run, refitted(), noshow_record(run, judged_candidate(), "b" * 64), change=0.9)
    text = refit_card(record, refitted().contract, 3, [2])
    assert [] == missing(text, "refit of version 2: failed", "✗ | golden:change", "Promote version 2 instead")
