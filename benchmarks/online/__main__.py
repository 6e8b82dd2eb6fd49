"""What a prediction costs online: `python -m benchmarks.online CHECKOUT [SECONDS]`.

CHECKOUT is a checkout in which a model of nyc_taxi serves. Each server runs on the first core alone, all of its processes
together; the load comes from another. CPU is what the server's processes used, in microseconds for each request.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.online.load import Load, load
from inference_pipeline.online.protocols.v2_bodies import example

ROOT = Path(__file__).parents[2]
SERVER_CORE, LOAD_CORE = 0, 1
MODEL = "nyc_taxi-simulator"


@dataclass(frozen=True)
class Served:
    """A server, and the requests that it is asked."""

    name: str
    command: Callable[[int], Sequence[str]]
    path: str
    bodies: Sequence[bytes]
    environment: Mapping[str, str]
    folder: Path = ROOT
    headers: Mapping[str, str] = field(default_factory=dict)


def main(checkout: Path, seconds: float) -> None:
    release = newest_release(checkout)
    booster = release / "model" / "booster.txt"
    vectors, named, requests = ready_vectors(release), named_vectors(release), entity_requests(checkout)
    python, key = sys.executable, {"Authorization": f"Bearer {made_key(checkout)}"}

    def serve(port: int) -> list[str]:
        return [python, "-m", "cli", "serve", "--port", str(port)]

    served = [
        Served(
            "bare Starlette, ready vectors",
            lambda port: [
                python,
                "-m",
                "uvicorn",
                "benchmarks.online.bare:app",
                "--port",
                str(port),
                "--no-access-log",
            ],
            "/predict",
            vectors,
            {"BOOSTER": str(booster)},
        ),
        Served(
            "lean BentoML, ready vectors",
            lambda port: [python, "-m", "bentoml", "serve", "benchmarks.online.lean:Lean", "--port", str(port)],
            "/predict",
            vectors,
            {"BOOSTER": str(booster), "BENTOML_HOME": tempfile.mkdtemp()},
        ),
        Served("V1, ready vectors", serve, f"/v1/models/{MODEL}.vectors:predict", named, {}, checkout, key),
        Served("V1, entity keys", serve, f"/v1/models/{MODEL}:predict", requests, {}, checkout, key),
        Served(
            "V2, entity keys", serve, f"/v2/models/{MODEL}/infer", [as_v2(each) for each in requests], {}, checkout, key
        ),
    ]
    say("| server | clients | CPU µs a request | × bare | p50 ms | p99 ms | requests/s | errors | MB a process |")
    say("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    bare = {}
    for each in served:
        with running(each) as (port, server):
            load(port, each.path, each.bodies, 4, 2.0, each.headers)
            for clients in (1, 16):
                before = cpu(server)
                found = load(port, each.path, each.bodies, clients, seconds, each.headers)
                micros = (cpu(server) - before) / len(found.milliseconds) * 1e6
                bare.setdefault(clients, micros)
                show(each.name, clients, micros, micros / bare[clients], found, server)


def show(name: str, clients: int, micros: float, ratio: float, found: Load, server: psutil.Process) -> None:
    memory = "/".join(f"{process.memory_info().rss / 2**20:.0f}" for process in family(server))
    say(
        f"| {name} | {clients} | {micros:.0f} | {ratio:.1f} | {found.quantile(0.5):.2f} | {found.quantile(0.99):.2f} "
        f"| {len(found.milliseconds) / found.seconds:,.0f} | {found.errors} | {memory} |"
    )


def newest_release(checkout: Path) -> Path:
    folder = checkout / "state" / "nyc_taxi" / "simulator" / "releases"
    return folder / json.loads((folder / "current.json").read_bytes())["release"]


def ready_vectors(release: Path) -> list[bytes]:
    """What the trees get: the golden rows that are not made up, encoded."""
    from ratchet.models.compiled.compiled_model import load_compiled

    model = load_compiled(release / "model")
    golden = json.loads((release / "model" / "golden.json").read_bytes())["rows"]
    kinds = {name: np.float64 if isinstance(values[0], float) else object for name, values in golden.items()}
    columns = {name: np.array(values[:200], kinds[name]) for name, values in golden.items()}
    rows = model.encoded(columns)  # type: ignore[attr-defined]
    return [json.dumps({"instances": [[None if np.isnan(x) else x for x in row]]}).encode() for row in rows.tolist()]


def named_vectors(release: Path) -> list[bytes]:
    """The same rows as a caller has them: every input by its name."""
    golden = json.loads((release / "model" / "golden.json").read_bytes())["rows"]
    rows = [dict(zip(golden, row, strict=True)) for row in zip(*golden.values(), strict=True)][:200]
    plain = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    return [json.dumps({"instances": [row]}).encode() for row in plain]


def as_v2(body: bytes) -> bytes:
    return json.dumps(example(json.loads(body)["instances"])).encode()


def made_key(checkout: Path) -> str:
    """A key with a role and a rate, as callers have."""
    command = [sys.executable, "-m", "cli", "keys"]
    options = {"cwd": checkout, "env": environment({}), "capture_output": True, "text": True}
    subprocess.run([*command, "revoke", "benchmark"], check=False, **options)  # type: ignore[call-overload]
    add = [*command, "add", "benchmark", "--role", "predict", "--rate", "100000/s"]
    found = subprocess.run(add, check=True, **options)  # type: ignore[call-overload]
    return str(found.stdout).strip()


def entity_requests(checkout: Path) -> list[bytes]:
    """The fresh requests of the checkout, at the time up to which the store was written."""
    code = """
import json, sys
from ratchet.project.run import Run
from ratchet.prediction_log.log import PredictionLog
from inference_pipeline.online.example import moved
run = Run.load(use_case="nyc_taxi")
fresh = run.period("fresh")
rows = PredictionLog.open(run).read(fresh).column("request").to_pylist()[-500:]
print(json.dumps([moved(row, run.use_case, fresh.end) for row in rows]))
"""
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True, env=environment({})
    )
    return [json.dumps({"instances": [each]}).encode() for each in json.loads(found.stdout)]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "BENTOML_DO_NOT_TRACK": "1", **more}


@contextmanager
def running(served: Served) -> Iterator[tuple[int, psutil.Process]]:
    """The server on a free port, on one core, when it answers; the load runs on the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.sched_setaffinity(0, {SERVER_CORE})
    began = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command, variables = [*served.command(port)], environment(served.environment)
    process = subprocess.Popen(command, cwd=served.folder, env=variables, **quiet)  # type: ignore[call-overload]
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        while not answers(port, served):
            time.sleep(0.05)
        say(f"<!-- {served.name}: first answer after {time.monotonic() - began:.1f} s -->")
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int, served: Served) -> bool:
    try:
        found = load(port, served.path, served.bodies[:1], 1, 0.1, served.headers)
    except (OSError, EOFError):
        return False
    return not found.errors and bool(found.milliseconds)


def family(server: psutil.Process) -> list[psutil.Process]:
    return [server, *server.children(recursive=True)]


def cpu(server: psutil.Process) -> float:
    """Seconds of CPU that the server's processes have used."""
    times = [process.cpu_times() for process in family(server)]
    return sum(each.user + each.system for each in times)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
