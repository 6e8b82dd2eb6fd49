"""What every protocol does, whatever its bodies look like."""

from __future__ import annotations

import json
from itertools import chain

import numpy as np
import pytest

from inference_pipeline.online.explanations import Explanation
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import Body, Inputs, Prediction, Predictions, Protocol
from inference_pipeline.online.requests import RequestReader, column_kinds
from inference_pipeline.online.vectors import VectorReader
from ratchet.core.errors import RequestError
from ratchet.features.service import request_schema
from tests.support.parcels import use_case

REQUESTS = RequestReader(use_case, column_kinds(request_schema(use_case)))
VECTORS = VectorReader({"weight": "double", "json": "double", "kind of depot": "string"})
ROWS = [
    {"sender": 1, "receiver": None, "sent_at": "2024-03-01T12:00:00Z"},
    {"sender": 2, "receiver": 3, "sent_at": "2024-03-01T14:30:00+01:00"},
]
VECTOR = {"weight": 0.1, "json": 3, "kind of depot": "north"}


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


def read(protocol: Protocol, reader: RequestReader | VectorReader, rows: list[dict[str, object]]) -> Inputs:
    return protocol.read(reader, Body(json.dumps(protocol.body(rows)).encode())).inputs


def test_requests_become_columns(protocol: Protocol) -> None:
    """A row each, in the types of the feature store, with the constants."""
    columns = read(protocol, REQUESTS, ROWS).columns
    np.testing.assert_array_equal([1.0, 2.0], columns["sender"])
    np.testing.assert_array_equal([np.nan, 3.0], columns["receiver"])
    assert ["post", "post"] == columns["network"].tolist()
    asked = ["2024-03-01T12:00", "2024-03-01T13:30"]
    np.testing.assert_array_equal(np.array(asked, "datetime64[us]"), columns["event_timestamp"])


def test_ready_vectors_become_columns(protocol: Protocol) -> None:
    """Whatever the inputs are called. What is missing is so in the column."""
    nothing = dict.fromkeys(VECTOR)
    columns = read(protocol, VECTORS, [VECTOR, nothing]).columns
    np.testing.assert_array_equal([0.1, np.nan], columns["weight"])
    np.testing.assert_array_equal([3.0, np.nan], columns["json"])
    assert ["north", None] == columns["kind of depot"].tolist()


@pytest.mark.parametrize(
    "changes", [{"weight": "1"}, {"weight": True}, {"kind of depot": 1}, {"another": 1.0}, {"weight": ...}]
)
def test_a_vector_has_exactly_the_inputs_of_the_model(protocol: Protocol, changes: dict[str, object]) -> None:
    """An input that is left out is not taken for a missing value: it may have been misspelt."""
    sent = {name: value for name, value in {**VECTOR, **changes}.items() if value is not ...}
    with pytest.raises(ValueError, match=rf"instances\.1\.{next(iter(changes))}"):
        read(protocol, VECTORS, [sent, sent])


def test_the_row_of_a_value_that_does_not_fit_is_named(protocol: Protocol) -> None:
    """By its number, so that a caller finds it among many."""
    with pytest.raises(RequestError) as raised:
        read(protocol, REQUESTS, [*ROWS, {**ROWS[0], "sender": 2**63}])
    assert "instances[2].sender" == raised.value.subject


def test_an_answer_is_json_that_holds_every_number_exactly(protocol: Protocol) -> None:
    """What was logged is what a caller gets, bit for bit, and so are the contributions."""
    values = (0.1 + 0.2, 1e-300)
    explanation = Explanation(0.7 + 0.1, {"weight": 5e-324}, "log-odds")
    rows = [Prediction(value, "a", 7, "champion", "fresh", {"depot": 1.5}, explanation) for value in values]
    asked = protocol.read(REQUESTS, Body(json.dumps(protocol.body(ROWS)).encode()))
    answer = asked.answer(Predictions("parcels-post", 7, rows))
    assert "application/json" == answer.headers["content-type"]
    for part in (*map(repr, values), repr(0.7 + 0.1), "5e-324", "log-odds", "parcels-post", "7"):
        assert part in answer.content.decode()


def test_no_two_protocols_share_a_path() -> None:
    """A path says which protocol a caller speaks."""
    asks = chain.from_iterable(each.asks for each in PROTOCOLS.values())
    paths = [*asks, *(path for each in PROTOCOLS.values() for _, path in each.shows)]
    assert len(paths) == len(set(paths))
