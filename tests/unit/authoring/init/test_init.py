"""`ratchet init`, what it writes: all of it or nothing, in the house's form."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import yaml
from click.testing import CliRunner

import authoring.init
from authoring.init.answers import Answers
from cli.main import ratchet
from ratchet.core.errors import RatchetError, SourceError
from ratchet.features.service import service_spec
from ratchet.gate.gate import Gate
from ratchet.gate.reasons import find_reason
from ratchet.project.run import Run
from tests.support.begun import begun, project_of
from tests.support.checkout import ROOT
from tests.support.csv_files import PARAMS, checkout, rides, subscribers, visits, write_csv

RIDES = Answers(label="minutes", known_at="ended_at", timezone="Europe/Berlin", entity=("zone",), late=("fare",))
VISITS = Answers(label="missed", known_after="3d", timezone="Europe/Berlin", entity=("patient", "clinic"))
SUBSCRIBERS = Answers(label="Churn", snapshot=date(2024, 6, 30))
WIDE = Answers(label="y", snapshot=date(2024, 6, 30))
ODD = Answers(label="minutes", time="from", known_after="1d", timezone="UTC", entity=("class",), key=("Nr.",))
SURVEY = Answers(
    label="satisfaction_on_a_scale",
    time=f"asked_{'x' * 20}",
    known_at=f"answered_{'x' * 20}",
    timezone="UTC",
    entity=("customer_number",),
)
NAMES = ("rides", "visits", "subscribers", "wide", "odd", "survey")


def wide(path: Path, rows: int = 600) -> Path:
    """Sixty columns of numbers and text, some with gaps, and no time."""
    rng = np.random.default_rng(8)
    numbers = {f"measured {place}": rng.normal(place % 2 * 9, 1, rows).round(2) for place in range(40)}
    gaps = {f"lab {place}": np.where(rng.random(rows) < 0.1, np.nan, rng.random(rows)) for place in range(10)}
    texts = {f"Code {place}": rng.choice(["a", 'b"', "c'"], rows) for place in range(10)}
    label = (2 * numbers["measured 3"] + rng.normal(size=rows)).round(2)
    return write_csv(path, {"id": np.arange(rows), **numbers, **gaps, **texts, "y": label})


def odd(path: Path, rows: int = 600) -> Path:
    """Columns that are called like keywords, types, imports and what the pipelines and the calendar add."""
    rng = np.random.default_rng(9)
    time = np.datetime64("2024-01-01") + np.arange(rows) // 4
    return write_csv(
        path,
        {
            "Nr.": np.arange(rows),
            "from": np.datetime_as_string(time),
            "class": rng.choice(["a", "b", "c"], rows),
            "int": rng.integers(-9, 99, rows),
            "weekday": rng.choice(["mon", "tue"], rows),
            "calendar": rng.normal(size=rows),
            "label": rng.normal(size=rows),
            "count": rng.random(rows) < 0.5,
            "request": rng.integers(0, 5, rows),
            "minutes": rng.normal(size=rows).round(3),
        },
    )


def rides_with(path: Path, column: str, cells: Mapping[int, str]) -> Path:
    """Rides of which one column has these texts, by row."""
    rows = pyarrow.csv.read_csv(
        rides(path), convert_options=pyarrow.csv.ConvertOptions(column_types={column: pa.string()})
    )
    texts = [cells.get(row, text) for row, text in enumerate(rows[column].to_pylist())]
    return write_csv(path, {**rows.to_pydict(), column: texts})


@pytest.mark.parametrize("text", ["inf", "-inf", "Infinity", "1e999"])
@pytest.mark.parametrize("column", ["Distance (km)", "bike"])
def test_many_infinite_values_are_refused_by_name(tmp_path: Path, column: str, text: str) -> None:
    """Where a third of a feature is infinite, the column, how often and what to do are said, and nothing is written."""
    csv = rides_with(tmp_path / "data.csv", column, dict.fromkeys(range(0, 3000, 3), text))
    with pytest.raises(SourceError, match=rf"{column[:4].lower()}\w* is infinite in 1,000 of 3,000 rows.*empty"):
        begun(checkout(tmp_path), "rides", csv, replace(RIDES, time="asked_at"))
    assert not (tmp_path / "use_cases").exists()


def test_few_infinite_values_are_quarantined(tmp_path: Path) -> None:
    """A note counts them, and what is reckoned from the others is finite: the pipeline quarantines such rows by itself."""
    csv = rides_with(tmp_path / "data.csv", "Distance (km)", {5: "inf", 900: "-inf", 901: "1e999", 902: "nan"})
    said = begun(checkout(tmp_path), "rides", csv, replace(RIDES, time="asked_at"))
    text = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "use_cases" / "rides").iterdir())
    assert "distance_km is infinite in 3 rows" in said
    assert not {"inf", "nan"} & set(re.findall(r"\w+", text))


@pytest.mark.parametrize("column", ["asked_at", "ended_at"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00", "1900-01-01", "9999-12-31T23:59:59"])
def test_time_of_another_century_is_quarantined(tmp_path: Path, column: str, text: str) -> None:
    """A note counts it, and neither the periods nor the delay follow from it."""
    clean = begun(checkout(tmp_path), "rides", rides(tmp_path / "clean.csv"), replace(RIDES, time="asked_at"))
    csv = rides_with(tmp_path / "data.csv", column, {5: text})
    said = begun(tmp_path, "old", csv, replace(RIDES, time="asked_at"))
    assert f"note: {column} is not between 1970 and 2100 in 1 row: quarantined" in said.splitlines()
    assert "scored as requests" not in said
    assert delay_and_periods(clean) == delay_and_periods(said)


@pytest.mark.parametrize(
    ("column", "text", "note"),
    [
        ("asked_at", "1998-03-01T08:00:00", "asked_at is far from all others in 1 row, such as 1998-03-01"),
        ("asked_at", "2034-03-01T08:00:00", "asked_at is far from all others in 1 row, such as 2034-03-01"),
        ("ended_at", "2043-03-01T08:00:00", "ended_at is far more than 2h later than asked_at in 1 row"),
    ],
)
def test_one_absurd_time_decides_nothing(tmp_path: Path, column: str, text: str, note: str) -> None:
    """Of this century or the last, a note names it, and periods and delay are those of the other rows."""
    clean = begun(checkout(tmp_path), "rides", rides(tmp_path / "clean.csv"), replace(RIDES, time="asked_at"))
    csv = rides_with(tmp_path / "data.csv", column, {1500: text})
    said = begun(tmp_path, "odd", csv, replace(RIDES, time="asked_at"))
    assert note in said
    assert delay_and_periods(clean) == delay_and_periods(said)


def delay_and_periods(said: str) -> list[str]:
    """What was said of them, without the number of rows."""
    return [
        line.rpartition(":")[0] or line for line in said.splitlines() if re.match("  (predicts|trains|judges) ", line)
    ]


def test_times_that_are_mostly_of_another_century_are_refused(tmp_path: Path) -> None:
    """They stand for something, such as for an outcome that is not known yet, which is an empty cell."""
    csv = rides_with(tmp_path / "data.csv", "ended_at", dict.fromkeys(range(0, 3000, 10), "9999-12-31"))
    with pytest.raises(SourceError, match=r"ended_at is not between 1970 and 2100 in 300 of 3,000 rows.*empty"):
        begun(checkout(tmp_path), "rides", csv, replace(RIDES, time="asked_at"))


@pytest.mark.parametrize(
    "changes",
    [{"time": "asked_at"}, {"time": "", "known_at": "ended_at"}, {"time": "ended_at", "known_at": "asked_at"}],
)
def test_bad_cell_among_times_is_named(tmp_path: Path, changes: dict[str, str]) -> None:
    """Rather than another column, which would be asked for in its place."""
    csv = rides_with(tmp_path / "data.csv", "asked_at", {7: '2024-03-01T06:08:00"left at door"'})
    with pytest.raises(SourceError, match=r"left at door.*in row 8 .*Fix that cell"):
        begun(checkout(tmp_path), "rides", csv, replace(RIDES, **changes))


@pytest.mark.parametrize(
    ("empty", "note"),
    [
        (("ended_at", "minutes"), "300 rows without minutes: scored"),
        (("ended_at",), "300 rows with minutes, but without ended_at: scored"),
    ],
)
def test_newest_rows_that_wait_for_their_outcome_are_scored(tmp_path: Path, empty: tuple[str, ...], note: str) -> None:
    """The periods end with the newest request, and the others are of rows whose label was known."""
    rows = pyarrow.csv.read_csv(rides(tmp_path / "clean.csv")).to_pydict()
    known = {name: [*rows[name][:2700], *[None] * 300] for name in empty}
    csv = write_csv(tmp_path / "data.csv", {**rows, **known})
    said = begun(checkout(tmp_path), "rides", csv, replace(RIDES, time="asked_at"))
    periods = {name: str(day) for name, day in settings_of(tmp_path, "rides")["periods"].items()}
    assert note in said
    assert str(rows["asked_at"][-1] + timedelta(days=1))[:10] == periods["end"]
    assert periods["holdout"] < periods["fresh"] < str(rows["asked_at"][2700])


def settings_of(root: Path, name: str) -> dict[str, Any]:
    """The section of a use case in params.yaml."""
    section: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text())["use_cases"][name]
    return section


@pytest.mark.parametrize(
    ("column", "said"),
    [("minutes", "minutes is infinite in 1 row"), ("asked_at", "asked_at does not hold times"), ("zone", "")],
)
def test_infinite_cell_in_another_role(tmp_path: Path, column: str, said: str) -> None:
    """Of a label or a time it is refused by name; in text it is a text."""
    csv = rides_with(tmp_path / "data.csv", column, {7: "inf"})
    answers = replace(RIDES, time="asked_at")
    if not said:
        begun(checkout(tmp_path), "rides", csv, answers)
        return
    with pytest.raises(RatchetError, match=said):
        begun(checkout(tmp_path), "rides", csv, answers)


def machines(path: Path, *, rows: int = 4000, effect: float = 10.0) -> Path:
    """120 machines by number, which differ by `effect` in what they make; nothing else matters."""
    rng = np.random.default_rng(11)
    asked = np.datetime64("2024-01-01", "m") + np.sort(rng.integers(0, 150 * 24 * 60, rows))
    machine = rng.integers(0, 120, rows)
    return write_csv(
        path,
        {
            "id": np.arange(rows),
            "asked_at": np.datetime_as_string(asked),
            "done_at": np.datetime_as_string(asked + 90),
            "machine": machine,
            "shift": rng.choice(["early", "late"], rows),
            "made": (effect * rng.normal(size=120)[machine] + rng.normal(0, 2, rows)).round(2),
        },
    )


MACHINES = Answers(label="made", time="asked_at", known_at="done_at", timezone="UTC", entity=("machine",))


def test_named_entity_is_a_group_for_the_baseline(tmp_path: Path) -> None:
    """A number that names whom rows are about is grouped by, however many values it has."""
    said = begun(checkout(tmp_path), "factory", machines(tmp_path / "data.csv"), MACHINES)
    assert "  baseline   machine\n" in said
    assert "than chance" not in said


def test_baseline_that_explains_nothing_is_said(tmp_path: Path) -> None:
    """Where no group says more than chance, a note names the label and the line to change."""
    said = begun(checkout(tmp_path), "factory", machines(tmp_path / "data.csv", effect=0.0), MACHINES)
    (note,) = [line for line in said.splitlines() if "than chance" in line]
    assert all(word in note for word in ("made", "`baseline=`", "use_cases/factory/__init__.py"))


def survey(path: Path, rows: int = 900) -> Path:
    """A dozen answers in codes, and longer names than a line can take."""
    rng = np.random.default_rng(10)
    asked = np.datetime64("2024-01-01", "h") + np.arange(rows) * 3
    times = {"asked": asked, "answered": asked + rng.integers(1, 40, rows)}
    who = {"customer_number": rng.integers(0, 60, rows)}
    codes = {f"question {place}": rng.integers(1, 6, rows) for place in range(12)}
    label = (rng.normal(size=rows) / 10**6).round(9)
    instants = {f"{name}_{'x' * 20}": np.datetime_as_string(values, unit="s") for name, values in times.items()}
    return write_csv(path, {"id": np.arange(rows), **instants, **who, **codes, "satisfaction_on_a_scale": label})


BEGUN = {
    "rides": (rides, RIDES),
    "visits": (visits, VISITS),
    "subscribers": (subscribers, SUBSCRIBERS),
    "wide": (wide, WIDE),
    "odd": (odd, ODD),
    "survey": (survey, SURVEY),
}


def begin(folder: Path, name: str) -> str:
    """One of NAMES; what the command says."""
    make, answers = BEGUN[name]
    return begun(folder, name, make(folder / "data" / f"{name}.csv"), answers)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all of NAMES were begun."""
    folder = checkout(tmp_path_factory.mktemp("checkout"))
    for name in NAMES:
        begin(folder, name)
    return folder


@pytest.fixture(params=NAMES)
def run(request: pytest.FixtureRequest, root: Path) -> Iterator[Run]:
    """The project of each."""
    with project_of(root, request.param) as run:
        yield run


class TestUseCase:
    def test_compiles(self, run: Run) -> None:
        """Its views are those of the feature service, and the baseline and slices are columns that there are."""
        use_case = run.use_case
        assert [view.name for view in use_case.views] == list(service_spec(use_case).views)
        assert {column for level in use_case.baseline for column in level} <= set(use_case.inputs)
        assert set(run.settings.gate.slices) <= set(use_case.request.model_fields)

    def test_has_fewer_than_80_lines(self, root: Path, run: Run) -> None:
        """However many columns the file has."""
        assert len((root / "use_cases" / run.use_case.name / "__init__.py").read_text().splitlines()) < 80

    def test_takes_requests_of_what_is_known_then(self, root: Path) -> None:
        """Neither label nor what is late, nor the key; the timestamp is a field of it."""
        with project_of(root, "rides") as run:
            assert ["zone", "distance_km", "class_", "bike", "asked_at"] == list(run.use_case.request.model_fields)
        with project_of(root, "subscribers") as run:
            fields = ["customer_id", "senior", "tenure", "contract", "monthly_charges", "as_of"]
            assert fields == list(run.use_case.request.model_fields)
            assert "customer_id" not in run.use_case.inputs

    def test_splits_by_entity_where_there_is_no_time(self, root: Path) -> None:
        """And says so, so that the gate does."""
        with project_of(root, "subscribers") as run:
            assert ("entity", "customer_id") == (run.use_case.split, run.settings.gate.block)
        with project_of(root, "rides") as run:
            assert ("time", "day") == (run.use_case.split, run.settings.gate.block)

    def test_is_formatted_and_passes_the_linter(self, root: Path) -> None:
        """By the house's own settings, as is its test."""
        settings = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
        lint = ["--config", "lint.isort.known-first-party = ['ratchet', 'use_cases']", "--ignore", "SIM300"]
        for command in (["format", "--check", *settings], ["check", *settings, *lint]):
            done = subprocess.run(["ruff", *command, str(root)], capture_output=True, text=True, check=False)
            assert 0 == done.returncode, done.stdout + done.stderr


class TestParams:
    def test_has_every_setting_written_out(self, run: Run) -> None:
        """The file is what a person reads to see what may be changed."""
        written = yaml.safe_load((run.root / "params.yaml").read_text())["use_cases"][run.use_case.name]
        assert {"source", "periods", "training", "gate", "drift"} <= set(written)
        assert written["gate"] == run.settings.gate.model_dump(mode="json")
        assert written["drift"] == run.settings.drift.model_dump(mode="json")

    def test_keeps_its_comments_and_selects_the_use_case(self, tmp_path: Path) -> None:
        """Everything else stands as it was."""
        begin(checkout(tmp_path), "rides")
        expected = PARAMS.replace("use_case: other", "use_case: rides")
        assert (tmp_path / "params.yaml").read_text().startswith(expected)

    def test_has_periods_of_rows_with_known_labels(self, root: Path) -> None:
        """Most rows train; training begins when there is history, a week is fresh, and labels were known in time."""
        with project_of(root, "visits") as run:
            periods = run.settings.periods
            assert (date(2023, 1, 29), date(2023, 12, 9), date(2024, 1, 1)) == (
                periods.start,
                periods.fresh,
                periods.end,
            )
            assert periods.start < periods.early_stopping < periods.holdout < periods.fresh

    @pytest.mark.parametrize(("share", "bound"), [(0.0, 0.95), (0.04, 0.91), (0.4, 0.57)])
    def test_allows_for_labels_that_the_file_lacks(self, tmp_path: Path, share: float, bound: float) -> None:
        """The gate asks for almost as many as there are, and for its default where next to none is missing."""
        rows = 1000
        label = np.where(np.arange(rows) < share * rows, np.nan, np.arange(rows) % 7)
        file = write_csv(checkout(tmp_path) / "gaps.csv", {"id": np.arange(rows), "x": np.arange(rows) % 9, "y": label})
        begun(tmp_path, "gaps", file, WIDE)
        written = yaml.safe_load((tmp_path / "params.yaml").read_text())["use_cases"]["gaps"]
        assert bound == written["gate"]["min_label_coverage"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (None, "is not there. Run from the root of the checkout, or restore the file."),
            ("use_case: [", "is not YAML ("),
            ("use_case: rides\n", "has no use_cases. Add a line `use_cases:` with a section."),
            (
                "use_case: rides\nuse_cases: {rides: {}}\n",
                "has a section use_cases.rides already. Choose another name, or delete the section if nothing uses it.",
            ),
        ],
    )
    def test_that_cannot_be_added_to_is_refused(self, text: str | None, said: str, tmp_path: Path) -> None:
        """With nothing written."""
        params = tmp_path / "params.yaml"
        if text is not None:
            params.write_text(text)
        with pytest.raises(RatchetError) as raised:
            begin(tmp_path, "rides")
        assert str(raised.value).startswith(f"{params}: {said}")
        assert not (tmp_path / "use_cases").exists()


class TestWriting:
    @pytest.mark.parametrize("name", ["Rides", "2rides", "ri-des", "class", "a__b", ""])
    def test_a_name_is_that_of_a_module(self, name: str, tmp_path: Path) -> None:
        """Lower case, so that folders, tables and models can be called by it."""
        with pytest.raises(RatchetError) as raised:
            begun(checkout(tmp_path), name, rides(tmp_path / "rides.csv"), RIDES)
        assert str(raised.value) == (
            f"{name!r}: is no name for a use case. Use lower-case letters, digits and single underscores."
        )

    @pytest.mark.parametrize("path", ["use_cases/rides", "tests/use_cases/test_rides.py"])
    def test_nothing_is_overwritten(self, path: str, tmp_path: Path) -> None:
        """A folder or a test of that name stays."""
        (checkout(tmp_path) / path).mkdir(parents=True)
        with pytest.raises(RatchetError) as raised:
            begin(tmp_path, "rides")
        assert (
            str(raised.value)
            == f"{path}: is there already, and is not overwritten. Choose another name, or delete it first."
        )
        assert PARAMS == (tmp_path / "params.yaml").read_text()

    def test_all_of_it_or_nothing(self, tmp_path: Path) -> None:
        """Where the test cannot be written, the use case is taken back."""
        (checkout(tmp_path) / "tests").write_text("in the way")
        with pytest.raises(RatchetError, match="cannot be written"):
            begin(tmp_path, "rides")
        assert {"params.yaml", "data", "tests", "use_cases"} == {path.name for path in tmp_path.iterdir()}
        assert [] == [*(tmp_path / "use_cases").iterdir()]
        assert PARAMS == (tmp_path / "params.yaml").read_text()


class TestCommand:
    def test_says_what_was_decided_and_what_to_do_next(self, tmp_path: Path) -> None:
        """What it inferred stands there to be contradicted."""
        assert begin(checkout(tmp_path), "rides").splitlines() == [
            "wrote use_cases/rides/__init__.py, use_cases/rides/on_demand.py, tests/use_cases/test_rides.py, params.yaml; "
            "rides is selected now",
            "  predicts   minutes (regression), known at ended_at, 2h later at most",
            "  asked      at asked_at, with zone, distance_km, class_, bike",
            "  key        ride_id",
            "  history of zone",
            "  baseline   distance_km_band",
            "  trains     from 2024-03-08 on, stops early from 2024-05-24",
            "  judges     from 2024-06-04 to 2024-06-22: about 462 rows",
            "note: taken as known at asked_at: zone, distance_km, class_, bike; name by --late what is not",
            "next:",
            "  ratchet check",
            "  dvc repro monitor@rides",
            "  make serve",
            "  ratchet summary    # what came of it, and how to ask the model by curl",
        ]

    def test_says_what_is_lost_without_time(self, tmp_path: Path) -> None:
        """Before anybody trusts it."""
        assert (
            "  predicts   churn (binary), known with its row: "
            "rows are split by entity, and the gate record will carry 'no time evidence'"
        ) in begin(checkout(tmp_path), "subscribers").splitlines()

    def test_notes_what_may_be_wrong(self, tmp_path: Path) -> None:
        """What was left out, labels that are missing, keys that repeat, and a column that gives the label away."""
        path = rides(checkout(tmp_path) / "rides.csv")
        lines = path.read_text().splitlines()
        doubled = [*lines, lines[1], f"{lines[2].rpartition(',')[0]},"]
        empty = [f"{line},{'nothing' if not place else ''}" for place, line in enumerate(doubled)]
        path.write_text("\n".join(empty) + "\n")
        said = begun(tmp_path, "rides", path, replace(RIDES, late=(), too_good="fares are fixed")).splitlines()
        assert [line for line in said if line.startswith("note")] == [
            "note: left out: nothing (empty, one value only, another time, or too many different values)",
            (
                "note: 1 row without minutes: scored as requests without a label; deliver the file again under its name once "
                "it is known"
            ),
            "note: 2 rows with the key ride_id of another row, or without one: quarantined",
            "note: taken as known at asked_at: zone, distance_km, class_, bike, fare; name by --late what is not",
            "note: fare nearly decides minutes: is it known before? If not, --late fare",
        ]

    def test_notes_numbers_that_are_written_as_text(self, tmp_path: Path) -> None:
        """One cell makes a column of numbers one of names; codes, dates and words are text on purpose."""
        path = rides(checkout(tmp_path) / "rides.csv")
        names, *lines = path.read_text().splitlines()
        added = ["?,5%,007,01/02/2024", *["3.5,€ 1'000,012,01/02/2024"] * (len(lines) - 1)]
        path.write_text(
            "\n".join([f"{names},load,rate,code,day", *map(",".join, zip(lines, added, strict=True))]) + "\n"
        )
        right = "in row 1 after the header; a number is digits with a point, or nothing where it lacks"
        assert [line for line in begun(tmp_path, "rides", path, RIDES).splitlines() if " is text" in line] == [
            f"note: load is text, because of '?' {right}",
            f"note: rate is text, because of '5%' {right}",
        ]

    def test_without_a_terminal_names_the_flag(self, tmp_path: Path) -> None:
        """An expected failure is one line, and nothing is written."""
        path = rides(checkout(tmp_path) / "rides.csv")
        command = [sys.executable, "-m", "cli", "init", "rides", "--csv", str(path)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (1, "") == (done.returncode, done.stdout)
        assert done.stderr.startswith(
            f"ratchet: {path}: nothing says which column is to be predicted. Give --label COLUMN"
        )
        assert 1 == len(done.stderr.splitlines())

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("ride.csv", "is not there. Give --csv the path of a CSV file."),
            ("data", "is a folder. Name one of its files; then set source.path in params.yaml to the folder."),
        ],
    )
    def test_needs_a_file(self, path: str, said: str, tmp_path: Path) -> None:
        """A wrong path is no wrong file."""
        rides(checkout(tmp_path) / "data" / "rides.csv")
        with pytest.raises(RatchetError) as raised:
            begun(tmp_path, "rides", tmp_path / path, RIDES)
        assert f"{tmp_path / path}: {said}" == str(raised.value)

    def test_at_a_terminal_asks_until_nothing_is_open(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One question at a time; an answer that will not do is asked for again."""
        path = rides(checkout(tmp_path) / "rides.csv")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("cli.commands.init.is_terminal", lambda: True)
        answers = ["minute", "minutes", "asked_at", "ended_at", "Europe/Berlin", "zone, bike"]
        given = ["init", "rides", "--csv", str(path), "--late", "fare"]
        done = CliRunner().invoke(ratchet, given, input="\n".join(answers) + "\n")
        assert done.exit_code == 0, done.output
        assert "there is no column 'minute' (did you mean 'minutes'?). COLUMN (" in done.output
        assert "  history of zone, bike" in done.output.splitlines()

    def test_at_a_terminal_asks_for_the_snapshot_s_day(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """And what it costs."""
        path = subscribers(checkout(tmp_path) / "subscribers.csv")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("cli.commands.init.is_terminal", lambda: True)
        given = ["init", "churned", "--csv", str(path), "--label", "Churn"]
        done = CliRunner().invoke(ratchet, given, input="soon\n2024-06-30\n")
        assert done.exit_code == 0, done.output
        assert "no column says when a row was known." in done.output

    def test_asks_for_a_reason_where_the_label_is_given_away(self, tmp_path: Path) -> None:
        """Without a terminal both ways out are named with the columns, and nothing is written."""
        path = rides(checkout(tmp_path) / "rides.csv")
        with pytest.raises(RatchetError, match="fare gives minutes away") as asked:
            begun(tmp_path, "rides", path, replace(RIDES, late=()))
        assert "--late fare " in asked.value.remedy
        assert "--too-good" in asked.value.remedy
        assert not (tmp_path / "use_cases").exists()

    @pytest.mark.parametrize(
        ("said", "fields", "is_signed"),
        [("fares\nfare", "bike", False), ("because fares are fixed before", "bike, fare", True)],
    )
    def test_at_a_terminal_asks_whether_that_is_known_late(
        self, said: str, fields: str, is_signed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A column that there is not is asked for again; a reason is signed and counts for what was written."""
        path = rides(checkout(tmp_path) / "rides.csv")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("cli.commands.init.is_terminal", lambda: True)
        given = ["--label", "minutes", "--known-at", "ended_at", "--timezone", "Europe/Berlin", "--entity", "zone"]
        done = CliRunner().invoke(
            ratchet, ["init", "rides", "--csv", str(path), *given, "--by", "ann"], input=f"{said}\n"
        )
        assert done.exit_code == 0, done.output
        assert f"with zone, distance_km, class_, {fields}" in done.output
        with project_of(tmp_path, "rides") as run:
            reason, _ = find_reason(Gate.open(run), service_spec(run.use_case).fingerprint)
        assert is_signed == (reason is not None and reason.by == "ann")

    def test_says_nothing_of_where_it_runs(self, tmp_path: Path) -> None:
        """A file below the checkout is named from there, so that the section holds on another machine."""
        begin(checkout(tmp_path), "rides")
        assert str(tmp_path) not in (tmp_path / "params.yaml").read_text()


def test_the_package_names_its_modules() -> None:
    """Whoever opens it finds what each module is for, and none that is not there."""
    modules = {path.stem for path in (ROOT / "authoring" / "init").glob("*.py")} - {"__init__"}
    words = set(re.findall(r"[a-z_]+", str(authoring.init.__doc__)))
    assert modules == words & modules | {word for word in words if "_" in word}
