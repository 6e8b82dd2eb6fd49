"""Delivered months become canonical trips, or a clear error."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ratchet.core.clock import Period
from ratchet.core.errors import SourceError
from tests.support.messages import missing
from tests.support.taxi import between, delivered
from use_cases.nyc_taxi.tables import TRIPS, Month, months, trips

MARCH = Month(date(2023, 3, 1))
NEW_YORK = ZoneInfo("America/New_York")


def canonical(rows: pa.Table, month: Month = MARCH) -> dict[str, Any]:
    """The first row."""
    table, _ = trips(rows, month, "march.parquet")
    assert TRIPS == table.schema
    row: dict[str, Any] = table.slice(0, 1).to_pylist()[0]
    return row


def retyped(column: str, values: pa.Array) -> pa.Table:
    """Two ordinary trips with one column replaced."""
    rows = delivered({}, {})
    return rows.set_column(rows.column_names.index(column), column, values)


class TestColumns:
    def test_are_named_counted_and_measured_exactly(self) -> None:
        """Instants are UTC, amounts integers of the smallest unit, durations seconds."""
        expected = {
            "vendor": 2,
            "pickup_zone": 74,
            "dropoff_zone": 75,
            "pickup_at": datetime(2023, 3, 6, 15, 0, tzinfo=UTC),
            "dropoff_at": datetime(2023, 3, 6, 15, 15, tzinfo=UTC),
            "passenger_count": 1,
            "trip_type": 1,
            "distance_hundredths": 123,
            "total_cents": 1050,
            "duration_seconds": 900,
            "months_from_delivery": 0,
        }
        assert expected == canonical(delivered({}))

    def test_float_codes_become_integers_and_nulls_stay(self) -> None:
        """A month that keeps its codes as floats means the same as one that keeps them as integers."""
        rows = retyped("passenger_count", pa.array([5.0, None]))
        table, notes = trips(rows, MARCH, "march.parquet")
        assert [5, None] == table["passenger_count"].to_pylist()
        assert "passenger_count: double → passenger_count int64" in notes

    def test_a_column_without_a_type_is_null(self) -> None:
        """A column that is empty for a whole month has no type in its file; that is noted."""
        table, notes = trips(retyped("trip_type", pa.nulls(2)), MARCH, "march.parquet")
        assert [None, None] == table["trip_type"].to_pylist()
        (note,) = [note for note in notes if note.startswith("trip_type: ")]
        assert [] == missing(note, "null")

    def test_what_is_not_used_is_dropped_and_said_so(self) -> None:
        """Nothing disappears without a note, which says where to add the column."""
        rows = delivered({}).append_column("fare_amount", pa.array([9.0])).append_column("ehail_fee", pa.nulls(1))
        table, (*_, fare, ehail) = trips(rows, MARCH, "march.parquet")
        assert TRIPS == table.schema
        assert [] == missing(fare, "fare_amount (double)", "dropped", "TRIPS", "AMOUNTS")
        assert [] == missing(ehail, "ehail_fee (null)", "dropped", "no values")

    @pytest.mark.parametrize(
        ("column", "value", "canonical", "text"),
        [
            ("passenger_count", 1.5, "passenger_count", "1.5"),
            ("PULocationID", 74.5, "pickup_zone", "74.5"),
            ("DOLocationID", 1e30, "dropoff_zone", "1e+30"),
            ("VendorID", "CMT", "vendor", "CMT"),
            ("trip_distance", float("inf"), "distance_hundredths", "inf"),
            ("total_amount", 1e300, "total_cents", "1e+300"),
            ("lpep_dropoff_datetime", "yesterday", "dropoff_at", "yesterday"),
        ],
    )
    def test_a_value_that_does_not_fit_is_unreadable(
        self, column: str, value: object, canonical: str, text: str
    ) -> None:
        """No code is rounded, no amount overflows: the value is kept as it was delivered, and the other trip is read."""
        good = delivered({})[column][0].as_py()
        whole = str(good) if isinstance(value, str) else good
        table, _ = trips(retyped(column, pa.array([value, whole])), MARCH, "march.parquet")
        assert [[(canonical, text)], None] == table["unreadable"].to_pylist()
        assert [None, trips(delivered({}), MARCH, "")[0][canonical][0].as_py()] == table[canonical].to_pylist()

    @pytest.mark.parametrize("column", ["PULocationID", "trip_distance"])
    def test_a_truth_value_is_no_number(self, column: str) -> None:
        """Zone 1 is not what `true` means: the column is unreadable as a whole, and ingest refuses the batch."""
        table, _ = trips(retyped(column, pa.array([True, False])), MARCH, "march.parquet")
        assert 2 == len([row for row in table["unreadable"].to_pylist() if row])

    def test_a_missing_number_is_no_unreadable_one(self) -> None:
        """NaN is what some libraries write for null."""
        table, _ = trips(retyped("trip_distance", pa.array([float("nan"), 1.0])), MARCH, "march.parquet")
        assert ([None, 100], TRIPS) == (table["distance_hundredths"].to_pylist(), table.schema)

    def test_an_instant_is_not_taken_for_a_local_time(self) -> None:
        """A column with a time zone is another column than the one that is delivered every month."""
        with pytest.raises(SourceError, match=r"march\.parquet: column lpep_pickup_datetime"):
            trips(retyped("lpep_pickup_datetime", pa.array([0, 1], pa.timestamp("us", "UTC"))), MARCH, "march.parquet")

    def test_a_missing_column_is_named(self) -> None:
        """The file and every column that it lacks."""
        rows = delivered({}).drop_columns(["PULocationID", "trip_type"])
        with pytest.raises(SourceError, match=r"march\.parquet: lacks column PULocationID, trip_type"):
            trips(rows, MARCH, "march.parquet")

    def test_a_column_that_may_have_been_renamed_is_suggested(self) -> None:
        """With the line to add; a column that is part of the key cannot be left out."""
        rows = delivered({}).rename_columns({"trip_type": "trip_kind"})
        with pytest.raises(SourceError) as raised:
            trips(rows, MARCH, "march.parquet")
        assert [] == missing(raised.value.remedy, '"trip_kind": "trip_type"}', 'optional=("trip_type",)')
        with pytest.raises(SourceError) as raised:
            trips(delivered({}).drop_columns(["VendorID"]), MARCH, "march.parquet")
        assert "optional" not in raised.value.remedy

    @pytest.mark.parametrize("header", ["pulocationid", "PUlocationID"])
    def test_a_known_other_header_is_the_same_column(self, header: str) -> None:
        """It is noted; a month that has both is refused, because nobody knows which is meant."""
        rows = delivered({}, {}).rename_columns({"PULocationID": header})
        table, notes = trips(rows, MARCH, "march.parquet")
        assert [74, 74] == table["pickup_zone"].to_pylist()
        assert f"{header}: int64 → pickup_zone int64" in notes
        with pytest.raises(SourceError, match=f"'{header}' and 'PULocationID' would both be PULocationID"):
            trips(rows.append_column("PULocationID", pa.array([1, 2])), MARCH, "march.parquet")

    def test_a_month_without_rows_is_refused(self) -> None:
        """An empty month is a broken batch, not a month without trips."""
        with pytest.raises(SourceError, match="holds no rows"):
            trips(delivered(), MARCH, "march.parquet")


class TestTime:
    def test_a_trip_across_the_jump_to_summer_time_is_not_an_hour_too_long(self) -> None:
        """01:55 to 03:05 on that night are ten minutes."""
        assert 600 == canonical(delivered(between("2023-03-12T01:55", "2023-03-12T03:05")))["duration_seconds"]

    def test_a_time_that_was_skipped_is_unreadable(self) -> None:
        """02:30 on that night never was."""
        rows = delivered(between("2023-03-12T02:30", "2023-03-12T03:10"))
        table, _ = trips(rows, MARCH, "march.parquet")
        assert (None, None) == (table["pickup_at"][0].as_py(), table["duration_seconds"][0].as_py())
        assert [[("pickup_at", "2023-03-12 02:30:00.000000")]] == table["unreadable"].to_pylist()

    @given(
        pickup=st.datetimes(datetime(2023, 1, 1), datetime(2023, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
        | st.datetimes(datetime(2023, 11, 5, 4), datetime(2023, 11, 5, 8), timezones=st.just(UTC))  # noqa: DTZ001
        | st.datetimes(datetime(2023, 3, 12, 5), datetime(2023, 3, 12, 9), timezones=st.just(UTC)),  # noqa: DTZ001
        seconds=st.integers(0, 3599),
    )
    def test_trips_under_an_hour_keep_their_duration_whatever_the_clocks_do(
        self, pickup: datetime, seconds: int
    ) -> None:
        """Only a pickup in the hour that is repeated is taken for the first such hour."""
        pickup = pickup.replace(microsecond=0)
        start, end = (timestamp.astimezone(NEW_YORK) for timestamp in (pickup, pickup + timedelta(seconds=seconds)))
        assume(not start.fold)
        row = canonical(delivered(between(*(timestamp.replace(tzinfo=None).isoformat() for timestamp in (start, end)))))
        assert (pickup, seconds) == (row["pickup_at"], row["duration_seconds"])

    def test_a_dropoff_that_is_simply_too_early_stays_so(self) -> None:
        """The second occurrence is for ambiguous times alone; otherwise the duration is negative, and the rules judge."""
        assert -600 == canonical(delivered(between("2023-03-06T10:10", "2023-03-06T10:00")))["duration_seconds"]

    @pytest.mark.parametrize(
        ("pickup", "months"), [("2023-02-28T23:59", -1), ("2023-04-01T00:00", 1), ("2008-12-31", -171)]
    )
    def test_says_how_far_a_pickup_is_from_the_delivered_month(self, pickup: str, months: int) -> None:
        """In local months."""
        assert months == canonical(delivered(between(pickup, "2023-04-01T00:20")))["months_from_delivery"]


class TestMonths:
    def test_are_those_that_a_period_touches_in_new_york(self) -> None:
        """A period ends before its end: April begins at 4:00 UTC."""
        period = Period(datetime(2022, 12, 31, 12, tzinfo=UTC), datetime(2023, 4, 1, 4, tzinfo=UTC))
        assert ["2022-12", "2023-01", "2023-02", "2023-03"] == [str(month) for month in months(period)]

    def test_have_days(self) -> None:
        """All of them, in order."""
        days = Month(date(2024, 2, 1)).days()
        assert (date(2024, 2, 1), date(2024, 2, 29), 29) == (days[0], days[-1], len(days))
