"""A second use case: will a patient miss an appointment? It differs from the taxi in task, keys, label delay and time zone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from ibis import _
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ratchet.core.clock import Period
from ratchet.storage.digests import digest
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import Lookup, SourceTable, Tables, UseCase, View, expect
from tests.support.noshow_on_demand import TIMEZONE, on_demand

INSTANT = pa.timestamp("us", "UTC")
APPOINTMENTS = pa.schema(
    {
        "appointment_id": pa.int64(),
        "patient": pa.string(),
        "clinic": pa.string(),
        "booked_days_ahead": pa.int64(),
        "reminder_at": INSTANT,
        "missed": pa.int64(),
        "recorded_at": INSTANT,
    }
)


def _week(start: datetime, week: int, options: Mapping[str, Any]) -> pa.Table:
    """One week of reminders; a patient's own tendency, the clinic and the lead time decide who stays away."""
    rng = np.random.default_rng([int(options.get("seed", 3)), week])
    rows = int(options.get("rows_per_week", 300))
    patients, lead = rng.integers(0, 60, rows), rng.integers(0, 30, rows)
    clinic = rng.choice(["north", "south"], rows)
    reminder = np.sort(rng.integers(0, 7 * 24 * 60, rows)).astype("timedelta64[m]") + np.datetime64(
        start.replace(tzinfo=None) + timedelta(weeks=week), "us"
    )
    log_odds = -1.5 + 3.0 * (patients % 3 == 0) + 0.05 * lead + 0.5 * (clinic == "north")
    missed = (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    missed[rng.random(rows) < 0.01] = 7  # dirt: an impossible code
    return pa.table(
        {
            "appointment_id": np.arange(rows) + week * rows,
            "patient": np.char.add("p", patients.astype(str)),
            "clinic": clinic,
            "booked_days_ahead": lead,
            "reminder_at": pa.array(reminder).cast(pa.timestamp("us")).cast(INSTANT),
            "missed": missed,
            "recorded_at": pa.array(reminder + np.timedelta64(3, "D")).cast(pa.timestamp("us")).cast(INSTANT),
        }
    ).cast(APPOINTMENTS)


CLOSED = datetime(2024, 7, 31, 14, 30, tzinfo=UTC)
"""Until when reminders are complete."""


def clinic_feed(path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch]:
    """Batches of four weeks (or `weeks_per_batch`) from the first of 2024 on; the last holds what there is by the end."""
    first, size = datetime(2024, 1, 1, tzinfo=UTC), int(options.get("weeks_per_batch", 4))
    begin, end = max((period.start - first).days // 7 // size, 0) * size, (period.end - first).days // 7 + 1
    for begun in range(begin, end, size):
        weeks = range(begun, min(begun + size, end))
        yield Batch(
            "appointments",
            f"week-{begun:03d}",
            digest("noshow", list(weeks), dict(options)),
            lambda weeks=weeks: (pa.concat_tables(_week(first, week, options) for week in weeks), []),  # type: ignore[misc]
            complete_until=min(first + timedelta(weeks=weeks.stop), CLOSED),
        )


RULES = {
    "missed_is_no_yes_or_no": expect("column_values_to_be_in_set", column="missed", value_set=[0, 1]),
    "no_patient": expect("column_values_to_not_be_null", column="patient"),
}


def patient_history(tables: Tables) -> ibis.Table:
    known = tables["appointments"].mutate(
        event_timestamp=(_.recorded_at.truncate("h") + ibis.interval(hours=1)).cast("timestamp('UTC', 6)")
    )
    hourly = known.group_by(["patient", "event_timestamp"]).agg(n=_.count(), missed=_.missed.sum())
    window = ibis.range_window(
        group_by="patient", order_by="event_timestamp", preceding=ibis.interval(days=56), following=0
    )
    return hourly.select(
        "patient",
        "event_timestamp",
        appointments_56d=_.n.sum().over(window).cast("int64"),
        miss_rate_56d=_.missed.sum().over(window) / _.n.sum().over(window),
    )


def examples(tables: Tables) -> ibis.Table:
    return tables["appointments"].select(
        request_id=_.row_key,
        patient=_.patient,
        clinic=_.clinic,
        booked_days_ahead=_.booked_days_ahead,
        event_timestamp=_.reminder_at,
        label=_.missed.cast("float64"),
        label_known_at=_.recorded_at,
    )


class Reminder(BaseModel):
    """What is known when the reminder is sent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    patient: str
    clinic: str
    booked_days_ahead: int = Field(ge=0, le=365)
    reminder_at: AwareDatetime


use_case = UseCase(
    name="noshow",
    task="binary",
    timezone=TIMEZONE,
    label="missed",
    unit="probability",
    tables=(
        SourceTable(
            "appointments",
            APPOINTMENTS,
            key=("appointment_id",),
            event_time="reminder_at",
            known_at="recorded_at",
            early=("appointment_id", "patient", "clinic", "booked_days_ahead"),
            rules=RULES,
        ),
    ),
    sources={"clinic": clinic_feed},
    views=(
        View("patient_history", ("patient",), patient_history, lookback=timedelta(days=60), max_age=timedelta(days=60)),
    ),
    lookups=(Lookup("patient_history", {"patient": "patient"}),),
    request=Reminder,
    event_timestamp="reminder_at",
    examples=examples,
    on_demand=on_demand,
    inputs={
        "patient": "category",
        "clinic": "category",
        "booked_days_ahead": "number",
        "hour": "number",
        "patient_history__appointments_56d": "number",
        "patient_history__miss_rate_56d": "number",
    },
    baseline=(("clinic",), ()),
)
