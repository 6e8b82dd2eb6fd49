"""Keys that are in a JSON object twice are refused, whether or not it is known how many there should be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.online.protocols.json_body import refuse_duplicate_keys
from ratchet.core.errors import RequestError

KEYS = st.sampled_from(["a", "b", ":", '"', '":', "\\", "é"])
VALUES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.text(':"\\a ', max_size=4))
SPACES = st.sampled_from(["", " ", "\n\t"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, int, bool]:
    """A body with instances, how many different keys it has, and whether any is there twice."""
    instances = draw(st.lists(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=5), min_size=1, max_size=3))
    texts = [
        ",".join(f"{json.dumps(key)}{draw(SPACES)}:{draw(SPACES)}{json.dumps(value)}" for key, value in instance)
        for instance in instances
    ]
    different = 1 + sum(len(dict(instance)) for instance in instances)
    body = '{"instances": [' + ",".join(f"{{{text}}}" for text in texts) + "]}"
    return body, different, different <= sum(map(len, instances))


@given(found=bodies())
def test_a_key_that_is_there_twice_is_refused(found: tuple[str, int, bool]) -> None:
    body, different, has_two = found
    assert [has_two] * 2 == [refused(body), refused(body, different)]


def refused(body: str, *different: int) -> bool:
    try:
        refuse_duplicate_keys(body.encode(), *different)
    except RequestError:
        return True
    return False


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"instances": [{"a": 1}, {"a": 1, "b": 2}]}, "instances[1].b"),
        ({"b": [{"a": 1}]}, "b"),
    ],
)
def test_the_place_is_named(content: Any, place: str) -> None:
    body = json.dumps(content).replace('"b":', '"b": 0, "b":')
    with pytest.raises(RequestError) as raised:
        refuse_duplicate_keys(body.encode())
    assert place == raised.value.subject
