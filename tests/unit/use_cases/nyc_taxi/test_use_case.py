"""The declaration: what a caller may ask, and that it holds together."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from ratchet.features.expressions import compile_labels, compile_requests, compile_view
from ratchet.use_case.contract import load_use_case
from use_cases.nyc_taxi import use_case

REQUEST = {"pickup_zone": 74, "dropoff_zone": 264, "pickup_at": "2023-03-06T10:00:00-05:00"}
HEAVY = ("great_expectations", "evidently", "mlflow", "feast", "lightgbm", "sklearn", "pandas", "bentoml", "prefect")


def ask(**changes: Any) -> Any:
    return use_case.request.model_validate_json(json.dumps({**REQUEST, **changes}))


class TestRequest:
    def test_what_is_not_known_may_be_left_out(self) -> None:
        """A passenger count, a vendor or a trip type that nobody told is null, as in the records."""
        assert (None, None, None) == (ask().passenger_count, ask().vendor, ask(trip_type=None).trip_type)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("pickup_zone", 0),
            ("dropoff_zone", 266),
            ("pickup_zone", 74.0),
            ("pickup_zone", "74"),
            ("pickup_zone", None),
            ("pickup_at", "2023-03-06T10:00:00"),
            ("passenger_count", -1),
            ("passenger_count", float("nan")),
            ("trip_distance", 3.2),
        ],
    )
    def test_what_no_caller_can_mean_is_refused(self, field: str, value: Any) -> None:
        """A zone that there is not, a time without offset, a number that is none, and what is known only afterwards."""
        with pytest.raises(ValidationError) as error:
            ask(**{field: value})
        assert [(field,)] == [problem["loc"] for problem in error.value.errors()]


class TestDeclaration:
    def test_is_found_by_name(self) -> None:
        """As params.yaml names it."""
        assert use_case is load_use_case("nyc_taxi")

    def test_inputs_and_baseline_are_columns_that_there_are(self) -> None:
        """Each is a request's field, a view's feature or made on demand."""
        looked_up = {
            f"{lookup.prefix}__{name}"
            for lookup in use_case.lookups
            for name in compile_view(use_case, use_case.view(lookup.view)).schema.names
        }
        known = {*use_case.request_fields(), *looked_up, *ON_DEMAND}
        named = {*use_case.inputs, *(column for level in use_case.baseline for column in level)}
        assert set() == named - known

    def test_nothing_of_the_trip_itself_is_asked_for(self) -> None:
        """A request holds what is known at pickup: its row has no distance, amount or duration."""
        names = compile_requests(use_case).schema.names
        assert ["request_id", *use_case.request_fields(), "city", "event_timestamp"] == names
        assert set(use_case.request_fields()) <= set(use_case.table("trips").early)

    def test_the_label_is_the_duration_in_minutes(self) -> None:
        """Known when the trip has ended."""
        assert ["request_id", "event_timestamp", "label", "label_known_at"] == compile_labels(use_case).schema.names

    def test_importing_it_is_cheap(self) -> None:
        """A caller that only reads the declaration does not wait for the libraries of the steps."""
        code = f"import sys, use_cases.nyc_taxi; print([name for name in {HEAVY} if name in sys.modules])"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "[]" == found.stdout.strip()


ON_DEMAND = {
    "minute_of_day",
    "weekday",
    "day_part",
    "passenger_count_known",
    "miles_east",
    "miles_north",
    "miles_straight",
    "miles_by_blocks",
    "same_zone",
}
