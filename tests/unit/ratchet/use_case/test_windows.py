"""Trailing windows against a loop over the rows, on a small table of batches that arrive late."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import duckdb
import ibis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibis import _

from ratchet.core.errors import SettingsError
from ratchet.feature_store.upcoming_rows import bring_forward, pack
from ratchet.features.expressions import compile_view
from ratchet.use_case.arrival import Delivery
from ratchet.use_case.contract import SourceTable, Tables, View
from ratchet.use_case.windows import rate, total, trailing
from tests.support.arrived import AT_ONCE, HOURLY, arrived
from tests.support.messages import missing
from tests.support.noshow import use_case as noshow
from tests.support.parcels import INSTANT

START = datetime(2024, 3, 1, tzinfo=UTC)
TILE, DELAY = timedelta(hours=2), timedelta(hours=5)
SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)
WINDOWS = {"2h": TILE, "6h": timedelta(hours=6), "1d": timedelta(days=1)}
SCHEMA = pa.schema(
    {"sender": pa.string(), "sent_at": INSTANT, "known_at": INSTANT, "grams": pa.int64(), "is_torn": pa.bool_()}
)
PARCELS = SourceTable("parcels", SCHEMA, key=("sender", "sent_at"), event_time="sent_at", known_at="known_at")
Row = dict[str, Any]


def declare(**changes: Any) -> View:
    """Parcels of a sender, how many were torn, and their mean weight."""
    declared: dict[str, Any] = {
        "table": PARCELS,
        "tile": "2h",
        "windows": tuple(WINDOWS),
        "delay": "5h",
        "sums": {"parcels": 1, "torn": _.is_torn, "grams": _.grams},
        "features": {"parcels": total("parcels"), "torn": total("torn"), "mean_grams": rate("grams", "parcels")},
    }
    return trailing("sent", ("sender",), **{**declared, **changes})


def parcel_at(sender: str, known_at: timedelta, grams: int = 3) -> Row:
    """A parcel that became known some time after START, at once."""
    timestamp = START + known_at
    return {"sender": sender, "sent_at": timestamp, "known_at": timestamp, "grams": grams, "is_torn": False}


@cache
def sql(view: View, table: SourceTable = PARCELS) -> str:
    return compile_view(replace(noshow, tables=(table,)), view).sql


def compute(rows: list[Row], view: View | None = None, delivery: Delivery = AT_ONCE) -> list[Row]:
    """The view's rows, in order of time and sender."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("parcels", arrived(PARCELS, rows, delivery))
        ordered = f"FROM ({sql(view or DECLARED)}) ORDER BY event_timestamp, sender"
        found: list[Row] = connection.sql(ordered).to_arrow_table().to_pylist()
    return found


DECLARED = declare()


def parcel(sender: str, minutes: int, delay: int, grams: int | None = 3, is_torn: bool | None = False) -> Row:
    """A parcel sent some minutes after START, and known some minutes later."""
    sent_at = START + timedelta(minutes=minutes)
    known_at = sent_at + timedelta(minutes=delay)
    return {"sender": sender, "sent_at": sent_at, "known_at": known_at, "grams": grams, "is_torn": is_torn}


def inside_of(window: timedelta, known_at: datetime, at: datetime) -> bool:
    """Does what became known at one instant count in a window at another? The window ends with the last whole tile: just
    before its end in the second that follows it, and with its end from then on."""
    end = at - (at - START) % TILE
    beginning = end - window
    return beginning <= known_at < end if at - end < SECOND else beginning < known_at <= end


def oracle(rows: list[Row], sender: str, at: datetime) -> Row:
    """The features of a sender at a timestamp, by definition."""
    found: Row = {}
    for label, window in WINDOWS.items():
        inside = [row for row in rows if row["sender"] == sender and inside_of(window, row["known_at"], at)]
        found |= {
            f"parcels_{label}": len(inside),
            f"torn_{label}": sum(row["is_torn"] or 0 for row in inside),
            f"mean_grams_{label}": sum(row["grams"] or 0 for row in inside) / len(inside) if inside else None,
        }
    return found


TILES = st.integers(0, 36).map(lambda tiles: tiles * TILE)
BOUNDARIES = st.builds(
    lambda tiles, beside: max(tiles + beside, timedelta()),
    TILES,
    st.sampled_from([timedelta(), -TICK, TICK, -SECOND, SECOND, SECOND - TICK]),
)
TIMES = st.timedeltas(timedelta(), timedelta(days=5))
ROWS = st.lists(
    st.builds(parcel_at, st.sampled_from(["ada", "bob"]), BOUNDARIES)
    | st.builds(
        parcel,
        sender=st.sampled_from(["ada", "bob"]),
        minutes=st.integers(0, 3 * 24 * 60) | st.integers(0, 36).map(lambda tile: tile * 120),
        delay=st.integers(0, 300) | st.sampled_from([0, 300]),
        grams=st.none() | st.integers(-5, 5),
        is_torn=st.none() | st.booleans(),
    ),
    max_size=25,
)


def features(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in {"sender", "event_timestamp"}}


class TestFeatures:
    @settings(max_examples=40)
    @given(rows=ROWS)
    def test_are_what_a_loop_over_the_rows_gives(self, rows: list[Row]) -> None:
        """At every row of the view, from rows known strictly before it; nulls count as 0."""
        for found in compute(rows):
            assert oracle(rows, found["sender"], found["event_timestamp"]) == features(found)

    @settings(max_examples=40)
    @given(rows=ROWS, later=BOUNDARIES | TIMES)
    def test_hold_until_the_next_row(self, rows: list[Row], later: timedelta) -> None:
        """At any instant they count what was known strictly before it; a count falls though nothing happens then."""
        at = START + later
        newest = {row["sender"]: row for row in compute(rows) if row["event_timestamp"] <= at}
        for sender, found in newest.items():
            assert oracle(rows, sender, at) == features(found)

    @settings(max_examples=40)
    @given(rows=ROWS, tiles=st.integers(0, 36), length=st.integers(1, 12))
    def test_need_only_the_lookback(self, rows: list[Row], tiles: int, length: int) -> None:
        """Neither older rows nor later ones change those of an interval, nor whether there is one."""
        start, lookback = START + TILE * tiles, DECLARED.lookback
        assert lookback is not None
        end = start + TILE * length
        needed = [row for row in rows if start - lookback <= row["sent_at"] < end]
        everything, enough = (
            [row for row in compute(some) if start <= row["event_timestamp"] < end] for some in (rows, needed)
        )
        assert everything == enough

    def test_what_became_known_where_a_tile_ends_counts_at_once(self) -> None:
        """Not in a request of that very time, but a second later, and for just as long as the window is."""
        found = compute([parcel_at("ada", 2 * TILE)], declare(windows=("2h",)))
        end = START + 2 * TILE
        assert [(end + SECOND, 1), (end + SECOND + TILE, 0)] == [
            (row["event_timestamp"], row["parcels_2h"]) for row in found
        ]

    def test_a_row_that_is_never_known_does_not_count(self) -> None:
        """Without a known_at there is nothing, not even a row of zeros."""
        assert [] == compute([{**parcel("ada", 0, 0), "known_at": None}])

    def test_rows_may_be_chosen_and_completed(self) -> None:
        """Other rows than the table's, with a key that it does not have."""

        def heavy(tables: Tables) -> Any:
            return tables["parcels"].filter(_.grams > 3).mutate(sender=ibis.literal("all"))

        view = declare(rows=heavy, windows=("2h",))
        found = compute([parcel("ada", 0, 5, grams=4), parcel("bob", 0, 5, grams=3)], view)
        assert [("all", 1, 4.0), ("all", 0, None)] == [
            (row["sender"], row["parcels_2h"], row["mean_grams_2h"]) for row in found
        ]

    def test_without_features_there_are_the_sums(self) -> None:
        """One for each window, under its own name."""
        found = compute([parcel("ada", 0, 5, is_torn=True)], declare(features=None, windows=("2h",)))
        assert {"parcels_2h": 1, "torn_2h": 1, "grams_2h": 3} == features(found[0])


LATE = Delivery(timedelta(minutes=90), HOURLY)
"""Parcels are delivered an hour and a half after they are known, and features are computed every hour."""


def late(row: Row, hours: int | None) -> Row:
    """The parcel, which came some hours after it was known."""
    return row if hours is None else {**row, "row_late_at": row["known_at"] + timedelta(hours=hours)}


def available(row: Row) -> datetime:
    """The first full hour at which a parcel had arrived, by definition."""
    came = max(row["known_at"] + LATE.lag, row.get("row_late_at") or START)
    hour = came.replace(minute=0, second=0, microsecond=0)
    return hour if hour == came else hour + timedelta(hours=1)


class TestArrival:
    @settings(max_examples=40)
    @given(rows=st.lists(st.builds(late, ROWS.map(lambda some: some[:1]).filter(bool).map(lambda some: some[0]),
                                   st.none() | st.integers(0, 40)), max_size=20),
           later=BOUNDARIES | TIMES)  # fmt: skip
    def test_what_serving_did_not_have_yet_does_not_count(self, rows: list[Row], later: timedelta) -> None:
        """A parcel counts from when it is available until its tile leaves the window, however late it came."""
        at = START + later
        found = newest(compute(rows, delivery=LATE), at)
        for sender in ("ada", "bob"):
            here = oracle([row for row in rows if available(row) <= at], sender, at)
            if sender in found:
                assert here == features(found[sender])
            else:
                assert not any(value for name, value in here.items() if name.startswith("parcels"))

    def test_a_full_hour_on_the_schedule_counts_at_once(self) -> None:
        """A run of the feature pipeline where a tile ends has seen the whole tile."""
        view, hourly = declare(windows=("2h",)), Delivery(timedelta(0), HOURLY)
        parcels = [parcel_at("ada", TILE - timedelta(minutes=minutes)) for minutes in (1, 59)]
        assert [(START + TILE, 2), (START + 2 * TILE, 0)] == [
            (row["event_timestamp"], row["parcels_2h"]) for row in compute(parcels, view, hourly)
        ]

    def test_between_two_runs_serving_has_a_part_of_the_tile(self) -> None:
        """What the last run had seen enters where the tile ends; the rest after the next run."""
        view, five_past = declare(windows=("2h",)), Delivery(timedelta(0), "5 * * * *")
        parcels = [parcel_at("ada", TILE - timedelta(minutes=minutes)) for minutes in (1, 59)]
        assert [(START + TILE, 1), (START + TILE + timedelta(minutes=5), 2), (START + 2 * TILE, 0)] == [
            (row["event_timestamp"], row["parcels_2h"]) for row in compute(parcels, view, five_past)
        ]

    def test_what_comes_after_its_window_never_counts(self) -> None:
        """Not even as a row of zeros."""
        assert [] == compute([late(parcel_at("ada", TILE), 100)], declare(windows=("2h",)), LATE)


class TestOnline:
    @settings(max_examples=30)
    @given(rows=ROWS, written=BOUNDARIES | TIMES, age=BOUNDARIES | TIMES)
    def test_serves_every_window_at_every_age_as_training_joins_it(
        self, rows: list[Row], written: timedelta, age: timedelta
    ) -> None:
        """Whenever it was written, and however long ago, as long as nothing became known since."""
        until = START + written
        timestamp = min([until + age, *(row["known_at"] for row in rows if row["known_at"] > until)])
        everything, known = compute(rows), compute([row for row in rows if row["known_at"] <= until])
        following = [row for row in known if row["event_timestamp"] >= until]
        held = [*newest(everything, until - TICK).values(), *following]
        joined = {sender: row for sender, row in newest(everything, timestamp).items() if is_fresh(row, timestamp)}
        assert joined == {row["sender"]: row for row in served(held, timestamp) if is_fresh(row, timestamp)}
        for sender, row in joined.items():
            assert oracle(rows, sender, timestamp) == features(row)


def newest(rows: list[Row], at: datetime) -> dict[str, Row]:
    """The row of each sender that holds at an instant."""
    return {row["sender"]: row for row in rows if row["event_timestamp"] <= at}


def is_fresh(row: Row, at: datetime) -> bool:
    assert DECLARED.max_age is not None
    return timedelta() <= at - row["event_timestamp"] <= DECLARED.max_age


def served(rows: list[Row], at: datetime) -> list[Row]:
    """What a request finds in an online store that holds these rows."""
    schema = compile_view(replace(noshow, tables=(PARCELS,)), DECLARED).schema
    found = pack(pa.Table.from_pylist(rows, schema), ["sender"]).run(1, "1GB")
    columns = {name: found[name].to_pylist() for name in schema.names if name not in {"sender", "event_timestamp"}}
    since = found["event_timestamp"].to_numpy().astype("datetime64[s]")
    asked = np.full(found.num_rows, np.datetime64(at.replace(tzinfo=None), "us"))
    bring_forward(columns, since, found["upcoming_rows"].to_pylist(), asked)
    times = [instant.replace(tzinfo=UTC) for instant in since.tolist()]
    table = {"sender": found["sender"].to_pylist(), "event_timestamp": times, **columns}
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


class TestDeclaration:
    def test_lookback_and_max_age_follow(self) -> None:
        """A tile that leaves the longest window may hold a row that was late; values are served as long as that window."""
        assert (timedelta(days=1) + TILE + DELAY, timedelta(days=1)) == (DECLARED.lookback, DECLARED.max_age)

    def test_without_known_at_a_row_is_known_at_its_event_time(self) -> None:
        """As the contract says of a table that names none."""
        at_once = replace(PARCELS, known_at=None)
        assert '"sent_at"' in sql(declare(table=at_once), at_once)
        assert '"known_at"' not in sql(declare(table=at_once), at_once)

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            ({"windows": ("2h", "5h")}, ["5h", "tiles"]),
            ({"windows": ()}, ["window"]),
            ({"tile": "2 hours"}, ["'2 hours'", "duration"]),
            ({"windows": ("0h",)}, ["'0h'", "duration"]),
            ({"delay": "1w"}, ["'1w'", "duration"]),
            ({"table": replace(PARCELS, event_time=None, known_at=None)}, ["parcels", "known"]),
        ],
    )
    def test_what_makes_no_sense_is_refused_at_once(self, changes: dict[str, Any], names: list[str]) -> None:
        """Before anything is computed, and by the view's name."""
        with pytest.raises(SettingsError) as error:
            declare(**changes)
        assert ("view 'sent'", []) == (error.value.subject, missing(error.value.problem, *names))

    def test_sums_of_fractions_are_refused(self) -> None:
        """They would depend on the number of threads."""
        with pytest.raises(SettingsError) as error:
            sql(declare(sums={"parcels": 1, "torn": _.is_torn, "grams": _.grams / 2}))
        assert ("adds up a float64", "view 'sent', sum 'grams'") == (error.value.problem, error.value.subject)
