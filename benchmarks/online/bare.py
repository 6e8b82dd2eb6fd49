"""The least that a server in Python can do: JSON in, the same booster, JSON out. `uvicorn benchmarks.online.bare:app`."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ratchet.models.compiled.native_booster import NativeBooster

BOOSTER = NativeBooster(Path(os.environ["BOOSTER"]).read_bytes())


class Body(msgspec.Struct):
    instances: list[list[float | None]]


class Answer(msgspec.Struct):
    predictions: list[float]


_decode, _encode = msgspec.json.Decoder(Body).decode, msgspec.json.Encoder().encode


async def predict(request: Request) -> Response:
    rows = np.array(_decode(await request.body()).instances, np.float64)
    return Response(_encode(Answer([BOOSTER.predict_one(row) for row in rows])), media_type="application/json")


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
