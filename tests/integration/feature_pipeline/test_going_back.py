"""An instant as of which the feature pipeline ran has the same rows and features for ever, whatever is delivered later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ibis import _

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.project.run import Run
from ratchet.use_case.contract import Lookup, Tables, View
from tests.support.coming import COMING, FIRST, RUNS, Coming, after
from tests.support.feed import INSTANT, PAYMENTS, deliver, deliver_shops, feed_project, payment
from tests.support.killing import contents
from tests.support.variants import with_table, with_use_case
from tests.support.windows import at

LAG = timedelta(hours=30)
SCHEMA = PAYMENTS.append(pa.field("cleared_at", INSTANT))


def examples(tables: Tables) -> ibis.Table:
    """What a payment of a shop amounts to, which is known when it is cleared."""
    rows = tables["payments"]
    names = {"request_id": "row_key", "event_timestamp": "at", "label": "amount", "label_known_at": "row_arrived_at"}
    return rows.select("shop", **names)


def cleared_in_cities(tables: Tables) -> ibis.Table:
    """How many payments of a shop were cleared, and where it is."""
    located = tables["payments"].left_join(tables["shops"], "shop")
    cities = located.group_by("shop", event_timestamp=_.row_available_at).agg(city=_.city.min(), n=_.amount.count())
    return cities.select("shop", "event_timestamp", "city", cleared=_.n.cast("int64"))


VIEW = View("cleared", ("shop",), cleared_in_cities, timedelta(days=1), timedelta(days=9))


def project(root: Path, lag: timedelta = LAG) -> Run:
    """Payments that are known when they are cleared, and of which the shop is known at once."""
    run = with_table(feed_project(root), "payments", schema=SCHEMA, known_at="cleared_at", early=("shop",))
    run = run.with_settings(source=run.settings.source.model_copy(update={"lag": {"payments": lag}}))
    deliver_shops(run)
    return with_use_case(
        run, examples=examples, views=(VIEW,), lookups=(Lookup("cleared", {"shop": "shop"}),), inputs={}
    )


def row(one: int, made: datetime, cleared: datetime | None) -> dict[str, Any]:
    """A payment; its amount is known when it is cleared."""
    return {**payment(one, None, None if cleared is None else float(one)), "at": made, "cleared_at": cleared}


def bring(run: Run, days: int, batches: Mapping[str, Iterable[dict[str, Any]]]) -> dict[str, Any]:
    """Deliver exactly these batches of payments, and compute as of a day."""
    for path in (run.root / "batches" / "payments").glob("*.parquet"):
        path.unlink()
    for name, rows in batches.items():
        pq.write_table(pa.Table.from_pylist([*rows], SCHEMA), deliver(run, name, []))
    return compute(run, days)


def compute(run: Run, days: int) -> dict[str, Any]:
    """Compute as of a day. Returns the rows that were accepted of before, by file; and digests of features, requests, labels,
    and the records of what they were computed from."""
    then = at(run, after(days))
    for step in (ingest, validate, featurize):
        step(then)
    accepted = {
        path.relative_to(run.paths.accepted).as_posix(): rows
        for path in (run.paths.accepted / "payments").rglob("*.parquet")
        if (rows := [each for each in rows_of(path) if each["at"] <= after(days)])
    }
    return {**accepted, **contents(run.paths.features)}


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path, partitioning=None).to_pylist()
    return rows


def ids(run: Run) -> set[int]:
    """The accepted payments."""
    return {each["id"] for path in (run.paths.accepted / "payments").rglob("*.parquet") for each in rows_of(path)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return project(tmp_path)


def test_a_row_within_the_lag_waits_as_of_before_it_came(run: Run) -> None:
    """It is not late, and it was not there."""
    first = row(1, after(-1), after(-1))
    before = bring(run, 0, {"one": [first]})
    bring(run, 1, {"one": [first, row(2, FIRST - timedelta(hours=1), None)]})
    assert {1, 2} == ids(run)
    assert before == compute(run, 0)
    assert {1} == ids(run)
    rejected = rows_of(run.paths.quarantine / "payments" / "one.parquet")
    assert [(2, ["not_arrived"])] == [(each["id"], each["reasons"]) for each in rejected]
    ingest(at(run, after(1)))
    assert {} == ingest(at(run, after(1)))["late"]


def test_what_is_known_later_is_pending_as_of_before(run: Run) -> None:
    """Neither its label nor what a feature would count of it is there."""
    made = FIRST - timedelta(hours=1)
    before = bring(run, 0, {"one": [row(1, after(-1), after(-1)), row(2, made, None)]})
    bring(run, 1, {"one": [row(1, after(-1), after(-1)), row(2, made, FIRST)]})
    assert before == compute(run, 0)
    paths = (run.paths.features / "labels").rglob("*.parquet")
    labels = [each["label"] for path in paths for each in rows_of(path)]
    assert [1.0] == labels


def test_what_is_known_later_and_unreadable_is_pending_as_of_before(run: Run) -> None:
    """As of later it is in quarantine for that."""
    made, whole = FIRST - timedelta(hours=1), row(1, after(-1), after(-1))
    before = bring(run, 0, {"one": [whole, row(2, made, None), row(3, made, None)]})
    endless = {**row(2, made, FIRST), "amount": float("inf")}
    bring(run, 1, {"one": [whole, endless, row(3, made, FIRST)]})
    assert {1, 3} == ids(run)
    assert before == compute(run, 0)
    assert {1, 2, 3} == ids(run)


@pytest.mark.parametrize("name", ["all", "others"])
def test_a_row_that_is_added_to_a_reference_table_was_not_there_before(run: Run, name: str) -> None:
    """In the same file or in a new one; a file with another name, and the same rows, changes nothing."""
    paid = {**row(1, after(-1), after(-1)), "shop": "c"}
    before = bring(run, 0, {"one": [paid]})
    known = [{"shop": shop, "city": "x"} for shop in ("a", "b")]
    known[1]["city"] = "y"
    added = [{"shop": "c", "city": "z"}]
    deliver(run, name, [*(known if name == "all" else []), *added], table="shops")
    later = compute(run, 1)
    assert before == compute(run, 0)
    assert later == compute(run, 1)
    views = (run.paths.features / "views").rglob("*.parquet")
    assert ["z"] == [each["city"] for path in views for each in rows_of(path)]


THERE = Coming(0, 0, 0, 0)
"""Something is delivered to each run."""


@settings(max_examples=4)
@example(payments=[Coming(20, 1, 1, 0), Coming(20, 1, 0, 2), Coming(40, 3, 2, 1, 3)], lag=LAG)
@example(payments=[Coming(20, 1, 1, 0, 2), Coming(20, 1, 0, 2, 2), Coming(3, 1, 2, 1, 3)], lag=timedelta(0))
@given(payments=st.lists(COMING, min_size=1, max_size=6), lag=st.sampled_from([timedelta(0), LAG]))
def test_every_instant_stays_as_it_was_computed(payments: list[Coming], lag: timedelta) -> None:
    """Whenever rows come and are known, and whichever file they are in; and time may go back and forth."""
    with TemporaryDirectory() as folder:
        run, before = project(Path(folder), lag), []
        for number in range(RUNS):
            batches: dict[str, list[dict[str, Any]]] = {}
            for one, each in enumerate([THERE, *payments]):
                if each.is_there(number):
                    file = "two" if each.has_moved(number) else "one"
                    batches.setdefault(file, []).append(row(one, each.made_at, each.cleared_at(number)))
            before.append(bring(run, number, batches))
        for number in (1, 0, 2, 3):
            assert before[number] == compute(run, number), number
