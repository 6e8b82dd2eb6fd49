"""Spans, as a collector of OpenTelemetry gets them from a running service."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ratchet.project.run import Run
from tests.support.grpc_client import INSTANCE, Client
from tests.support.ports import free_port
from tests.support.registry import copied
from tests.support.serving import running
from tests.support.waiting import LONGEST
from tests.support.webhook import webhook

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def spans(body: bytes) -> list[Any]:
    sent = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    request = ExportTraceServiceRequest.FromString(sent)
    return [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]


def attributes(span: Any) -> Mapping[str, Any]:
    found = {each.key: each.value for each in span.attributes}
    return {
        key: [item.string_value for item in value.array_value.values] or value.string_value
        for key, value in found.items()
    }


def test_a_request_is_a_span_of_its_callers_trace(prepared_to_serve: Run, tmp_path: Path) -> None:
    """Over HTTP and gRPC; it names the predictions, which are in the log. Probes are none."""
    run, address = copied(prepared_to_serve, tmp_path / "project"), f"127.0.0.1:{free_port()}"
    with webhook(200, spans) as (collector, exported):
        variables = {"RATCHET_TRACES": collector, "RATCHET_GRPC": address, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with running(run, **variables) as server:
            body, headers = {"instances": [INSTANCE]}, {"traceparent": PARENT, "X-Request-ID": "visit-7"}
            answer = server.client.post(f"{server.model}:predict", json=body, headers=headers).json()
            with grpc.insecure_channel(address) as channel:
                inferred = Client(channel).infer(metadata=(("traceparent", PARENT),))
            found: dict[str, Any] = {}
            while not {"ModelInfer", "POST"} <= {*found}:
                found |= {span.name.split()[0]: span for span in exported.get(timeout=LONGEST) if span.kind == 2}
    assert {TRACE} == {found[name].trace_id.hex() for name in ("POST", "ModelInfer")}
    over_http, over_grpc = attributes(found["POST"]), attributes(found["ModelInfer"])
    assert answer["prediction_ids"] == over_http["ratchet.prediction_ids"]
    assert "visit-7" == over_http["ratchet.request_id"]
    assert ("champion", [answer["details"][0]["rung"]]) == (over_http["ratchet.arm"], over_http["ratchet.rungs"])
    (of_grpc,) = over_grpc["ratchet.prediction_ids"]
    assert of_grpc.encode() in b"".join(inferred.raw_output_contents)
    assert "GET" not in found
