"""`ratchet check`: planted mistakes are found, each at the line to change, and right use cases are left alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest
from ibis import _

from authoring.check import check, checkup
from authoring.check.finding import Finding
from authoring.check.labels import check_inputs
from authoring.check.source_lines import Declaration
from ratchet.core.clock import Period
from ratchet.core.settings import GateSettings
from ratchet.project.run import PeriodName, Run
from ratchet.sources.batches import Source
from ratchet.use_case.batch import Batch, Unread
from ratchet.use_case.contract import INSTANT, Array, Columns, SourceTable, Tables, View
from tests.support.cases import CHURN, DEMAND, case_project
from tests.support.checkout import ROOT
from tests.support.findings import FOUND
from tests.support.messages import missing
from tests.support.mistakes import EACH_THING, MISTAKES, only_later, with_examples
from tests.support.parcels import parcels_project
from tests.support.planted_functions import never_in_the_north
from tests.support.runs import noshow_project
from tests.support.taxi import taxi_project
from tests.support.variants import with_gate, with_use_case, with_view

HEAVY = {"bentoml", "dvc", "evidently", "feast", "great_expectations", "lightgbm", "mlflow", "prefect", "sklearn"}


@pytest.fixture(scope="module")
def noshow(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return noshow_project(tmp_path_factory.mktemp("noshow"), rows_per_week=150)


@pytest.fixture(scope="module")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = taxi_project(tmp_path_factory.mktemp("taxi"), trips_per_day=100)
    return run.with_settings(gate=GateSettings(min_rows=200, min_slice_rows=20))


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return case_project(tmp_path_factory.mktemp("churn"), "churn", CHURN)


@pytest.fixture(scope="module")
def demand(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return case_project(tmp_path_factory.mktemp("demand"), "demand", DEMAND)


def kinds(findings: list[Finding]) -> set[str]:
    return {finding.what for finding in findings}


def place(finding: Finding) -> str:
    """The source line that a finding names; of a setting only the file, for tests have none."""
    name, _, line = finding.where.partition(":")
    file = ROOT / name
    return f"{file.name}: {file.read_text(encoding='utf-8').splitlines()[int(line) - 1].strip()}" if line else name


def test_right_use_cases_are_left_alone(noshow: Run, taxi: Run, churn: Run, demand: Run, tmp_path: Path) -> None:
    """Nothing is found in use cases that are right, of either task, with roles, reference tables and constant keys."""
    parcels = parcels_project(tmp_path).with_settings(gate=GateSettings(min_rows=50))
    assert [[]] * 5 == [check(run) for run in (noshow, taxi, churn, demand, parcels)]


def test_it_says_how_much_it_looked_at(noshow: Run) -> None:
    """All batches of the half year are few enough to be read whole."""
    found = checkup(noshow)
    assert (31 * 150, 8) == (found.rows, found.batches)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_found(noshow: Run, mistake: str) -> None:
    """Each planted mistake is found, and nothing else."""
    what, plant = MISTAKES[mistake]
    findings = check(plant(noshow))
    assert set(what.split()) == kinds(findings)
    for (line, name), finding in zip(FOUND[mistake], findings, strict=True):
        assert place(finding).startswith(line)
        assert name in f"{finding.problem} {finding.remedy}"


@pytest.mark.parametrize(("name", "mistake"), [*zip(cycle(("taxi", "churn", "demand")), EACH_THING)])
def test_mistake_is_found_in_other_use_cases(name: str, mistake: str, request: pytest.FixtureRequest) -> None:
    """The same mistakes are found in those of the repository, in each of them others, whatever their task, tables and views."""
    what, plant = MISTAKES[mistake]
    assert set(what.split()) == kinds(check(plant(request.getfixturevalue(name))))


def test_finding_is_a_paragraph() -> None:
    """A finding begins with the place to change and ends with what to do."""
    finding = Finding("block", "use_cases/x/use_case.py:41", "one block is too few", "Take days")
    assert "use_cases/x/use_case.py:41: one block is too few.\n  Take days." == str(finding)


def test_a_name_that_is_nearly_right_is_suggested(noshow: Run) -> None:
    """A column that does not exist is answered with the one that was probably meant."""
    (found,) = check(with_gate(noshow, slices=("clinics",)))
    assert [] == missing(found.remedy, "'clinic'")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param(lambda label, _rng: label**3, "number", id="the label in another scale"),
        pytest.param(lambda label, _rng: -label, "number", id="the label upside down"),
        pytest.param(lambda label, _rng: np.where(label < 5, np.nan, label), "number", id="the large labels"),
        pytest.param(lambda label, _rng: np.char.add("c", label.astype(str)).astype(object), "category", id="its name"),
    ],
)
def test_input_that_gives_the_label_away(taxi: Run, values: Array, kind: str) -> None:
    """An input that determines the label is found by its order, or by its values."""
    assert ["label-in-features"] == given_away(taxi, values, kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param(lambda label, rng: label + rng.normal(0, 1, len(label)), "number", id="a good feature"),
        pytest.param(lambda label, _rng: np.arange(len(label)).astype(str).astype(object), "category", id="an id"),
        pytest.param(lambda label, _rng: np.zeros(len(label)), "number", id="a constant"),
        pytest.param(lambda label, _rng: np.full(len(label), np.nan), "number", id="nothing"),
    ],
)
def test_input_that_does_not(taxi: Run, values: Array, kind: str) -> None:
    """A feature may be good, unique, constant or empty without giving the label away."""
    assert [] == given_away(taxi, values, kind)


def given_away(run: Run, values: Array, kind: str) -> list[str]:
    """What is said of an input that is made of the label, a whole number from 0 to 9."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 10, 2000).astype(np.float64)
    columns = {"label": label, "input": values(label, rng)}
    use_case = replace(run.use_case, inputs={"input": kind}, on_demand=lambda columns: columns)
    return [one.what for one in check_inputs(use_case, columns, Declaration(run))]


def among_views(columns: Columns) -> Columns:
    """In a module that imports what views need."""
    return {"made": columns["booked_days_ahead"]}


def test_functions_that_have_no_fingerprint_are_found(noshow: Run) -> None:
    """At their line, with what their module imports; or, of one that a call made, with what to write in its place."""
    (found,) = check(with_use_case(noshow, on_demand=among_views))
    assert place(found).startswith("test_check.py: def among_views(")
    assert "ibis" in found.problem
    assert "use_cases/NAME/on_demand.py" in found.remedy
    (made,) = check(with_use_case(noshow, postprocess=partial(never_in_the_north, {})))
    assert place(made).startswith("planted_functions.py: def never_in_the_north(")
    assert "postprocess: partial" in made.problem


def test_rows_that_come_later_are_not_said_to_be_old(noshow: Run) -> None:
    """Where a view has rows only after the requests, its max_age is not blamed."""
    later = with_view(only_later(noshow), "patient_history", max_age=timedelta(days=60))
    assert {"lookup-empty", "leak-unproved"} == kinds(check(later))


def test_slow_rows_are_no_part_of_the_lookback(churn: Run) -> None:
    """Rows that take longer until they are known than a view made by `trailing` expects are found all the same."""
    view = churn.use_case.view("account")
    assert view.delay
    assert view.lookback
    wait = timedelta(days=1)
    changes = {"delay": (view.delay[0], wait), "lookback": view.lookback - view.delay[1] + wait}
    assert "lookback-too-short" not in kinds(check(with_view(churn, view.name, **changes)))


def test_a_lag_is_no_part_of_the_lookback(churn: Run) -> None:
    """Scores that are delivered two weeks later count so much later: the pipeline adds the lag itself."""
    lag = {"health_scores": timedelta(days=14)}
    late = churn.with_settings(source=churn.settings.source.model_copy(update={"lag": lag}))
    assert "lookback-too-short" not in kinds(check(late))


def test_second_table_that_begins_after_the_last_period_is_named(noshow: Run) -> None:
    """The table is named, and no view blamed that reads it."""
    (found,) = check(with_census(noshow, (2031, 2032)))
    assert "table-unused" == found.what
    assert "table 'census'" in found.problem
    assert noshow.as_of("feature").isoformat() in found.problem
    assert "`ratchet advance`" in found.remedy


def test_second_table_of_earlier_years_is_left_alone(noshow: Run) -> None:
    """Rows long before the first period may hold in it."""
    assert [] == check(with_census(noshow, (2019, 2020)))


def with_census(run: Run, years: Sequence[int]) -> Run:
    """The project with a yearly table beside the others, and a view of it."""
    schema = pa.schema({"clinic": pa.string(), "beds": pa.int64(), "counted_at": INSTANT})
    census = SourceTable("census", schema, key=("clinic", "counted_at"), event_time="counted_at")
    rows = [{"clinic": "north", "beds": 9, "counted_at": datetime(year, 1, 1, tzinfo=UTC)} for year in years]
    counted = Batch("census", "all", "digest", lambda: (pa.Table.from_pylist(rows, schema), []))

    def beds(tables: Tables) -> ibis.Table:
        return tables["census"].select("clinic", "beds", event_timestamp="row_available_at")

    use_case, name = run.use_case, run.settings.source.name
    return with_use_case(
        run,
        tables=(*use_case.tables, census),
        views=(*use_case.views, View("beds", ("clinic",), beds, lookback=None, max_age=None)),
        sources={name: lambda *arguments: [*Source.open(run).loader(*arguments), counted]},
    )


def test_baseline_of_chance_is_named_with_a_column_that_helps(noshow: Run) -> None:
    """A baseline that explains nothing is found where it is declared; with the column that is named instead, all is right."""
    (found,) = check(with_use_case(noshow, baseline=(("hour",), ())))
    assert "baseline-explains-nothing" == found.what
    assert place(found).startswith("noshow.py: baseline=")
    assert "`baseline=(('patient',), ())`" in found.remedy
    assert [] == check(with_use_case(noshow, baseline=(("patient",), ())))


def test_what_is_not_read_is_no_mistake(noshow: Run) -> None:
    """Of a source that holds more than batches, it is handed on to be said beside the findings."""

    def more(path: str, options: Mapping[str, Any], period: Period) -> list[Any]:
        return [*Source.open(noshow).loader(path, options, period), Unread("a.tsv", "is none")]

    found = checkup(with_use_case(noshow, sources={noshow.settings.source.name: more}))
    assert ([], (Unread("a.tsv", "is none"),)) == (found.findings, tuple(found.unread))


def test_outcomes_that_lack_in_the_fresh_period_alone_are_no_mistake(noshow: Run) -> None:
    """Nobody is judged there; where they lack in the holdout, the gate would miss them."""

    def known_before(name: PeriodName) -> Run:
        end = ibis.literal(noshow.period(name).start, "timestamp('UTC')")
        unknown = ibis.null("float64")
        return with_examples(noshow, lambda rows: rows.mutate(label=(_.event_timestamp < end).ifelse(_.label, unknown)))

    assert [] == check(known_before("fresh"))
    assert {"no-label"} <= kinds(check(known_before("holdout")))


def test_label_that_looks_far_ahead_has_rows_enough(noshow: Run) -> None:
    """A horizon as long as half the data asks no label of requests that are too young to have one."""
    assert [] == check(with_gate(with_use_case(noshow, horizon=timedelta(days=90)), block="patient"))


def test_command_is_quick_and_says_what_it_looked_at() -> None:
    """On the checkout's own use case nothing is found, and none of the slow libraries is loaded."""
    script = f"""
import sys
from cli.main import ratchet
try:
    ratchet(["--use-case", "nyc_taxi", "check"])
except SystemExit as ended:
    print(ended.code, *({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    said, ended = done.stdout.splitlines()
    assert said.startswith("nothing found (looked at ")
    assert "0" == ended.strip()


def test_command_names_what_to_change(tmp_path: Path) -> None:
    """A setting that cannot hold is named with its line in params.yaml, and the exit code says so."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("min_rows: 1000", "min_rows: 10000000")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "as_of.yaml", tmp_path)
    line = next(n for n, found in enumerate(text.splitlines(), 1) if found.strip().startswith("holdout:"))
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "cli", "--use-case", "nyc_taxi", "check"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (1, "") == (done.returncode, done.stderr)
    (paragraph, counted) = done.stdout.split("\n\n")
    assert paragraph.startswith(f"params.yaml:{line}: ")
    assert [] == missing(paragraph, "holdout", "gate.min_rows")
    assert counted.startswith("1 ")
