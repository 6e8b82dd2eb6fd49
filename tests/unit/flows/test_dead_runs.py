"""Servers that would forget dead runs."""

from __future__ import annotations

import pytest

from flows.dead_runs import forgets

MEMORY, FILES = (f"prefect.server.concurrency.lease_storage.{kind}" for kind in ("memory", "filesystem"))


@pytest.mark.parametrize(
    ("kept", "leases", "expected"),
    [
        ("PT1M", FILES, True),
        ("PT1M", MEMORY, True),
        ("P30D", MEMORY, True),
        ("P30D", FILES, False),
        (2592000, FILES, False),
    ],
)
def test_a_server_needs_both_settings(kept: str | float, leases: str, expected: bool) -> None:
    """By default it has neither: after a minute it forgets for which runs it waited, and places are in its memory only."""
    server = {"events": {"expired_bucket_buffer": kept}, "concurrency": {"lease_storage": leases}}
    assert expected == forgets({"server": server})
