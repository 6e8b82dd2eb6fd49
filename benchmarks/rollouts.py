"""Swaps and rollouts under load: `python -m benchmarks.rollouts CHECKOUT MINUTES SWAPS CANARIES`.

CHECKOUT is a checkout in which a model of nyc_taxi serves that replaced another one, as after `make demo`. Its service runs
with two workers, and 16 clients ask it all the time, while the champion is swapped and a canary goes from 10 to 50 percent to
all and back. Every answer must come from one version, and be, bit for bit, what that version answered to the same request
before.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.online.load import Load, load
from benchmarks.online.requests import Row, entity_rows
from benchmarks.online.servers import MODEL, Served, environment, family, running, say

CLIENTS, ROWS = 16, 5
PATH = f"/v1/models/{MODEL}:predict"


@dataclass
class Seen:
    """What the answers said."""

    first: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    versions: Counter[tuple[int, str]] = field(default_factory=Counter)
    last: set[tuple[int, str]] = field(default_factory=set)
    wrong: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    is_over: bool = False

    def take(self, body: int, status: bytes, content: bytes, seconds: float) -> None:
        self.slowest = max(self.slowest, seconds)
        if status != b"200":
            self.wrong[f"status {status.decode()}"] += 1
            return
        answer = json.loads(content)
        arms = {(row["model_version"], row["arm"]) for row in answer["details"] if row["rung"] != "baseline"}
        if not arms:  # it answers where features cannot be used, and is no arm
            self.wrong["of the baseline alone"] += 1
            return
        if len(arms) > 1:
            self.wrong["of two models"] += 1
            return
        (arm,) = arms
        self.versions[arm] += 1
        self.last.add(arm)
        if self.first.setdefault((body, arm[0]), answer["predictions"]) != answer["predictions"]:
            self.wrong["other numbers than before"] += 1


async def ask(port: int, bodies: Sequence[bytes], start: int, seen: Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = start
    while not seen.is_over:
        body = number % len(bodies)
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        length = f"Content-Length: {len(bodies[body])}\r\n\r\n"
        began = time.perf_counter()
        writer.write((head + length).encode() + bodies[body])
        answer = await reader.readuntil(b"\r\n\r\n")
        content = await reader.readexactly(int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        seen.take(body, answer.split(b" ", 2)[1], content, time.perf_counter() - began)
        number += 1
        await asyncio.sleep(0.01)
    writer.close()


def changes(checkout: Path, versions: Sequence[int], swaps: int, canaries: int) -> Iterator[tuple[str, set[int]]]:
    """Make each change in turn, and say which versions answer then."""

    def ratchet(*arguments: str) -> None:
        command = [sys.executable, "-m", "cli", "--use-case", "nyc_taxi", *arguments, "--reason", "a benchmark"]
        subprocess.run(command, cwd=checkout, env=environment({}), check=True, capture_output=True)

    champion, challenger = versions
    for _ in range(swaps):
        champion, challenger = challenger, champion
        ratchet("promote", str(champion))
        yield "swaps", {champion}
    for number in range(canaries):
        command = ("start", "advance", "advance", "abort")[number % 4]
        ratchet("rollout", command, *((str(challenger), "--steps", "10,50,100") if command == "start" else ()))
        yield "canary changes", ({champion, challenger}, {champion, challenger}, {challenger}, {champion})[number % 4]


async def operate(
    port: int, server: psutil.Process, bodies: Sequence[bytes], history: Iterator[tuple[str, set[int]]], minutes: float
) -> Seen:
    """Ask all the time while the changes are made, and then until the minutes are over."""
    seen, began = Seen(), time.monotonic()
    clients = [asyncio.create_task(ask(port, bodies, start, seen)) for start in range(CLIENTS)]
    done: Counter[str] = Counter()
    while change := await asyncio.to_thread(next, history, None):
        done[change[0]] += 1
        await followed(seen, change[1])
    say(f"{dict(done)} after {time.monotonic() - began:.0f} s")
    say("| minute | MB of each process |\n| --- | --- |")
    while True:
        minute = (time.monotonic() - began) / 60
        say(f"| {minute:.0f} | {'/'.join(f'{each.memory_info().rss / 2**20:.0f}' for each in family(server))} |")
        if minute >= minutes:
            break
        await asyncio.sleep(60)
    seen.is_over = True
    await asyncio.gather(*clients)
    return seen


async def followed(seen: Seen, versions: set[int]) -> None:
    """Return when only these versions answer, and all of them."""
    for _ in range(60):
        seen.last.clear()
        await asyncio.sleep(1)
        if {version for version, _ in seen.last} == versions:
            return
    raise TimeoutError(f"{seen.last} answer, not {versions}")


def several(instances: Sequence[Row]) -> list[bytes]:
    """Requests of several instances each."""
    return [json.dumps({"instances": instances[at : at + ROWS]}).encode() for at in range(0, len(instances), ROWS)]


def served_versions(checkout: Path) -> tuple[int, int]:
    """The version that serves, and the one that did before."""
    command = [sys.executable, "-m", "cli", "--use-case", "nyc_taxi", "status", "--json"]
    found = subprocess.run(command, cwd=checkout, env=environment({}), check=True, capture_output=True)
    status = json.loads(found.stdout)
    return status["champion"], status["previous"]


def main(checkout: Path, minutes: float, swaps: int, canaries: int) -> None:
    def serve(port: int) -> list[str]:
        return [sys.executable, "-m", "cli", "serve", "--port", str(port)]

    history = changes(checkout, served_versions(checkout), swaps, canaries)
    bodies = several(entity_rows(checkout))

    def ask_once(port: int, clients: int, seconds: float) -> Load:
        return load(port, PATH, bodies, clients, seconds)

    served = Served("the service", serve, ask_once, {"RATCHET_WORKERS": "2"}, checkout)
    with running(served) as (port, server):
        seen = asyncio.run(operate(port, server, bodies, history, minutes))
    wrong = dict(seen.wrong) or "none"
    say(f"{seen.versions.total():,} answers; wrong: {wrong}; the slowest took {seen.slowest:.2f} s")
    say(f"by version and arm: {dict(seen.versions)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
