"""What `ratchet serve` refuses before it starts anything, and what it starts."""

from __future__ import annotations

import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import ratchet
from inference_pipeline.online.access.key_file import KeyFile
from ratchet.core.errors import AccessError, SettingsError
from ratchet.project.run import Run
from tests.support.ports import free_port
from tests.support.runs import noshow_project, write_settings
from tests.support.web_server import write_certificate


class Started(Exception):  # noqa: N818 - it is how a process would go on
    """The command in whose place the process would go on."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def start(_path: str, command: list[str]) -> None:
        raise Started(command)

    run = noshow_project(tmp_path)
    write_settings(run.root, run)
    monkeypatch.chdir(run.root)
    monkeypatch.setattr(os, "execv", start)
    monkeypatch.setenv("BENTOML_HOME", "")  # put back at the end
    return run


def serve(*arguments: str, **variables: str) -> Result:
    return CliRunner(env={f"RATCHET_{name.upper()}": value for name, value in variables.items()}).invoke(
        ratchet, ["serve", "--port", str(free_port()), *arguments]
    )


def command(result: Result) -> list[str]:
    assert isinstance(result.exception, Started), result.output or result.exception
    started: list[str] = result.exception.args[0]
    return started


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.2", "::"])  # noqa: S104 - refused
def test_an_address_that_others_reach_needs_a_key(run: Run, host: str) -> None:
    """The one of HTTP, and the one of gRPC."""
    for refused in (serve("--host", host), serve(grpc=f"[{host}]:{free_port()}")):
        assert isinstance(refused.exception, AccessError)
        assert host in refused.exception.subject
        assert "ratchet keys add" in refused.exception.remedy


def test_with_a_key_it_starts_and_warns_that_nothing_is_encrypted(run: Run) -> None:
    KeyFile.open(run).add("app", ["predict"], [], "", datetime.now(UTC))
    everywhere = "0.0.0.0"  # noqa: S104 - nothing answers there
    started = serve("--host", everywhere, grpc=f"{everywhere}:{free_port()}")
    assert everywhere == command(started)[command(started).index("--host") + 1]
    assert 1 == started.stderr.count("TLS")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_this_machine_alone_needs_none(run: Run, host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    assert host in command(serve("--host", host, grpc=f"[{host}]:{free_port()}"))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_port_that_is_taken(run: Run) -> None:
    """Another service that shares it, as gRPC would, would get half of the calls. With IPv6, `localhost` is free in part."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for refused in (serve("--port", str(port)).exception, serve(grpc=f"localhost:{port}").exception):
            assert isinstance(refused, SettingsError)
            assert str(port) in refused.subject


@pytest.mark.parametrize("address", ["no such host:3001", "127.0.0.1:70000", "127.0.0.1:0", "127.0.0.1", ":3001"])
def test_what_is_no_address_of_grpc(run: Run, address: str) -> None:
    refused = serve(grpc=address).exception
    assert isinstance(refused, SettingsError)
    assert "RATCHET_GRPC" in str(refused)


@pytest.mark.parametrize(
    ("library", "setting"), [("grpc", {"grpc": "127.0.0.1:3001"}), ("hiredis", {"online_store": "redis"})]
)
def test_a_library_that_is_missing(
    run: Run, monkeypatch: pytest.MonkeyPatch, library: str, setting: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    refused = serve(**setting).exception
    assert isinstance(refused, SettingsError)
    assert "pip install" in refused.remedy


@pytest.mark.parametrize("host", ["localhost", "", "example.org", "1.2.3"])
def test_what_is_no_address(run: Run, host: str) -> None:
    assert 2 == serve("--host", host).exit_code


def test_damaged_keys_are_named_before_anything_starts(run: Run) -> None:
    file = KeyFile.open(run)
    file.add("app", ["predict"], [], "", datetime.now(UTC))
    file.path.write_bytes(b"torn")
    refused = serve().exception
    assert isinstance(refused, AccessError)
    assert str(file.path) == refused.subject


def test_a_certificate_is_passed_on(run: Run) -> None:
    file = str(write_certificate(run.root / "server.pem"))
    started = command(serve(tls_certificate=file, tls_key=file))
    assert [file, file] == [started[started.index(option) + 1] for option in ("--ssl-certfile", "--ssl-keyfile")]


@pytest.mark.parametrize("files", [("missing.pem", "missing.pem"), ("params.yaml", "params.yaml")])
def test_a_certificate_that_cannot_be_used(run: Run, files: tuple[str, str]) -> None:
    refused = serve(tls_certificate=files[0], tls_key=files[1]).exception
    assert isinstance(refused, SettingsError)
    assert files[0] in refused.subject


@pytest.mark.parametrize("half", [{"tls_certificate": "server.pem"}, {"tls_key": "server.pem"}])
def test_half_of_a_certificate_is_refused(run: Run, half: dict[str, str]) -> None:
    refused = serve(**half).exception
    assert isinstance(refused, SettingsError)
    assert "RATCHET_TLS_KEY" in refused.problem
