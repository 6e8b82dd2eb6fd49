"""Lines of the service's log: each with the id of the request during which it was written, as text or as JSON."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from opentelemetry import trace

from inference_pipeline.online.access.request_context import CURRENT_REQUEST

_LOGGERS = ("", "bentoml", "uvicorn.error", "circus")
"""Those to which BentoML gives handlers."""


def write_logs(form: Literal["text", "json"]) -> None:
    """Write all lines of this process like this. BentoML must have made its handlers."""
    formatter = JsonLines() if form == "json" else TextLines()
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(formatter)


class JsonLines(logging.Formatter):
    """An object in each line. `request_id` and `caller` (the name of the key) are there within a request, and the ids of its
    trace and span if it is traced."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if asked := CURRENT_REQUEST.get():
            line |= {"request_id": asked.request_id, "caller": asked.caller or None}
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line |= {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextLines(logging.Formatter):
    """Time, level, process and message, and the id of the request."""

    def format(self, record: logging.LogRecord) -> str:
        asked = CURRENT_REQUEST.get()
        request = f" (request {asked.request_id})" if asked else ""
        line = f"{_time(record)} {record.levelname:<7} {record.process} {record.getMessage()}{request}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
