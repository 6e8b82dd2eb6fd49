"""How deep a body is nested, whatever stands in its strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.online.access.nesting import MAX_NESTING, require_shallow
from ratchet.core.errors import RequestError

TEXTS = st.text(st.sampled_from('[]{}"\\a\né'), max_size=12)
VALUES = st.recursive(
    st.none() | TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(VALUES, st.integers(0, 6), st.booleans(), st.booleans())
def test_as_the_parsed_value_says(value: Any, limit: int, is_ascii: bool, is_indented: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii, indent=2 if is_indented else None).encode()
    if depth(value) > limit:
        with pytest.raises(RequestError):
            require_shallow(body, limit)
    else:
        require_shallow(body, limit)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a\\\\":'])
def test_a_megabyte_of_brackets(opening: bytes) -> None:
    """No recursion, and an answer without looking at all of it; with as many that are closed again, too."""
    with pytest.raises(RequestError) as refused:
        require_shallow(opening * (1_000_000 // len(opening)))
    assert "body" == refused.value.subject
    require_shallow(b"[" + b"[]," * 300_000 + b"[]]", limit=2)


@given(st.binary(max_size=60) | st.text(st.sampled_from('[]{}"\\'), max_size=60).map(str.encode))
def test_what_is_no_json_raises_nothing_else(body: bytes) -> None:
    require_shallow(body, limit=MAX_NESTING * 2)
