"""TLC's folder: a batch a month, or an error that says which file and what to do."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError, SourceError
from ratchet.use_case.batch import Batch, Gap, Unread
from tests.support.messages import missing
from tests.support.taxi import between, deliver_month, deliver_reference, delivered
from use_cases.nyc_taxi.sources import tlc
from use_cases.nyc_taxi.tables import WEATHER, ZONES
from use_cases.nyc_taxi.timezone import TIMEZONE

MARCH = Period.between(date(2023, 3, 1), date(2023, 4, 1), TIMEZONE)
Batches = dict[tuple[str, str], Batch]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One month, with the reference files beside it."""
    deliver_month(tmp_path / "months", "2023-03", delivered({}))
    deliver_reference(tmp_path / "ref")
    return tmp_path / "months"


def read(folder: Path, period: Period = MARCH, **options: str) -> Batches:
    found = tlc(str(folder), options, period)
    return {(each.table, each.name): each for each in found if isinstance(each, Batch)}


class TestDeliveries:
    def test_one_for_each_month_and_the_day_before(self, folder: Path) -> None:
        """Trips of the period's months, the zones once, and weather from the day before on."""
        expected = [("trips", "2023-03"), ("zones", "zones"), ("weather", "2023-02"), ("weather", "2023-03")]
        assert expected == list(read(folder))

    def test_trips_are_those_of_the_file(self, folder: Path) -> None:
        """All of them, also those picked up in another month."""
        deliver_month(folder, "2023-03", delivered({}, between("2023-02-28T23:50", "2023-03-01T00:10")))
        assert [0, -1] == read(folder)["trips", "2023-03"].read()[0]["months_from_delivery"].to_pylist()

    def test_trips_are_counted_by_the_file_itself(self, folder: Path) -> None:
        """Parquet's own number of rows, whatever is read of them."""
        assert [1] == [each.count() for each in read(folder).values() if each.count and each.table == "trips"]

    def test_other_files_are_named(self, folder: Path) -> None:
        """A month outside the period, and whatever is no month."""
        for name in ("green_tripdata_2023-05.parquet", "yellow_tripdata_2023-03.parquet", "part.csv"):
            (folder / name).write_bytes(b"")
        found = tlc(str(folder), {}, MARCH)
        unread = {each.name: each.reason for each in found if isinstance(each, Unread)}
        assert ["green_tripdata_2023-05.parquet", "part.csv", "yellow_tripdata_2023-03.parquet"] == [*unread]
        assert "period" in unread["green_tripdata_2023-05.parquet"]

    def test_a_second_file_of_a_month_is_named_with_the_first(self, folder: Path) -> None:
        """It is not read, so whoever meant to replace the month learns how; not so for a month that is not read either."""
        for month in ("03", "05"):
            (folder / f"green_tripdata_2023-{month}_v2.parquet").write_bytes(b"")
        found = tlc(str(folder), {}, MARCH)
        unread = {each.name: each.reason for each in found if isinstance(each, Unread)}
        assert "read from green_tripdata_2023-03.parquet" in unread["green_tripdata_2023-03_v2.parquet"]
        assert "read from" not in unread["green_tripdata_2023-05_v2.parquet"]

    def test_digest_changes_with_the_file(self, folder: Path) -> None:
        """A month delivered again is read again, and only that."""
        before = read(folder)
        deliver_month(folder, "2023-03", delivered({"total_amount": 11.0}))
        after = read(folder)
        assert [("trips", "2023-03")] == [key for key in after if after[key].digest != before[key].digest]

    def test_reference_files_may_lie_elsewhere(self, folder: Path) -> None:
        """As the option says."""
        (folder.parent / "ref").rename(folder.parent / "elsewhere")
        assert 4 == len(read(folder, reference=str(folder.parent / "elsewhere")))

    def test_a_mistyped_option_names_its_neighbour(self, folder: Path) -> None:
        """Options are settings, too."""
        with pytest.raises(SettingsError, match=r"refrence: .*'reference'"):
            read(folder, refrence="elsewhere")


class TestMissingMonths:
    YEAR = Period.between(date(2023, 1, 1), date(2023, 12, 1), TIMEZONE)

    def found(self, folder: Path) -> tuple[list[str], list[str]]:
        """The batches and the gaps."""
        found = list(tlc(str(folder), {}, self.YEAR))
        return (
            [f"{each.table}/{each.name}" for each in found if isinstance(each, Batch) and each.table != "zones"],
            [f"{each.table}/{each.name}" for each in found if isinstance(each, Gap)],
        )

    def test_before_a_later_one_are_gaps(self, folder: Path) -> None:
        """Those after the last one have not been delivered yet, and are nothing."""
        deliver_month(folder, "2023-05", delivered({}))
        batches, gaps = self.found(folder)
        assert ["trips/2023-03", "trips/2023-05", "weather/2023-02", "weather/2023-03"] == batches
        assert ["trips/2023-01", "trips/2023-02", "trips/2023-04", "weather/2022-12", "weather/2023-01"] == gaps

    def test_say_which_time_they_leave_open(self, folder: Path) -> None:
        """A local month, from midnight to midnight, also where clocks change."""
        deliver_month(folder, "2023-02", delivered({}))
        deliver_month(folder, "2023-04", delivered({}))
        (folder / "green_tripdata_2023-03.parquet").unlink()
        gap = next(each for each in tlc(str(folder), {}, self.YEAR) if isinstance(each, Gap) and each.name == "2023-03")
        assert Period.between(date(2023, 3, 1), date(2023, 4, 1), TIMEZONE) == gap.period

    def test_of_weather_change_nothing_else(self, folder: Path) -> None:
        """A day that is added to the file changes the batch of its own month."""
        before = {each.name: each.digest for each in tlc(str(folder), {}, self.YEAR) if isinstance(each, Batch)}
        file = folder.parent / "ref" / "central_park_weather.csv"
        file.write_text(file.read_text() + "\n2023-03-02,1,0.00,0.0,0.0,41,33")
        after = {each.name: each for each in tlc(str(folder), {}, self.YEAR) if isinstance(each, Batch)}
        changed = {name for name, batch in after.items() if batch.table == "weather" and before[name] != batch.digest}
        assert {"2023-03"} == changed
        assert Period.between(date(2023, 3, 3), date(2023, 3, 4), TIMEZONE).start == after["2023-03"].complete_until


class TestErrors:
    def test_a_missing_folder(self, tmp_path: Path) -> None:
        """Is named."""
        with pytest.raises(SourceError, match=r"nowhere: .*folder.*green_tripdata_2023-03"):
            read(tmp_path / "nowhere")

    def test_a_folder_without_a_month_of_the_period(self, folder: Path) -> None:
        """The first file that could be there is named."""
        with pytest.raises(SourceError, match=r"green_tripdata_2023-04\.parquet is missing"):
            read(folder, Period.between(date(2023, 4, 1), date(2023, 6, 1), TIMEZONE))

    def test_a_missing_reference_file(self, folder: Path) -> None:
        """Is named."""
        (folder.parent / "ref" / "central_park_weather.csv").unlink()
        with pytest.raises(SourceError, match=r"ref: central_park_weather\.csv is missing"):
            read(folder)

    def test_a_month_cut_short_is_never_half_read(self, folder: Path) -> None:
        """Parquet ends with its index: without it there is nothing to trust."""
        path = folder / "green_tripdata_2023-03.parquet"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(SourceError, match=r"2023-03\.parquet: .*Parquet"):
            read(folder)["trips", "2023-03"].read()

    def test_a_month_damaged_inside_is_never_half_read(self, folder: Path) -> None:
        """Also when its index stands."""
        path = deliver_month(folder, "2023-03", delivered(*[{"total_amount": n / 7} for n in range(5000)]))
        column = pq.read_metadata(path).row_group(0).column(8)
        content = bytearray(path.read_bytes())
        start = column.data_page_offset
        content[start : start + 64] = b"\xff" * 64
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"2023-03\.parquet: .*Parquet"):
            read(folder)["trips", "2023-03"].read()

    def test_weather_without_its_columns(self, folder: Path) -> None:
        """The file and the column; the trips can be read."""
        (folder.parent / "ref" / "central_park_weather.csv").write_text("DATE,AWND\n2023-03-01,1\n")
        batches = read(folder)
        with pytest.raises(SourceError, match=r"central_park_weather\.csv: lacks column PRCP"):
            batches["weather", "2023-03"].read()
        assert batches["trips", "2023-03"].read()[0].num_rows

    def test_a_reference_file_without_its_columns(self, folder: Path) -> None:
        """The file and the column."""
        (folder.parent / "ref" / "zone_centroids_derived.csv").write_text("LocationID,x_miles\n56,193.0\n")
        with pytest.raises(SourceError, match=r"zone_centroids_derived\.csv: lacks column y_miles"):
            read(folder)["zones", "zones"].read()

    def test_a_reading_that_is_no_number(self, folder: Path) -> None:
        """It is kept as it was delivered, and the other days are read."""
        days = folder.parent / "ref" / "central_park_weather.csv"
        days.write_text(days.read_text().replace("0.25", "trace"))
        table, _ = read(folder)["weather", "2023-03"].read()
        assert [[("precipitation_inches", "trace")]] == table["unreadable"].to_pylist()

    def test_a_day_that_is_no_date(self, folder: Path) -> None:
        """It is of no month, and so none is read without it: the file, the row and the value."""
        days = folder.parent / "ref" / "central_park_weather.csv"
        days.write_text(days.read_text().replace("2023-02-28", "2023-02-30"))
        with pytest.raises(SourceError, match=r"central_park_weather\.csv: column DATE.*row 1 .*'2023-02-30'"):
            read(folder)["weather", "2023-03"].read()

    def test_a_quote_that_swallows_reference_rows(self, folder: Path) -> None:
        """Every line of a reference file is a row that is read."""
        lookup = folder.parent / "ref" / "taxi_zone_lookup.csv"
        lookup.write_text(lookup.read_text().replace("57,Queens,Corona", '57,Queens,"Corona'))
        with pytest.raises(SourceError, match=r"taxi_zone_lookup\.csv: line 3"):
            read(folder)["zones", "zones"].read()


class TestReference:
    def test_positions_are_averaged_and_shared_by_name(self, folder: Path) -> None:
        """A repeated zone lies in the middle, one without a centroid where its namesake does, an unknown one nowhere."""
        table, notes = read(folder)["zones", "zones"].read()
        assert ZONES == table.schema
        assert [194.0, 194.0, 189.5, None] == table["x_miles"].to_pylist()
        assert [39.5, 39.5, 43.25, None] == table["y_miles"].to_pylist()
        names = ("[56]: the mean", "[57]: that", "[264]: unknown")
        assert [[]] * 3 == [missing(note, name) for note, name in zip(notes, names, strict=True)]

    def test_a_day_of_weather_is_known_at_the_next_midnight(self, folder: Path) -> None:
        """Local midnights, in UTC."""
        table, _ = read(folder)["weather", "2023-03"].read()
        assert WEATHER == table.schema
        expected = (datetime(2023, 3, 1, 5, tzinfo=UTC), datetime(2023, 3, 2, 5, tzinfo=UTC), None, 0.25)
        assert expected == tuple(
            table[name][0].as_py() for name in ("day_start", "day_end", "wind_mph", "precipitation_inches")
        )
