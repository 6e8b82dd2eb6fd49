"""What goes wrong with a simulated delivery: each switch does what its table says, as a function of the instant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.core.clock import Period, local_midnight
from ratchet.core.errors import SettingsError, SourceError
from ratchet.use_case.batch import Batch, Gap
from use_cases.nyc_taxi.simulator import simulator
from use_cases.nyc_taxi.timezone import TIMEZONE

FIRST = date(2023, 2, 20)
NEVER = date(2023, 6, 1)
FEW = {"trips_per_day": 40}
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
AFTER = {"share": 0.2, "after": "3d"}
MOVED = {"dropoff_at": timedelta(minutes=5), "duration_seconds": 300, "total_cents": 1000}
"""By how much a trip is wrong until it is corrected."""


def midnight(day: date) -> datetime:
    return local_midnight(day, TIMEZONE)


def found(end: date | datetime, **options: Any) -> list[Batch | Gap]:
    """What the city has delivered as of an instant, or a local midnight."""
    instant = end if isinstance(end, datetime) else midnight(end)
    return simulator("", {**FEW, **options}, Period(midnight(FIRST), instant))


def months(end: date | datetime, **options: Any) -> dict[str, Batch]:
    """Month → its batch of trips."""
    return {each.name: each for each in found(end, **options) if isinstance(each, Batch) and each.table == "trips"}


def trips(end: date | datetime, **options: Any) -> list[dict[str, Any]]:
    """The trips as of an instant, without those that cannot be read."""
    batches = [batch.read()[0] for batch in months(end, **options).values()]
    rows = [row for batch in batches for row in batch.to_pylist()]
    return [{name: row[name] for name in row if name != "unreadable"} for row in rows if not row.get("unreadable")]


def counted(rows: list[dict[str, Any]]) -> Counter[tuple[tuple[str, Any], ...]]:
    """How often each trip is there, in whatever order."""
    return Counter(tuple(sorted(row.items())) for row in rows)


def right(row: dict[str, Any]) -> dict[str, Any]:
    """A trip that is not corrected yet, as it was."""
    return {**row, **{name: row[name] - by for name, by in MOVED.items()}}


@pytest.fixture(scope="module")
def city() -> list[dict[str, Any]]:
    """Every trip of February and March, with no switch on."""
    return trips(date(2023, 4, 1))


def without_strays(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trips whose clock was right."""
    return [row for row in rows if row["months_from_delivery"] == 0]


class TestLateTrips:
    def test_come_afterwards(self, city: list[dict[str, Any]]) -> None:
        """As of an instant there is each trip that had ended three days before, and most of those that had ended since."""
        now = midnight(date(2023, 3, 9))
        there = counted(trips(now, late=AFTER))
        ended = counted([row for row in without_strays(city) if row["dropoff_at"] <= now])
        old = counted([row for row in without_strays(city) if row["dropoff_at"] <= now - 3 * DAY])
        assert old <= there
        missing = ended - there
        assert 0.1 < missing.total() / (ended - old).total() < 0.3
        assert not counted(without_strays(trips(now, late=AFTER))) - ended

    def test_are_all_there_in_the_end(self, city: list[dict[str, Any]]) -> None:
        """The city is as it is without the switch."""
        assert counted(city) == counted(trips(NEVER, late=AFTER, until="2023-04-01"))

    def test_never_go(self) -> None:
        """What was delivered stays."""
        ends = [midnight(date(2023, 2, 27)) + hours * timedelta(hours=7) for hours in range(12)]
        seen = [counted(trips(end, late=AFTER)) for end in ends]
        assert all(before <= after for before, after in pairwise(seen))


class TestCorrections:
    def test_hold_after_their_time(self, city: list[dict[str, Any]]) -> None:
        """A fifth of the trips of the last three days is wrong, and all others are as they were."""
        now = midnight(date(2023, 3, 9))
        there = trips(now, corrections=AFTER)
        known = counted(city)
        wrong = [row for row in there if counted([row]) - known]
        assert 0.1 < len(wrong) / sum(row["dropoff_at"] > now - 3 * DAY for row in there) < 0.3
        assert all(row["dropoff_at"] > now - 3 * DAY for row in without_strays(wrong))
        assert not counted([right(row) for row in wrong]) - known

    def test_are_all_made_in_the_end(self, city: list[dict[str, Any]]) -> None:
        """The city is as it is without the switch."""
        assert counted(city) == counted(trips(NEVER, corrections=AFTER, until="2023-04-01"))


def test_duplicates_are_delivered_again(city: list[dict[str, Any]]) -> None:
    """A fifth of the trips is there once more, three days after they ended."""
    now = midnight(date(2023, 3, 9))
    again = counted(trips(now, duplicates=AFTER)) - counted(city)
    old = [row for row in without_strays(city) if row["dropoff_at"] <= now - 3 * DAY]
    assert 0.15 < again.total() / len(old) < 0.25
    assert not counted(without_strays([dict(row) for row in again.elements()])) - counted(old)


OUT = {"first": "2023-03-04", "until": "2023-03-07"}
BACK = {**OUT, "delivered": "2023-03-15"}


class TestOutage:
    def days(self, end: date | datetime, outage: dict[str, str]) -> set[int]:
        """The days of March on which trips were picked up."""
        local = [row["pickup_at"] - timedelta(hours=5) for row in without_strays(trips(end, outage=outage))]
        return {at.day for at in local if at.month == 3}

    def gaps(self, end: date | datetime, outage: dict[str, str]) -> list[Period]:
        return [each.period for each in found(end, outage=outage) if isinstance(each, Gap)]

    def test_is_a_gap_once_there_are_later_trips(self) -> None:
        """Its days are missing, and everything else goes on."""
        end = midnight(date(2023, 3, 10))
        assert {1, 2, 3, 7, 8, 9} == self.days(end, OUT)
        assert [Period.between(date(2023, 3, 4), date(2023, 3, 7), TIMEZONE)] == self.gaps(end, OUT)
        assert end == months(end, outage=OUT)["2023-03"].complete_until

    def test_is_not_known_while_it_lasts(self) -> None:
        """Nothing was delivered since it began, and so it may still come."""
        end = midnight(date(2023, 3, 6))
        assert ({1, 2, 3}, []) == (self.days(end, OUT), self.gaps(end, OUT))
        assert midnight(date(2023, 3, 4)) == months(end, outage=OUT)["2023-03"].complete_until

    def test_ends_when_its_trips_are_delivered(self, city: list[dict[str, Any]]) -> None:
        """Then all are there."""
        before, after = midnight(date(2023, 3, 15)) - SECOND, midnight(date(2023, 3, 15))
        assert ({4, 5, 6}, 1) == ({*range(1, 15)} - self.days(before, BACK), len(self.gaps(before, BACK)))
        assert (set(), []) == ({*range(1, 15)} - self.days(after, BACK), self.gaps(after, BACK))
        assert counted(city) == counted(trips(NEVER, outage=BACK, until="2023-04-01"))

    def test_of_whole_months_leaves_none_of_them(self) -> None:
        """A month without a trip is no batch."""
        outage = {"first": "2023-02-25", "until": "2023-04-03"}
        assert ["2023-02", "2023-04"] == [*months(date(2023, 4, 5), outage=outage)]
        assert ["2023-02"] == [*months(date(2023, 4, 2), outage=outage)]


def test_a_closed_zone_has_no_trips() -> None:
    """On its days; the other trips are those of the city."""
    span = {"first": "2023-03-04", "until": "2023-03-07"}
    plain = trips(date(2023, 4, 1), trips_per_day=400)
    zone = Counter(row["pickup_zone"] for row in plain).most_common(1)[0][0]
    closed = trips(date(2023, 4, 1), trips_per_day=400, closed_zone={"zone": zone, **span})
    days = Period.between(date(2023, 3, 4), date(2023, 3, 7), TIMEZONE)
    gone = [dict(row) for row in (counted(plain) - counted(closed)).elements()]
    assert not counted(closed) - counted(plain)
    assert gone
    assert all(zone in (row["pickup_zone"], row["dropoff_zone"]) for row in gone)
    assert all(days.start <= row["pickup_at"] < days.end for row in without_strays(gone))
    there = [row for row in without_strays(closed) if days.start <= row["pickup_at"] < days.end]
    assert not [row for row in there if zone in (row["pickup_zone"], row["dropoff_zone"])]


class TestSchemaChange:
    def notes(self, kind: str, month: str = "2023-03") -> tuple[pa.Table, list[str]]:
        return months(date(2023, 4, 1), schema_change={"kind": kind, "first": "2023-03-05"})[month].read()

    @pytest.mark.parametrize(
        ("kind", "note"),
        [
            ("new", "cbd_congestion_fee (double): dropped"),
            ("retyped", "PULocationID: string → pickup_zone int64"),
            ("renamed", "pulocationid: int64 → pickup_zone int64"),
        ],
    )
    def test_gives_the_same_trips_and_a_note(self, kind: str, note: str) -> None:
        """From the month of the day on."""
        plain = months(date(2023, 4, 1))
        table, notes = self.notes(kind)
        assert plain["2023-03"].read()[0].equals(table)
        assert [note] == [each.partition(";")[0] for each in notes if each.startswith(note)]
        assert plain["2023-02"].read() == self.notes(kind, "2023-02")

    def test_that_loses_a_column_is_refused(self) -> None:
        """With the line to add."""
        with pytest.raises(SourceError, match="lacks column trip_type") as raised:
            self.notes("vanished")
        assert 'optional=("trip_type",)' in raised.value.remedy
        assert self.notes("vanished", "2023-02")


def instants() -> st.SearchStrategy[datetime]:
    return st.datetimes(datetime(2023, 2, 21), datetime(2023, 4, 10), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=12, deadline=None)
@given(
    ends=st.tuples(instants(), instants()),
    names=st.sets(st.sampled_from(["late", "corrections", "duplicates", "outage"])),
)
def test_a_month_changes_only_with_its_digest(ends: tuple[datetime, datetime], names: set[str]) -> None:
    """The same options and instant give the same rows; with the same digest, another instant does, too."""
    switches: dict[str, Any] = dict.fromkeys(names - {"outage"}, AFTER)
    switches |= {"outage": BACK} if "outage" in names else {}
    first, second = (months(end, trips_per_day=10, **switches) for end in ends)
    for name in first.keys() & second.keys():
        if first[name].digest == second[name].digest:
            assert first[name].read()[0].equals(second[name].read()[0])
    again = months(ends[0], trips_per_day=10, **switches)
    assert {name: batch.digest for name, batch in first.items()} == {
        name: batch.digest for name, batch in again.items()
    }


def test_a_month_that_is_over_keeps_its_digest() -> None:
    """As the source goes on, only the present month is read again, and the one before as long as something may still come."""
    switches = {"late": AFTER, "corrections": AFTER, "outage": OUT}
    before, after = (months(end, **switches) for end in (date(2023, 4, 20), date(2023, 4, 21)))
    assert ["2023-04"] == [name for name in before if before[name].digest != after[name].digest]
    spring = [months(end, **switches)["2023-03"].digest for end in (date(2023, 4, 1), date(2023, 4, 2))]
    assert 2 == len({*spring})


def test_a_month_without_a_trip_so_far_is_no_batch() -> None:
    """In its first second nothing has been delivered."""
    assert ["2023-02"] == [*months(midnight(date(2023, 3, 1)) + SECOND, late=AFTER)]


def test_a_time_that_was_skipped_is_delivered_too() -> None:
    """The trips of the hour that the jump to summer time skips have no instant, and come a day later."""
    batch = months(date(2023, 3, 15), late=AFTER, trips_per_day=2000)["2023-03"].read()[0]
    assert pc.sum(pc.is_null(batch["pickup_at"])).as_py() > 0


def wrong_options() -> Iterator[tuple[dict[str, Any], str]]:
    """Options that mean nothing, and the key that is wrong."""
    day = {"first": "2023-03-04"}
    yield {"late": {"share": 0.0, "after": "3d"}}, "late.share"
    yield {"late": {"share": 0.1, "after": "soon"}}, "late.after"
    yield {"duplicates": {"share": 0.1}}, "duplicates.after"
    yield {"corrections": {"share": 0.1, "after": "900d"}}, "corrections"
    yield {"corrections": {"shares": 0.1, "after": "3d"}}, "'share'"
    yield {"outage": day}, "outage.until"
    yield {"outage": {**day, "until": "2023-03-04"}}, "outage"
    yield {"outage": {**day, "until": "2023-03-08", "delivered": "2023-03-07"}}, "outage"
    yield {"closed_zone": {**day, "zone": 61}}, "closed_zone.zone"
    yield {"closed_zone": {**day, "zone": 6, "until": "2023-03-01"}}, "closed_zone"
    yield {"schema_change": {**day, "kind": "gone"}}, "schema_change.kind"
    yield {"outages": day}, "'outage'"


@pytest.mark.parametrize(("options", "where"), [*wrong_options()])
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], where: str) -> None:
    """By their name, or that of the key that may have been meant."""
    with pytest.raises(SettingsError) as raised:
        found(date(2023, 4, 1), **options)
    assert where in str(raised.value)
