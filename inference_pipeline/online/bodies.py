"""The body of a request: of which types and encodings it is taken, and how large it may be."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

MAX_BODY = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS
_OTHER_TEXTS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-8, which JSON does not have, and of UTF-16 and UTF-32."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, media_types: Sequence[str]) -> bytes:
    """The body, unpacked if it was sent with gzip. `media_types` are those that are taken, "" for none.

    Raises HTTPException 415 for another type or encoding, 413 if it is too large, and 400 if it is not what it says;
    ClientDisconnect if the caller goes before it is there.
    """
    _require_type(headers.get(b"content-type", b"").decode("latin-1"), media_types)
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise HTTPException(
            415, f"the encoding {encoding!r} is not taken: send gzip, or none", {"Accept-Encoding": "gzip, identity"}
        )
    content = await _received(receive)
    if encoding == "gzip":
        content = _unpacked(content)
    if content.startswith(_OTHER_TEXTS):
        raise HTTPException(415, "the body begins with a byte order mark: send JSON in UTF-8 without one")
    return content


async def _received(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        _require_size(len(body))
        if not message.get("more_body"):
            return bytes(body)


def _require_type(sent: str, media_types: Sequence[str]) -> None:
    media_type, charset = _parts(sent)
    if media_type not in media_types:
        names = " or ".join(f"`content-type: {name}`" for name in media_types if name)
        raise HTTPException(415, f"the body must be JSON, with the header {names}")
    if charset.strip(' "') not in ("", "utf-8", "utf8", "us-ascii"):
        raise HTTPException(415, f"the charset {charset.strip()!r} is not taken: send JSON in UTF-8")


@lru_cache(maxsize=64)
def _parts(content_type: str) -> tuple[str, str]:
    """The media type in a header, and its charset."""
    media_type, _, parameters = content_type.partition(";")
    return media_type.strip().lower(), parameters.lower().partition("charset=")[2]


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        content = unpacking.decompress(packed, MAX_BODY + 1)
    except zlib.error as error:
        raise HTTPException(400, f"the body is not gzip, as its header says ({error})") from error
    _require_size(len(content))
    if not unpacking.eof or unpacking.unused_data:
        raise HTTPException(400, "the body is not one whole gzip file: it is cut short, or something follows it")
    return content


def _require_size(size: int) -> None:
    if size > MAX_BODY:
        raise HTTPException(413, f"the body is larger than {MAX_BODY} bytes: send fewer instances")
