"""Conversion between Arrow tables and NumPy columns, the same in training, batch and online."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ratchet.use_case.contract import Array, Columns


def to_columns(table: pa.Table) -> dict[str, Array]:
    """Arrow to NumPy, the same in training, batch and online.

    Numbers and booleans become float64 with NaN for null, instants become datetime64[us] in UTC, and everything else becomes
    object with None for null.
    """
    return {name: to_array(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def to_array(column: pa.ChunkedArray, *, exact: bool = False) -> Array:
    """One column of `to_columns`. If `exact`, raises ArrowInvalid for integers that float64 cannot hold exactly."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return np.asarray(column.cast(pa.timestamp("us")).to_numpy())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        number = column.cast(pa.int8()) if pa.types.is_boolean(kind) else column
        return np.asarray(number.cast(pa.float64(), safe=exact).fill_null(float("nan")).to_numpy(), dtype=np.float64)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def from_columns(columns: Columns, schema: pa.Schema) -> pa.Table:
    """NumPy to Arrow, the reverse of `to_columns`. NaN, NaT and None become null; columns not in `schema` are left out."""
    return pa.table([_from_array(columns[field.name], field.type) for field in schema], schema=schema)


def _from_array(array: Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(array.astype("datetime64[us]")).cast(kind)
    return pa.array(array, from_pandas=True).cast(kind)
