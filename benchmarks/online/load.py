"""A load of requests over a few connections, each of which sends the next request when it has the answer to the last."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

BASELINE = b"baseline"
"""What an answer by the baseline says of itself, in any protocol."""


@dataclass(frozen=True)
class Load:
    """What came of it: seconds, and the time of each answer in milliseconds. Any status but 200 is an error.

    Where no features can be used, the baseline answers.
    """

    seconds: float
    milliseconds: Sequence[float]
    errors: int
    by_baseline: int

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.milliseconds, share))


def together(loads: Sequence[Load]) -> Load:
    """What came of several loads, one after the other."""
    times = [time for found in loads for time in found.milliseconds]
    seconds, errors, by_baseline = (
        sum(getattr(found, name) for found in loads) for name in ("seconds", "errors", "by_baseline")
    )
    return Load(seconds, times, errors, by_baseline)


def load(
    port: int,
    path: str,
    bodies: Sequence[bytes],
    connections: int,
    seconds: float,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Load:
    """Send the bodies in turn, over so many connections, for so long."""
    head = {"Host": "localhost", "Content-Type": "application/json", **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    start = "\r\n".join(lines).encode()
    requests = [b"%s\r\nContent-Length: %d\r\n\r\n%s" % (start, len(body), body) for body in bodies]
    return asyncio.run(_load(port, requests, connections, seconds))


async def _load(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    times: list[float] = []
    seen: Counter[str] = Counter()
    began = time.perf_counter()
    callers = [
        _call(port, requests[start:] + requests[:start], began + seconds, times, seen) for start in range(connections)
    ]
    await asyncio.gather(*callers)
    return Load(time.perf_counter() - began, times, seen["errors"], seen["baseline"])


async def _call(port: int, requests: Sequence[bytes], until: float, times: list[float], seen: Counter[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        content = await reader.readexactly(length)
        times.append((time.perf_counter() - began) * 1000)
        seen["errors"] += not head.startswith(b"HTTP/1.1 200")
        seen["baseline"] += BASELINE in content
        number += 1
    writer.close()
