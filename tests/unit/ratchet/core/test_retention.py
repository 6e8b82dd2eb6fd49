"""What params.yaml keeps is never less than what its windows need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from ratchet.core.settings import Retention, Settings, SourceSettings

WINDOWS = {"start": "2024-01-01", "training": "100d", "early_stopping": "10d", "holdout": "30d", "fresh": "20d"}


def settings(retention: dict[str, Any], **windows: str) -> Settings:
    source = SourceSettings(name="feed", path="feed.py")
    return Settings.model_validate(
        {"use_case": "city", "source": source, "windows": {**WINDOWS, **windows}, "retention": retention}
    )


def test_evidence_is_kept_for_ever_unless_it_is_named() -> None:
    """Predictions and features are; earlier data and models that never served are kept for 90 days."""
    assert Retention(predictions=None, features=None, runs=timedelta(days=90)) == settings({}).retention


@pytest.mark.parametrize(
    "retention", [{"predictions": "22d"}, {"features": "152d"}, {"runs": None}, {"runs": "1d", "features": None}]
)
def test_as_much_as_is_needed_is_enough(retention: dict[str, Any]) -> None:
    """The windows, with the local day that has begun, which is part of two UTC dates."""
    assert settings(retention)


@pytest.mark.parametrize(
    ("retention", "windows", "message"),
    [
        ({"predictions": "21d"}, {}, r"retention.*predictions: .*22d"),
        ({"predictions": "22d"}, {"label_maturity": "60d"}, r"predictions: .*62d"),
        ({"features": "151d"}, {}, r"features: .*152d"),
        ({"features": "9999d"}, {"training": "expanding"}, r"features: .*expanding.*windows\.training"),
        ({"runs": "0d"}, {}, r"runs.*greater"),
        ({"runs": "3 weeks"}, {}, r"runs.*31d"),
    ],
)
def test_less_than_the_windows_need_is_refused(
    retention: dict[str, Any], windows: dict[str, str], message: str
) -> None:
    """The error names the setting, and how much it has to be."""
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        settings(retention, **windows)
