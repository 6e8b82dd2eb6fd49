"""The leak check: features and requests that use what was not known yet are caught, and honest ones are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ibis import _

from ratchet.features.leak_check import Use
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.project.run import Run
from ratchet.sources.batches import Source
from ratchet.use_case.contract import INSTANT, SourceTable, Tables, View
from tests.support import noshow
from tests.support.accepted import accept, accept_all, check_for_leaks
from tests.support.parcels import parcels_project
from tests.support.runs import noshow_project
from tests.support.variants import with_use_case

CUT_OFFS = [datetime(2024, 2, 8, 9, 30, tzinfo=UTC), datetime(2024, 2, 19, 17, 12, 5, tzinfo=UTC)]
HISTORY = noshow.use_case.views[0]
UTC_INSTANT = "timestamp('UTC', 6)"


class ReminderWithOutcome(noshow.Reminder):
    """A request that carries what its caller cannot know."""

    missed: int


def outcome_as_request_field(tables: Tables) -> ibis.Table:
    """A column of the same row that is known only later."""
    return noshow.examples(tables).mutate(missed=_.label)


def without_missed_ones(tables: Tables) -> ibis.Table:
    """Requests that vanish by what becomes known of them later."""
    return noshow.examples(tables).filter(_.label.isnull() | (_.label == 0))


def label_at_once(tables: Tables) -> ibis.Table:
    """A label that is known at the very time of the question."""
    return noshow.examples(tables).mutate(label_known_at=_.event_timestamp)


def label_of_unknown_age(tables: Tables) -> ibis.Table:
    return noshow.examples(tables).mutate(label_known_at=ibis.null(UTC_INSTANT))


def label_too_early(tables: Tables) -> ibis.Table:
    """A label that is said to be known two days before anybody recorded it."""
    return noshow.examples(tables).mutate(label_known_at=(_.event_timestamp + ibis.interval(days=1)).cast(UTC_INSTANT))


def _counted(rows: ibis.Table, **window: Any) -> ibis.Table:
    """Appointments and missed ones of a patient over a window of rows that have an event_timestamp."""
    each = rows.group_by(["patient", "event_timestamp"]).agg(n=_.count(), missed=_.missed.sum())
    over = ibis.range_window(group_by="patient", order_by="event_timestamp", **window)
    return each.select("patient", "event_timestamp", seen=_.n.sum().over(over), missed=_.missed.sum().over(over))


def current_row(tables: Tables) -> ibis.Table:
    """A window that ends with a row known at that timestamp, not strictly before it."""
    rows = tables["appointments"].mutate(event_timestamp=_.recorded_at.truncate("s").cast(UTC_INSTANT))
    return _counted(rows, preceding=ibis.interval(days=56), following=0)


def current_request(tables: Tables) -> ibis.Table:
    """How often a patient was reminded, this reminder included, which is known only from its own timestamp on."""
    rows = tables["appointments"].mutate(event_timestamp=_.reminder_at)
    return _counted(rows.mutate(missed=0), preceding=ibis.interval(days=56), following=0)


def current_hour(tables: Tables) -> ibis.Table:
    """Rows counted from the beginning of the hour in which they became known."""
    rows = tables["appointments"].mutate(event_timestamp=_.recorded_at.truncate("h").cast(UTC_INSTANT))
    return _counted(rows, preceding=ibis.interval(days=56), following=0)


def before_it_was_known(tables: Tables) -> ibis.Table:
    """Outcomes counted from the reminder on, three days before anybody recorded them."""
    hour = (_.reminder_at.truncate("h") + ibis.interval(hours=1)).cast(UTC_INSTANT)
    return _counted(tables["appointments"].mutate(event_timestamp=hour), preceding=ibis.interval(days=56), following=0)


def following_rows(tables: Tables) -> ibis.Table:
    """A window that reaches into the future."""
    hour = (_.recorded_at.truncate("h") + ibis.interval(hours=1)).cast(UTC_INSTANT)
    days = ibis.interval(days=28)
    return _counted(tables["appointments"].mutate(event_timestamp=hour), preceding=days, following=days)


def open_window(tables: Tables) -> ibis.Table:
    """A window without an end: all of the future."""
    hour = (_.recorded_at.truncate("h") + ibis.interval(hours=1)).cast(UTC_INSTANT)
    return _counted(tables["appointments"].mutate(event_timestamp=hour), preceding=ibis.interval(days=28))


def nothing_hidden(_table: SourceTable, rows: ibis.Table, _at: datetime, _use: Use) -> ibis.Table:
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = noshow_project(tmp_path_factory.mktemp("noshow"), rows_per_week=150)
    accept_all(run)
    return run


def check(run: Run, **changes: Any) -> LeakEvidence:
    return check_for_leaks(with_use_case(run, **changes), CUT_OFFS)


def test_honest_features_pass(run: Run) -> None:
    """The no-show features use only what was known, and the check has seen enough to say so."""
    report = check_for_leaks(run, CUT_OFFS)
    assert report.passed
    assert {"patient_history": 0, "requests": 0, "labels": 0} == report.changed
    assert all(found.hidden > 50 and found.compared > 50 for found in report.tables.values())


def test_views_with_roles_and_reference_tables_pass(tmp_path: Path) -> None:
    """Views of several keys pass; a view that reads reference tables alone has nothing to hide and is not compared."""
    run = parcels_project(tmp_path)
    accept_all(run)
    report = check_for_leaks(run, [datetime(2024, 3, 20, 12, tzinfo=UTC)])
    assert report.passed
    assert {"depot", "route", "network", "requests", "labels"} == set(report.changed)


def history(compute: Callable[[Tables], ibis.Table]) -> dict[str, Any]:
    """The no-show use case with another view."""
    return {"views": (replace(HISTORY, compute=compute),)}


@pytest.mark.parametrize(
    ("leak", "where"),
    [
        pytest.param({"examples": outcome_as_request_field, "request": ReminderWithOutcome}, "requests", id="outcome"),
        pytest.param({"examples": without_missed_ones}, "requests", id="requests that vanish"),
        pytest.param({"examples": label_at_once}, "labels", id="label known at once"),
        pytest.param({"examples": label_of_unknown_age}, "labels", id="label of unknown age"),
        pytest.param({"examples": label_too_early}, "labels", id="label before it is known"),
        pytest.param(history(current_row), "patient_history", id="window with the current row"),
        pytest.param(history(current_request), "patient_history", id="window with the current request"),
        pytest.param(history(current_hour), "patient_history", id="window with the current hour"),
        pytest.param(history(before_it_was_known), "patient_history", id="row that is known later"),
        pytest.param(history(following_rows), "patient_history", id="window into the future"),
        pytest.param(history(open_window), "patient_history", id="window without an end"),
    ],
)
def test_planted_leak_is_caught(run: Run, leak: dict[str, Any], where: str) -> None:
    """Each way to know too much changes rows, and only in the table that has it."""
    report = check(run, **leak)
    assert not report.passed
    assert [where] == [name for name, rows in report.changed.items() if rows]


def test_check_without_its_cut_off_fails(run: Run) -> None:
    """A cut-off that hides nothing changes nothing, and that is no evidence."""
    report = check_for_leaks(run, CUT_OFFS, nothing_hidden)
    assert not any(report.changed.values())
    assert set(report.tables) == set(report.unproved)
    assert not report.passed


@pytest.mark.parametrize("timestamp", [datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, 12, tzinfo=UTC)])
def test_cut_off_before_there_are_rows_moves_to_them(run: Run, timestamp: datetime) -> None:
    """Where requests or histories do not reach back to a cut-off, they are cut off at timestamps of their own."""
    report = check_for_leaks(run, [timestamp])
    assert report.passed
    assert timestamp not in report.tables["patient_history"].cut_offs


def test_table_without_rows_is_named(run: Run) -> None:
    """A view without a row shows nothing, and rows compared in other tables do not excuse it."""
    report = check(run, **history(lambda tables: HISTORY.compute(tables).filter(ibis.literal(False))))
    assert ["patient_history"] == report.unproved
    assert not report.passed


CENSUS = SourceTable(
    "census",
    pa.schema({"clinic": pa.string(), "beds": pa.int64(), "counted_at": INSTANT, "published_at": INSTANT}),
    key=("clinic", "counted_at"),
    event_time="counted_at",
    known_at="published_at",
    early=("clinic",),
)


def beds(timestamp: ibis.Deferred, value: ibis.Deferred = _.beds) -> dict[str, Any]:
    """The no-show use case with a census of clinics, and a view of it."""
    second = ibis.interval(seconds=1)

    def compute(tables: Tables) -> ibis.Table:
        rows = tables["census"].mutate(event_timestamp=(timestamp + second).cast(UTC_INSTANT))
        return rows.select("clinic", "event_timestamp", beds=value)

    view = View("beds", ("clinic",), compute, lookback=timedelta(days=200), max_age=None)
    return {"tables": (*noshow.use_case.tables, CENSUS), "views": (HISTORY, view)}


def census(*years: int) -> pa.Table:
    """Both clinics' beds on New Year's Day, published in April."""
    counted = [datetime(year, 1, 1, tzinfo=UTC) for year in years]
    rows = [
        {"clinic": clinic, "beds": at.year % 100, "counted_at": at, "published_at": at.replace(month=4)}
        for at in counted
        for clinic in ("north", "south")
    ]
    return pa.Table.from_pylist(rows, CENSUS.schema)


def check_census(run: Run, tmp_path: Path, years: Sequence[int], changes: dict[str, Any]) -> LeakEvidence:
    """The check where the census lies long before every cut-off. The other tables have rows of January and February."""
    counted = with_use_case(replace(run, root=tmp_path), **changes)
    source = run.settings.source
    found = islice(Source.open(run).loader(source.path, source.options, run.period("all")), 9)
    batches = {(one.table, one.name): one.read()[0].filter(pc.field("missed") <= 1) for one in found}
    accept(counted, {**batches, ("census", "census"): census(*years)})
    return check_for_leaks(counted, CUT_OFFS)


@pytest.mark.parametrize("years", [(2021, 2022, 2023), (2023,)])
def test_view_with_rows_far_from_every_cut_off_is_compared_at_them(
    run: Run, tmp_path: Path, years: Sequence[int]
) -> None:
    """A yearly table, or a single old list, is cut off at its own rows; the other tables at the given cut-offs."""
    report = check_census(run, tmp_path, years, beds(_.published_at))
    assert report.passed
    assert 2 * len(years) == report.tables["beds"].compared
    assert list(years) == [at.year for at in report.tables["beds"].cut_offs]
    assert CUT_OFFS == list(report.tables["requests"].cut_offs)


@pytest.mark.parametrize(
    ("years", "changes"),
    [
        pytest.param((2021, 2022, 2023), beds(_.counted_at), id="yearly, before publication"),
        pytest.param((2023,), beds(_.counted_at), id="one list, before publication"),
        pytest.param((2021, 2022, 2023), beds(_.published_at - ibis.interval(seconds=1)), id="at the very time"),
        pytest.param(
            (2021, 2022, 2023),
            beds(_.published_at, _.beds.lead().over(group_by="clinic", order_by="counted_at")),
            id="from the next year",
        ),
    ],
)
def test_leak_far_from_every_cut_off_is_caught(
    run: Run, tmp_path: Path, years: Sequence[int], changes: dict[str, Any]
) -> None:
    """A leak in such a view is found, and only there."""
    report = check_census(run, tmp_path, years, changes)
    assert ["beds"] == [name for name, rows in report.changed.items() if rows]
    assert not report.passed
