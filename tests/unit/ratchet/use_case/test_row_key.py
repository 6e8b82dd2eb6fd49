"""The identity of an accepted row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.use_case.contract import INSTANT, ROW_KEY, SourceTable
from ratchet.use_case.row_key import keyed

SCHEMA = pa.schema(
    {"shop": pa.string(), "till": pa.string(), "number": pa.int64(), "at": INSTANT, "amount": pa.float64()}
)
TABLE = SourceTable("sales", SCHEMA, key=("shop", "till", "number", "at"), event_time="at")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
TEXT = st.text("a:1\x000é", max_size=4)
KEYS = st.tuples(
    TEXT, TEXT, st.integers(-(2**60), 2**60), st.integers(0, 10**9).map(lambda s: NOON + timedelta(microseconds=s))
)


def keys_of(rows: list[tuple[object, ...]], table: SourceTable = TABLE) -> list[str]:
    """The keys of rows, each with an amount of its own."""
    named = [dict(zip(SCHEMA.names, (*row, float(place)), strict=True)) for place, row in enumerate(rows)]
    found: list[str] = keyed(table, pa.Table.from_pylist(named, SCHEMA))[ROW_KEY].to_pylist()
    return found


@given(st.lists(KEYS, unique=True, max_size=20))
def test_different_keys_differ(rows: list[tuple[object, ...]]) -> None:
    """Wherever one part ends and the next begins."""
    assert len(rows) == len({*keys_of(rows)})


@given(st.lists(KEYS, min_size=1, max_size=20))
def test_does_not_depend_on_other_rows_or_columns(rows: list[tuple[object, ...]]) -> None:
    """A row delivered again, among others and with another amount, is the same row."""
    alone = [key for row in rows for key in keys_of([row])]
    assert alone == keys_of(rows)
    assert [*reversed(alone)] == keys_of([*reversed(rows)])


def test_is_pinned() -> None:
    """Ids of predictions follow from it, so it must never change."""
    assert ["ccff738dfa14a8955d59a38c"] == keys_of([("a", "b", 1, NOON)])


@pytest.mark.parametrize("changes", [{"name": "returns"}, {"key": ("shop", "at")}])
def test_belongs_to_its_table(changes: dict[str, object]) -> None:
    """Rows of two tables, or with another key, are never the same."""
    table = SourceTable(**{"name": "sales", "schema": SCHEMA, "key": TABLE.key, "event_time": "at", **changes})  # type: ignore[arg-type]
    assert keys_of([("a", "b", 1, NOON)]) != keys_of([("a", "b", 1, NOON)], table)


def test_of_no_rows() -> None:
    """An empty table stays one."""
    assert [] == keys_of([])
