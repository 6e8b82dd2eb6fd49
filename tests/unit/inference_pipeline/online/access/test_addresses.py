"""Only what came from this machine directly is local."""

from __future__ import annotations

import pytest

from inference_pipeline.online.access.addresses import is_local, is_loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["", "localhost", "::", "192.0.2.2", "::ffff:192.0.2.2", "/run/socket"])
def test_not_loopback(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:3000", b"127.0.0.1:3000", b"[::1]:3000", b"[::1]"])
def test_a_caller_on_this_machine(host: bytes) -> None:
    assert is_local("127.0.0.1", "127.0.0.1", {b"host": host})


@pytest.mark.parametrize(
    "host", [b"evil.example", b"evil.example:3000", b"127.0.0.1.evil.example", b"", b"localhost.evil"]
)
def test_a_page_whose_name_leads_here(host: bytes) -> None:
    """A browser of this machine sends the name of the page (DNS rebinding)."""
    assert not is_local("127.0.0.1", "127.0.0.1", {b"host": host})


@pytest.mark.parametrize("name", [b"forwarded", b"x-forwarded-for", b"x-real-ip"])
def test_what_a_proxy_sends_on(name: bytes) -> None:
    assert not is_local("127.0.0.1", "127.0.0.1", {b"host": b"localhost", name: b"127.0.0.1"})


@pytest.mark.parametrize(("client", "server"), [("192.0.2.9", "127.0.0.1"), ("127.0.0.1", "192.0.2.2"), ("", "")])
def test_either_end_elsewhere(client: str, server: str) -> None:
    assert not is_local(client, server, {b"host": b"localhost"})
