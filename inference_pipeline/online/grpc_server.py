"""The service over gRPC, in the process and the event loop of the HTTP service, with the same predictor behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from google.protobuf.message import DecodeError
from pydantic import ValidationError

from inference_pipeline.online import traces
from inference_pipeline.online.access.access import Access, Caller, RefusedError
from inference_pipeline.online.access.addresses import is_local
from inference_pipeline.online.access.needs import Need, asking, model_of
from inference_pipeline.online.access.request_context import CURRENT_REQUEST, RequestContext, request_id_of
from inference_pipeline.online.access.request_counts import RequestCounts
from inference_pipeline.online.bodies import MAX_BODY
from inference_pipeline.online.caller_keys import caller_key
from inference_pipeline.online.failures import Failure
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols import grpc as protocol
from inference_pipeline.online.protocols.grpc_messages import PACKAGE, message
from inference_pipeline.online.protocols.port import KEY_HEADER, Predictions
from inference_pipeline.online.served import Served
from ratchet.core.environment import Environment
from ratchet.core.errors import RatchetError, SettingsError

if TYPE_CHECKING:
    import grpc
    import grpc.aio

Context = Any
"""gRPC's `ServicerContext` of a call. grpcio has no types."""
Answer = Callable[[Any, Context], Awaitable[Any]]
SERVICE = f"{PACKAGE}.GRPCInferenceService"
OPEN = frozenset({"ServerLive", "ServerReady"})
"""Methods without a key: probes."""
REPEATED = (("idempotent-replayed", "true"),)
"""What an answer that was given before has at its end, as over HTTP in its headers."""
TURNS = 3
"""Turns of the event loop after which gRPC has cancelled a call whose caller has gone."""
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


async def start(served: Served, access: Access, environment: Environment, requests: RequestCounts) -> grpc.aio.Server:
    """Answer at the address of RATCHET_GRPC, with TLS if the HTTP service has it. Calls are counted with the other requests.

    Raises SettingsError if grpcio is not installed, or if the address cannot be used.
    """
    grpc = grpc_library()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_BODY)])
    calls = _Calls(served, access)
    answers: dict[str, Answer] = {protocol.INFER: calls.infer}
    answers |= {name: partial(calls.show, name, what) for name, what in protocol.SHOWS.items()}
    if environment.traces:
        answers = {name: traces.traced(name, answer) for name, answer in answers.items()}
    methods = {name: _method(name, answer, requests) for name, answer in answers.items()}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    try:
        if environment.tls_certificate:
            files = Path(environment.tls_key).read_bytes(), Path(environment.tls_certificate).read_bytes()
            server.add_secure_port(environment.grpc, grpc.ssl_server_credentials([files]))
        else:
            server.add_insecure_port(environment.grpc)
    except (RuntimeError, OSError) as error:
        raise SettingsError(
            f"cannot be used ({error})", subject=f"RATCHET_GRPC={environment.grpc}", remedy="Choose another address"
        ) from error
    await server.start()
    return server


def grpc_library() -> Any:
    """The module `grpc`. Raises SettingsError if it is not installed."""
    try:
        import grpc
    except ImportError as error:
        raise SettingsError(
            "needs grpcio, which is not installed",
            subject="RATCHET_GRPC",
            remedy="Install the group `grpc` of pyproject.toml: `pip install --group grpc`",
        ) from error
    return grpc


def _method(name: str, answer: Answer, requests: RequestCounts) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc_library().unary_unary_rpc_method_handler(
        partial(_answered, name, answer, requests),
        response_serializer=lambda answer: answer.SerializeToString(),
    )


async def _answered(name: str, answer: Answer, requests: RequestCounts, content: bytes, context: Context) -> Any:
    """The one place where errors become status codes."""
    began, code = time.perf_counter(), "UNKNOWN"
    sent = dict(_metadata(context)).get("x-request-id")
    CURRENT_REQUEST.set(RequestContext(request_id_of(sent.encode() if sent else None), ""))
    try:
        answered = await answer(message(f"{name}Request").FromString(content), context)
        code = "OK"
        return answered
    except asyncio.CancelledError:
        code = "CANCELLED"
        raise
    except (DecodeError, RefusedError, RatchetError, ValidationError) as error:
        code, reason = _said_of(error)
        await context.abort(getattr(grpc_library().StatusCode, code), reason)
    finally:
        requests.add(f"grpc {name}", code, time.perf_counter() - began)


def _said_of(error: Exception) -> tuple[str, str]:
    """The code and the words for an error."""
    if isinstance(error, RefusedError):
        return _CODES[error.status], error.reason
    if isinstance(error, RatchetError | ValidationError):
        failure = Failure.of(error)
        return failure.grpc, failure.message
    return "INVALID_ARGUMENT", f"this is no message of this method: {error}"


@dataclass(frozen=True)
class _Calls:
    """The methods of the service."""

    served: Served
    access: Access

    async def show(self, name: str, what: protocol.Show, request: Any, context: Context) -> Any:
        model = model_of(getattr(request, "name", ""))
        self._admit(context, _metadata(context), Need(model=model, is_open=name in OPEN))
        return message(f"{name}Response")(**what(self.served, request))

    async def infer(self, request: Any, context: Context) -> Any:
        explains, metadata = protocol.explains(request), _metadata(context)
        self._admit(context, metadata, asking("explain" if explains else "predict", request.model_name))
        key = caller_key([text for name, text in metadata if name == KEY_HEADER.lower()])
        predictor, instances = self.served.asked(request.model_name, request.model_version or None)
        inputs = protocol.read(instances, request)
        predictions = await predictor.predict(inputs, key, explains=explains)
        traces.note(predictions)
        if predictions.is_repeated:
            context.set_trailing_metadata(REPEATED)
        await _note_delivery(predictor, predictions)
        return protocol.answer(request, predictions)

    def _admit(self, context: Context, metadata: Sequence[tuple[str, str]], need: Need) -> Caller:
        """Raises RefusedError."""
        sent, peer = dict(metadata), _host(context.peer())
        headers: Mapping[bytes, bytes] = {name.encode(): b"" for name in sent}
        return self.access.admit(sent.get("authorization"), need, is_local(peer, peer, headers))


def _metadata(context: Context) -> list[tuple[str, str]]:
    return [(name, value) for name, value in context.invocation_metadata() or () if isinstance(value, str)]


@lru_cache(maxsize=1024)
def _host(peer: str) -> str:
    """The address in gRPC's name of a peer: `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


async def _note_delivery(predictor: Predictor, predictions: Predictions) -> None:
    """Note in the log if the caller has gone before it gets its answer."""
    try:
        for _ in range(TURNS):
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        predictor.undelivered(predictions)
        raise
    predictor.delivered(predictions)
