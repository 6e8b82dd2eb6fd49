"""Traces for OpenTelemetry: a span for each request, which names the model that answered, how, and the predictions in the log.

BentoML makes the spans of HTTP, and sends all of them to a collector; those of gRPC are made here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opentelemetry import propagate, trace

from inference_pipeline.online.access.request_context import CURRENT_REQUEST
from inference_pipeline.online.protocols.port import Predictions
from ratchet.core.environment import Environment

Answer = Callable[[Any, Any], Awaitable[Any]]
MOST_IDS = 20
"""Prediction ids in one span."""
_PROBES = "livez,readyz,healthz,v2/health,metrics"


def settings(environment: Environment) -> Mapping[str, Any]:
    """What BentoML has to be told."""
    if not environment.traces:
        return {"excluded_urls": ".*"}
    collector = {"protocol": "http", "endpoint": environment.traces, "http": {}}
    return {
        "exporter_type": "otlp",
        "sample_rate": environment.trace_share,
        "excluded_urls": _PROBES,
        "otlp": collector,
    }


def note(predictions: Predictions) -> None:
    """Write into the span of this request what it is answered with."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    rows, asked = predictions.rows, CURRENT_REQUEST.get()
    span.set_attributes(
        {
            "ratchet.request_id": asked.request_id if asked else "",
            "ratchet.model": predictions.model_name,
            "ratchet.model_version": predictions.model_version,
            "ratchet.arm": rows[0].arm,
            "ratchet.rungs": sorted({row.rung for row in rows}),
            "ratchet.predictions": len(rows),
            "ratchet.prediction_ids": [row.id for row in rows[:MOST_IDS]],
        }
    )


def traced(method: str, answer: Answer) -> Answer:
    """A method of the service over gRPC with a span for each call, which goes on with the caller's trace."""
    tracer, attributes = trace.get_tracer("ratchet"), {"rpc.system": "grpc", "rpc.method": method}

    async def within(request: Any, context: Any) -> Any:
        parent = propagate.extract(dict(context.invocation_metadata() or ()))
        with tracer.start_as_current_span(method, parent, trace.SpanKind.SERVER, attributes):
            return await answer(request, context)

    return within
