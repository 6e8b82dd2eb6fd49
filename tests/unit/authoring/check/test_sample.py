"""The sample that a check looks at: the latest usable rows, without what is only dirt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from authoring.check import sample
from authoring.check.sample import Sample, take_sample
from ratchet.project.run import Run
from ratchet.sources.batches import Source
from ratchet.use_case.batch import Batch
from tests.support import noshow
from tests.support.runs import noshow_project
from tests.support.variants import with_use_case, with_view

WEEKS, ROWS = 31, 200


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path, rows_per_week=ROWS, weeks_per_batch=1)


def taken(run: Run, change: Callable[[pa.Table], pa.Table]) -> Sample:
    """The sample of a feed whose every batch is changed."""

    def loader(path: str, options: object, period: object) -> list[Batch]:
        given = noshow.clinic_feed(path, options, period)  # type: ignore[arg-type]
        return [Batch(one.table, one.name, one.digest, lambda one=one: (change(one.read()[0]), [])) for one in given]  # type: ignore[misc]

    return take_sample(with_use_case(run, sources={"clinic": loader}))


def emptied(rows: pa.Table, column: str, count: int) -> pa.Table:
    """The rows with the first values of a column missing."""
    place = rows.schema.get_field_index(column)
    kept = pa.array([number >= count for number in range(len(rows))])
    return rows.set_column(place, rows.schema.field(place), pc.if_else(kept, rows[column], None))


def size(sample: Sample) -> int:
    return int(sample.tables["appointments"].num_rows)


def test_rows_before_the_end_are_kept(run: Run) -> None:
    """Everything delivered is read; rows from the end of the last period on are left out."""
    found = take_sample(run)
    assert (WEEKS * ROWS, WEEKS) == (found.rows, found.batches)
    last = pc.max(found.tables["appointments"]["reminder_at"]).as_py()
    assert last < run.period("all").end
    assert last == found.last


def test_rows_without_key_or_time_are_left_out(run: Run) -> None:
    """Such rows would be quarantined, whatever the rules say."""
    everything = size(take_sample(run))
    assert everything - WEEKS * 3 <= size(taken(run, lambda rows: emptied(rows, "appointment_id", 3))) < everything
    assert everything - WEEKS * 3 <= size(taken(run, lambda rows: emptied(rows, "reminder_at", 3))) < everything


def test_the_same_row_twice_is_no_contradiction(run: Run) -> None:
    """A row delivered again counts once, and says nothing against the key."""
    found = taken(run, lambda rows: pa.concat_tables([rows, rows]))
    assert (0, size(take_sample(run))) == (found.repeated["appointments"].rows, size(found))


def test_few_contradictions_are_dirt(run: Run) -> None:
    """One row in 200 that contradicts an earlier one with its key is dropped; many of them are kept, for the key is wrong."""

    def corrected(count: int) -> Callable[[pa.Table], pa.Table]:
        def change(rows: pa.Table) -> pa.Table:
            place = rows.schema.get_field_index("booked_days_ahead")
            again = rows.slice(0, count).set_column(place, rows.schema.field(place), pa.array([99] * count, pa.int64()))
            return pa.concat_tables([rows, again])

        return change

    few, many = taken(run, corrected(1)), taken(run, corrected(50))
    assert WEEKS - 1 <= few.repeated["appointments"].rows <= WEEKS
    assert size(take_sample(run)) == size(few)
    assert size(take_sample(run)) < size(many)


def test_rows_known_before_they_happened_are_dirt_if_few(run: Run) -> None:
    """One such row in 200 is dropped; where all are so, it is how the table is."""

    def early(count: int) -> Callable[[pa.Table], pa.Table]:
        def change(rows: pa.Table) -> pa.Table:
            place = rows.schema.get_field_index("recorded_at")
            is_early = pa.array([number < count for number in range(len(rows))])
            return rows.set_column(
                place, rows.schema.field(place), pc.if_else(is_early, rows["reminder_at"], rows["recorded_at"])
            )

        return change

    everything = size(take_sample(run))
    assert everything - WEEKS <= size(taken(run, early(1))) < everything
    assert everything == size(taken(run, early(ROWS)))


def test_no_more_is_read_than_needed(tmp_path: Path) -> None:
    """Of many rows the latest are kept, and earlier batches are not read; a label that takes long to show needs more."""
    run = noshow_project(tmp_path, rows_per_week=sample.ROWS // 4, weeks_per_batch=1)
    week = timedelta(days=7)
    short = with_view(run, "patient_history", lookback=week, max_age=week)
    found = take_sample(short)
    assert found.rows < WEEKS * sample.ROWS // 4
    assert sample.ROWS == size(found)
    assert sample.ROWS < size(take_sample(with_use_case(short, horizon=timedelta(days=28))))


def test_as_much_is_read_as_labels_take_and_features_look_back(tmp_path: Path) -> None:
    """With outcomes three days late and windows of sixty days there are rows of sixty-six days before the last one."""
    found = take_sample(noshow_project(tmp_path, rows_per_week=sample.ROWS // 4, weeks_per_batch=1))
    assert found.last - first(found) == pytest.approx(timedelta(days=66), abs=timedelta(hours=1))
    assert 1 == found.thinned


def test_of_too_many_rows_whole_entities_are_left_out(tmp_path: Path) -> None:
    """Half of the patients stay, with all their appointments of the same span."""
    run = noshow_project(tmp_path, rows_per_week=sample.MOST // 6, weeks_per_batch=1)
    found = take_sample(run)
    kept = found.tables["appointments"]
    patients, source = pc.unique(kept["patient"]), run.settings.source
    delivered = list(Source.open(run).loader(source.path, source.options, run.period("all")))[-4].read()[0]
    theirs = delivered.filter(pc.is_in(delivered["patient"], value_set=patients))
    assert 2 == found.thinned
    assert found.last - first(found) > timedelta(days=65)
    assert 15 < len(patients) < 45
    assert set(theirs["appointment_id"].to_pylist()) <= set(kept["appointment_id"].to_pylist())
    assert len(kept) < sample.MOST


def first(found: Sample) -> datetime:
    """The earliest instant that a row is about."""
    instant: datetime = pc.min(found.tables["appointments"]["reminder_at"]).as_py()
    return instant
