"""Rows that come late, however old they are then: every view follows them, against a loop over the payments of a week."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ibis import _

from feature_pipeline.featurize import featurize
from ratchet.core.settings import Schedules
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from ratchet.storage.partitions import changed_tables, files
from ratchet.use_case.contract import Lookup, Tables, View
from ratchet.use_case.windows import trailing
from tests.support import feed
from tests.support.accepted import accept
from tests.support.feed import feed_project, payment
from tests.support.killing import contents
from tests.support.variants import with_use_case
from tests.support.windows import at

FIRST = datetime.fromisoformat("2024-01-01T00:00+00:00")
HOUR, DAY, LAG = timedelta(hours=1), timedelta(days=1), timedelta(hours=6)
DAYS = 6
END = FIRST + DAYS * DAY
WINDOW = DAY
"""The lookback of each view that is written by hand: much less than some payments are late."""
Values = dict[datetime, float]


@dataclass(frozen=True)
class Paid:
    """When a payment was made, how much it was, and the day as of which it came, if it came late."""

    at: datetime
    amount: float
    late: datetime | None = None

    @property
    def available(self) -> datetime:
        """The run of the feature pipeline from which on it counts."""
        came = self.late or self.at + LAG
        hour = came.replace(minute=0)
        return hour if hour == came else hour + HOUR


def latest(tables: Tables) -> ibis.Table:
    """The highest of the amounts that arrived last."""
    return tables["payments"].group_by("shop", event_timestamp=_.row_available_at).agg(amount=_.amount.max())


def arrived_lately(tables: Tables) -> ibis.Table:
    """How many payments arrived within the window, whenever they were made."""
    arrivals = tables["payments"].group_by("shop", event_timestamp=_.row_available_at).agg(n=_.count())
    window = ibis.range_window(
        group_by="shop", order_by="event_timestamp", preceding=ibis.interval(hours=23), following=0
    )
    return arrivals.select("shop", "event_timestamp", payments=_.n.sum().over(window).cast("int64"))


def made_lately(tables: Tables) -> ibis.Table:
    """How many payments were made within the window, as far as they had arrived."""
    payments = tables["payments"]
    arrivals = payments.select(of="shop", event_timestamp="row_available_at").distinct()
    counted = [
        arrivals.of == payments.shop,
        payments.row_available_at <= arrivals.event_timestamp,
        payments["at"] > arrivals.event_timestamp - ibis.interval(hours=24),
    ]
    joined = arrivals.left_join(payments, counted)
    return joined.group_by("event_timestamp", shop="of").agg(payments=_.row_key.count())


TILED = trailing(
    "tiled", ("shop",), feed.use_case.table("payments"), tile="1h", windows=("24h",), delay="1h", sums={"payments": 1}
)
BY_HAND = [
    View(compute.__name__, ("shop",), compute, WINDOW, 9 * DAY) for compute in (latest, arrived_lately, made_lately)
]
VIEWS = (*BY_HAND, TILED)


def of_latest(paid: Sequence[Paid], timestamp: datetime) -> float:
    return max(each.amount for each in paid if each.available == timestamp)


def of_arrived_lately(paid: Sequence[Paid], timestamp: datetime) -> float:
    return sum(timestamp - timedelta(hours=23) <= each.available <= timestamp for each in paid)


def of_made_lately(paid: Sequence[Paid], timestamp: datetime) -> float:
    return sum(each.available <= timestamp < each.at + WINDOW for each in paid)


def of_tiled(paid: Sequence[Paid], timestamp: datetime) -> float:
    return sum(each.available <= timestamp < tile_end(each) + DAY for each in paid)


def tile_end(paid: Paid) -> datetime:
    """The end of the hour in which it was made; no payment is made on the hour."""
    return paid.at.replace(minute=0) + HOUR


ORACLES: dict[str, Callable[[Sequence[Paid], datetime], float]] = {
    "latest": of_latest,
    "arrived_lately": of_arrived_lately,
    "made_lately": of_made_lately,
    "tiled": of_tiled,
}


def timestamps(view: str, paid: Iterable[Paid]) -> set[datetime]:
    """When the value of a view may change."""
    found = {each.available for each in paid}
    if view != "tiled":
        return found
    inside = [each for each in paid if each.available < tile_end(each) + DAY]
    entering = {max(tile_end(each), each.available) for each in inside}
    return entering | {tile_end(each) + DAY for each in inside}


def expected(view: str, paid: Sequence[Paid]) -> Values:
    """The values of a view, by a loop over all payments for each timestamp."""
    return {when: ORACLES[view](paid, when) for when in timestamps(view, paid) if FIRST <= when < END}


def project(root: Path) -> Run:
    """The views of payments that are delivered six hours after they were made."""

    def examples(tables: Tables) -> ibis.Table:
        names = {
            "request_id": "row_key",
            "event_timestamp": "at",
            "label": "amount",
            "label_known_at": "row_arrived_at",
        }
        return tables["payments"].select("shop", **names)

    run = feed_project(root)
    run = run.with_settings(source=run.settings.source.model_copy(update={"lag": {"payments": LAG}}))
    lookups = tuple(Lookup(view.name, {"shop": "shop"}) for view in VIEWS)
    return with_use_case(run, examples=examples, views=VIEWS, lookups=lookups, inputs={})


def compute(run: Run, day: int, paid: Sequence[Paid]) -> dict[str, list[str]]:
    """Bring the features up to date as of the end of a day. Returns the table → the dates that were computed for it."""
    as_of = FIRST + day * DAY
    there = [(number, each) for number, each in enumerate(paid) if (each.late or each.at + LAG) <= as_of]
    rows = [{**payment(number, None, each.amount), "at": each.at, "row_late_at": each.late} for number, each in there]
    schema = run.use_case.table("payments").delivered_schema
    shops = pa.Table.from_pylist([{"shop": "a", "city": "x"}], feed.SHOPS)
    accept(run, {("payments", "all"): pa.Table.from_pylist(rows, schema), ("shops", "all"): shops})
    with changed_tables() as changes:
        featurize(at(run, as_of))
    return {name: of.computed for name, of in changes.items()}


def values(run: Run, view: str) -> Values:
    folder = run.paths.features / "views" / service_spec(run.use_case).views[view]
    rows = [row for path in files(folder) for row in pq.read_table(path, partitioning=None).to_pylist()]
    value = next(name for name in rows[0] if name not in {"shop", "event_timestamp"}) if rows else ""
    return {row["event_timestamp"]: row[value] for row in rows}


def made(minutes: int, amount: float, late_days: int | None) -> Paid:
    """A payment that was made some minutes after the first day began, and came so many days late."""
    when = FIRST + timedelta(minutes=minutes)
    late = None if late_days is None else midnight_after(when + LAG) + late_days * DAY
    return Paid(when.replace(minute=max(when.minute, 1)), amount, late)


def midnight_after(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0) + DAY


EARLY = made(100, 1.0, None)
"""There are requests from the first day on."""
VERY_LATE = made(200, 2.0, 3)
PAYMENTS = st.lists(
    st.builds(
        made,
        st.integers(0, (DAYS - 1) * 24 * 60),
        st.sampled_from([1.0, 2.0, 3.0]),
        st.none() | st.integers(0, DAYS - 2),
    ),
    min_size=1,
    max_size=12,
).map(lambda paid: [EARLY, *paid])


@settings(max_examples=2)
@example(paid=[EARLY, VERY_LATE], days=set(range(1, DAYS)))
@given(paid=PAYMENTS, days=st.sets(st.integers(1, DAYS - 1)))
def test_every_view_counts_a_late_row_from_when_it_came(paid: list[Paid], days: set[int]) -> None:
    """Whether it is computed day by day, some days at a time or at once."""
    there = [each for each in paid if (each.late or each.at + LAG) <= END]
    found = []
    for computed in ([*sorted(days), DAYS], [DAYS]):
        with TemporaryDirectory() as folder:
            run = project(Path(folder))
            for day in computed:
                compute(run, day, paid)
            found.append(contents(run.paths.features))
            for view in ORACLES:
                assert expected(view, there) == values(run, view), view
    assert found[0] == found[1]


def test_a_late_row_changes_only_dates_within_reach_of_its_two(tmp_path: Path) -> None:
    """A payment of the third day that came on the tenth: of both, the dates that look back to them, and those beside them."""
    run, paid = project(tmp_path), [EARLY, made(4 * 24 * 60, 1.0, None)]
    compute(run, 14, paid)
    before = contents(run.paths.features)
    late = Paid(FIRST + 2 * DAY + HOUR, 2.0, FIRST + 9 * DAY + HOUR)
    computed, after = compute(run, 14, [*paid, late]), contents(run.paths.features)
    views = service_spec(run.use_case).views
    assert days(2, 3, 4, 9, 10, 11) == computed["requests"] == computed["labels"]
    assert all(days(2, 3, 4, 5, 9, 10, 11, 12) == computed[view] for view in views.values())
    changed = {path.rpartition("/")[0] for path in before | after if before.get(path) != after.get(path)}
    assert {name for name in changed if "date=" in name} == {
        *(f"{name}/date=2024-01-03" for name in ("requests", "labels")),
        *(f"views/{views[view.name]}/date=2024-01-10" for view in BY_HAND),
    }


def test_a_row_that_waits_for_the_next_run_counts_from_then(tmp_path: Path) -> None:
    """Also if it waits for longer than a view looks back: on Mondays, a payment of the Tuesday before is new."""
    weekly = Schedules(feature="0 0 * * 1")
    run = project(tmp_path).with_settings(schedules=weekly)
    for day in (7, 8):
        compute(run, day, [EARLY, made(24 * 60 + 100, 2.0, None)])
    assert {FIRST + 7 * DAY: 2.0} == values(run, "latest")


def days(*numbers: int) -> list[str]:
    return [f"2024-01-{number:02}" for number in numbers]
