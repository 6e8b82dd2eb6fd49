"""Online predictions as lines of the log: the same fields that `log_entries` gives a batch, without Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from ratchet.feature_store.online_features import Found
from ratchet.use_case.columns import EVENT_TIMESTAMP

VECTOR = "vector"
"""The field that holds a ready vector, as JSON. Other predictions have none."""
Row = dict[str, Any]
"""A prediction as it is logged: plain values, and instants as ISO text."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OnlineLines:
    """The rows of one use case. `keys` are the request columns that lookups use, `fields` those of the request without its
    timestamp."""

    keys: Sequence[str]
    fields: Sequence[str]

    def known(self, requests: Mapping[str, Sequence[Any]], times: Sequence[int], found: Found, row: int) -> Row:
        """The fields about a request and its features. `requests` are columns of plain values, `times` microseconds since
        1970."""
        return {
            "keys": {name: requests[name][row] for name in self.keys},
            "request": self.request(requests, times, row),
            "features": dict(zip(found.features, found.rows[row], strict=True)),
            "feature_timestamps": dict(zip(found.lookups, map(_iso, found.since[row]), strict=True)),
            "absences": dict(zip(found.lookups, found.absences[row], strict=True)),
        }

    def given(self, vector: Mapping[str, Any], time: int) -> Row:
        """The same fields of a ready vector, which its caller gave at `time`, in microseconds since 1970."""
        nothing: Row = {name: {} for name in ("keys", "features", "feature_timestamps", "absences")}
        return {**nothing, "request": {EVENT_TIMESTAMP: _iso(time)}, VECTOR: _LINES.encode(vector).decode()}

    def request(self, requests: Mapping[str, Sequence[Any]], times: Sequence[int], row: int) -> Row:
        fields = {name: _plain(requests[name][row]) for name in self.fields}
        return {**fields, EVENT_TIMESTAMP: _iso(times[row])}


def encoded(rows: Iterable[Row]) -> bytes:
    """Rows as lines of JSON."""
    return _LINES.encode_lines(rows)


_LINES = msgspec.json.Encoder()


@lru_cache(maxsize=50_000)
def _iso(micros: int | None) -> str | None:
    return None if micros is None else (_EPOCH + timedelta(microseconds=micros)).isoformat()


def _plain(value: Any) -> Any:
    """A value as JSON holds it: an instant as ISO text in UTC."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
