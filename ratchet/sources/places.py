"""Where `source.path` of params.yaml leads: an address, a file, a folder, or a pattern of files below a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ratchet.storage.file_patterns import Place, entries

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:\d*)?")


def is_address(path: str) -> bool:
    """Whether a path is a URL such as `https://…` or `postgresql://…`."""
    return bool(_ADDRESS.match(path))


def located(root: Path, path: str) -> str:
    """The path as a loader gets it: an address unchanged, any other below `root` unless it is absolute."""
    return path if is_address(path) else str(root / path)


def without_secrets(path: str) -> str:
    """The path as it may be shown: an address without user, password, query and fragment; only its scheme if it is no URL."""
    if not is_address(path):
        return path
    scheme, _, rest = path.partition("://")
    authority, below = re.fullmatch(r"([^/?#]*)([^?#]*).*", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    host = authority.rpartition("@")[2]
    return f"{scheme}://{host}{below}" if _HOST.fullmatch(host) else f"{scheme}://…"


def watched(root: Path, path: str) -> Iterator[Path]:
    """Everything whose change can change what is found at a path; nothing for an address."""
    if is_address(path):
        return
    place = Place.of(root / path)
    yield place.fixed
    if not place.pattern:
        yield from place.fixed.rglob("*")
    elif place.fixed.is_dir():
        yield from (found for found, _ in entries(place))
