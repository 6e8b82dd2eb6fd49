"""What a row must satisfy to be accepted: reason of quarantine → Great Expectations expectation.

A trip or zone without its key (a time that the jump to summer time skipped has none) is quarantined before these are asked.
Only what makes a trip unusable is a reason. Missing passenger counts, zero distances, negative amounts and the unknown
zones 264 and 265 are real trips that a caller will ask about, and stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from use_cases.nyc_taxi.tables import LAST_ZONE

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation


def trip_rules() -> Mapping[str, Expectation]:
    """A trip of 1 to 60 minutes between two zones, picked up in the delivered month or one beside it."""
    from great_expectations import expectations as gxe

    return {
        "duration_outside_1_to_60_minutes": gxe.ExpectColumnValuesToBeBetween(
            column="duration_seconds", min_value=60, max_value=3600
        ),
        "pickup_outside_delivered_months": gxe.ExpectColumnValuesToBeBetween(
            column="months_from_delivery", min_value=-1, max_value=1
        ),
        "unknown_pickup_zone": gxe.ExpectColumnValuesToBeBetween(
            column="pickup_zone", min_value=1, max_value=LAST_ZONE
        ),
        "unknown_dropoff_zone": gxe.ExpectColumnValuesToBeBetween(
            column="dropoff_zone", min_value=1, max_value=LAST_ZONE
        ),
    }


def zone_rules() -> Mapping[str, Expectation]:
    from great_expectations import expectations as gxe

    return {
        "unknown_zone": gxe.ExpectColumnValuesToBeBetween(column="zone", min_value=1, max_value=LAST_ZONE),
    }


def weather_rules() -> Mapping[str, Expectation]:
    from great_expectations import expectations as gxe

    return {
        "impossible_temperature": gxe.ExpectColumnValuesToBeBetween(
            column="high_fahrenheit", min_value=-40, max_value=130
        ),
        "impossible_precipitation": gxe.ExpectColumnValuesToBeBetween(
            column="precipitation_inches", min_value=0, max_value=20
        ),
    }
