"""Whether a request comes from this machine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
"""Headers with which a proxy says that a request came from elsewhere."""


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether it is an address of this machine that no other can reach, such as 127.0.0.1 or ::1."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


@lru_cache(maxsize=1024)
def _is_local_name(host: bytes) -> bool:
    """Whether a Host header names this machine. A page on the internet whose name leads here (DNS rebinding) sends its own."""
    text = host.decode("latin-1").lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return name == "localhost" or is_loopback(name)


def is_local(client: str, server: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request came from this machine, and directly. `client` and `server` are the addresses of its connection."""
    return (
        is_loopback(client)
        and is_loopback(server)
        and not any(name in headers for name in FORWARDED)
        and _is_local_name(headers.get(b"host", b"localhost"))
    )
