"""Lines of the service's log, as people and as programs read them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider

from inference_pipeline.online.access.request_context import CURRENT_REQUEST, RequestContext
from inference_pipeline.online.logs import JsonLines, TextLines, write_logs


@pytest.fixture
def request_context() -> Iterator[RequestContext]:
    context = RequestContext("order-4711", "my-app")
    token = CURRENT_REQUEST.set(context)
    yield context
    CURRENT_REQUEST.reset(token)


def record(message: str = "it is %s", *, is_raised: bool = False) -> logging.LogRecord:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        raised = (type(error), error, error.__traceback__)
    return logging.LogRecord("here", logging.WARNING, "f.py", 1, message, ("so\nlong",), raised if is_raised else None)


def test_json_is_one_object_in_a_line(request_context: RequestContext) -> None:
    """Also if the message or the exception has several lines."""
    line = JsonLines().format(record(is_raised=True))
    assert "\n" not in line
    found = json.loads(line)
    assert ("WARNING", "here", "it is so\nlong") == (found["level"], found["logger"], found["message"])
    assert ("order-4711", "my-app") == (found["request_id"], found["caller"])
    assert "ZeroDivisionError" in found["exception"]


def test_outside_a_request_there_is_no_id() -> None:
    assert not {"request_id", "caller", "exception"} & {*json.loads(JsonLines().format(record()))}
    assert "request" not in TextLines().format(record())


def test_a_traced_request_names_its_trace(request_context: RequestContext) -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("request") as span:
        line = json.loads(JsonLines().format(record()))
    assert f"{span.get_span_context().trace_id:032x}" == line["trace_id"]
    assert f"{span.get_span_context().span_id:016x}" == line["span_id"]


def test_text_has_the_id(request_context: RequestContext) -> None:
    assert "it is so\nlong (request order-4711)" in TextLines().format(record())


def test_every_handler_writes_so() -> None:
    """That of BentoML's own lines, too."""
    logger, written = logging.getLogger("bentoml"), io.StringIO()
    handler = logging.StreamHandler(written)
    others = {each: each.formatter for each in logging.getLogger().handlers}
    logger.addHandler(handler)
    try:
        write_logs("json")
        logger.warning("hello")
    finally:
        logger.removeHandler(handler)
        for each, formatter in others.items():
            each.setFormatter(formatter)
    assert "hello" == json.loads(written.getvalue())["message"]
