"""What a prediction costs online: `python -m benchmarks.online CHECKOUT [--seconds 10] [--redis ADDRESS] [--mlserver PYTHON]`.

CHECKOUT is a checkout in which a model of nyc_taxi serves. Each server runs on the first core alone, all of its processes
together; the load comes from another, and so does Redis. CPU is what the server's processes used, in microseconds for each
request. Each server takes turns with the bare one, a second each: a machine that others share is twice as fast at one time as
at another, and only figures of the same time can be compared. The bare server against itself says how well.

PYTHON is that of an environment with mlserver and mlserver-lightgbm, which do not fit into ours. With ADDRESS, such as
redis://127.0.0.1:6379/0, features are written to that Redis first, and served from it, too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.online import requests
from benchmarks.online.grpc_load import grpc_load
from benchmarks.online.load import Load, load, together
from benchmarks.online.servers import MODEL, Served, cpu, environment, family, free_port, running, say, settle

COLUMNS = (
    "server",
    "clients",
    "CPU µs a request",
    "× bare",
    "p50 ms",
    "p99 ms",
    "× bare's p99",
    "requests/s",
    "errors",
    "by the baseline",
    "MB a process",
)
CLIENTS = (1, 16)
TURN = 1.0
"""Seconds of a turn."""
PYTHON = sys.executable


def main(checkout: Path, seconds: float, redis: str, mlserver: str) -> None:
    key = made_key(checkout)
    release = requests.made_release(checkout)
    say(f"| {' | '.join(COLUMNS)} |")
    say("| --- " * len(COLUMNS) + "|")
    materialized_in(checkout, "")  # only the store that was written last is read
    bare, *rivals = others(checkout, release, mlserver)
    with running(bare) as (port, server):
        beside = Asked(bare, port, server)
        measure(beside, beside, seconds)
        for each in (*rivals, *ours(checkout, release, key, ""), *over_grpc(checkout, release, key)):
            start_and_measure(each, beside, seconds)
        if redis:
            materialized_in(checkout, redis)
            for each in ours(checkout, release, key, redis):
                start_and_measure(each, beside, seconds)


@dataclass(frozen=True)
class Asked:
    """A server that runs."""

    served: Served
    port: int
    server: psutil.Process

    def turn(self, clients: int, seconds: float) -> tuple[float, Load]:
        """Ask it; returns the seconds of CPU that it used, and what came of it."""
        before = cpu(self.server)
        found = self.served.load(self.port, clients, seconds)
        return cpu(self.server) - before, found


def start_and_measure(served: Served, bare: Asked, seconds: float) -> None:
    with running(served) as (port, server):
        measure(Asked(served, port, server), bare, seconds)


def measure(asked: Asked, bare: Asked, seconds: float) -> None:
    """Print a row for each number of clients, in turns with the bare server."""
    for each in (bare, asked):
        each.turn(4, 2.0)
    settle(asked.server)
    for clients in CLIENTS:
        turns = [(bare.turn(clients, TURN), asked.turn(clients, TURN)) for _ in range(round(seconds / TURN))]
        show(asked, clients, *(Figures.of(found) for found in zip(*turns, strict=True)))


@dataclass(frozen=True)
class Figures:
    """What the turns of a server cost together: microseconds of CPU for each request."""

    micros: float
    load: Load

    @classmethod
    def of(cls, turns: Sequence[tuple[float, Load]]) -> Figures:
        load = together([found for _, found in turns])
        return cls(sum(used for used, _ in turns) / len(load.milliseconds) * 1e6, load)


def show(asked: Asked, clients: int, bare: Figures, own: Figures) -> None:
    memory = "/".join(f"{process.memory_info().rss / 2**20:.0f}" for process in family(asked.server))
    load = own.load
    by_baseline = load.by_baseline / len(load.milliseconds)
    slow, ratio = load.quantile(0.99), own.micros / bare.micros
    say(
        f"| {asked.served.name} | {clients} | {own.micros:.0f} | {ratio:.2f} | {load.quantile(0.5):.2f} | {slow:.2f} "
        f"| {slow / bare.load.quantile(0.99):.1f} | {len(load.milliseconds) / load.seconds:,.0f} | {load.errors} "
        f"| {by_baseline:.0%} | {memory} |"
    )
    say(f"<!-- beside it the bare server: {bare.micros:.0f} µs, p99 {bare.load.quantile(0.99):.2f} ms -->")


def over_http(path: str, bodies: Sequence[bytes], **headers: str) -> Callable[[int, int, float], Load]:
    return lambda port, clients, seconds: load(port, path, bodies, clients, seconds, headers)


def others(checkout: Path, release: Path, mlserver: str) -> Iterator[Served]:
    """Servers of other projects, with the same booster. The bare ones do nothing but parse, ask it and answer."""
    booster, encoded = release / "model" / "booster.txt", requests.encoded_rows(release)
    ask = over_http("/predict", requests.as_v1(encoded))
    uvicorn = [PYTHON, "-m", "uvicorn", "benchmarks.online.bare:app", "--no-access-log", "--port"]
    yield Served("bare Starlette, ready vectors", lambda port: [*uvicorn, str(port)], ask, {"BOOSTER": str(booster)})
    lean = [PYTHON, "-m", "bentoml", "serve", "benchmarks.online.lean:Lean", "--port"]
    variables = {"BOOSTER": str(booster), "BENTOML_HOME": tempfile.mkdtemp()}
    yield Served("lean BentoML, ready vectors", lambda port: [*lean, str(port)], ask, variables)
    mlflow = [PYTHON, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{MODEL}@champion"]
    mlflow += ["--env-manager", "local", "--workers", "1", "--port"]
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{checkout / 'state' / 'mlflow.db'}"}
    ask = over_http("/invocations", requests.as_frames(requests.named_rows(release)))
    yield Served("mlflow models serve, ready vectors", lambda port: [*mlflow, str(port)], ask, variables, checkout)
    if mlserver:
        ask = over_http("/v2/models/taxi/infer", requests.as_matrices(encoded))
        yield Served("MLServer, V2, ready vectors", partial(mlserver_command, mlserver, booster), ask)


def mlserver_command(python: str, booster: Path, port: int) -> list[str]:
    folder = Path(tempfile.mkdtemp())
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    model = {
        "name": "taxi",
        "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(booster)},
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return [str(Path(python).with_name("mlserver")), "start", str(folder)]


def ours(checkout: Path, release: Path, key: str, redis: str) -> Iterator[Served]:
    """`ratchet serve` with everything on that is on by default, asked with a key."""
    named = requests.named_rows(release)
    entities, headers = requests.entity_rows(checkout), {"Authorization": f"Bearer {key}"}
    asked = {
        "V1, ready vectors": (f"/v1/models/{MODEL}.vectors:predict", requests.as_v1(named)),
        "V1, entity keys": (f"/v1/models/{MODEL}:predict", requests.as_v1(entities)),
        "V2, entity keys": (f"/v2/models/{MODEL}/infer", requests.as_v2(entities)),
    }
    store, variables = ("Redis", in_redis(redis)) if redis else ("SQLite", {})
    for name, (path, bodies) in asked.items():
        ask = over_http(path, bodies, **headers)
        yield Served(f"{name}, {store}", serve_command, ask, variables, checkout)


def serve_command(port: int) -> list[str]:
    return [PYTHON, "-m", "cli", "serve", "--port", str(port)]


def over_grpc(checkout: Path, release: Path, key: str) -> Iterator[Served]:
    messages = requests.as_messages(requests.named_rows(release), f"{MODEL}.vectors")
    ask = partial(_ask_over_grpc, messages, key)
    bare = [PYTHON, "-m", "benchmarks.online.bare_grpc"]
    variables = {"MODEL": str(release / "model")}
    yield Served("bare grpc.aio, ready vectors", lambda port: [*bare, str(port)], ask, variables)
    entities = requests.as_messages(requests.entity_rows(checkout), MODEL)
    asked = {"ready vectors": messages, "entity keys": entities}
    for name, content in asked.items():
        yield Served(
            f"V2 over gRPC, {name}",
            lambda port: ["env", f"RATCHET_GRPC=127.0.0.1:{port}", *serve_command(free_port())],
            partial(_ask_over_grpc, content, key),
            folder=checkout,
        )


def _ask_over_grpc(messages: Sequence[bytes], key: str, port: int, clients: int, seconds: float) -> Load:
    return grpc_load(port, messages, clients, seconds, key)


def in_redis(address: str) -> dict[str, str]:
    return {"RATCHET_ONLINE_STORE": "redis", "RATCHET_REDIS": address}


def materialized_in(checkout: Path, redis: str) -> None:
    command = [PYTHON, "-m", "cli", "--use-case", "nyc_taxi", "stage", "materialize"]
    subprocess.run(
        command, cwd=checkout, env=environment(in_redis(redis) if redis else {}), check=True, stdout=subprocess.DEVNULL
    )


def made_key(checkout: Path) -> str:
    """A key with a role and a rate, as callers have."""
    command = [PYTHON, "-m", "cli", "keys"]
    options = {"cwd": checkout, "env": environment({}), "capture_output": True, "text": True}
    subprocess.run([*command, "revoke", "benchmark"], check=False, **options)  # type: ignore[call-overload]
    add = [*command, "add", "benchmark", "--role", "predict", "--rate", "100000/s"]
    found = subprocess.run(add, check=True, **options)  # type: ignore[call-overload]
    return str(found.stdout).strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--redis", default="")
    parser.add_argument("--mlserver", default="")
    arguments = parser.parse_args()
    main(arguments.checkout.resolve(), arguments.seconds, arguments.redis, arguments.mlserver)
