"""Fixtures that several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files in folders of months, with some that no pattern of the tests means."""
    for name in ("2024-01/a.csv", "2024-01/b.txt", "2024-02/a.csv", "2023-12/a.csv", "2024-01/deep/er/a.csv", "a.csv"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text("", encoding="utf-8")
    return tmp_path
