"""In which types and encodings a body is taken, and what a caller is told about others."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from inference_pipeline.online.bodies import MAX_BODY
from tests.support.champions import fixed_predictor
from tests.support.releases import client_of, slot
from tests.support.runs import noshow_project

PATH = "/v1/models/noshow-clinic:predict"
INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}
BODY = json.dumps({"instances": [INSTANCE]}).encode()
JSON = {"content-type": "application/json"}
GZIP = {**JSON, "content-encoding": "gzip"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(slot(noshow_project(tmp_path_factory.mktemp("bodies")), fixed_predictor)) as client:
        yield client


def test_gzip_is_taken(client: TestClient) -> None:
    """It is answered as the body itself is."""
    answers = [
        client.post(PATH, content=content, headers=headers).json()["predictions"]
        for content, headers in ((BODY, JSON), (gzip.compress(BODY), GZIP))
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (BODY, 400),
        (gzip.compress(BODY)[:-9], 400),
        (gzip.compress(BODY) + b"more", 400),
        (gzip.compress(b" " * (MAX_BODY + 1)), 413),
    ],
)
def test_what_is_no_gzip_or_too_large_unpacked_is_refused(client: TestClient, content: bytes, code: int) -> None:
    """A small body that unpacks to a large one is not unpacked to its end."""
    answer = client.post(PATH, content=content, headers=GZIP)
    assert code == answer.status_code
    assert "error" in answer.json()


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_another_encoding_is_named(client: TestClient, encoding: str) -> None:
    """The answer says which are taken."""
    answer = client.post(PATH, content=BODY, headers={**JSON, "content-encoding": encoding})
    assert (415, "gzip, identity") == (answer.status_code, answer.headers["accept-encoding"])
    assert encoding in answer.json()["error"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_with_a_byte_order_mark_is_named(client: TestClient, encoding: str) -> None:
    """JSON is UTF-8 without one (RFC 8259)."""
    answer = client.post(PATH, content=BODY.decode().encode(encoding), headers=JSON)
    assert 415 == answer.status_code
    assert "UTF-8" in answer.json()["error"]


@pytest.mark.parametrize(("charset", "code"), [("utf-8", 200), ('"UTF-8"', 200), ("utf-16", 415), ("latin-1", 415)])
def test_another_charset_is_named(client: TestClient, charset: str, code: int) -> None:
    answer = client.post(PATH, content=BODY, headers={"content-type": f"application/json; charset={charset}"})
    assert code == answer.status_code


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", PATH, "POST"),
        ("GET", PATH.replace("predict", "explain"), "POST"),
        ("PUT", "/v1/models", "GET"),
        ("POST", "/v1/models/noshow-clinic", "GET"),
        ("GET", "/v2/models/noshow-clinic/infer", "POST"),
        ("DELETE", "/v2/models/noshow-clinic", "GET"),
        ("GET", "/v2/repository/index", "POST"),
    ],
)
def test_another_method_is_named(client: TestClient, method: str, path: str, allowed: str) -> None:
    """405 says which one the path has."""
    answer = client.request(method, path)
    assert (405, True) == (answer.status_code, allowed in answer.headers["allow"])


@pytest.mark.parametrize("path", ["/v1/models/noshow-clinic:other", "/v1/models/a/b", "/v2/models/noshow-clinic/other"])
def test_another_path_is_not_found(client: TestClient, path: str) -> None:
    assert 404 == client.post(path, content=BODY, headers=JSON).status_code
