"""The section of params.yaml that `ratchet init` adds."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ratchet.core.errors import SettingsError
from ratchet.project.run import Run
from tests.support.begun import WIDE, begin_known, begun, project_of, section_of
from tests.support.csv_files import PARAMS, checkout, write_csv
from tests.support.messages import missing


def test_has_every_setting_written_out(run: Run) -> None:
    """The file is what a person reads to see what may be changed."""
    written = section_of(run.root, run.use_case.name)
    assert {"source", "windows", "validation", "training", "gate", "drift"} <= set(written)
    assert written["gate"] == run.settings.gate.model_dump(mode="json")
    assert written["validation"] == run.settings.validation.model_dump(mode="json")
    assert written["drift"] == run.settings.drift.model_dump(mode="json")


def test_keeps_its_comments_and_selects_the_use_case(tmp_path: Path) -> None:
    """Everything else stands as it was."""
    begin_known(checkout(tmp_path), "rides")
    expected = PARAMS.replace("use_case: other", "use_case: rides")
    assert (tmp_path / "params.yaml").read_text().startswith(expected)


def test_says_nothing_of_where_it_runs(tmp_path: Path) -> None:
    """A file below the checkout is named from there, so that the section holds on another machine."""
    begin_known(checkout(tmp_path), "rides")
    assert str(tmp_path) not in (tmp_path / "params.yaml").read_text()


def test_has_windows_of_rows_with_known_labels(root: Path) -> None:
    """Most rows train; training begins when there is history, a week is fresh, and labels were known in time."""
    with project_of(root, "visits") as run:
        windows, end = run.settings.windows, run.period("fresh").end
        days = [date(2023, 1, 29), date(2023, 12, 9), date(2024, 1, 1)]
        fresh = end.astimezone(ZoneInfo(run.use_case.timezone)).date() - windows.fresh
        assert days == [windows.start, fresh, fresh + windows.fresh]
        assert timedelta(days=3) == windows.label_maturity
        assert run.period("train").start < run.period("early_stopping").start


@pytest.mark.parametrize(("share", "bound"), [(0.0, 0.95), (0.04, 0.91), (0.4, 0.57)])
def test_allows_for_labels_that_the_file_lacks(tmp_path: Path, share: float, bound: float) -> None:
    """The gate asks for almost as many as there are, and for its default where next to none is missing."""
    rows = 1000
    label = np.where(np.arange(rows) < share * rows, np.nan, np.arange(rows) % 7)
    file = write_csv(checkout(tmp_path) / "gaps.csv", {"id": np.arange(rows), "x": np.arange(rows) % 9, "y": label})
    begun(tmp_path, "gaps", file, WIDE)
    assert bound == section_of(tmp_path, "gaps")["gate"]["min_label_coverage"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param(None, "not there", id="absent"),
        pytest.param("use_case: [", "YAML", id="no YAML"),
        pytest.param("use_case: rides\n", "`use_cases:`", id="without use cases"),
        pytest.param("use_case: rides\nuse_cases: {rides: {}}\n", "use_cases.rides", id="with that section"),
    ],
)
def test_that_cannot_be_added_to_is_refused(text: str | None, name: str, tmp_path: Path) -> None:
    """With nothing written."""
    params = tmp_path / "params.yaml"
    if text is not None:
        params.write_text(text)
    with pytest.raises(SettingsError) as raised:
        begin_known(tmp_path, "rides")
    assert str(params) == raised.value.subject
    assert [] == missing(raised.value, name)
    assert not (tmp_path / "use_cases").exists()
