"""What is trained.

model → a trained model · contract → what it takes and what it was made from · archive → its pipeline as a file
model_files → which files its directory holds · baseline → means of groups · groups → what groups say of a label
metrics → what predictions are measured by

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
