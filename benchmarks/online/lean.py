"""The same within BentoML, with everything off that can be: `bentoml serve benchmarks.online.lean:Lean`."""

from __future__ import annotations

import gc

import bentoml

from benchmarks.online.bare import app


@bentoml.service(
    name="lean",
    workers=1,
    traffic={"timeout": 2.0},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app)
class Lean:
    @bentoml.on_startup
    async def start(self) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
