"""A request to try the service with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from inference_pipeline.online.protocols import PROTOCOLS
from ratchet.core.errors import RequestError, StoreError
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.run import Run
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import UseCase


def example_request(run: Run) -> dict[str, Any]:
    """The latest scored request of the fresh period, of those that leave nothing out if there are any, as a V1 body.

    It is asked as of the period's end, for which the online store was written: what a request before that needed has been
    replaced there. Raises StoreError where none was scored that this code accepts: what was scored before the use case got
    another field lacks it.
    """
    fresh = run.period("fresh")
    requests = PredictionLog.open(run).read(fresh).column("request").to_pylist()
    whole = [request for request in requests if None not in request.values()]
    protocol = PROTOCOLS["v1"]
    read = protocol.reader(run.use_case)
    for request in (*reversed(whole), *reversed(requests)):
        body = dict(protocol.body([moved(request, run.use_case, fresh.end)]))
        with suppress(ValidationError, RequestError):
            read(json.dumps(body).encode())
            return body
    raise StoreError(
        "holds no request of the fresh period that this code accepts",
        subject=str(run.paths.predictions),
        remedy="Run `ratchet stage predict`",
    )


def moved(request: Mapping[str, Any], use_case: UseCase, at: datetime) -> dict[str, Any]:
    """A request from a logged one, asked at another instant; its other times keep their distance to it."""
    shift = at - request[EVENT_TIMESTAMP]
    fields = {name: request[name] for name in use_case.request_fields()} | {
        use_case.event_timestamp: request[EVENT_TIMESTAMP]
    }
    return {
        name: (value + shift).isoformat() if isinstance(value, datetime) else value for name, value in fields.items()
    }
