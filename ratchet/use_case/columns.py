"""Names of the columns that pipelines and stores share, whatever the use case, and those that a use case names itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ratchet.core.errors import SettingsError
from ratchet.core.text import did_you_mean

EVENT_TIMESTAMP = "event_timestamp"
REQUEST_ID = "request_id"
LABEL_KNOWN_AT = "label_known_at"
LABEL_COLUMNS = ("label", LABEL_KNOWN_AT)
ARRIVED_AT, AVAILABLE_AT, EARLY_AVAILABLE_AT = "row_arrived_at", "row_available_at", "row_early_available_at"
"""When an accepted row arrived, and from when on features may use it, or its early columns: see `ratchet.use_case.arrival`."""
LATE_AT, EARLY_LATE_AT = "row_late_at", "row_early_late_at"
"""When a raw row was first there, or its early columns were, that should have been there before; null if in time."""
SEEN_AT, KNOWN_SEEN_AT = "row_seen_at", "row_known_seen_at"
"""As of which instant a raw row was first there, if it was not when ingest had asked for its time; and as of which one it was
known, if it was seen pending. Null if ingest saw nothing else before."""
UPCOMING = "upcoming_rows"
"""A column that only the online store has, in addition to a view's features."""


def require_columns(keyword: str, named: Iterable[str], known: Collection[str], *, subject: str) -> None:
    """Raises SettingsError where `keyword` of the subject, a file or a use case, names a column that is not known."""
    for name in named:
        if name not in known:
            raise SettingsError(
                f"`{keyword}` names {name!r}, which is not a column{did_you_mean(name, known)}",
                subject=subject,
                remedy="Name an existing column; `ratchet check` names the line",
            )
