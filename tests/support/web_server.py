"""A web server on a free port that a test gives files, and that fails as the test asks it to."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Asked:
    """A request, and how it was answered: the status, and how many bytes of content were sent."""

    path: str
    headers: dict[str, str]
    status: int
    sent: int


@dataclass
class WebServer:
    """`files` are what it has, by path. `faults` are what the next requests of a path get: a status, or a negative number of
    bytes after which the connection is cut. A path in `moved` is answered with another address. What it does not support is in
    `without`: "ETag", "Range", "If-Range", "Content-Length". It sends at most `most` bytes of a rest.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    most: int = 1 << 30

    def statuses(self) -> list[int]:
        """The answers since this was last called."""
        statuses = [each.status for each in self.asked]
        self.asked.clear()
        return statuses


@contextmanager
def web_server(certificate: Path | None = None) -> Iterator[WebServer]:
    """The server, while the block runs; with encryption if it has a certificate, a file that also holds the private key."""
    state = WebServer()

    class Handler(_Handler):
        server_state = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.address = f"http{'s' * bool(certificate)}://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def write_certificate(path: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, with its private key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, today = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(host, critical=False)
    builder = builder.not_valid_before(today - timedelta(days=1)).not_valid_after(today + timedelta(days=1))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return path


class _Handler(BaseHTTPRequestHandler):
    server_state: WebServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        state, path = self.server_state, urlsplit(self.path).path
        fault = state.faults[path].pop(0) if state.faults.get(path) else 0
        content = state.files.get(path)
        if path in state.moved:
            self._answer(302, {"Location": state.moved[path]}, b"")
            return
        if fault > 0 or content is None:
            self._answer(fault if fault > 0 else 404, {}, b"")
            return
        etag = "" if "ETag" in state.without else f'"{hashlib.sha256(content).hexdigest()}"'
        version = {"ETag": etag} if etag else {}
        if etag and self.headers.get("If-None-Match") == etag:
            self._answer(304, version, b"")
            return
        start = self._start(etag)
        if start >= len(content):
            self._answer(416, {}, b"")
        elif start:
            part = content[start : start + state.most]
            rest = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}
            self._answer(206, {**version, **rest}, part, cut=-fault)
        else:
            self._answer(200, version, content, cut=-fault)

    def _start(self, etag: str) -> int:
        asked = self.headers.get("Range")
        without = self.server_state.without
        is_same = "If-Range" in without or self.headers.get("If-Range") in (None, etag)
        if not asked or "Range" in without or not is_same:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _answer(self, status: int, headers: dict[str, str], content: bytes, cut: int = 0) -> None:
        sent = content[:cut] if cut else content
        self.server_state.asked.append(Asked(self.path, dict(self.headers), status, len(sent)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" in self.server_state.without:
            self.close_connection = True
        elif status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(sent)
        if cut:
            self.close_connection = True
