"""A disk on which nothing can be written: by default nothing is answered. It is said once, and over when it is over."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.protocols.port import KEY_HEADER
from ratchet.core.serving_settings import ServingSettings
from ratchet.project.run import Run
from tests.support.champions import fixed_predictor
from tests.support.releases import client_of, slot
from tests.support.runs import noshow_project

PATH = "/v1/models/noshow-clinic:predict"
INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}


@contextmanager
def files_of(most: int) -> Iterator[None]:
    """Let the operating system write no file beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def serving(run: Run) -> tuple[ModelSlot, TestClient]:
    found = slot(run, fixed_predictor)
    return found, client_of(found)


def ask(client: TestClient, **headers: str) -> Response:
    return client.post(PATH, json={"instances": [INSTANCE] * 3}, headers=headers)


def segments(run: Run) -> list[bytes]:
    return [path.read_bytes() for path in sorted(run.paths.online_log.rglob("*.jsonl"))]


def shown(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"model": "noshow-clinic", **labels})


def test_nothing_is_answered_that_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is left of what could not be written, and the service is as before once it can."""
    run = noshow_project(tmp_path)
    found, client = serving(run)
    with files_of(100):
        refused = [ask(client) for _ in range(5)]
        ready, index = client.get("/v2/health/ready"), client.post("/v2/repository/index").json()
        found.show()
    assert [503] * 5 == [answer.status_code for answer in refused]
    assert "could not be logged" in refused[0].json()["error"]
    assert [] == segments(run)
    assert (200, ["log"]) == (ready.status_code, ready.json()["problems"]["noshow-clinic"])
    assert "could not be logged" in index[0]["reason"]
    assert 1.0 == shown("ratchet_problem", part="log")
    assert 200 == ask(client).status_code
    found.show()
    assert 0.0 == shown("ratchet_problem", part="log")
    assert {} == found.problems
    assert ["predictions cannot", "predictions can be"] == [record.message[:18].strip() for record in caplog.records]


def test_a_log_that_is_full_later_keeps_whole_lines(tmp_path: Path) -> None:
    """Those before stay readable, and later ones go on in the same file."""
    run = noshow_project(tmp_path)
    _, client = serving(run)
    ask(client)
    (before,) = segments(run)
    with files_of(len(before) + 100):
        assert [503, 503] == [ask(client).status_code for _ in range(2)]
        assert [before] == segments(run)
    ask(client)
    (after,) = segments(run)
    assert (True, 6) == (after.startswith(before), after.count(b"\n"))


def test_it_may_be_served_and_counted(tmp_path: Path) -> None:
    """If a setting says so; but never with a caller's key, whose answer could not be repeated."""
    run = with_serving(noshow_project(tmp_path), unlogged="serve")
    found, client = serving(run)
    found.show()
    before = shown("ratchet_unlogged_total") or 0.0
    with files_of(100):
        assert [200, 503] == [ask(client).status_code, ask(client, **{KEY_HEADER: "visit-1"}).status_code]
        found.show()
    assert (3.0, 1.0) == ((shown("ratchet_unlogged_total") or 0.0) - before, shown("ratchet_problem", part="log"))
    assert [] == segments(run)


def with_serving(run: Run, **changes: Any) -> Run:
    return replace(run, settings=run.settings.model_copy(update={"serving": ServingSettings(**changes)}))
