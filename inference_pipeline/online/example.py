"""An example request with which to try the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from inference_pipeline.online.requests import RequestReader, column_kinds
from ratchet.core.errors import RequestError, StoreError
from ratchet.features.service import request_schema
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.run import Run
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import UseCase


def example_request(run: Run) -> dict[str, Any]:
    """The latest scored request of the fresh period as a V1 body: the latest without empty fields, if there is one.

    Its timestamp is moved to the period's end, because the online store holds the values as of then, and no earlier ones.
    Raises StoreError if no request was scored that this code accepts: one that was scored before the use case got another field
    lacks that field.
    """
    fresh = run.period("fresh")
    requests = PredictionLog.open(run).read(fresh).column("request").to_pylist()
    whole = [request for request in requests if None not in request.values()]
    reader = RequestReader(run.use_case, column_kinds(request_schema(run.use_case)))
    for request in (*reversed(whole), *reversed(requests)):
        body = {"instances": [moved(request, run.use_case, fresh.end)]}
        with suppress(ValidationError, RequestError):
            reader.read_json(json.dumps(body).encode())
            return body
    raise StoreError(
        "holds no request of the fresh period that this code accepts",
        subject=str(run.paths.predictions),
        remedy="Run `ratchet stage predict`",
    )


def moved(request: Mapping[str, Any], use_case: UseCase, at: datetime) -> dict[str, Any]:
    """A logged request with its event timestamp moved to `at`. Its other timestamps move by the same time span."""
    shift = at - request[EVENT_TIMESTAMP]
    fields = {name: request[name] for name in use_case.request_fields()} | {
        use_case.event_timestamp: request[EVENT_TIMESTAMP]
    }
    return {
        name: (value + shift).isoformat() if isinstance(value, datetime) else value for name, value in fields.items()
    }
