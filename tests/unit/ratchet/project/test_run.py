"""A run: where everything lies, which use case and source are active, and what a step leaves of itself."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ratchet.core import errors
from ratchet.core.errors import RatchetError, SettingsError, SourceError
from ratchet.core.paths import Paths
from ratchet.core.scope import Scope
from ratchet.core.settings import Retention, SourceSettings
from ratchet.project import step_reports as reports
from ratchet.project.advance import advance
from ratchet.project.as_of import read_as_of
from ratchet.project.run import PeriodName, Run
from ratchet.sources.batches import Source
from ratchet.use_case.contract import load_use_case
from tests.support.noshow_on_demand import TIMEZONE
from tests.support.parcels import parcels_project
from tests.support.runs import noshow_project, params
from tests.support.windows import at


class TestRun:
    def test_is_read_from_its_folder_and_its_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """params.yaml decides results, RATCHET_ variables where things are kept."""
        settings = noshow_project(tmp_path).settings
        (tmp_path / "params.yaml").write_text(params(settings), encoding="utf-8")
        monkeypatch.setenv("RATCHET_THREADS", "3")
        run = Run.load(tmp_path)
        assert settings == run.settings
        assert 3 == run.environment.threads
        assert UTC == run.clock.now().tzinfo

    def test_every_store_carries_use_case_and_source(self, tmp_path: Path) -> None:
        """Two sources share nothing but the checkout's own state."""
        run = noshow_project(tmp_path)
        one, other = (Paths(tmp_path, Scope("tests.support.noshow", source)) for source in ("clinic", "hospital"))
        names = [name for name, value in vars(Paths).items() if isinstance(value, property)]
        shared = {name for name in names if getattr(one, name) == getattr(other, name)}
        assert {"shared_state", "shared_reports", "packaged"} == shared
        assert ("noshow-clinic", "noshow-hospital") == (one.scope.namespace, other.scope.namespace)
        assert one == run.paths

    def test_use_cases_live_side_by_side(self, tmp_path: Path) -> None:
        """Each section of params.yaml is a run, and any of them can be asked for by its name."""
        noshow, parcels = noshow_project(tmp_path).settings, parcels_project(tmp_path).settings
        (tmp_path / "params.yaml").write_text(params(noshow, parcels), encoding="utf-8")
        assert [noshow, parcels] == [run.settings for run in Run.load_all(tmp_path)]
        assert parcels == Run.load(tmp_path, parcels.use_case).settings

    def test_an_unknown_source_names_the_known_ones(self, tmp_path: Path) -> None:
        """A typo in source.name is found before anything is read."""
        run = noshow_project(tmp_path).with_settings(source=SourceSettings(name="clinik", path="x"))
        with pytest.raises(SettingsError, match=r"source 'clinik' .*\bclinic\b"):
            Source.open(run)

    def test_periods_follow_one_another_and_fill_the_whole(self, tmp_path: Path) -> None:
        """They are local days of the use case's time zone."""
        run = noshow_project(tmp_path)
        names: list[PeriodName] = ["train", "early_stopping", "holdout", "fresh"]
        parts, whole = [run.period(name) for name in names], run.period("all")
        assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
        assert (whole.start, whole.end) == (parts[0].start, parts[-1].end)
        assert datetime(2023, 12, 31, 13, 30, tzinfo=UTC) == whole.start

    @pytest.mark.parametrize("days", [0, 1])
    def test_no_history_is_an_error(self, tmp_path: Path, days: int) -> None:
        """An instant at which it begins, or before, with what to change; nothing can be moved there."""
        run = noshow_project(tmp_path)
        too_early = run.period("all").start - timedelta(days=days)
        for name in ("all", "features"):
            with pytest.raises(SettingsError, match=r"windows\.start.*ratchet advance"):
                at(run, too_early).period(name)
        with pytest.raises(SettingsError, match="history begins"):
            advance(run, too_early, back=True)
        assert read_as_of(run.root, run.settings.use_case) is None

    @pytest.mark.parametrize(
        ("days", "first"),
        [(None, date(2024, 1, 1)), (999, date(2024, 1, 1)), (60, date(2024, 6, 2)), (1, date(2024, 7, 31))],
    )
    def test_features_are_kept_from_a_local_day_on(self, tmp_path: Path, days: int | None, first: date) -> None:
        """Counted back from the as-of, and not before history begins."""
        kept = Retention(features=timedelta(days=days) if days else None)
        found = noshow_project(tmp_path).with_settings(retention=kept).period("features")
        assert first == found.start.astimezone(ZoneInfo(TIMEZONE)).date()
        assert noshow_project(tmp_path).period("all").end == found.end


class TestUseCase:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("nowhere", r"'nowhere': .*use_cases\.nowhere"),
            ("tests.nowhere.city", r"there is no module tests\.nowhere\.city"),
            ("tests.support.runs", r"tests\.support\.runs declares no `use_case`"),
            ("tests.support.renamed", r"tests\.support\.renamed .*'noshow'"),
        ],
    )
    def test_a_wrong_name_says_what_is_looked_for(self, name: str, message: str) -> None:
        """The folder that is not there, or what it lacks."""
        with pytest.raises(SettingsError, match=message):
            load_use_case(name)

    @pytest.mark.parametrize(
        ("code", "error"), [("import nothing_like_it", ModuleNotFoundError), ("import os\nos.nothing", AttributeError)]
    )
    def test_a_defect_inside_it_is_not_hidden(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception]
    ) -> None:
        """A use case that is there but broken fails with its own error."""
        package = f"broken_{error.__name__.lower()}"
        (tmp_path / package).mkdir()
        (tmp_path / package / "city.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(error, match="nothing"):
            load_use_case(f"{package}.city")

    def test_requests_are_completed_by_constants_and_on_demand_columns(self) -> None:
        """The same two functions serve a million rows and one."""
        use_case = load_use_case("tests.support.noshow")
        columns = {"event_timestamp": np.array(["2024-01-01T00:00", "2024-07-01T00:00"], "datetime64[us]")}
        assert [10.0, 9.0] == use_case.complete(columns)["hour"].tolist()
        assert columns == use_case.with_constants(columns)
        assert ["patient", "clinic", "booked_days_ahead"] == use_case.request_fields()


class TestReports:
    def test_a_step_leaves_its_report_and_its_seconds_apart(self, tmp_path: Path) -> None:
        """What it reports is the same for every run; how long it took is not, and lies elsewhere."""
        run = noshow_project(tmp_path)
        assert reports.read(run, "count") is None
        assert {"rows": 3} == reports.run_step(run, "count", lambda _: {"rows": 3})
        assert {"rows": 3} == reports.read(run, "count")
        assert ["count"] == list(reports.seconds(run))

    def test_a_step_that_fails_leaves_the_former_report(self, tmp_path: Path) -> None:
        """Half a run reports nothing."""
        run = noshow_project(tmp_path)
        reports.run_step(run, "count", lambda _: {"rows": 3})

        def failing(_project: Run) -> dict[str, Any]:
            raise SourceError("is not there", subject="it", remedy="Look for it")

        with pytest.raises(SourceError):
            reports.run_step(run, "count", failing)
        assert {"rows": 3} == reports.read(run, "count")


class TestErrors:
    def test_an_error_is_one_line_that_says_what_to_do(self) -> None:
        """What, to which input, and the remedy; it also survives the way between processes."""
        error = SourceError("is torn", subject="month.parquet", remedy="Fetch it again")
        assert "month.parquet: is torn. Fetch it again." == str(error)
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(error), str(error)) == (type(copy), str(copy))

    def test_the_tree_at_the_top_of_the_module_is_whole(self) -> None:
        """Every class of it is drawn, and nothing else is."""
        classes = {
            name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RatchetError)
        }
        lines = [line.removeprefix("│   ") for line in (errors.__doc__ or "").splitlines()]
        drawn = {line.split()[1] for line in lines if line.startswith(("├── ", "└── "))}
        assert classes == drawn | {"RatchetError"}
