"""Score a file of requests, or of ready feature vectors, as the online service answers them, and log every prediction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic import ValidationError

from inference_pipeline.online.failures import Failure
from inference_pipeline.online.instances import MAX_INSTANCES, ColumnKind
from inference_pipeline.online.load_release import load_predictor, note_freshness
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import Predictions
from inference_pipeline.online.release_folder import ReleaseFolder
from inference_pipeline.online.shared import Shared
from ratchet.core.errors import RegistryError, RequestError
from ratchet.core.progress import report
from ratchet.feature_store.written_store import problem_now
from ratchet.project.run import Run
from ratchet.storage.digests import digest, md5
from ratchet.storage.files import atomic

CSV, PARQUET = ".csv", ".parquet"
SCORED = pa.schema(
    {
        "prediction": pa.float64(),
        "prediction_id": pa.string(),
        "model_version": pa.int64(),
        "rung": pa.string(),
    }
)
"""The columns of a file of predictions, whose rows are in the order of the requests."""
_ARROW: Mapping[ColumnKind, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.string(),  # RFC 3339: the offset must not be lost
}
"""How the fields of a CSV file are read."""


@dataclass(frozen=True)
class Scored:
    """What was scored: how many rows, by which version, and how many of them by the baseline."""

    rows: int
    version: int
    without_features: int


def score_file(run: Run, source: Path, target: Path, form: str) -> Scored:
    """Score each row of a CSV or Parquet file, and write a file of predictions in the same order, with the columns SCORED.

    `form` is REQUESTS or VECTORS. A run that is repeated, with the same model and features, gives the same predictions, and
    logs none twice. Raises RequestError for the first row that is wrong, RegistryError if no model may serve, and
    StoreUnavailableError if there are neither features nor a baseline, or if the log cannot be written.
    """
    _require_files(source, target)
    releases = ReleaseFolder.of(run)
    if not releases.is_packaged:
        from inference_pipeline.online.loader import Loader  # imports MLflow, which a Bento does not need

        Loader(run).refresh()
    current = releases.current()
    if current.release is None:
        raise RegistryError(
            f"no model serves ({current.problem or 'none was promoted yet'})",
            subject=run.scope.namespace,
            remedy="`ratchet status` says what to do",
        )
    shared = Shared.of(run)
    try:
        predictor = load_predictor(run, releases.folder(current.release), shared)
        predictor.features.problem = problem_now(run)
        note_freshness(run, predictor)
        with atomic(target) as temporary:
            key = _key(run, source, current.release)
            return asyncio.run(_score(predictor, form, source, temporary, target.suffix, key))
    finally:
        shared.close()


def _key(run: Run, source: Path, release: str) -> str:
    """A key that changes with the file, with what scores it, and with the features in the online store."""
    held = run.paths.materialized_file
    return digest(md5(source), release, md5(held) if held.exists() else "")[:32]


async def _score(predictor: Predictor, form: str, source: Path, target: Path, kind: str, key: str) -> Scored:
    instances = predictor.instances[form]
    rows = without = 0
    with (pq.ParquetWriter if kind == PARQUET else pyarrow.csv.CSVWriter)(target, SCORED) as writer:
        for number, batch in enumerate(_batches(source, instances.kinds)):
            try:
                inputs = instances.read_rows(batch)
            except (ValidationError, RequestError) as error:
                raise _refused(source, rows, error) from error
            answer = await predictor.predict(inputs, f"{key}-{number}")
            writer.write_table(_table(answer))
            rows += len(batch)
            without += sum(row.rung == "baseline" for row in answer.rows)
            report("rows", rows)
    return Scored(rows, predictor.release.champion.version, without)


def _require_files(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        raise RequestError("would be overwritten", subject=str(source), remedy="Give the predictions another file")
    for path in (source, target):
        if path.suffix not in (CSV, PARQUET):
            raise RequestError(
                "is neither CSV nor Parquet",
                subject=str(path),
                remedy=f"Give it a name that ends in {CSV} or {PARQUET}",
            )


def _batches(source: Path, kinds: Mapping[str, ColumnKind]) -> Iterator[list[dict[str, Any]]]:
    """The rows of a file, as many at a time as may be asked for."""
    try:
        for batch in _read(source, kinds):
            for start in range(0, batch.num_rows, MAX_INSTANCES):
                rows = batch.slice(start, MAX_INSTANCES).to_pylist()
                yield [{name: _sent(value) for name, value in row.items()} for row in rows]
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise RequestError(f"cannot be read ({error})", subject=str(source), remedy="Mend the file") from error


def _read(source: Path, kinds: Mapping[str, ColumnKind]) -> Iterator[pa.RecordBatch]:
    if source.suffix == PARQUET:
        with pq.ParquetFile(source) as file:
            yield from file.iter_batches(MAX_INSTANCES)
        return
    types = {name: _ARROW[kind] for name, kind in kinds.items()}
    options = pyarrow.csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    with pyarrow.csv.open_csv(source, convert_options=options) as file:
        yield from file


def _sent(value: Any) -> Any:
    """A value as a caller would send it."""
    return value.isoformat() if isinstance(value, datetime) else value


def _refused(source: Path, before: int, error: ValidationError | RequestError) -> RequestError:
    """The error about the first row that is wrong, named by its place in the file."""
    ((field, reason), *_) = Failure.of(error).fields
    row, _, column = field.removeprefix("instances[").partition("]")
    place = f"row {before + int(row) + 1}{column and ', ' + column.removeprefix('.')}" if row.isdigit() else field
    return RequestError(
        reason, subject=f"{source}, {place}", remedy="Mend the file; what was scored before it is logged"
    )


def _table(answer: Predictions) -> pa.Table:
    rows = answer.rows
    columns = [[row.value for row in rows], [row.id for row in rows], [row.model_version for row in rows]]
    return pa.table([*columns, [row.rung for row in rows]], schema=SCORED)
