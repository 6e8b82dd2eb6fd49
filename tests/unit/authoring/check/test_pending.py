"""Rules on rows whose outcome is not known yet: those that would quarantine them are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from authoring.check.pending import check_pending
from authoring.check.sample import Read, Sample
from authoring.check.source_lines import Declaration
from ratchet.use_case.contract import INSTANT, Rule, expect
from tests.support import noshow
from tests.support.runs import noshow_project
from tests.support.variants import with_table


def pair(**arguments: Any) -> Rule:
    return expect(
        "column_pair_values_a_to_be_greater_than_b", column_A="recorded_at", column_B="reminder_at", **arguments
    )


def found(root: Path, rule: Rule, pending: int) -> list[str]:
    """What is said of a rule where so many of three appointments have no outcome yet."""
    run = with_table(noshow_project(root), "appointments", rules={"early": rule})
    rows = noshow.APPOINTMENTS.empty_table()
    missing = pa.array([place < pending for place in range(3)])
    columns = {name: pa.nulls(3, field) for name, field in zip(rows.schema.names, rows.schema.types, strict=True)}
    columns["recorded_at"] = pc.if_else(missing, pa.scalar(None, INSTANT), pa.scalar(0).cast(INSTANT))
    sample = Sample(run, {"appointments": pa.table(columns)}, {}, {"appointments": Read(3, {})}, batches=1)
    return [f"{one.what} {one.where} {one.problem}" for one in check_pending(sample, Declaration(run))]


def test_pair_rule_that_quarantines_pending_rows_is_named(tmp_path: Path) -> None:
    """By default a pair with one value missing breaks its rule; the finding names rule, table and how many rows."""
    (said,) = found(tmp_path, pair(), 2)
    assert said.startswith("pending-quarantined ")
    assert "noshow.py" in said
    assert all(word in said for word in ("'early'", "2 rows", "'appointments'", "recorded_at"))


@pytest.mark.parametrize(
    ("rule", "pending"),
    [
        pytest.param(pair(ignore_row_if="either_value_is_missing"), 2, id="it lets them through"),
        pytest.param(pair(), 0, id="every outcome is known"),
        pytest.param(replace(pair(), arguments={"column_A": "clinic", "column_B": "patient"}), 2, id="early columns"),
        pytest.param(expect("column_values_to_be_between", column="missed", max_value=1), 2, id="no pair"),
    ],
)
def test_rule_that_does_not_is_left_alone(tmp_path: Path, rule: Rule, pending: int) -> None:
    """A rule that ignores such rows, compares nothing late or meets no such row needs no change."""
    assert [] == found(tmp_path, rule, pending)
