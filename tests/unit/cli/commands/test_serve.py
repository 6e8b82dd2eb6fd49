"""What `ratchet serve` refuses before it starts anything, and what it starts."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import ratchet
from inference_pipeline.online.access.key_file import KeyFile
from ratchet.core.errors import AccessError, SettingsError
from ratchet.project.run import Run
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
        ratchet, ["serve", *arguments]
    )


def command(result: Result) -> list[str]:
    assert isinstance(result.exception, Started), result.output or result.exception
    started: list[str] = result.exception.args[0]
    return started


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.2", "::"])  # noqa: S104 - never bound
def test_an_address_that_others_reach_needs_a_key(run: Run, host: str) -> None:
    """Then it starts, and warns that nothing is encrypted."""
    refused = serve("--host", host).exception
    assert isinstance(refused, AccessError)
    assert "ratchet keys add" in refused.remedy
    KeyFile.open(run).add("app", ["predict"], [], "", datetime.now(UTC))
    started = serve("--host", host)
    assert host == command(started)[command(started).index("--host") + 1]
    assert "TLS" in started.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_this_machine_alone_needs_none(run: Run, host: str) -> None:
    assert host in command(serve("--host", host))


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
