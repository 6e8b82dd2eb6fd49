"""The text that MLflow shows with a version."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.code.git import CodeVersion
from ratchet.core.settings import GateSettings
from ratchet.gate.evidence import Gain, SliceScore
from ratchet.gate.record import GateRecord, build_record
from ratchet.model_registry.model_card import LIMIT, model_card, registered_model_card
from tests.support.models import noshow_contract
from tests.support.noshow import use_case
from tests.support.records import good_evidence, good_score

ODD = [
    "a|b",
    "a\nb",
    "`x`",
    "<img src=x onerror=alert(1)>",
    "**bold**",
    "[text](javascript:x)",
    "\u202eabc",
    "\\",
    "# a",
]
CONTRACT = noshow_contract().model_copy(update={"kind": "lightgbm"})


def record(dirty: bool = False, commit: str | None = "c" * 40, **changes: Any) -> GateRecord:
    code = CodeVersion(commit, dirty)
    return build_record(CONTRACT, good_evidence(**changes), GateSettings(), files={}, data_version="d" * 32, code=code)


def card(**changes: Any) -> str:
    return model_card(record(**changes), CONTRACT, 7)


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of tables, but for those that are drawn."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def some_slices(number: int, n: int = 500) -> tuple[SliceScore, ...]:
    return tuple(SliceScore(column="clinic", value=f"clinic {each}", n=n, skill=0.1) for each in range(number))


def test_a_card_says_what_was_decided_and_how_to_go_on() -> None:
    """Verdict, what it was compared with, period, gain, data, features, code, and how to ask for it."""
    text = card()
    assert text.startswith("## Version 7, lightgbm: superior\n")
    for part in (
        "champion then, model `bbbbbbbbbbbb`",
        "baseline, model `000000000000`",
        "1,000 rows",
        "2024-05-01",
        "2024-06-26",
        "champion: 0.05",
        "0.02 and 0.08",
        "confidence 0.95",
        "baseline: 0.2",
        "data version " + "d" * 32,
        rf"feature service noshow\_{CONTRACT.fingerprint:.8}",
        "commit `cccccccccccc`",
        "alias `requested`",
        "`ratchet promote 7`",
    ):
        assert part in text


def test_metrics_stand_side_by_side() -> None:
    """Each metric has a value of candidate, baseline and champion, and an arrow to where it is better."""
    found = {row[0]: row[1:] for row in rows(card(candidate=good_score("a" * 64, auc=0.9)))}
    assert ["candidate", "baseline", "champion"] == found["on the same rows"]
    assert ["0.9", "0.8", "0.8"] == found["AUC ↑"]
    assert ["0.5", "0.5", "0.5"] == found["log loss ↓"]


@pytest.mark.parametrize(
    ("changes", "way"),
    [
        ({}, "alias `requested` on this version"),
        ({"gain": Gain(value=0.0, lower=-0.005, upper=0.01)}, "`ratchet promote 7 --reason …"),
        ({"skill": -0.1}, "cannot be promoted"),
    ],
)
def test_the_way_to_promote_follows_from_the_verdict(changes: dict[str, Any], way: str) -> None:
    """Whoever reads the page is not sent where the gate would refuse."""
    assert way in card(**changes).rpartition("### To promote it")[2]


def test_a_baseline_is_measured_over_a_constant() -> None:
    """Its card does not say that it was compared with itself."""
    code = CodeVersion("c" * 40, False)
    judged = build_record(
        noshow_contract(), good_evidence(), GateSettings(), files={}, data_version="d" * 32, code=code
    )
    text = model_card(judged, noshow_contract(), 1)
    assert "over the constant: 0.2" in text
    assert ["candidate", "constant", "champion"] == rows(text)[0][1:]
    assert "over the baseline" not in text


def test_every_check_is_listed_with_what_failed_first() -> None:
    """Each has its mark, value, bound and detail; slices have a table of their own."""
    judged = record(skill=-0.1)
    found = [row for row in rows(model_card(judged, CONTRACT, 7)) if row[0] in "✗✓·" and row[0]]
    assert len(judged.checks) == len(found)
    assert ["✗", "skill", "-0.1", "> 0"] == found[0][:4]
    assert ["✓", "clinic=north", "0.25", "≥ -0.05", "600 rows"] in found
    assert {"✗", "✓"} == {row[0] for row in found}


def test_where_nothing_served_there_is_no_champion() -> None:
    """The first model has been compared with the baseline alone."""
    text = card(champion=None, gain=None)
    assert "nothing served" in text
    assert "Gain" not in text
    assert ["0.8", "0.8", "–"] == next(row[1:] for row in rows(text) if row[0] == "AUC ↑")


def test_missing_evidence_is_called_missing() -> None:
    """A check without a value is no zero."""
    found = rows(card(gain=Gain(value=None, lower=None, upper=None), leaks=None))
    assert {"missing"} == {row[2] for row in found if row[1] in ("leaks", "ratchet:superior")}


def test_uncommitted_code_is_told() -> None:
    """Nobody can make such a model again."""
    assert "uncommitted" in card(dirty=True)
    assert "uncommitted" not in card()
    assert "commit none" in card(commit=None)


@pytest.mark.parametrize("value", ODD)
def test_odd_values_break_no_table(value: str) -> None:
    """What people have called a slice is one cell of one row, and no markup."""
    text = card(slices=(SliceScore(column="clinic", value=value, n=600, skill=0.2),))
    assert {4, 5} == {len(row) for row in rows(text)}
    assert "<img" not in text
    assert "\u202e" not in text
    assert not re.search(r"(?<!\\)\]\(", text)


@given(st.lists(st.text(max_size=200), max_size=80), st.text(max_size=300))
def test_a_card_fits_whatever_it_shows(values: list[str], obstacle: str) -> None:
    """It is never longer than MLflow has room for, and still says how to go on."""
    slices = tuple(SliceScore(column="clinic", value=value, n=500, skill=0.1) for value in values)
    score = good_score("a" * 64).model_copy(update={"obstacle": obstacle})
    text = card(slices=slices, candidate=score)
    assert len(text) <= LIMIT
    assert "### To promote it" in text
    assert {4, 5} == {len(row) for row in rows(text)}


def test_what_has_no_room_is_counted() -> None:
    """Of very many slices, those that failed are shown, and the rest is told by number."""
    bad = SliceScore(column="clinic", value="the bad one", n=500, skill=-0.9)
    text = card(slices=(*some_slices(200), bad, *some_slices(50, n=1)), n=100_250)
    assert "the bad one" in text
    shown = sum(row[1].startswith("clinic=") for row in rows(text) if len(row) == 5)
    (left,) = re.findall(r"And (\d+) more: .*passed", text)
    assert 251 == shown + int(left)


def test_a_registered_model_says_what_it_predicts() -> None:
    """Label, unit, use case and source, and the meaning of each alias."""
    text = registered_model_card(use_case, "clinic")
    for word in (use_case.label, use_case.unit, use_case.name, "clinic", "champion", "requested", "previous"):
        assert word.replace("_", r"\_") in text
    assert len(text) <= LIMIT
