"""What Prometheus and the log learn of requests: in a few words, whatever callers make up."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from inference_pipeline.online.access.access import Access
from inference_pipeline.online.access.guard import Guard
from inference_pipeline.online.access.key_file import KeyFile
from inference_pipeline.online.access.needs import need_of
from inference_pipeline.online.access.request_counts import RequestCounts
from tests.unit.inference_pipeline.online.access.test_guard import FAULT, Asked


def count(asked: str, status: str) -> float:
    return REGISTRY.get_sample_value("ratchet_requests_total", {"asked": asked, "status": status}) or 0.0


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    access = Access(KeyFile(tmp_path / "api_keys.json"))
    access.refresh()
    return Guard(access, 10)


def test_each_request_is_counted_once(guard: Guard) -> None:
    """Answers and refusals, when they are shown."""
    before = count("predict", "200"), count("probe", "200"), count("model", "421")
    for path in ("/v1/models/a:predict", "/v2/models/b/versions/3/infer", "/livez"):
        Asked(guard, path, method="POST" if "models" in path else "GET")
    assert before == (count("predict", "200"), count("probe", "200"), count("model", "421"))
    guard.requests.show()
    guard.requests.show()
    assert (2, 1) == (count("predict", "200") - before[0], count("probe", "200") - before[1])
    assert 2 <= (REGISTRY.get_sample_value("ratchet_request_seconds_count", {"asked": "predict"}) or 0)


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", "/v1/models/m:explain", "explain"),
        ("POST", "/v1/models/m:feedback", "feedback"),
        ("GET", "/v1/models/made-up", "model"),
        ("POST", "/v2/repository/index", "model"),
        ("GET", "/readyz", "probe"),
        ("GET", "/docs", "page"),
        ("GET", "/metrics", "metrics"),
        ("GET", "/made/up", "other"),
        ("DELETE", "/made/up", "other"),
    ],
)
def test_a_path_is_one_of_a_few_words(method: str, path: str, asked: str) -> None:
    assert asked == need_of(method, path).asked


def test_an_error_of_the_application_is_counted(guard: Guard) -> None:
    before = count("other", "500")
    Asked(guard, FAULT)
    guard.requests.show()
    assert 1 == count("other", "500") - before


def test_a_line_for_each_request_if_it_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    """With the path as it was sent, in which no line can end."""
    with caplog.at_level(logging.INFO):
        RequestCounts().add("model", "404", 0.0021, "GET /v1/models/a%0Ab")
        assert not caplog.messages
        RequestCounts(writes_lines=True).add("model", "404", 0.0021, "GET /v1/models/a%0Ab")
    assert ["GET /v1/models/a%0Ab: 404 in 2.1 ms"] == caplog.messages
