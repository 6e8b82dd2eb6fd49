"""What a prediction costs online: `python -m benchmarks.online CHECKOUT [--seconds 10] [--redis ADDRESS] [--mlserver PYTHON]`.

CHECKOUT is a checkout in which a model of nyc_taxi serves. Each server runs on the first core alone, all of its processes
together; the load comes from another, and so does Redis. CPU is what the server's processes used, in microseconds for each
request. PYTHON is that of an environment with mlserver and mlserver-lightgbm, which do not fit into ours. With ADDRESS, such as
redis://127.0.0.1:6379/0, features are written to that Redis first, and served from it, too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil

from benchmarks.online import requests
from benchmarks.online.grpc_load import grpc_load
from benchmarks.online.load import Load, load
from benchmarks.online.servers import MODEL, Served, cpu, environment, family, free_port, running, say

COLUMNS = (
    "server",
    "clients",
    "CPU µs a request",
    "× bare",
    "p50 ms",
    "p99 ms",
    "requests/s",
    "errors",
    "by the baseline",
    "MB a process",
)
CLIENTS = (1, 16)
PYTHON = sys.executable


def main(checkout: Path, seconds: float, redis: str, mlserver: str) -> None:
    key = made_key(checkout)
    release = requests.made_release(checkout)
    say(f"| {' | '.join(COLUMNS)} |")
    say("| --- " * len(COLUMNS) + "|")
    bare: dict[int, float] = {}
    materialized_in(checkout, "")  # only the store that was written last is read
    own = [*ours(checkout, release, key, ""), *over_grpc(checkout, release, key)]
    for each in (*others(checkout, release, mlserver), *own):
        measure(each, seconds, bare)
    if redis:
        materialized_in(checkout, redis)
        for each in ours(checkout, release, key, redis):
            measure(each, seconds, bare)


def measure(served: Served, seconds: float, bare: dict[int, float]) -> None:
    """Print a row for each number of clients. The first server of all becomes the `bare` one."""
    with running(served) as (port, server):
        served.load(port, 4, 2.0)
        for clients in CLIENTS:
            before = cpu(server)
            found = served.load(port, clients, seconds)
            micros = (cpu(server) - before) / len(found.milliseconds) * 1e6
            show(served.name, clients, micros, micros / bare.setdefault(clients, micros), found, server)


def show(name: str, clients: int, micros: float, ratio: float, found: Load, server: psutil.Process) -> None:
    memory = "/".join(f"{process.memory_info().rss / 2**20:.0f}" for process in family(server))
    by_baseline = found.by_baseline / len(found.milliseconds)
    say(
        f"| {name} | {clients} | {micros:.0f} | {ratio:.1f} | {found.quantile(0.5):.2f} | {found.quantile(0.99):.2f} "
        f"| {len(found.milliseconds) / found.seconds:,.0f} | {found.errors} | {by_baseline:.0%} | {memory} |"
    )


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
