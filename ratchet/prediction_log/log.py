"""The prediction log: what was asked, which features were served, which model answered what.

One schema, two halves. Batch predictions are Parquet partitions by UTC date, a deterministic output of their step. Online
predictions are lines of JSON, appended by each serving process to a segment of its own before it answers. An id begins with the
UTC date of its partition, so that finding one reads one date.
"""

from __future__ import annotations

import io
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from ratchet.core.clock import Period
from ratchet.core.errors import DataError, StoreError, StoreUnavailableError
from ratchet.features.service import request_schema, service_spec
from ratchet.project.project import Project
from ratchet.storage.arrow import from_columns, to_columns
from ratchet.storage.digests import digest
from ratchet.storage.partitions import files
from ratchet.use_case.contract import INSTANT, Array, Columns, UseCase

if TYPE_CHECKING:
    from ratchet.model_registry.champion import Champion

ARM = "champion"
_STRUCTS = ("keys", "request", "features", "feature_timestamps")
_ID = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})-[bo][0-9a-f]+")


def log_schema(use_case: UseCase) -> pa.Schema:
    """The log's columns; the fields of its structs follow from the use case. It compiles the views: keep the result.

    A struct without fields, as of a use case that looks nothing up, is left out: Parquet has no such thing.
    """
    request = request_schema(use_case)
    keys = sorted({column for lookup in use_case.lookups for column in lookup.keys.values()})
    columns = pa.schema(
        {
            "prediction_id": pa.string(),
            "time": INSTANT,
            "request_id": pa.string(),
            "model_name": pa.string(),
            "model_version": pa.int64(),
            "model_digest": pa.string(),
            "feature_service": pa.string(),
            "keys": pa.struct([request.field(name) for name in keys]),
            "request": pa.struct([request.field(name) for name in [*use_case.request_fields(), "event_timestamp"]]),
            "features": pa.struct([*_feature_fields(use_case)]),
            "feature_timestamps": pa.struct([pa.field(lookup.prefix, INSTANT) for lookup in use_case.lookups]),
            "prediction": pa.float64(),
            "arm": pa.string(),
        }
    )
    return pa.schema([field for field in columns if not (field.name in _STRUCTS and not field.type.num_fields)])


def _feature_fields(use_case: UseCase) -> Iterator[pa.Field]:
    spec = service_spec(use_case)
    for lookup in use_case.lookups:
        for name in spec.features[lookup.view]:
            yield spec.schemas[lookup.view].field(name).with_name(f"{lookup.prefix}__{name}")


def batch_ids(model_digest: str, columns: Columns) -> list[str]:
    """An id per row that follows from the model's digest, the request and its UTC date."""
    days = np.datetime_as_string(columns["event_timestamp"], unit="D")
    requests = columns["request_id"]
    return [f"{day}-b{digest(model_digest, request)[:16]}" for day, request in zip(days, requests, strict=True)]


def online_ids(time: datetime, rows: int) -> list[str]:
    """As many new ids of the UTC date of `time`."""
    return [f"{time.date().isoformat()}-o{uuid.uuid4().hex}" for _ in range(rows)]


def entries(
    schema: pa.Schema, champion: Champion, columns: Columns, predictions: Array, *, ids: Sequence[str], times: Array
) -> pa.Table:
    """Log rows, in `schema`, of requests joined with their features (`columns`). `times` are UTC instants, datetime64.

    Raises DataError where the model answered with something that is no number.
    """
    if not np.isfinite(predictions).all():
        raise DataError(
            "answered with something that is not a finite number",
            subject=f"model version {champion.version}",
            remedy="Roll back (`ratchet rollback`), and look at the row's features",
        )
    contract, rows = champion.model.contract, len(predictions)
    values: dict[str, Any] = {
        "prediction_id": list(ids),
        "time": pa.array(times.astype("datetime64[us]")).cast(INSTANT),
        "request_id": columns["request_id"],
        "model_name": [contract.model_name] * rows,
        "model_version": [champion.version] * rows,
        "model_digest": [champion.model.digest] * rows,
        "feature_service": [contract.feature_service] * rows,
        "prediction": predictions,
        "arm": [ARM] * rows,
        **{name: _struct(columns, schema.field(name)) for name in _STRUCTS if name in schema.names},
    }
    return pa.table(values, schema=schema)


def _struct(columns: Columns, field: pa.Field) -> pa.Array:
    sources = {_source(field.name, part.name): part for part in field.type}
    schema = pa.schema([part.with_name(source) for source, part in sources.items()])
    arrays = [column.combine_chunks() for column in from_columns(columns, schema).columns]
    return pa.StructArray.from_arrays(arrays, fields=list(sources.values()))


def _source(struct: str, part: str) -> str:
    """The column that a struct's field is kept from."""
    return f"{part}__event_timestamp" if struct == "feature_timestamps" else part


def served(use_case: UseCase, log: pa.Table) -> dict[str, Array]:
    """What the model was given, row by row: requests joined with their features, and the on-demand columns."""
    columns = {
        _source(struct, name): values
        for struct in _STRUCTS
        if struct in log.column_names
        for name, values in to_columns(pa.Table.from_struct_array(log.column(struct))).items()
    }
    return use_case.complete(use_case.with_constants(columns))


class OnlineLog:
    """This process's segment of the log. Lines are on their way to disk before a prediction is answered."""

    def __init__(self, project: Project) -> None:
        self._folder = project.online_log
        self._segment = uuid.uuid4().hex

    def append(self, rows: pa.Table, day: date) -> None:
        """Write all rows, predictions of one UTC date, by one call. Raises StoreError, and then vouches for none."""
        path = self._folder / f"date={day.isoformat()}" / f"{self._segment}.jsonl"
        try:
            _append(path, b"".join(_line(row) for row in rows.to_pylist()))
        except OSError as error:
            self._segment = uuid.uuid4().hex  # what is torn stays the end of its segment
            raise StoreUnavailableError(
                f"the prediction could not be logged ({error.strerror})",
                subject=str(path),
                remedy="Make room or grant access there; nothing is answered without being logged",
            ) from error


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(0, "written in part")
    finally:
        os.close(descriptor)


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, default=datetime.isoformat, allow_nan=False).encode() + b"\n"


def read(project: Project, period: Period) -> pa.Table:
    """Both halves, of predictions whose `time` is in the period, by time and id."""
    schema, dates = log_schema(project.use_case), [*period.dates()]
    parts = [*_batch_parts(project, dates), *_online_parts(project, dates)]
    table = pa.concat_tables([schema.empty_table(), *parts])
    within = (pc.field("time") >= period.start) & (pc.field("time") < period.end)
    return table.filter(within).sort_by([("time", "ascending"), ("prediction_id", "ascending")])


def _batch_parts(project: Project, dates: Sequence[date]) -> Iterator[pa.Table]:
    schema = log_schema(project.use_case)
    for path in files(project.predictions, dates[0], dates[-1]):
        try:
            yield pq.read_table(path, partitioning=None).cast(schema)
        except (pa.ArrowInvalid, ValueError) as error:
            raise _unreadable(path, error, "Run the stage `predict` again") from error


def _online_parts(project: Project, dates: Iterable[date]) -> Iterator[pa.Table]:
    options = pj.ParseOptions(explicit_schema=log_schema(project.use_case), unexpected_field_behavior="ignore")
    for path in _segments(project, dates):
        lines = _whole_lines(path)
        try:
            yield from [pj.read_json(io.BytesIO(lines), _blocks(lines), options)] if lines else []
        except pa.ArrowInvalid as error:
            raise _unreadable(path, error, "Fix or remove the line; later lines are whole") from error


def _blocks(lines: bytes) -> pj.ReadOptions:
    """Blocks into which the longest line fits: what a caller may send is escaped here, and some of it stands in keys again."""
    return pj.ReadOptions(block_size=max(pj.ReadOptions().block_size, *map(len, lines.splitlines(keepends=True))))


def _segments(project: Project, dates: Iterable[date]) -> Iterator[Path]:
    for day in dates:
        yield from sorted((project.online_log / f"date={day.isoformat()}").glob("*.jsonl"))


def _whole_lines(path: Path) -> bytes:
    """A segment without the line that its process was killed in."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _unreadable(path: Path | str, error: Exception, remedy: str) -> StoreError:
    return StoreError(f"cannot be read as a prediction log ({error})", subject=str(path), remedy=remedy)


def find_prediction(project: Project, prediction_id: str) -> dict[str, Any]:
    """The log row of one prediction as it was written, instants as ISO text. Raises StoreError where there is none."""
    found = next(_find(project, prediction_id), None)
    if found is None:
        raise StoreError(
            "is not in the prediction log",
            subject=f"prediction {prediction_id!r}",
            remedy="Batch predictions are replaced when a model is promoted: restore the earlier data, or give another id",
        )
    return found


def holds(project: Project, prediction_id: str) -> bool:
    """Whether a prediction is in this project's log; its id names no model. Raises StoreError for what is no id."""
    return next(_find(project, prediction_id), None) is not None


def _find(project: Project, prediction_id: str) -> Iterator[dict[str, Any]]:
    day = _date_of(prediction_id)
    yield from _find_batch(project, day, prediction_id)
    yield from _find_online(project, day, prediction_id)


def _date_of(prediction_id: str) -> date:
    match = _ID.fullmatch(prediction_id)
    try:
        return date.fromisoformat(match["date"] if match else "")
    except ValueError as error:
        raise StoreError(
            "is not an id of a prediction",
            subject=f"prediction {prediction_id!r}",
            remedy="Give one from an answer or from the prediction log: a date, b or o, and hexadecimal digits",
        ) from error


def _find_batch(project: Project, day: date, prediction_id: str) -> Iterator[dict[str, Any]]:
    wanted = pc.field("prediction_id") == prediction_id
    for path in files(project.predictions, day, day):
        for row in pq.read_table(path, partitioning=None, filters=wanted).to_pylist():
            yield json.loads(_line(row))


def _find_online(project: Project, day: date, prediction_id: str) -> Iterator[dict[str, Any]]:
    for path in _segments(project, [day]):
        candidates = (line for line in _whole_lines(path).splitlines() if prediction_id.encode() in line)
        yield from (
            row for row in (_parsed(path, line) for line in candidates) if row["prediction_id"] == prediction_id
        )


def _parsed(path: Path, line: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except ValueError as error:
        raise _unreadable(path, error, "Fix or remove the line") from error
