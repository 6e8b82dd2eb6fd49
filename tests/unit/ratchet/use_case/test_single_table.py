"""What follows from a request's fields and a table's label, where a use case is no more than one table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest
from ibis import _
from pydantic import AwareDatetime, BaseModel, Field, ValidationError, create_model

from ratchet.core.clock import calendar
from ratchet.core.errors import SettingsError
from ratchet.use_case.contract import INSTANT, SourceTable
from ratchet.use_case.request_fields import kinds_of, numbers, request_of, schema_of
from ratchet.use_case.single_table import examples_of, outcome_inputs, outcome_lookup, outcomes
from tests.support.arrived import arrived

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


class Reading(BaseModel):
    """A field of every type."""

    meter: str
    zone: int
    load: float | None = Field(None, ge=0)
    is_new: bool = False
    at: AwareDatetime


METERS = SourceTable(
    "meters",
    schema_of(Reading, fault=pa.int64(), known_at=INSTANT),
    key=("meter", "at"),
    event_time="at",
    known_at="known_at",
)


def table(*rows: dict[str, Any]) -> ibis.Table:
    """Stored rows, an hour apart and known after another, where they do not say otherwise."""
    defaults = [
        {
            "meter": "m",
            "zone": 1,
            "at": NOON + place * timedelta(hours=1),
            "fault": 1,
            "known_at": NOON + (place + 1) * timedelta(hours=1),
        }
        for place in range(len(rows))
    ]
    merged = [{**default, **row} for default, row in zip(defaults, rows, strict=True)]
    names = pa.array([f"b:{place}" for place in range(len(rows))])
    return ibis.memtable(arrived(METERS, merged).set_column(0, "row_key", names))


class TestFields:
    def test_are_columns(self) -> None:
        """In order, with others behind them; whether a field may be left out makes no difference."""
        assert METERS.schema == pa.schema(
            {
                "meter": pa.string(),
                "zone": pa.int64(),
                "load": pa.float64(),
                "is_new": pa.bool_(),
                "at": INSTANT,
                "fault": pa.int64(),
                "known_at": INSTANT,
            }
        )

    def test_are_inputs(self) -> None:
        """Text is a category, the rest but timestamps are numbers, unless it is said otherwise."""
        assert {"meter": "category", "zone": "number", "load": "number", "is_new": "number"} == kinds_of(Reading)
        assert {"zone": "category", "load": "number", "is_new": "number"} == kinds_of(
            Reading, meter=None, zone="category"
        )
        assert {"a": "number", "b": "number"} == numbers("a", "b")

    def test_of_another_type_are_refused(self) -> None:
        """There is no column for them."""
        strange = create_model("Strange", tags=(list[str], ...))
        with pytest.raises(SettingsError, match=r"'tags': .*list\[str\].*str, int, float, bool or AwareDatetime"):
            schema_of(strange)

    def test_may_be_given_many_to_a_line(self) -> None:
        """As a class of one line a field would declare them."""
        dense = request_of("at", texts="meter", integers="zone", amounts="load", flags="is_new", optional="load")
        assert schema_of(Reading).field("load") == schema_of(dense).field("load")
        assert {*schema_of(Reading).names} == {*schema_of(dense).names}
        given = {"meter": "m", "zone": -1, "is_new": True, "at": NOON}
        assert {**given, "load": None} == dense(**given).model_dump()
        for wrong in ({"load": -1.0}, {"zone": None}, {"at": None}):
            with pytest.raises(ValidationError):
                dense(**{**given, **wrong})


def test_examples_are_the_rows() -> None:
    """Each is a request at its event_time, with its label; a label that nobody knows the timestamp of is unknown."""
    rows = table({"fault": 0}, {"known_at": None}, {"fault": None})
    examples = (
        examples_of(METERS, Reading, _["fault"])({"meters": rows}).order_by("request_id").to_pyarrow().to_pylist()
    )
    assert [0.0, None, None] == [row["label"] for row in examples]
    assert ["b:0", "b:1", "b:2"] == [row["request_id"] for row in examples]
    assert [NOON, NOON + timedelta(hours=1)] == [row["event_timestamp"] for row in examples[:2]]
    assert NOON + timedelta(hours=1) == examples[0]["label_known_at"]


def test_outcomes_are_known_labels_of_the_entity() -> None:
    """How many became known in each window, and their mean; an unknown label is none."""
    view = outcomes("meter", METERS, _["fault"], tile="1h", windows=("2h", "4h"), delay="1h", scale=10)
    rows = table({"fault": 1}, {"fault": None}, {"fault": 0}, {"meter": "other"})
    found = (
        view.compute({"meters": rows}).filter(_["meter"] == "m").order_by("event_timestamp").to_pyarrow().to_pylist()
    )
    *_earlier, at_four = (row for row in found if row["event_timestamp"] <= NOON + timedelta(hours=4))
    assert (1, 2, 0.0, 0.5) == tuple(at_four[name] for name in ("known_2h", "known_4h", "mean_2h", "mean_4h"))
    assert [f"meter_outcomes__{name}" for name in at_four if name not in {"meter", "event_timestamp"}] == sorted(
        outcome_inputs("meter", ("2h", "4h")), key=lambda name: [name[-2:], name]
    )
    assert ("meter_outcomes", {"meter": "meter"}) == (outcome_lookup("meter").view, outcome_lookup("meter").keys)


def test_a_calendar_is_local() -> None:
    """Hour and weekday (Monday is 0) by the wall clock; not a number for no time."""
    instants = np.array(["2024-06-30T22:30", "2024-01-01T22:30", "NaT"], "datetime64[us]")
    found = calendar(instants, "Europe/Berlin")
    assert [0.0, 23.0] == found["hour"][:2].tolist()
    assert [0.0, 0.0] == found["weekday"][:2].tolist()
    assert np.isnan([found["hour"][2], found["weekday"][2]]).all()
