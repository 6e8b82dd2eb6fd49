"""How deep the objects and lists of a JSON body are, found before it is parsed."""

from __future__ import annotations

import re

from ratchet.core.errors import RequestError

MAX_NESTING = 32
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_OTHERS = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_OPENING = frozenset(b"[{")


def require_shallow(body: bytes, limit: int = MAX_NESTING) -> None:
    """Raises RequestError if objects and lists are nested deeper than `limit`. Takes linear time; the body may be no JSON."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    unescaped = _ESCAPED.sub(b"", body) if b"\\" in body else body
    outside_strings = b"".join(unescaped.translate(None, _OTHERS).split(b'"')[::2])
    depth = 0
    for bracket in outside_strings:
        depth += 1 if bracket in _OPENING else -1
        if depth > limit:
            raise RequestError(
                f"objects and lists are nested more than {limit} deep", subject="body", remedy="Send flat instances"
            )
