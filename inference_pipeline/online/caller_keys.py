"""The key with which a caller names a request, so that repeating it gives the same answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inference_pipeline.online.protocols.port import KEY_HEADER
from ratchet.core.errors import RequestError

MAX_KEY = 128
_KEY = re.compile(rf"(\"?)([A-Za-z0-9._:-]{{1,{MAX_KEY}}})\1", re.ASCII)
"""It may be quoted as a string of RFC 8941."""


def caller_key(sent: Sequence[str]) -> str | None:
    """The key in the headers that were sent, without quotes; None if there is none. Raises RequestError."""
    if not sent:
        return None
    found = _KEY.fullmatch(sent[0]) if len(sent) == 1 else None
    if found is None:
        raise RequestError(
            "is not a key that can be kept",
            subject=KEY_HEADER,
            remedy=f"Send one, with 1 to {MAX_KEY} characters of A-Z, a-z, 0-9, `.`, `_`, `:` and `-`",
        )
    return found[2]
