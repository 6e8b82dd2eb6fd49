"""`ratchet serve`: check that the settings can be read, then start the online service."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

from cli.context import current_run
from cli.listening import refusal

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
    files with which it encrypts. RATCHET_GRPC is the address at which it answers gRPC, too."""
    selected = current_run()
    _require_parts()
    places = list(_places(selected.environment, host, port))
    _require_keys(selected, places)
    for place in places:
        _require_free(place)
    options = list(_tls_options(selected.environment))
    os.environ["BENTOML_HOME"] = str(selected.paths.shared_state / "bentoml")
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", host, "--port", str(port), *options]
    os.execv(command[0], command)  # noqa: S606 - a list, never a shell; a signal to this process must reach the service


def _require_parts() -> None:
    """Raises a RatchetError if a use case cannot be served with these settings, or a library is missing.

    It is one line here; in BentoML's worker, which is started again and again, it would be a traceback each time."""
    from ratchet.feature_store.online_store import feast_project, online_store
    from ratchet.project.run import Run
    from ratchet.sources.batches import Source

    for run in Run.load_all():
        Source.open(run)
        online_store(run.environment, run.paths.state, feast_project(run.scope))


@dataclass(frozen=True)
class _Place:
    """Where the service listens, and which setting says so. `addresses` are those of its host, for the operating system."""

    setting: str
    addresses: Sequence[tuple[socket.AddressFamily, Any]]

    @classmethod
    def of(cls, setting: str, host: str, port: int) -> _Place:
        """Raises SettingsError if the host has no address."""
        from ratchet.core.errors import SettingsError

        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise SettingsError(f"has no address ({error})", subject=setting, remedy="Choose another host") from error
        return cls(setting, [(family, address) for family, _kind, _protocol, _name, address in found])

    @property
    def is_reached_by_others(self) -> bool:
        from inference_pipeline.online.access.addresses import is_loopback

        return not all(is_loopback(address[0]) for _family, address in self.addresses)


def _places(environment: Environment, host: str, port: int) -> Iterator[_Place]:
    """Where it listens for HTTP, and for gRPC. Raises SettingsError if what gRPC needs is not installed."""
    yield _Place.of(f"--host {host} --port {port}", host, port)
    if environment.grpc:
        from inference_pipeline.online.grpc_server import grpc_library

        grpc_library()
        grpc_host, _, grpc_port = environment.grpc.rpartition(":")
        yield _Place.of(f"RATCHET_GRPC={environment.grpc}", grpc_host.strip("[]"), int(grpc_port))


def _require_keys(run: Run, places: Sequence[_Place]) -> None:
    """Raises AccessError if the API keys cannot be read, or if there are none and others can reach one of the places."""
    from inference_pipeline.online.access.key_file import KeyFile
    from ratchet.core.errors import AccessError

    keys = KeyFile.open(run).read()
    reached = [place.setting for place in places if place.is_reached_by_others]
    if reached and keys is None:
        raise AccessError(
            "others can reach this address, and there is no API key",
            subject=reached[0],
            remedy="Make one by `ratchet keys add NAME --role predict`, or listen on 127.0.0.1",
        )
    if reached and not run.environment.tls_certificate:
        click.echo(
            "keys and data travel unencrypted: set RATCHET_TLS_CERTIFICATE, unless a proxy encrypts them", err=True
        )


def _require_free(place: _Place) -> None:
    """Raises SettingsError if one of its addresses is taken, or if none of them can be used: a machine may lack IPv6."""
    from ratchet.core.errors import SettingsError

    refusals = [error for family, address in place.addresses if (error := refusal(family, address))]
    is_taken = any(error.errno == errno.EADDRINUSE for error in refusals)
    if is_taken or len(refusals) == len(place.addresses):
        raise SettingsError(
            f"nothing can listen there ({refusals[-1]})",
            subject=place.setting,
            remedy="Stop what listens there already, or choose another address or port",
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
