"""Batches: every row of the source is read, and a value that no table can hold costs its own row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import create_model

from ratchet.core.errors import SourceError
from ratchet.project.run import Run
from ratchet.sources import batches as batches
from ratchet.sources import unreadable
from ratchet.sources.batches import Source, read
from ratchet.use_case.batch import Batch, Unread
from ratchet.use_case.contract import INSTANT, SourceTable
from tests.support import feed
from tests.support.feed import feed_project
from tests.support.variants import with_use_case

SCHEMA = pa.schema(
    {"id": pa.int64(), "kind": pa.int64(), "size": pa.float64(), "at": INSTANT, "known_at": INSTANT, "born": INSTANT}
)
EVENTS = SourceTable("events", SCHEMA, key=("id",), event_time="at", known_at="known_at")
USE_CASE = replace(feed.use_case, tables=(EVENTS,), request=create_model("Request", kind=(int, ...)))
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def event(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "kind": 1, "size": 1.0, "at": NOON, "known_at": NOON, "born": NOON, **changes}


def raw(*rows: dict[str, Any], count: Callable[[], int] | None = None) -> pa.Table:
    """What these rows are as a batch."""
    table = pa.Table.from_pylist([*rows], SCHEMA)
    return read(USE_CASE, Batch("events", "one", "", lambda: (table, []), count))


def texts(table: pa.Table) -> list[dict[str, str]]:
    return [dict(each or []) for each in table["unreadable"].to_pylist()]


class TestCounts:
    @pytest.mark.parametrize("counted", [0, 1, 3])
    def test_rows_that_differ_from_the_source_are_refused(self, counted: int) -> None:
        """None is lost or made on the way: both numbers are named."""
        with pytest.raises(SourceError, match=rf"batch events/one: 2 rows .*\b{counted}\b"):
            raw(event(), event(id=2), count=lambda: counted)

    def test_rows_that_the_source_counts_are_read(self) -> None:
        """As many as it says."""
        assert 2 == raw(event(), event(id=2), count=lambda: 2).num_rows


class TestImpossibleValues:
    @pytest.mark.parametrize(
        ("column", "value", "text"),
        [
            ("size", float("inf"), "inf"),
            ("size", float("-inf"), "-inf"),
            ("kind", 2**53 + 1, "9007199254740993"),
            ("kind", -(2**63), "-9223372036854775808"),
            ("at", datetime(1, 1, 1, tzinfo=UTC), "0001-01-01 00:00:00.000000Z"),
            ("at", datetime(1970, 1, 1, tzinfo=UTC), "1970-01-01 00:00:00.000000Z"),
            ("at", datetime(2100, 1, 1, tzinfo=UTC), "2100-01-01 00:00:00.000000Z"),
            ("known_at", datetime(9999, 12, 31, tzinfo=UTC), "9999-12-31 00:00:00.000000Z"),
        ],
    )
    def test_are_unreadable(self, column: str, value: object, text: str) -> None:
        """They are null, and kept as text; the other rows are what they were."""
        found = raw(event(), event(**{column: value}), event())
        assert [{}, {column: text}, {}] == texts(found)
        assert [False, True, False] == [each is None for each in found[column].to_pylist()]

    def test_do_not_include_what_a_table_can_keep(self) -> None:
        """NaN and null are no values, a birthday may be long ago, and a number of no request as long as it likes."""
        rows = [
            event(size=float("nan"), known_at=None, kind=None, born=datetime(1931, 5, 1, tzinfo=UTC)),
            event(id=2**63 - 1, kind=2**53, at=datetime(2099, 12, 31, tzinfo=UTC)),
        ]
        found = raw(*rows)
        assert [{}, {}] == texts(found)
        assert [(row["id"], row["born"]) for row in rows] == [(row["id"], row["born"]) for row in found.to_pylist()]

    def test_keep_their_rows_place(self) -> None:
        """The row id leads back to the delivered row."""
        found = raw(event(), event(at=datetime(1, 1, 1, tzinfo=UTC)), event())
        assert ["one:00000000", "one:00000001", "one:00000002"] == found["row_id"].to_pylist()

    def test_are_noted_with_the_first(self) -> None:
        """How many there are, the first of them, and where it stands."""
        rows = [event(), event(size=float("inf")), event(), event(size=float("-inf"))]
        note = raw(*rows).schema.metadata[b"ratchet.notes"].decode()
        assert "size: 2 unreadable" in note
        assert "'inf' in row 2" in note


class TestWrongDeliveries:
    def test_with_a_column_that_is_mostly_unreadable_are_refused(self) -> None:
        """More than half of its values: the batch is wrong, not they. Column, value and row are named."""
        wrong = event(size=float("inf"))
        with pytest.raises(SourceError, match=r"batch events/one: .*\bsize: 2 of 3 .*'inf' in row 2"):
            raw(event(), wrong, wrong, event(size=None))

    def test_half_of_a_column_is_no_column(self) -> None:
        """Up to half of the values are rows to quarantine."""
        assert [{}, {"size": "inf"}] == texts(raw(event(), event(size=float("inf"))))

    def test_one_value_is_no_column(self) -> None:
        """Even if it is the only one: a single value never stops a batch."""
        assert [{"size": "inf"}, {}] == texts(raw(event(size=float("inf")), event(size=None)))

    @pytest.mark.parametrize("batch", ["", ".hidden", "a/b", "a\\b", "a\nb", ".."])
    def test_with_a_name_that_no_file_can_have_are_refused(self, batch: str, tmp_path: Path) -> None:
        """A loader names its batches so that each can be kept in a file of that name."""
        with pytest.raises(SourceError, match="kept in a file"):
            batches.find(
                Source.open(delivering(tmp_path, Batch("payments", batch, "", lambda: (SCHEMA.empty_table(), []))))
            )


def delivering(root: Path, *found: Batch | Unread) -> Run:
    """A project whose loader finds just that."""
    return with_use_case(feed_project(root), sources={"folder": lambda *_: found})


def test_what_is_not_read_is_no_batch(tmp_path: Path) -> None:
    """A loader may name what it leaves out, among its batches."""
    found = [Batch(table, "one", "", lambda: (SCHEMA.empty_table(), [])) for table in ("payments", "shops")]
    run = delivering(tmp_path, *found, Unread("notes.txt", "is no payment"))
    assert ["payments/one", "shops/one"] == [*batches.find(Source.open(run)).batches]
    assert (Unread("notes.txt", "is no payment"),) == tuple(batches.find(Source.open(run)).unread)


class TestConverted:
    def test_is_null_for_each_value_that_does_not_fit(self) -> None:
        """Among any number of others, in whatever chunks."""
        values = pa.chunked_array([["1", "x", None], ["2"] * 50, ["y", "x", "3"]])
        found = unreadable.converted(values, lambda some: some.cast(pa.int64()))
        assert [1, None, None, *[2] * 50, None, None, 3] == found.to_pylist()

    def test_of_nothing_that_fits_is_nothing(self) -> None:
        """Nulls of the type that was asked for."""
        found = unreadable.converted(pa.chunked_array([["x", "y"]]), lambda some: some.cast(pa.int64()))
        assert ([None, None], pa.int64()) == (found.to_pylist(), found.type)
