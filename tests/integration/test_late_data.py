"""What comes late and what is corrected, from the source to the training set, against a loop over what was delivered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
import pytest

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.clock import Period
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import labelled_requests
from ratchet.project.run import Run
from ratchet.storage.partitions import changed_tables
from ratchet.use_case.contract import Lookup, Tables
from ratchet.use_case.windows import trailing
from tests.support import feed
from tests.support.feed import deliver, deliver_shops, feed_project, payment
from tests.support.killing import contents
from tests.support.variants import with_use_case
from tests.support.windows import at

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW, HOUR = timedelta(hours=24), timedelta(hours=1)


@dataclass(frozen=True)
class Paid:
    """A payment as it was delivered, and when that counts from."""

    at: datetime
    amount: float
    arrived: datetime


def hours(count: float) -> datetime:
    return FIRST + timedelta(hours=count)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Payments, and how many of them a shop had within a day, in a source that goes on delivering."""

    def examples(tables: Tables) -> Any:
        return tables["payments"].select(
            request_id="row_key",
            shop="shop",
            event_timestamp="at",
            label="amount",
            label_known_at="row_arrived_at",
        )

    table = feed.use_case.table("payments")
    view = trailing("recent", ("shop",), table, tile="1h", windows=("24h",), delay="1h", sums={"payments": 1})
    run = feed_project(tmp_path)
    deliver_shops(run)
    return with_use_case(
        run, examples=examples, views=(view,), lookups=(Lookup("recent", {"shop": "shop"}),), inputs={}
    )


def compute(run: Run, instant: datetime) -> Run:
    """The feature pipeline as of an instant, without the online store."""
    then = at(run, instant)
    for step in (ingest, validate, featurize):
        step(then)
    return then


def bring(run: Run, instant: datetime, paid: Mapping[int, tuple[float, float]]) -> Run:
    """Deliver the batch with these payments (hours after the first day began, amount), and compute as of an instant."""
    rows = [{**payment(one, None, amount), "at": hours(begun)} for one, (begun, amount) in sorted(paid.items())]
    deliver(run, "one", rows)
    return compute(run, instant)


def training_set(then: Run) -> list[tuple[datetime, float, float | None]]:
    """Of each labelled payment its time, its amount, and how many there had been within a day."""
    features = FeatureStore.open(then)
    apply(features)
    rows = labelled_requests(features, Period(FIRST, then.as_of("training")), then.as_of("training"))
    names = ("event_timestamp", "label", "recent__payments_24h")
    return [tuple(row[name] for name in names) for row in rows.to_pylist()]  # type: ignore[misc]


def oracle(known: list[Paid], as_of: datetime) -> Iterator[tuple[datetime, float, float | None]]:
    """The same, by a loop over the payments that were delivered by then."""
    for one in sorted(known, key=lambda paid: paid.at):
        if one.at < as_of and one.arrived <= as_of:
            counted = [paid for paid in known if counts(paid, one.at)]
            yield one.at, one.amount, len(counted) or (0 if any(had(paid, one.at) for paid in known) else None)


def counts(paid: Paid, instant: datetime) -> bool:
    """A payment counts from the first full hour after it was made and had arrived, for a day from the end of its own hour."""
    begins = ceiling(paid.at + timedelta(microseconds=1))
    return max(begins, ceiling(paid.arrived)) <= instant < begins + WINDOW


def had(paid: Paid, instant: datetime) -> bool:
    """Whether the shop's count fell to nothing less than a day ago."""
    begins = ceiling(paid.at + timedelta(microseconds=1))
    return ceiling(paid.arrived) < begins + WINDOW <= instant <= begins + 2 * WINDOW


def ceiling(instant: datetime) -> datetime:
    hour = instant.replace(minute=0, second=0, microsecond=0)
    return hour if hour == instant else hour + HOUR


def test_training_sets_see_what_had_come_by_then(run: Run) -> None:
    """As of an earlier instant neither a late row nor a correction, as of a later one both; and the late row counts for others
    only from when it came."""
    first = {1: (2.5, 1.0), 2: (5.25, 2.0), 3: (20.5, 3.0)}
    second = {
        1: (2.5, 9.0),
        2: (5.25, 2.0),
        3: (20.5, 3.0),
        4: (10.5, 4.0),
        5: (26.5, 5.0),
        6: (31.5, 6.0),
        7: (47.5, 7.0),
    }
    early, late = hours(24), hours(30)
    before = [Paid(hours(begun), amount, hours(begun)) for begun, amount in first.values()]
    after = [Paid(hours(begun), amount, late if one == 4 else hours(begun)) for one, (begun, amount) in second.items()]
    assert [*oracle(before, early)] == training_set(bring(run, early, first))
    earlier = contents(run.paths.features)

    last = hours(48)
    bring(run, late, second)
    found = training_set(compute(run, last))
    assert [*oracle(after, last)] == found
    assert (hours(31.5), 6.0, 3) in found, "the late row is among the three, with the third and the fifth"
    assert (hours(26.5), 5.0, 3) in found, "those of before it came are the first three"

    assert [*oracle(before, early)] == training_set(compute(run, early))
    assert earlier == contents(run.paths.features)


def test_only_the_dates_that_a_correction_concerns_change(run: Run) -> None:
    """An amount is a label of its own date; a payment that is gone was in the windows of a day more."""
    paid = {one: (12.5 + 25 * one, float(one)) for one in range(4)}
    before = contents(bring(run, hours(96), paid).paths.features)
    paid[1] = (paid[1][0], 9.0)
    corrected = contents(bring(run, hours(96), paid).paths.features)
    assert {"labels/date=2024-01-02"} == changed_dates(before, corrected)
    del paid[2]
    removed = contents(bring(run, hours(96), paid).paths.features)
    views = {f"views/{path.name}/date=2024-01-0{day}" for path in run.paths.features.glob("views/*") for day in (3, 4)}
    assert views | {f"{name}/date=2024-01-03" for name in ("labels", "requests")} == changed_dates(corrected, removed)


@pytest.mark.parametrize("early", [24, 30])
@pytest.mark.parametrize("batch", ["one", "two"])
def test_what_happens_later_changes_nothing_as_of_before(run: Run, early: float, batch: str) -> None:
    """It is in the same file, or in another one, of the same day or the next; also the record of what was computed from what is
    the same bytes, and computing as of before once more computes nothing."""
    first = {1: (2.5, 1.0), 2: (5.25, 2.0), 3: (20.5, 3.0), 4: (early, 4.0)}
    before = contents(bring(run, hours(early), first).paths.features)
    later = {5: (early + 3, 5.0), 6: (early + 27, 6.0)}
    rows = {**first, **later} if batch == "one" else later
    deliver(run, batch, [{**payment(one, None, amount), "at": hours(begun)} for one, (begun, amount) in rows.items()])
    assert before != contents(compute(run, hours(60)).paths.features)
    then = compute(run, hours(early))
    assert before == contents(then.paths.features)
    with changed_tables() as changed:
        featurize(then)
    assert {} == changed


def test_what_an_instant_adds_is_computed(run: Run) -> None:
    """What was delivered in advance counts once it has happened, also in labels that look ahead. Whether time goes on or back,
    what is kept is what would be computed anew."""

    def next_half_day(tables: Tables) -> Any:
        payments = tables["payments"]
        following = ibis.range_window(
            preceding=0, following=ibis.interval(hours=12), group_by="shop", order_by=payments["at"]
        )
        return payments.select(
            request_id="row_key",
            shop="shop",
            event_timestamp="at",
            label=payments["amount"].sum().over(following),
            label_known_at=payments["at"] + ibis.interval(hours=12),
        )

    run, seen = with_use_case(run, examples=next_half_day, horizon=timedelta(hours=12)), set[str]()
    bring(run, hours(24), {number: (1.5 + 5 * number, float(number)) for number in range(14)})
    for end in (24, 30, 30.75, 36, 48, 60, 37, 30, 24):
        then = compute(run, hours(end))
        kept = contents(then.paths.features)
        shutil.rmtree(then.paths.features)
        featurize(then)
        assert kept == contents(then.paths.features), end
        seen.add(kept["labels/date=2024-01-01/part.parquet"])
    assert len(seen) > 2, "what the labels of a day look ahead to has happened later"


def test_a_correction_of_the_last_day_is_computed(run: Run) -> None:
    """It is as of the same instant, and happened before."""
    paid = {1: (2.5, 1.0), 2: (26.5, 2.0), 3: (40.0, 3.0)}
    before = contents(bring(run, hours(30), paid).paths.features)
    after = contents(bring(run, hours(30), {**paid, 2: (26.5, 9.0)}).paths.features)
    assert {"labels/date=2024-01-02"} == changed_dates(before, after)


def changed_dates(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """The partitions with other rows, or with none any more."""
    names = {name for name in before.keys() | after.keys() if "date=" in name}
    return {name.rpartition("/")[0] for name in names if before.get(name) != after.get(name)}


def test_a_row_that_had_not_arrived_waits_in_quarantine(run: Run) -> None:
    """As of an instant before it came; every raw row is accounted for."""
    first = {1: (2.5, 1.0)}
    bring(run, hours(24), first)
    bring(run, hours(30), {**first, 2: (3.5, 2.0)})
    compute(run, hours(24))
    rejected = pq.read_table(run.paths.quarantine / "payments" / "one.parquet", partitioning=None).to_pylist()
    assert [(2, ["not_arrived"])] == [(row["id"], row["reasons"]) for row in rejected]
    report = validate(at(run, hours(24)))
    assert {"raw": 2, "accepted": 1, "quarantined": 1, "duplicates": 0} == report["tables"]["payments"]
    ingest(at(run, hours(30)))
    assert 0 == validate(at(run, hours(30)))["rows"]["quarantined"]
