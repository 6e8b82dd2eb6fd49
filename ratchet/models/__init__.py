"""Trained models.

model → a trained model · contract → its inputs and its origin · archive → its pipeline as a file
model_files → which files its directory holds · compiled → models for serving · postprocessing → from numbers to predictions
baseline → medians or rates of groups · groups → what groups explain of a label · metrics → the measures of predictions

Stored models name the class of a baseline `ratchet.models.BackoffBaseline`, whichever module it is in.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """The class, imported when a stored model asks for it: scikit-learn takes a second."""
    if name != "BackoffBaseline":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ratchet.models.baseline import BackoffBaseline

    return BackoffBaseline
