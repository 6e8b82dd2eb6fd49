"""The schema of the prediction log, and the conversion of a model's columns to it and back.

An id begins with the UTC date of its partition, so that a search reads only one date.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.errors import DataError
from ratchet.features.service import request_schema, service_spec
from ratchet.prediction_log.arms import CHAMPION
from ratchet.prediction_log.online_lines import VECTOR
from ratchet.storage.arrow import from_columns, to_columns
from ratchet.storage.digests import digest
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import INSTANT, Array, Columns, UseCase

if TYPE_CHECKING:
    from ratchet.model_registry.champion import Champion

PREDICTION = "prediction"
_STRUCTS = ("keys", "request", "features", "feature_timestamps")
ABSENCES = "absences"


def log_schema(use_case: UseCase) -> pa.Schema:
    """The columns of the log. The fields of its structs depend on the use case. This compiles the views, so keep the result.

    A struct without fields, for example without lookups, is left out: Parquet cannot store it.
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
            "scorer": pa.string(),
            "keys": pa.struct([request.field(name) for name in keys]),
            "request": pa.struct([request.field(name) for name in [*use_case.request_fields(), "event_timestamp"]]),
            "features": pa.struct([*_feature_fields(use_case)]),
            "feature_timestamps": pa.struct([pa.field(lookup.prefix, INSTANT) for lookup in use_case.lookups]),
            ABSENCES: pa.struct([pa.field(lookup.prefix, pa.string()) for lookup in use_case.lookups]),
            "prediction": pa.float64(),
            "arm": pa.string(),
            "rung": pa.string(),
            VECTOR: pa.string(),
        }
    )
    return pa.schema([field for field in columns if not (pa.types.is_struct(field.type) and not field.type.num_fields)])


def _feature_fields(use_case: UseCase) -> Iterator[pa.Field]:
    spec = service_spec(use_case)
    for lookup in use_case.lookups:
        for name in spec.features[lookup.view]:
            yield spec.schemas[lookup.view].field(name).with_name(f"{lookup.prefix}__{name}")


def conformed(log: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows that were written for any features, in the columns of `schema`: what they lack is null, and the rest is left out.

    Raises ArrowInvalid if a value does not fit its column.
    """
    return pa.table([_conformed(log, field) for field in schema], schema=schema)


def _conformed(log: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    name, kind = field.name, field.type
    if name not in log.column_names or not pa.types.is_struct(kind):
        return log.column(name).cast(kind) if name in log.column_names else pa.nulls(log.num_rows, kind)
    column = log.column(name)
    whole, present = column.combine_chunks(), {field.name for field in column.type}
    fields = [
        whole.field(part.name).cast(part.type) if part.name in present else pa.nulls(len(whole), part.type)
        for part in kind
    ]
    return pa.StructArray.from_arrays(fields, fields=[*kind])


def batch_ids(scorer: str, columns: Columns) -> list[str]:
    """One id per row, which depends only on the scorer, the request's id and its UTC date."""
    days = np.datetime_as_string(columns["event_timestamp"], unit="D")
    requests = columns["request_id"]
    return [f"{day}-b{digest(scorer, request)[:16]}" for day, request in zip(days, requests, strict=True)]


def online_ids(time: datetime, rows: int) -> list[str]:
    """New random ids for `rows` predictions on the UTC date of `time`."""
    return [f"{time.date().isoformat()}-o{secrets.token_hex(16)}" for _ in range(rows)]


def keyed_ids(time: datetime, model_name: str, request_ids: Sequence[str]) -> list[str]:
    """The ids of predictions on the UTC date of `time` that follow from the ids that their caller gave."""
    return [f"{time.date().isoformat()}-o{digest(model_name, name)[:32]}" for name in request_ids]


def without_missing(request: Mapping[str, Any]) -> dict[str, Any]:
    """A logged request without the fields that are missing, so that it equals one that was logged with more fields or less."""
    return {name: value for name, value in request.items() if value is not None}


def log_entries(
    schema: pa.Schema,
    champion: Champion,
    columns: Columns,
    predictions: Array,
    *,
    ids: Sequence[str],
    times: Array,
    scorer: str,
) -> pa.Table:
    """The log's rows, in `schema`, for requests joined with their features (`columns`). `times` are UTC instants, datetime64.
    `scorer` names the model and code of the prediction. Why a lookup found no features, a batch does not know.

    Raises DataError if a prediction is NaN or infinite.
    """
    if not np.isfinite(predictions).all():
        raise DataError(
            "answered with something that is not a finite number",
            subject=f"model version {champion.version}",
            remedy="Roll back (`ratchet rollback`), and check the row's features",
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
        "scorer": pa.array([scorer] * rows, pa.string()),
        "prediction": predictions,
        "arm": [CHAMPION] * rows,
        **{name: pa.nulls(rows, pa.string()) for name in ("rung", VECTOR)},
        **{name: _struct(columns, schema.field(name)) for name in _STRUCTS if name in schema.names},
        **({ABSENCES: _nothing(schema.field(ABSENCES), rows)} if ABSENCES in schema.names else {}),
    }
    return pa.table(values, schema=schema)


def _nothing(field: pa.Field, rows: int) -> pa.Array:
    """Structs whose fields are null."""
    return pa.StructArray.from_arrays([pa.nulls(rows, part.type) for part in field.type], fields=[*field.type])


def _struct(columns: Columns, field: pa.Field) -> pa.Array:
    sources = {_source(field.name, part.name): part for part in field.type}
    schema = pa.schema([part.with_name(source) for source, part in sources.items()])
    arrays = [column.combine_chunks() for column in from_columns(columns, schema).columns]
    return pa.StructArray.from_arrays(arrays, fields=list(sources.values()))


def _source(struct: str, part: str) -> str:
    """The column from which a struct's field is filled."""
    return f"{part}__event_timestamp" if struct == "feature_timestamps" else part


def _flat(struct: pa.ChunkedArray) -> pa.Table:
    """The fields of a struct as columns, also without a row."""
    return pa.table([*struct.flatten()], names=[part.name for part in struct.type])


def served(use_case: UseCase, inputs: Sequence[str], log: pa.Table) -> dict[str, Array]:
    """What the model got and what it answered: `inputs`, `event_timestamp` and `prediction`. Ready vectors come last."""
    has_vector = pc.is_valid(log.column(VECTOR))
    asked, given = log.filter(pc.invert(has_vector)), log.filter(has_vector)
    parts = [_looked_up(use_case, asked)] if asked.num_rows or not given.num_rows else []
    parts += [_given(inputs, given)] if given.num_rows else []
    columns = {name: np.concatenate([part[name] for part in parts]) for name in (*inputs, EVENT_TIMESTAMP)}
    answers = pa.chunked_array([*asked.column(PREDICTION).chunks, *given.column(PREDICTION).chunks], pa.float64())
    return {**columns, PREDICTION: answers.to_numpy()}


def _given(inputs: Sequence[str], log: pa.Table) -> dict[str, Array]:
    """The columns of ready vectors."""
    vectors = [json.loads(text) for text in log.column(VECTOR).to_pylist()]
    times = to_columns(_flat(log.column("request")).select([EVENT_TIMESTAMP]))
    return times | to_columns(pa.table({name: [vector[name] for vector in vectors] for name in inputs}))


def _looked_up(use_case: UseCase, log: pa.Table) -> dict[str, Array]:
    """Requests joined with their features, and the on-demand columns."""
    columns = {
        _source(struct, name): values
        for struct in _STRUCTS
        if struct in log.column_names
        for name, values in to_columns(_flat(log.column(struct))).items()
    }
    return use_case.complete(use_case.with_constants(columns))
