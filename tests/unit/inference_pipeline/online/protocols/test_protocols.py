"""What every protocol does, whatever its bodies look like."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import Prediction, Predictions, Protocol
from inference_pipeline.online.requests import RequestReader, column_kinds
from ratchet.core.errors import RequestError
from ratchet.features.service import request_schema
from tests.support.parcels import use_case

REQUESTS = RequestReader(use_case, column_kinds(request_schema(use_case)))
ROWS = [
    {"sender": 1, "receiver": None, "sent_at": "2024-03-01T12:00:00Z"},
    {"sender": 2, "receiver": 3, "sent_at": "2024-03-01T14:30:00+01:00"},
]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


def test_requests_become_columns(protocol: Protocol) -> None:
    """A row each, in the types of the feature store, with the constants."""
    columns = protocol.reader(REQUESTS)(json.dumps(protocol.body(ROWS)).encode()).columns
    np.testing.assert_array_equal([1.0, 2.0], columns["sender"])
    np.testing.assert_array_equal([np.nan, 3.0], columns["receiver"])
    assert ["post", "post"] == columns["network"].tolist()
    asked = ["2024-03-01T12:00", "2024-03-01T13:30"]
    np.testing.assert_array_equal(np.array(asked, "datetime64[us]"), columns["event_timestamp"])


def test_the_row_of_a_value_that_does_not_fit_is_named(protocol: Protocol) -> None:
    """By its number, so that a caller finds it among many."""
    body = json.dumps(protocol.body([*ROWS, {**ROWS[0], "sender": 2**63}])).encode()
    with pytest.raises(RequestError) as raised:
        protocol.reader(REQUESTS)(body)
    assert "2" in raised.value.subject
    assert "sender" in raised.value.subject


def test_an_answer_is_json_that_holds_every_number_exactly(protocol: Protocol) -> None:
    """What was logged is what a caller gets, bit for bit."""
    values = (0.1 + 0.2, 1e-300)
    rows = [Prediction(value, "a", 7, "champion", "fresh", {"depot": 1.5}) for value in values]
    answer = json.dumps(protocol.answer(Predictions("parcels-post", rows)))
    assert all(part in answer for part in (*map(repr, values), "parcels-post", "7"))


def test_no_two_protocols_share_a_path() -> None:
    """A path says which protocol a caller speaks."""
    paths = [path for each in PROTOCOLS.values() for path in (each.predict_path, each.status_path, each.list_path)]
    assert len(paths) == len(set(paths))
