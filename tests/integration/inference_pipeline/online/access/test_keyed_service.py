"""The real service, open to other machines: who is let in, without a restart, and what it tells nobody."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from inference_pipeline.online.access.key_file import KeyFile
from ratchet.project.run import Run
from tests.support.addresses import own_address
from tests.support.registry import copied
from tests.support.serving import Server, running
from tests.support.waiting import LONGEST, awaited
from tests.support.web_server import write_certificate

BODY = {
    "instances": [
        {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"},
    ]
}


@pytest.fixture(scope="module")
def run(prepared_to_serve: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return copied(prepared_to_serve, tmp_path_factory.mktemp("keyed") / "project")


@pytest.fixture(scope="module")
def file(run: Run) -> KeyFile:
    return KeyFile.open(run)


def add(file: KeyFile, name: str, **limits: list[str]) -> dict[str, str]:
    """A new key for predictions, as a header."""
    key = file.add(name, ["predict"], limits.get("models", []), "", datetime.now(UTC))
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def first(file: KeyFile) -> dict[str, str]:
    """A key that was made before the service started."""
    return add(file, "first")


@pytest.fixture(scope="module")
def server(run: Run, first: dict[str, str]) -> Iterator[Server]:
    """The service over TLS, on all addresses."""
    certificate = write_certificate(run.root / "server.pem")
    files = {"RATCHET_TLS_CERTIFICATE": str(certificate), "RATCHET_TLS_KEY": str(certificate)}
    command = ("cli", "serve", "--host", "0.0.0.0")  # noqa: S104 - it is the point
    with running(run, command=command, certificate=certificate, **files) as server:
        yield server


@pytest.fixture(scope="module")
def remote(server: Server) -> Iterator[httpx.Client]:
    """A client that reaches the service by the machine's address, as those on other machines do."""
    address = f"https://{own_address()}:{server.client.base_url.port}"
    trusted = ssl.create_default_context(cafile=server.run.root / "server.pem")
    trusted.check_hostname = False  # the certificate is for 127.0.0.1
    with httpx.Client(base_url=address, timeout=LONGEST, trust_env=False, verify=trusted) as client:
        yield client


def test_keys_come_and_go_while_it_runs(
    server: Server, remote: httpx.Client, file: KeyFile, first: dict[str, str]
) -> None:
    """Here and from elsewhere, each caller needs a key, and a change of them is followed within seconds."""
    path = f"{server.model}:predict"
    for client in (server.client, remote):
        assert [401, 200] == [client.post(path, json=BODY, headers=each).status_code for each in ({}, first)]
    limited = add(file, "limited", models=["other"])
    awaited(lambda: remote.post(path, json=BODY, headers=limited).status_code == 403)
    file.revoke("limited")
    awaited(lambda: remote.post(path, json=BODY, headers=limited).status_code == 401)
    assert 200 == remote.post(path, json=BODY, headers=first).status_code


def test_what_is_open(server: Server, remote: httpx.Client, first: dict[str, str]) -> None:
    """Probes, and the metrics on this machine."""
    assert [200, 200, 401] == [remote.get(each).status_code for each in ("/livez", "/readyz", "/metrics")]
    assert [200, 200] == [server.client.get("/metrics").status_code, remote.get("/metrics", headers=first).status_code]
    assert [401, 401] == [remote.get(each).status_code for each in ("/docs.json", "/schema.json")]


def test_made_up_paths_leave_nothing_behind(server: Server, remote: httpx.Client, first: dict[str, str]) -> None:
    """No caller can make the service remember anything, with or without a key."""
    for number in range(50):
        assert 401 == remote.get(f"/v1/models/made-up-{number}").status_code
        assert 404 == remote.get(f"/v1/models/made-up-{number}", headers=first).status_code
        assert 404 == remote.get(f"/v2/models/noshow-clinic/versions/made-up-{number}", headers=first).status_code

    def counted() -> bool:
        return 'ratchet_requests_total{asked="model",status="404"}' in server.client.get("/metrics").text

    assert awaited(counted)
    assert "made-up" not in server.client.get("/metrics").text


def test_errors_of_all_kinds_have_an_id_and_no_server(remote: httpx.Client, first: dict[str, str]) -> None:
    """Those of the guard, of the service, and of BentoML."""
    asked = [
        remote.get("/v1/models"),
        remote.get("/v1/models/other", headers=first),
        remote.get("/other", headers=first),
    ]
    assert [401, 404, 404] == [answer.status_code for answer in asked]
    assert [True] * 3 == ["x-request-id" in answer.headers and "server" not in answer.headers for answer in asked]


def test_a_key_is_written_nowhere(server: Server, remote: httpx.Client, first: dict[str, str]) -> None:
    """Neither a right nor a wrong one: not in the log, an answer or a metric."""
    wrong = f"{first['Authorization'][:-8]}01234567"
    headers = [first, {"Authorization": wrong}, {"Authorization": wrong.removeprefix("Bearer ")}]
    texts = [remote.post(f"{server.model}:predict", content=b"{", headers=each).text for each in headers]
    texts += [server.client.get("/metrics").text, (server.run.root / "server.log").read_text(encoding="utf-8")]
    secret = wrong.rpartition("_")[2][:-8]
    assert [] == [text for text in texts if secret in text or "01234567" in text]


def test_over_tls_alone(server: Server) -> None:
    """Who does not use it gets no answer."""
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{server.client.base_url.port}/livez", trust_env=False)


def test_damaged_keys_let_nobody_in(server: Server, remote: httpx.Client, file: KeyFile, first: dict[str, str]) -> None:
    """Readiness says so, and the log why, until the file is restored."""
    sound = file.path.read_bytes()
    file.path.write_bytes(sound[:-9])
    awaited(lambda: remote.get("/readyz").status_code == 503)
    asked = [client.get(server.model, headers=first).status_code for client in (server.client, remote)]
    assert ([503, 503], 200) == (asked, remote.get("/livez").status_code)
    assert "nobody is let in" in (server.run.root / "server.log").read_text(encoding="utf-8")
    file.path.write_bytes(sound)
    awaited(lambda: remote.get(server.model, headers=first).status_code == 200)
