"""The rows of an upstream view: those of the files, each from when the online store could have had it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.core.errors import SettingsError, SourceError
from ratchet.feature_store.point_in_time_join import Join, point_in_time
from ratchet.features.expressions import compile_view
from ratchet.features.service import service_spec
from ratchet.features.upstream_rows import UpstreamRows, upstream_rows
from ratchet.storage.duckdb import Query
from ratchet.use_case.contract import INSTANT
from tests.support.scored import LAG, SCORES, START, VIEW, Row, score, scored_project, use_case

HOUR = timedelta(hours=1)
SCHEMA = service_spec(use_case).schemas["scores"]
FEATURES = service_spec(use_case).features["scores"]
SCHEDULES = {"0 * * * *": HOUR, "0 */6 * * *": 6 * HOUR, "* * * * *": timedelta(minutes=1)}
"""Schedule → the time between its runs, the first of which is at START."""


def rows_in(place: Path, schedule: str = "0 * * * *") -> UpstreamRows:
    assert VIEW.upstream
    return UpstreamRows.of(VIEW.upstream, compile_view(use_case, VIEW).sql, place, schedule)


def written(path: Path, rows: Sequence[Row] | pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist([*rows], SCORES), path)
    return path


def view_rows(place: Path, schedule: str = "0 * * * *") -> list[Row]:
    found = rows_in(place, schedule).between(SCHEMA.names, None, None).run(1, "1GB")
    return sorted(found.to_pylist(), key=lambda row: (row["patient"], row["event_timestamp"]))


def counts_from(row: Mapping[str, Any], every: timedelta) -> datetime:
    """The first run that is later than the row's arrival; but not before its event time, as a whole second."""
    runs = (row["written_at"] + LAG - START) // every + 1
    about = row["event_timestamp"]
    second = about.replace(microsecond=0)
    return max(START + runs * every, second if second == about else second + timedelta(seconds=1))


def holding(rows: Sequence[Row], patient: str, at: datetime, every: timedelta) -> dict[str, Any]:
    """By brute force: what a request of a patient finds at a time."""
    known = [row for row in rows if row["patient"] == patient and counts_from(row, every) <= at]
    best = max(known, key=lambda row: (row["event_timestamp"], row["written_at"]), default=None)
    if best is None or at - counts_from(best, every) > timedelta(days=30):
        return dict.fromkeys(["since", *FEATURES])
    return {"since": counts_from(best, every), **{name: best[name] for name in FEATURES}}


def joined(rows: UpstreamRows, requests: Sequence[tuple[str, datetime]]) -> list[dict[str, Any]]:
    """What each request finds, by a join in which the view has two roles."""
    columns = {name: f"scores__{name}" for name in FEATURES}
    join = Join("scores", rows, SCHEMA, {"patient": "patient"}, columns, VIEW.max_age)
    other = replace(join, name="other", columns={name: f"other__{name}" for name in FEATURES})
    asked = pa.table(
        {
            "place": range(len(requests)),
            "patient": [patient for patient, _ in requests],
            "event_timestamp": pa.array([at for _, at in requests], INSTANT),
        }
    )
    times = [at for _, at in requests]
    query = point_in_time(Query("FROM asked", {"asked": asked}), [join, other], min(times), max(times))
    found = query.run(1, "1GB").sort_by("place").to_pylist()
    assert all(row[new] == row[f"other__{name}"] for row in found for name, new in columns.items())
    return [{"since": row[join.timestamp], **{name: row[new] for name, new in columns.items()}} for row in found]


MINUTES = st.integers(0, 2000).map(lambda minutes: timedelta(minutes=minutes))
SPANS = st.builds(
    lambda most, little: most + little,
    MINUTES,
    st.sampled_from([0, 1, 500_000, 59_999_999]).map(lambda microseconds: timedelta(microseconds=microseconds)),
)
ROWS = st.lists(
    st.builds(
        score,
        patient=st.integers(0, 1),
        about=SPANS.map(lambda span: START + span),
        written=SPANS.map(lambda span: START + span),
        risk=st.none() | st.floats(allow_nan=False),
        visits=st.none() | st.integers(-(2**63), 2**63 - 1),
        tier=st.none() | st.text(max_size=3),
        is_new=st.none() | st.booleans(),
    ),
    unique_by=lambda row: (row["patient"], row["event_timestamp"], row["written_at"]),
    max_size=9,
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["p0", "p1", "p2"]),
        st.one_of(MINUTES, SPANS, st.just(timedelta(days=31))).map(lambda span: START + span),
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, requests=REQUESTS, schedule=st.sampled_from(sorted(SCHEDULES)), cut=st.integers(0, 9))
def test_a_request_finds_what_the_online_store_could_have_had(
    rows: list[Row], requests: list[tuple[str, datetime]], schedule: str, cut: int
) -> None:
    """For any order of event times and arrivals, in one file or several, with rows that are written twice."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        written(place / "first.parquet", rows[:cut])
        written(place / "second.parquet", [*rows[cut:], *rows[:2]])
        found = joined(rows_in(place, schedule), requests)
    assert [holding(rows, patient, at, SCHEDULES[schedule]) for patient, at in requests] == found


@settings(max_examples=12, deadline=None)
@given(rows=ROWS, hours=st.integers(0, 40))
def test_what_follows_at_an_instant_is_what_was_known_then(rows: list[Row], hours: int) -> None:
    """The rows from an instant on are those that come about if no other row arrives."""
    at = START + hours * HOUR
    known = [row for row in rows if counts_from({**row, "event_timestamp": START}, HOUR) <= at]
    with TemporaryDirectory() as folder:
        following = rows_in(written(Path(folder) / "all.parquet", rows)).following(SCHEMA.names, at).run(1, "1GB")
        expected = rows_in(written(Path(folder) / "known.parquet", known)).between(SCHEMA.names, at, None).run(1, "1GB")
    order = [("patient", "ascending"), ("event_timestamp", "ascending")]
    assert expected.sort_by(order).to_pylist() == following.sort_by(order).to_pylist()


def test_a_late_row_about_an_earlier_time_replaces_nothing(tmp_path: Path) -> None:
    """Of three scores, the one about the day before comes last, and never counts."""
    about = (2, 3, 1)
    rows = [score(0, START + days * 24 * HOUR, START + (90 + n) * HOUR, risk=days) for n, days in enumerate(about)]
    found = view_rows(written(tmp_path / "scores.parquet", rows))
    assert [(91, 2.0), (92, 3.0)] == [((row["event_timestamp"] - START) // HOUR, row["risk"]) for row in found]


def test_a_correction_holds_from_when_it_came(tmp_path: Path) -> None:
    """The earlier value is still what a request before it finds."""
    rows = [score(0, START, START + hours * HOUR, risk=hours) for hours in (5, 9)]
    found = view_rows(written(tmp_path / "scores.parquet", rows))
    assert [(6, 5.0), (10, 9.0)] == [((row["event_timestamp"] - START) // HOUR, row["risk"]) for row in found]


def test_a_row_that_arrives_at_a_run_counts_from_the_next(tmp_path: Path) -> None:
    """A run knows what arrived before it, as for every other table."""
    at = START + 5 * HOUR
    rows = [score(0, START, at - LAG), score(1, START, at - LAG - timedelta(microseconds=1))]
    found = view_rows(written(tmp_path / "scores.parquet", rows))
    assert [at + HOUR, at] == [row["event_timestamp"] for row in found]


def test_what_is_about_the_future_counts_from_then(tmp_path: Path) -> None:
    """Such as a plan, from the whole second on that is not before its time."""
    plan = START + 50 * HOUR + timedelta(milliseconds=1)
    found = view_rows(written(tmp_path / "scores.parquet", [score(0, plan, START)]))
    assert [START + 50 * HOUR + timedelta(seconds=1)] == [row["event_timestamp"] for row in found]


def as_others_write(rows: Sequence[Row]) -> pa.Table:
    """The same values in other types, in another order, with more columns."""
    table = pa.Table.from_pylist([*rows], SCORES)
    kinds = {"visits": pa.int32(), "risk": pa.float32(), "written_at": pa.timestamp("ns", "Europe/Berlin")}
    columns = {name: table[name].cast(kinds.get(name, SCORES.field(name).type)) for name in reversed(SCORES.names)}
    return pa.table({**columns, "tier": columns["tier"].dictionary_encode(), "tick": range(len(table))})


def test_types_that_fit_are_read(tmp_path: Path) -> None:
    """Beside a file with the declared types; the values are the same."""
    rows = [score(patient, START, START + patient * HOUR, 0.5, visits=patient) for patient in range(4)]
    written(tmp_path / "theirs" / "a.parquet", as_others_write(rows[:2]))
    written(tmp_path / "theirs" / "b.parquet", rows[2:])
    assert view_rows(written(tmp_path / "ours.parquet", rows)) == view_rows(tmp_path / "theirs")


def test_nanoseconds_do_not_lose_a_row(tmp_path: Path) -> None:
    """The last nanosecond of a minute is of that minute."""
    table = pa.Table.from_pylist([score(0, START, START)], SCORES)
    last = pa.array([int(START.timestamp() + 3600 - LAG.total_seconds()) * 10**9 - 1], pa.timestamp("ns", "UTC"))
    table = table.set_column(table.column_names.index("written_at"), "written_at", last)
    found = view_rows(written(tmp_path / "scores.parquet", table))
    assert START + HOUR <= found[0]["event_timestamp"] <= START + 2 * HOUR


def test_no_row_is_no_view_row(tmp_path: Path) -> None:
    assert [] == view_rows(written(tmp_path / "scores.parquet", []))


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        ("risk", pa.array(["high"]), "risk"),
        ("visits", pa.array([1], pa.uint64()), "visits"),
        ("visits", pa.array([1.5]), "visits"),
        ("tier", pa.array([b"low"]), "tier"),
        ("is_new", pa.array([1]), "is_new"),
        ("written_at", pa.array([START.replace(tzinfo=None)], pa.timestamp("us")), "written_at"),
        ("patient", None, "patient"),
    ],
)
def test_a_file_without_the_declared_columns_is_refused(
    kind: str, values: pa.Array | None, named: str, tmp_path: Path
) -> None:
    """With the file and the column, also if another file has it."""
    table = pa.Table.from_pylist([score(0, START, START)], SCORES)
    place = table.column_names.index(kind)
    table = table.remove_column(place) if values is None else table.set_column(place, kind, values)
    written(tmp_path / "good.parquet", [score(1, START, START)])
    bad = written(tmp_path / "later.parquet", table)
    with pytest.raises(SourceError, match=named) as error:
        rows_in(tmp_path).between(SCHEMA.names, None, None)
    assert str(bad) == error.value.subject


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    """Such as a file that is being written in place."""
    path = written(tmp_path / "scores.parquet", [score(0, START, START)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"scores\.parquet"):
        view_rows(path)


@pytest.mark.parametrize("name", ["scores.parquet", "scores", "s*/part-?.parquet"])
def test_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file"):
        view_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("a/one.parquet", {"a/one.parquet"}),
        ("a", {"a/one.parquet", "a/b/two.parquet"}),
        ("*/one.parquet", {"a/one.parquet", "c[1]/one.parquet"}),
        ("?", {"a/one.parquet", "a/b/two.parquet"}),
        ("c[1]", {"c[1]/one.parquet"}),
    ],
)
def test_places(place: str, found: set[str], tmp_path: Path) -> None:
    """A file, a folder with all below it, or a pattern; but nothing that begins with a dot or an underscore."""
    names = ("a/one", "a/b/two", "a/_temporary/three", "a/.two", "c[1]/one")
    for name in names:
        written(tmp_path / f"{name}.parquet", [score(0, START, START)])
    (tmp_path / "a" / "_SUCCESS").touch()
    assert found == {path.relative_to(tmp_path).as_posix() for path in rows_in(tmp_path / place).files()}


def test_it_survives_being_text(tmp_path: Path) -> None:
    """As a tag in Feast's registry, which does not say where the checkout is."""
    rows = rows_in(written(tmp_path / "scores.parquet", [score(0, START, START)]))
    text = rows.model_dump_json()
    assert str(tmp_path) not in text
    moved = shutil.copytree(tmp_path, tmp_path / "moved")
    again = UpstreamRows.model_validate_json(text.replace("{", f'{{"place": "{moved}", ', 1))
    assert rows.model_copy(update={"place": moved}) == again
    assert view_rows(rows.place) == again.between(SCHEMA.names, None, None).run(1, "1GB").to_pylist()


class TestSettings:
    def test_a_view_needs_a_place(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="scores: FILE"):
            upstream_rows(scored_project(tmp_path).with_settings(upstream={}))

    def test_a_place_needs_a_view(self, tmp_path: Path) -> None:
        """A misspelt name would otherwise read nothing."""
        places = {"scores": "scores", "score": "elsewhere"}
        with pytest.raises(SettingsError, match="score,"):
            upstream_rows(scored_project(tmp_path).with_settings(upstream=places))

    def test_a_place_may_be_outside_of_the_checkout(self, tmp_path: Path) -> None:
        places = {"scores": "/elsewhere/scores.parquet"}
        found = upstream_rows(scored_project(tmp_path).with_settings(upstream=places))
        assert {"scores": Path("/elsewhere/scores.parquet")} == {name: rows.place for name, rows in found.items()}
