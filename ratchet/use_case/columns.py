"""Names of the columns that pipelines and stores share, whatever the use case."""

from __future__ import annotations

EVENT_TIMESTAMP = "event_timestamp"
REQUEST_ID = "request_id"
LABEL_KNOWN_AT = "label_known_at"
LABEL_COLUMNS = ("label", LABEL_KNOWN_AT)
UPCOMING = "upcoming_rows"
"""A column that only the online store has, in addition to a view's features."""
