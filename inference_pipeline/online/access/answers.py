"""What every answer carries, and the bodies of those that come from the guard itself."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

RawHeaders = list[tuple[bytes, bytes]]
SECURITY_HEADERS: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]
PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
"""What an HTML page may load: nothing from elsewhere, and no script within the page. A page may bring its own policy."""


def protected(headers: RawHeaders, request_id: str) -> RawHeaders:
    """The headers of an answer, and what each answer has: the request's id, and what keeps browsers from misusing it."""
    common = [*headers, *SECURITY_HEADERS, (b"x-request-id", request_id.encode())]
    given = dict(headers)
    if given.get(b"content-type", b"").startswith(b"text/html") and PAGE_POLICY[0] not in given:
        common.append(PAGE_POLICY)
    return common


def error_answer(reason: str, headers: Mapping[str, str]) -> tuple[RawHeaders, bytes]:
    """Headers and body of `{"error": …}`."""
    body = msgspec.json.encode({"error": reason})
    given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *given], body


def raw_error(status: int, reason: str, request_id: str) -> bytes:
    """An answer as it is sent over a connection, which is closed after it."""
    headers, body = error_answer(reason, {"connection": "close"})
    lines = b"".join(b"%s: %s\r\n" % header for header in protected(headers, request_id))
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() + lines + b"\r\n" + body
