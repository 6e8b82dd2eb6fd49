"""What a row must satisfy to be accepted: reason for quarantine → Great Expectations expectation.

A trip or zone without its key, or with a value that cannot be read, is quarantined before these rules are checked. So is a trip
at a time that the jump to summer time skipped.
Only what makes a trip unusable is a reason. Trips with a missing passenger count, zero distance, negative amount or the unknown
zones 264 and 265 are real trips for which callers request predictions, so they are accepted.
"""

from __future__ import annotations

from ratchet.use_case.contract import Rule, expect
from use_cases.nyc_taxi.tables import LAST_ZONE


def _between(column: str, least: float, most: float) -> Rule:
    return expect("column_values_to_be_between", column=column, min_value=least, max_value=most)


TRIP_RULES = {
    "duration_outside_1_to_60_minutes": _between("duration_seconds", 60, 3600),
    "pickup_outside_delivered_months": _between("months_from_delivery", -1, 1),
    "unknown_pickup_zone": _between("pickup_zone", 1, LAST_ZONE),
    "unknown_dropoff_zone": _between("dropoff_zone", 1, LAST_ZONE),
}
ZONE_RULES = {"unknown_zone": _between("zone", 1, LAST_ZONE)}
WEATHER_RULES = {
    "impossible_temperature": _between("high_fahrenheit", -40, 130),
    "impossible_precipitation": _between("precipitation_inches", 0, 20),
}
