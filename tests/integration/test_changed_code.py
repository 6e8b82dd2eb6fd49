"""After a change of code no step keeps what the former code computed; without one it keeps everything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset
import pytest

from ratchet.project.run import Run
from ratchet.project.steps import STEPS
from tests.support.checkout import ROOT
from tests.support.runs import noshow_project

INGEST = """
import pathlib, sys
from feature_pipeline.ingest import ingest
from tests.support.runs import noshow_project
ingest(noshow_project(pathlib.Path(sys.argv[1]), rows_per_week=5))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small project, with features and an online store."""
    run = noshow_project(tmp_path_factory.mktemp("changed"), rows_per_week=5)
    for step in ("ingest", "validate", "featurize", "materialize"):
        STEPS[step].load()(run)
    return run


@pytest.mark.parametrize(
    ("step", "outputs"),
    [
        ("ingest", "raw/**/*.parquet"),
        ("validate", "[aq]*e*/**/*.parquet"),  # accepted and quarantine
        ("featurize", "features/**/*.parquet"),
        ("materialize", "materialized.json"),
    ],
)
def test_a_step_of_other_code_does_everything_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, step: str, outputs: str
) -> None:
    """All that it wrote is written again; and once more, nothing is."""
    found = [*run.paths.data.glob(outputs), *run.paths.state.glob(outputs)]

    def files_written() -> int:
        """How many of its files a run of the step writes."""
        before = [path.stat().st_mtime_ns for path in found]
        STEPS[step].load()(run)
        return sum(path.stat().st_mtime_ns != one for path, one in zip(found, before, strict=True))

    assert found
    assert files_written() == 0
    monkeypatch.setattr(f"{STEPS[step].module}.CODE", "other")
    assert files_written() == len(found)
    assert files_written() == 0


def test_an_edited_loader_reads_its_batches_again(tmp_path: Path) -> None:
    """Though none of them changed: what stands in the raw tables is what the loader now makes of them."""
    for room in ("ratchet", "feature_pipeline", "use_cases", "cli", "tests"):
        shutil.copytree(ROOT / room, tmp_path / "code" / room, ignore=shutil.ignore_patterns("__pycache__"))
    loader, run = tmp_path / "code" / "tests" / "support" / "noshow.py", noshow_project(tmp_path / "project")

    def ingest() -> tuple[int, set[int]]:
        """The sum of a column that the loader makes, and when the raw files were written."""
        command = [sys.executable, "-B", "-c", INGEST, str(run.root)]
        subprocess.run(command, cwd=tmp_path / "code", capture_output=True, check=True)
        rows = pyarrow.dataset.dataset(sorted(map(str, run.paths.raw.rglob("*.parquet")))).to_table()
        written = {path.stat().st_mtime_ns for path in run.paths.raw.rglob("*.parquet")}
        return pc.sum(rows["booked_days_ahead"]).as_py(), written

    text = loader.read_text(encoding="utf-8")
    total, written = ingest()
    loader.write_text(text + "\n# A comment.\n", encoding="utf-8")
    assert (total, written) == ingest()
    edited = text.replace('"booked_days_ahead": lead', '"booked_days_ahead": lead + 1')
    assert edited != text
    loader.write_text(edited, encoding="utf-8")
    again, rewritten = ingest()
    assert again - total == 31 * 5
    assert not written & rewritten
