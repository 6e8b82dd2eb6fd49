"""The notes of `ratchet init`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from authoring.init.baseline import Baseline
from authoring.init.warnings import weak_baseline

DECIDED: Any = SimpleNamespace(label=SimpleNamespace(name="bad"))


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (("hour", "weekday"), "groups by hour and weekday, and that says no more of bad"),
        ((), "no input that could be grouped by says more of bad"),
    ],
)
def test_a_baseline_of_chance_is_said_to_be_one(by: tuple[str, ...], said: str) -> None:
    """With the columns that it groups by, or without any."""
    (note,) = weak_baseline("uc", DECIDED, Baseline(by, None, is_chance=True))
    assert said in note
    assert [] == list(weak_baseline("uc", DECIDED, Baseline(by, None, is_chance=False)))
