"""What a caller over HTTP is told when a request is not answered: the one place where errors become status codes."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from inference_pipeline.online.access.access import RefusedError
from inference_pipeline.online.failures import RETRY_AFTER, Failure
from ratchet.core.errors import RatchetError

EXPECTED = (HTTPException, ValidationError, RefusedError, RatchetError, ClientDisconnect)
"""Everything else is a fault of the service, which the server logs and answers with 500."""


async def handled(_request: Request, error: Exception) -> Response:
    """A handler of one of EXPECTED, for Starlette."""
    return error_answer(error)


def error_answer(error: Exception) -> Response:
    """The answer for one of EXPECTED."""
    if isinstance(error, ClientDisconnect):  # nobody reads the answer, and it is no error of the service
        return Response(status_code=400)
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    if isinstance(error, RefusedError):
        return JSONResponse({"error": error.reason}, error.status, error.headers)
    if isinstance(error, RatchetError | ValidationError):
        return _failed(error)
    raise error


def _failed(error: RatchetError | ValidationError) -> Response:
    failure = Failure.of(error)
    content: dict[str, object] = {"error": failure.message}
    if failure.fields:
        content["fields"] = [{"field": name, "reason": reason} for name, reason in failure.fields]
    return JSONResponse(content, failure.http, {"Retry-After": RETRY_AFTER} if failure.http == 503 else None)
