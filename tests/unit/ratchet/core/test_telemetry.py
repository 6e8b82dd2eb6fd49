"""Who types what the documents say sends no telemetry, also by commands that are not `ratchet`'s own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from ratchet.core.telemetry import QUIET
from tests.support.checkout import ROOT, environment


def test_a_prefect_server_that_is_started_here_reports_nothing(tmp_path: Path) -> None:
    """The folder's own settings say so, on a machine whose environment and home say nothing."""
    clean = {name: value for name, value in environment().items() if name not in QUIET} | {"HOME": os.fspath(tmp_path)}
    shown = subprocess.run(
        ["prefect", "config", "view"], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    assert "PREFECT_SERVER_ANALYTICS_ENABLED='False' (from prefect.toml)" in shown.stdout


def test_nobody_is_told_to_start_mlflow_by_itself() -> None:
    """It reads no settings file, so that only `ratchet ui` starts it without telemetry."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "cli").rglob("*.py"))]
    assert [] == [found for text in texts for found in re.findall(r"mlflow (?:ui|server) --?\w+", text)]
