"""The demand use case: its declaration, its grid and labels by a plain reading of the rows, and its simulated city."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.clock import Period
from ratchet.features.expressions import compile_labels, compile_requests, compile_view
from ratchet.project.run import Run
from tests.support.accepted import check_for_leaks
from tests.support.cases import DEMAND, accepted_rows, case_project, derived_rows, unknown_columns
from use_cases.demand import use_case
from use_cases.demand.simulator import simulator

HOUR = {"station": "S03", "district": "centre", "hour_start": "2024-04-22T08:00:00+02:00"}
ON_DEMAND = {"hour", "weekday", "day_off", "part_of_day"}


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Accepted rows of some weeks of a small city."""
    run = case_project(tmp_path_factory.mktemp("city"), "demand", DEMAND, stations=4)
    ingest(run)
    validate(run)
    return run


class TestDeclaration:
    @pytest.mark.parametrize(
        ("field", "value"), [("station", 3), ("hour_start", "2024-04-22T08:00:00"), ("district", None)]
    )
    def test_what_no_caller_can_mean_is_refused(self, field: str, value: Any) -> None:
        """A number for a name, a time without offset, and nothing for a district."""
        with pytest.raises(ValidationError) as error:
            use_case.request.model_validate_json(json.dumps({**HOUR, field: value}))
        assert [(field,)] == [problem["loc"] for problem in error.value.errors()]

    def test_names_only_columns_that_there_are(self, city: Run) -> None:
        """Each is a request's field, a feature or made on demand."""
        assert set() == unknown_columns(city, ON_DEMAND)

    def test_a_prediction_is_never_negative(self) -> None:
        """And otherwise as the model gave it."""
        assert [0.0, 0.0, 2.5] == use_case.postprocess({}, np.array([-1.5, 0.0, 2.5])).tolist()


class TestExamples:
    def test_are_every_station_in_every_hour(self, city: Run) -> None:
        """Each once, on the hour, with its district; also where and when nobody came."""
        stations, hours = accepted_rows(city, "stations"), accepted_rows(city, "hours")
        expected = {
            (hour["hour_start"], station["station"], station["district"]) for hour in hours for station in stations
        }
        found = derived_rows(city, compile_requests(use_case))
        assert expected == {(row["event_timestamp"], row["station"], row["district"]) for row in found}
        assert len(expected) == len(found) == len({row["request_id"] for row in found})

    def test_labels_count_the_rides_of_the_hour(self, city: Run) -> None:
        """With zeros; and no label where the hour was not delivered completely, whatever was delivered of it."""
        rides = Counter(
            (row["station"], row["started_at"].replace(minute=0, second=0)) for row in accepted_rows(city, "rides")
        )
        hours = [row for row in accepted_rows(city, "hours") if row["complete_at"]]
        expected = {
            f"{hour['row_key']}:{station}": (rides[station, hour["hour_start"]], hour["complete_at"])
            for station in ("S00", "S01", "S02", "S03")
            for hour in hours
        }
        found = {
            row["request_id"]: (row["label"], row["label_known_at"])
            for row in derived_rows(city, compile_labels(use_case))
        }
        assert expected == found
        assert 0.1 < sum(count == 0 for count, _ in found.values()) / len(found) < 0.9

    def test_some_hours_were_never_complete(self, city: Run) -> None:
        """Their requests are there, though rides of theirs are missing; a label they have not."""
        requests, labels = (
            {row["request_id"] for row in derived_rows(city, derive(use_case))}
            for derive in (compile_requests, compile_labels)
        )
        lost = [row["row_key"] for row in accepted_rows(city, "hours") if row["complete_at"] is None]
        assert lost
        assert {f"{hour}:S{station:02d}" for hour in lost for station in range(4)} == requests - labels

    def test_no_ride_ends_after_its_hour_is_complete(self, city: Run) -> None:
        """Otherwise a label would change after it was known."""
        complete = {row["hour_start"]: row["complete_at"] for row in accepted_rows(city, "hours")}
        for ride in accepted_rows(city, "rides"):
            known = complete[ride["started_at"].replace(minute=0, second=0)]
            assert known is None or ride["ended_at"] < known


class TestFeatures:
    def test_know_no_future(self, city: Run) -> None:
        """Cut off within an hour, on the hour and at local midnight, nothing computed before changes."""
        timestamps = [(3, 20, 17, 23), (3, 31, 1, 0), (4, 10, 22, 0)]
        report = check_for_leaks(city, [datetime(2024, *timestamp, tzinfo=UTC) for timestamp in timestamps])
        expected = ("station_rides", "district_rides", "day", "requests", "labels")
        assert dict.fromkeys(expected, 0) == report.changed
        assert report.passed

    def test_a_district_is_the_sum_of_its_stations(self, city: Run) -> None:
        """The rides of the last hour of each station add up to those of the district, whenever either of them changes."""
        districts = {row["station"]: row["district"] for row in accepted_rows(city, "stations")}
        rows = {
            name: derived_rows(city, compile_view(use_case, use_case.view(f"{name}_rides")))
            for name in ("station", "district")
        }
        changes = [(row["event_timestamp"], name, row[name], row["rides_1h"]) for name in rows for row in rows[name]]
        newest: dict[str, Counter[str]] = {name: Counter() for name in rows}
        for _moment, at_once in groupby(sorted(changes), key=itemgetter(0)):
            for _same, name, key, rides in at_once:
                newest[name][key] = rides
            sums: Counter[str] = Counter()
            for station, rides in newest["station"].items():
                sums[districts[station]] += rides
            assert +newest["district"] == +sums
        assert len(changes) > 1000

    def test_the_calendar_holds_from_local_midnight_on(self, city: Run) -> None:
        """It was published the noon before: 23 hours earlier on the day on which the clocks jump, and yet in time."""
        days = accepted_rows(city, "calendar")
        assert {(row["day_start"], row["is_holiday"]) for row in days} == {
            (row["event_timestamp"], row["is_holiday"])
            for row in derived_rows(city, compile_view(use_case, use_case.view("day")))
        }

    @pytest.mark.parametrize(
        ("utc", "is_holiday", "hour", "weekday", "day_off", "part"),
        [
            ("2024-03-31T00:00", 0.0, 1, 6, 1.0, "night"),
            ("2024-03-31T01:00", 0.0, 3, 6, 1.0, "night"),  # an hour after, on clocks that have jumped
            ("2024-04-01T22:00", 0.0, 0, 1, 0.0, "night"),
            ("2024-04-03T06:00", 1.0, 8, 2, 1.0, "morning"),
            ("2024-04-03T16:00", np.nan, 18, 2, 0.0, "evening"),
        ],
    )
    def test_the_clock_is_local(
        self, utc: str, is_holiday: float, hour: int, weekday: int, day_off: float, part: str
    ) -> None:
        """Hour, weekday from Monday, and days off: weekends and holidays, none where no calendar is known."""
        columns = {"event_timestamp": np.array([utc], "datetime64[us]"), "day__is_holiday": np.array([is_holiday])}
        made = use_case.on_demand(columns)
        expected = [hour, weekday, day_off, part]
        assert expected == [made[name][0] for name in ("hour", "weekday", "day_off", "part_of_day")]


class TestSimulator:
    def test_loses_no_row_and_quarantines_what_is_dirty(self, city: Run) -> None:
        """Each rule is broken by some row, and duplicates are met."""
        report = validate(city)
        rows = report["rows"]
        assert rows["raw"] == rows["accepted"] + rows["quarantined"] + rows["duplicates"]
        rules = {reason for table in use_case.tables for reason in table.rules}
        assert {*rules, "duplicate_key"} == set(report["reasons"])

    def test_a_week_does_not_depend_on_what_else_is_asked_for(self) -> None:
        """Whatever the period, a batch has the same name, digest and rows."""
        spring = Period.between(date(2024, 4, 1), date(2024, 4, 8), use_case.timezone)
        longer = Period(spring.start - timedelta(weeks=2), spring.end + timedelta(weeks=1))
        few, many = (
            {(each.table, each.name): each for each in simulator("", {"stations": 2}, period)}
            for period in (spring, longer)
        )
        assert few.keys() < many.keys()
        for name, batch in few.items():
            assert (batch.digest, batch.read()) == (many[name].digest, many[name].read())
