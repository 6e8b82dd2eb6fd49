"""Rules: Great Expectations may not let a row pass that it could not judge."""

from __future__ import annotations

import gc
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from feature_pipeline.expectations import EVERY_ROW, failing, judge, observed, rules_digest
from ratchet.core.errors import DataError, SettingsError
from ratchet.use_case.contract import Rule, expect
from tests.support.rules import failing_rows

ROWS = pa.table(
    {
        "row_id": ["b:0", "b:1", "b:2", "b:3"],
        "n": pa.array([1, 2, None, 2], pa.int64()),
        "of": pa.array([0, 1, 1, 1], pa.int64()),
        "begin": pa.array([datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)], pa.timestamp("us", "UTC")),
        "end": pa.array([datetime(2024, 1, day, tzinfo=UTC) for day in (2, 1, 3, 4)], pa.timestamp("us", "UTC")),
        "kind": ["x", "y", None, "x"],
    }
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (expect("column_values_to_not_be_null", column="n"), ["b:2"]),
        (expect("column_values_to_be_between", column="n", max_value=1), ["b:1", "b:3"]),
        (expect("column_values_to_be_in_set", column="kind", value_set=["x"]), ["b:1"]),
        (expect("column_values_to_be_unique", column="n"), ["b:1", "b:3"]),
        (expect("column_values_to_be_between", column="begin", min_value=datetime(2024, 1, 2, tzinfo=UTC)), ["b:0"]),
        (
            expect("column_pair_values_a_to_be_greater_than_b", column_A="end", column_B="begin", or_equal=True),
            ["b:1"],
        ),
        (expect("column_pair_values_a_to_be_greater_than_b", column_A="n", column_B="of"), ["b:2"]),
        (
            expect(
                "column_pair_values_a_to_be_greater_than_b",
                column_A="n",
                column_B="of",
                ignore_row_if="either_value_is_missing",
            ),
            [],
        ),
        (expect("compound_columns_to_be_unique", column_list=["n", "end"]), []),
        (expect("column_values_to_not_be_null", column="kind", mostly=0.5), ["b:2"]),
        (expect("table_row_count_to_be_between", min_value=1), []),
    ],
)
def test_names_every_row_that_breaks_a_rule(rule: Rule, expected: list[str]) -> None:
    """Rows are named by id whatever the kind of rule, and though most rows meet it."""
    assert {"reason": expected} == failing_rows({"reason": rule}, ROWS, "table/b")


def test_names_more_rows_than_the_library_shows() -> None:
    """There is no cap on failing rows."""
    rows = pa.table({"row_id": [str(row) for row in range(5000)], "n": pa.nulls(5000, pa.float64())})
    found = failing_rows({"gap": expect("column_values_to_not_be_null", column="n")}, rows, "table/b")
    assert {"gap": rows["row_id"].to_pylist()} == found


def test_a_rule_on_an_unknown_column_stops_the_step() -> None:
    """The library only notes such an exception in its result."""
    with pytest.raises(DataError, match=r"^table/b: rule 'typo' .*\bnn\b"):
        failing_rows({"typo": expect("column_values_to_not_be_null", column="nn")}, ROWS, "table/b")


def test_a_rule_that_compares_what_cannot_be_compared_stops_the_step() -> None:
    """A type error inside a rule is not a pass."""
    with pytest.raises(DataError, match=r"^table/b: rule 'kinds' "):
        failing_rows({"kinds": expect("column_values_to_be_between", column="kind", min_value=3)}, ROWS, "table/b")


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (expect("table_row_count_to_be_between", min_value=10), 4),
        (expect("column_mean_to_be_between", column="n", min_value=10), pytest.approx(5 / 3)),
        (expect("column_unique_value_count_to_be_between", column="kind", min_value=5), 2),
    ],
)
def test_a_batch_that_fails_as_a_whole_names_no_rows(rule: Rule, value: object) -> None:
    """What was seen is what can be said of it."""
    results = judge({"whole": rule}, ROWS, "table/b", EVERY_ROW)
    assert ({"whole": []}, {"whole": value}) == (failing(results), observed(results))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            expect("column_value_to_be_between", column="n"),
            "expect_column_value_to_be_between.*ExpectColumnValuesToBeBetween",
        ),
        (expect("column_values_to_not_be_null", colunm="n"), "arguments .*column"),
    ],
)
def test_a_rule_that_the_library_does_not_know_is_refused(rule: Rule, message: str) -> None:
    """A typo in its name or in an argument is named with the rule, before a row is judged."""
    with pytest.raises(SettingsError, match=rf"rule 'typo': .*{message}"):
        failing_rows({"typo": rule}, ROWS, "table/b")


def frames() -> set[int]:
    """The data frames in memory, after what earlier tests dropped has been collected."""
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, pd.DataFrame)}


def test_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judged batch stays neither in memory nor in a temporary folder, so that any number can be judged in turn."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = frames()
    for batch in ("one", "two"):
        failing_rows({"gap": expect("column_values_to_not_be_null", column="n")}, ROWS, f"table/{batch}")
    assert before == frames()
    assert [] == list(tmp_path.iterdir())


def test_a_digest_changes_with_any_rule_and_their_order() -> None:
    """Reasons are in the order of the rules, so that order counts too."""
    null, low = (
        expect("column_values_to_not_be_null", column="n"),
        expect("column_min_to_be_between", column="n", min_value=0),
    )
    digests = [
        rules_digest(rules)
        for rules in (
            {"a": null, "b": low},
            {"b": low, "a": null},
            {"a": null},
            {"c": null, "b": low},
            {"a": null, "b": expect("column_min_to_be_between", column="n", min_value=1)},
        )
    ]
    assert len(digests) == len(set(digests))
    again = {"a": expect("column_values_to_not_be_null", column="n"), "b": low}
    assert digests[0] == rules_digest(again)
