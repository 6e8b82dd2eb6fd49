"""The request to try the service with."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from ibis import _
from pydantic import AwareDatetime, create_model

from inference_pipeline.online.example import moved
from inference_pipeline.online.requests import RequestReader, column_kinds
from ratchet.features.service import request_schema
from tests.support import parcels

ASKED = datetime(2024, 3, 30, 9, 15, 0, 250, tzinfo=UTC)
END = datetime(2024, 4, 5, tzinfo=UTC)
REQUEST = create_model(
    "Promised", __base__=parcels.Parcel, due_at=(AwareDatetime | None, None), paid_at=(AwareDatetime, ...)
)
USE_CASE = replace(
    parcels.use_case,
    request=REQUEST,
    examples=lambda tables: parcels.examples(tables).mutate(due_at=_.event_timestamp, paid_at=_.event_timestamp),
)


def logged(**times: datetime | None) -> dict[str, Any]:
    """A request as the prediction log has it."""
    return {"sender": 1, "receiver": 2, **times, "event_timestamp": ASKED}


@pytest.mark.parametrize("due", [timedelta(days=2), timedelta(hours=-3), timedelta(0)])
def test_other_times_keep_their_distance(due: timedelta) -> None:
    """A request of several times is asked at the given instant, with the others as far before or after it as they were."""
    instance = moved(logged(due_at=ASKED + due, paid_at=ASKED - timedelta(days=1)), USE_CASE, END)
    requests = RequestReader(USE_CASE, column_kinds(request_schema(USE_CASE)))
    columns = requests.read_json(json.dumps({"instances": [instance]}).encode()).columns
    end = np.datetime64(END.replace(tzinfo=None), "us")
    expected = {"event_timestamp": end, "due_at": end + np.timedelta64(due), "paid_at": end - np.timedelta64(1, "D")}
    assert expected == {name: columns[name][0] for name in expected}


def test_a_time_that_is_missing_stays_so() -> None:
    """What is no time is as it was logged."""
    instance = moved(logged(due_at=None, paid_at=ASKED), USE_CASE, END)
    assert {"sender": 1, "receiver": 2, "due_at": None} == {
        name: instance[name] for name in ("sender", "receiver", "due_at")
    }
    assert END.isoformat() == instance["sent_at"] == instance["paid_at"]
