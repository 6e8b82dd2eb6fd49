"""POST /v1/models/{name}:feedback: callers say what became of predictions."""

from __future__ import annotations

import asyncio
import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, TypeAdapter

from inference_pipeline.online.access.nesting import require_shallow
from inference_pipeline.online.instances import MAX_INSTANCES, STRICT
from inference_pipeline.online.protocols.json_body import refuse_duplicate_keys
from inference_pipeline.online.protocols.json_schemas import WHOLE_NUMBER, Schema, a_list, an_object
from inference_pipeline.online.requests import rfc_3339
from ratchet.core.clock import Clock
from ratchet.core.errors import RequestError
from ratchet.prediction_log.feedback import FeedbackLog
from ratchet.prediction_log.online_log import date_of
from ratchet.use_case.contract import Task

PATH = "/v1/models/{name}:feedback"
_ONLINE_ID = re.compile(r"\d{4}-\d{2}-\d{2}-o[0-9a-f]{32}")


class Outcome(BaseModel):
    """What became of a prediction: the label, 0 or 1 for a probability; and when that was seen, if not just now."""

    model_config = STRICT

    prediction_id: Annotated[str, StringConstraints(pattern=f"^{_ONLINE_ID.pattern}$")]
    outcome: float
    observed_at: Annotated[datetime | None, BeforeValidator(rfc_3339)] = None


class FeedbackBody(BaseModel):
    """The body of a request."""

    model_config = STRICT

    feedback: Annotated[list[Outcome], Field(min_length=1, max_length=MAX_INSTANCES)]


async def take(body: bytes, log: FeedbackLog, task: Task, clock: Clock, caller: str) -> int:
    """Keep what a body says; returns how many outcomes that are.

    Raises pydantic's ValidationError or a RequestError, which name the fields, and StoreUnavailableError.
    """
    require_shallow(body)
    sent, now = FeedbackBody.model_validate_json(body).feedback, clock.now()
    refuse_duplicate_keys(body)
    rows = [_row(number, each, now, task, caller) for number, each in enumerate(sent)]
    await asyncio.to_thread(log.append, rows)
    return len(rows)


def _row(number: int, sent: Outcome, now: datetime, task: Task, caller: str) -> dict[str, Any]:
    observed = sent.observed_at or now
    if task == "binary" and sent.outcome not in (0.0, 1.0):
        raise _wrong(number, "outcome", "must be 0 or 1, because the model gives a probability")
    if observed > now:
        raise _wrong(number, "observed_at", "lies in the future")
    if not _is_past(sent.prediction_id, now.date()):
        raise _wrong(number, "prediction_id", "does not begin with a date up to now")
    return {
        "prediction_id": sent.prediction_id,
        "outcome": sent.outcome,
        "observed_at": observed,
        "received_at": now,
        "caller": caller,
    }


def _is_past(prediction_id: str, today: date) -> bool:
    try:
        return date_of(prediction_id) <= today
    except ValueError:
        return False


def _wrong(number: int, field: str, problem: str) -> RequestError:
    return RequestError(problem, subject=f"feedback[{number}].{field}", remedy="Send what was observed")


def schemas() -> tuple[Schema, Schema]:
    """The JSON schemas of a body and of its answer."""
    outcome = TypeAdapter(Outcome).json_schema()
    return an_object({"feedback": a_list(outcome, minItems=1, maxItems=MAX_INSTANCES)}), an_object(
        {"accepted": WHOLE_NUMBER}
    )
