"""Bodies of JSON, in any protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ratchet.core.errors import RequestError


def refuse_duplicate_keys(body: bytes, different: int | None = None) -> None:
    """Raises RequestError if an object in valid JSON has a key twice: which value is meant cannot be known.

    `different` is the number of its keys without those that repeat an earlier one of the same object, where it is known: if the
    body has no more, it need not be parsed. A colon follows each key, and there may be others in texts.
    """
    if different is not None and body.count(b":") == different:
        return
    try:
        _UNIQUE.decode(body.decode())
    except _DuplicateKeyError:
        place = next(_duplicates(json.loads(body, object_pairs_hook=_Pairs), ""))
        raise RequestError("is there twice", subject=place, remedy="Send it once") from None


class _DuplicateKeyError(Exception):
    pass


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _DuplicateKeyError


_UNIQUE = json.JSONDecoder(object_pairs_hook=_require_unique)


class _Pairs(list[tuple[str, Any]]):
    """The content of an object, with every key that was sent."""


def _duplicates(value: Any, place: str) -> Iterator[str]:
    """The places of keys that an object has already: `instances[2].clinic`."""
    if isinstance(value, _Pairs):
        seen = set()
        for key, content in value:
            inner = f"{place}.{key}" if place else key
            if key in seen:
                yield inner
            seen.add(key)
            yield from _duplicates(content, inner)
    elif isinstance(value, list):
        for number, content in enumerate(value):
            yield from _duplicates(content, f"{place}[{number}]")
