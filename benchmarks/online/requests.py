"""What the servers are asked: golden rows of the model that serves, and requests of the fresh window."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.online.servers import environment
from inference_pipeline.online.protocols.grpc_messages import message
from inference_pipeline.online.protocols.v2_bodies import example
from ratchet.models.compiled.compiled_model import load_compiled

ROWS = 200
Row = Mapping[str, Any]


def made_release(checkout: Path) -> Path:
    """The release of what serves, as the service's loader makes it."""
    _printed(
        checkout,
        """
from inference_pipeline.online.loader import Loader
from ratchet.project.run import Run
Loader(Run.load(use_case="nyc_taxi")).refresh()
""",
    )
    folder = checkout / "state" / "nyc_taxi" / "simulator" / "releases"
    return folder / json.loads((folder / "current.json").read_bytes())["release"]


def encoded_rows(release: Path) -> list[list[float | None]]:
    """What the trees get: the golden rows that are not made up, encoded."""
    model = load_compiled(release / "model")
    golden = _golden(release)
    kinds = {name: np.float64 if isinstance(values[0], float) else object for name, values in golden.items()}
    columns = {name: np.array(values[:ROWS], kinds[name]) for name, values in golden.items()}
    rows = model.encoded(columns)  # type: ignore[attr-defined]
    return [[None if np.isnan(x) else x for x in row] for row in rows.tolist()]


def named_rows(release: Path) -> list[Row]:
    """The same rows as a caller has them: every input by its name."""
    golden = _golden(release)
    rows = [dict(zip(golden, row, strict=True)) for row in zip(*golden.values(), strict=True)][:ROWS]
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]


def _golden(release: Path) -> dict[str, list[Any]]:
    return dict(json.loads((release / "model" / "golden.json").read_bytes())["rows"])


def entity_rows(checkout: Path) -> list[Row]:
    """The fresh requests of the checkout, at the time up to which the store was written."""
    code = """
import json
from ratchet.project.run import Run
from ratchet.prediction_log.log import PredictionLog
from inference_pipeline.online.example import moved
run = Run.load(use_case="nyc_taxi")
fresh = run.period("fresh")
rows = PredictionLog.open(run).read(fresh).column("request").to_pylist()[-500:]
print(json.dumps([moved(row, run.use_case, fresh.end) for row in rows]))
"""
    return list(json.loads(_printed(checkout, code)))


def _printed(checkout: Path, code: str) -> bytes:
    """What a program prints that runs in the checkout, with this code."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.PIPE, env=environment({})).stdout


def as_v1(rows: Sequence[Any]) -> list[bytes]:
    return [json.dumps({"instances": [row]}).encode() for row in rows]


def as_v2(rows: Sequence[Row]) -> list[bytes]:
    return [json.dumps(example([row])).encode() for row in rows]


def as_matrices(rows: Sequence[Sequence[float | None]]) -> list[bytes]:
    """V2 with one tensor of encoded inputs, as MLServer takes it. JSON has no NaN: a number that is no code stands for it."""
    filled = [[-1e6 if value is None else value for value in row] for row in rows]
    tensors = [{"name": "x", "shape": [1, len(row)], "datatype": "FP64", "data": row} for row in filled]
    return [json.dumps({"inputs": [each]}).encode() for each in tensors]


def as_frames(rows: Sequence[Row]) -> list[bytes]:
    """As `mlflow models serve` takes them."""
    return [json.dumps({"dataframe_split": {"columns": [*row], "data": [[*row.values()]]}}).encode() for row in rows]


def as_messages(rows: Sequence[Row], name: str) -> list[bytes]:
    """ModelInferRequests with raw contents."""
    return [_message(row, name).SerializeToString() for row in rows]


def _message(row: Row, name: str) -> Any:
    tensors = [(field, *_raw(value)) for field, value in row.items()]
    inputs = [{"name": field, "datatype": kind, "shape": [1]} for field, kind, _ in tensors]
    return message("ModelInferRequest")(model_name=name, inputs=inputs, raw_input_contents=[raw for *_, raw in tensors])


def _raw(value: object) -> tuple[str, bytes]:
    if isinstance(value, str):
        text = value.encode()
        return "BYTES", struct.pack("<I", len(text)) + text
    if isinstance(value, int):
        return "INT64", struct.pack("<q", value)
    return "FP64", struct.pack("<d", float("nan") if value is None else value)
