"""`ratchet serve`: check that the settings can be read, then start the online service."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from cli.context import current_run

if TYPE_CHECKING:
    from ratchet.core.environment import Environment
    from ratchet.project.run import Run

SERVICE = "inference_pipeline.online.service:Inference"


def _address(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no address: write one such as 127.0.0.1, or 0.0.0.0 for all") from error


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, callback=_address, help="The address to listen on.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="The port of the service.")
def serve(host: str, port: int) -> None:
    """Start the online service on this machine.

    It answers HTTP requests for every use case of params.yaml with the champion of that use case. It listens on an address that
    others can reach only if there is an API key (`ratchet keys add`). RATCHET_TLS_CERTIFICATE and RATCHET_TLS_KEY name the
    files with which it encrypts."""
    from ratchet.project.run import Run
    from ratchet.sources.batches import Source

    selected = current_run()
    for run in Run.load_all():
        Source.open(run)  # an error is one line here; in BentoML's worker it would be a traceback
    _require_keys(selected, host)
    options = list(_tls_options(selected.environment))
    os.environ["BENTOML_HOME"] = str(selected.paths.shared_state / "bentoml")
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", host, "--port", str(port), *options]
    os.execv(command[0], command)  # noqa: S606 - a list, never a shell; a signal to this process must reach the service


def _require_keys(run: Run, host: str) -> None:
    """Raises AccessError if the API keys cannot be read, or if there are none and others can reach the address."""
    from inference_pipeline.online.access.addresses import is_loopback
    from inference_pipeline.online.access.key_file import KeyFile
    from ratchet.core.errors import AccessError

    keys = KeyFile.open(run).read()
    if is_loopback(host):
        return
    if keys is None:
        raise AccessError(
            "others can reach this address, and there is no API key",
            subject=f"--host {host}",
            remedy="Make one by `ratchet keys add NAME --role predict`, or listen on 127.0.0.1",
        )
    if not run.environment.tls_certificate:
        click.echo(
            "keys and data travel unencrypted: set RATCHET_TLS_CERTIFICATE, unless a proxy encrypts them", err=True
        )


def _tls_options(environment: Environment) -> Iterator[str]:
    """The options of `bentoml serve` for the certificate. Raises SettingsError if its files cannot be used."""
    from ratchet.core.errors import SettingsError

    certificate, key = environment.tls_certificate, environment.tls_key
    if not certificate:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise SettingsError(
            f"are no certificate and its private key, in PEM without a password ({error})",
            subject=f"RATCHET_TLS_CERTIFICATE {certificate} and RATCHET_TLS_KEY {key}",
            remedy="Fix what they name, and start again",
        ) from error
    yield from ("--ssl-certfile", certificate, "--ssl-keyfile", key)
