"""What DVC sees of another system's files changes with their content, and with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from feature_pipeline.featurize import featurize
from ratchet.features import upstream_sensor
from ratchet.features.upstream_sensor import sense
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.accepted import accept_all
from tests.support.checkout import ROOT
from tests.support.runs import noshow_project, write_settings
from tests.support.scored import scored_project, weekly_scores, write_scores
from tests.support.windows import with_days

DAYS = (date(2024, 1, 8), date(2024, 1, 9), date(2024, 1, 10), date(2024, 1, 11), date(2024, 1, 12))
SENSE = """
import sys
from pathlib import Path
from ratchet.features.upstream_sensor import sense
from ratchet.project.run import Run
sense([Run.load(Path(sys.argv[1]))])
print(*sys.modules)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = with_days(scored_project(tmp_path, rows_per_week=60), DAYS)
    write_scores(run, weekly_scores(range(4)))
    return run


def sensed(run: Run) -> bytes:
    sense([run])
    return run.paths.upstream_watermark.read_bytes()


def test_it_changes_with_every_file(run: Run) -> None:
    """A new one, another content, one that is gone; and it comes back with the first content."""
    found = [sensed(run)]
    write_scores(run, weekly_scores(range(4, 5)), "more.parquet")
    found.append(sensed(run))
    write_scores(run, weekly_scores(range(5)))
    found.append(sensed(run))
    (run.root / "scores" / "more.parquet").unlink()
    found.append(sensed(run))
    assert 4 == len(set(found))
    write_scores(run, weekly_scores(range(4)))
    assert found[0] == sensed(run)


def test_featurize_writes_what_it_reads(run: Run) -> None:
    """A flow runs without the sensors."""
    accept_all(run)
    featurize(run)
    written = run.paths.upstream_watermark.read_bytes()
    assert written == sensed(run)
    assert {"scores": ["scores/part.parquet"]} == {
        view: [*of] for view, of in read_json(run.paths.upstream_watermark).items()
    }


def test_files_that_stay_are_not_read_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once they have not changed for a second; but if what was written is gone, they are."""
    for path in (run.root / "scores").iterdir():
        os.utime(path, (0, 0))
    before = sensed(run)
    with monkeypatch.context() as patch:
        patch.setattr(upstream_sensor, "file_digests", lambda *_: {"read": "again"})
        assert before == sensed(run)
        run.paths.upstream_watermark.unlink()
        assert before != sensed(run)


def test_a_file_that_is_gone_stops_nothing(run: Run) -> None:
    """It is featurize that fails, of this use case alone."""
    (run.root / "scores" / "part.parquet").unlink()
    sense([run])
    assert {"scores": {}} == read_json(run.paths.upstream_watermark)


def test_it_is_there_without_such_a_view_and_costs_no_import(tmp_path: Path) -> None:
    """DVC needs the file; neither Ibis, DuckDB nor the use case is loaded for it."""
    run = noshow_project(tmp_path)
    write_settings(tmp_path, run)
    command = [sys.executable, "-c", SENSE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {} == read_json(run.paths.upstream_watermark)
    assert not {"ibis", "duckdb", "tests.support.noshow"} & {*done.stdout.split()}
