"""Where a use case declares what: the file and line that a finding sends its reader to."""

from __future__ import annotations

from pathlib import Path

import pytest
from ibis import _

from authoring.check.source_lines import Declaration
from ratchet.project.run import Run
from ratchet.use_case.single_table import examples_of
from tests.support import noshow
from tests.support.cases import CHURN, case_project
from tests.support.checkout import ROOT
from tests.support.runs import noshow_project
from tests.support.taxi import taxi_project
from tests.support.variants import with_use_case

ONE = "use_case: {name}\nwindows:\n  start: x\n  holdout: y\ngate:\n  min_rows: 1\n"
SEVERAL = "use_case: {name}\nuse_cases:\n  other:\n    windows:\n      holdout: x\n  {name}:\n    windows:\n      holdout: y\n"


def text(where: str) -> str:
    """The source line of a place."""
    name, line = where.split(":")
    return (ROOT / name).read_text(encoding="utf-8").splitlines()[int(line) - 1].strip()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = taxi_project(tmp_path)
    assert run.use_case.name == "nyc_taxi"
    return run


def test_keyword_of_the_use_case(run: Run) -> None:
    """A keyword is found in the module of the package that has the call."""
    assert Declaration(run).use_case("baseline").startswith("use_cases/nyc_taxi/use_case.py:")
    assert 'baseline=(("pickup_zone", "dropoff_zone"), ("pickup_zone",), ()),' == text(
        Declaration(run).use_case("baseline")
    )


def test_keyword_that_is_not_given(run: Run) -> None:
    """What is left to its default is to be given in the call."""
    assert "use_case = UseCase(" == text(Declaration(run).use_case("split"))


def test_parts_by_name(run: Run) -> None:
    """Tables, views and lookups are told apart by name, also where a helper makes them."""
    where = Declaration(run)
    assert 'early=("vendor", "pickup_zone", "dropoff_zone", "passenger_count", "trip_type"),' == text(
        where.table("trips", "early")
    )
    assert text(where.view("route", "lookback")).startswith('declare("route", ')
    assert text(where.view("city_weather", "lookback")).startswith('View("city_weather", ')
    assert 'Lookup("zone_position", {"zone": "dropoff_zone"}, name="dropoff_position"),' == text(
        where.lookup("dropoff_position", "keys")
    )


def test_part_that_is_nowhere(run: Run) -> None:
    """A part without a call of its own is where all of them are."""
    assert "views=(" == text(Declaration(run).view("elsewhere", "lookback"))


def test_column_of_a_schema(run: Run) -> None:
    """A column is where its schema declares it; one that several schemas have is where its table is."""
    assert '"pickup_at": INSTANT,' == text(Declaration(run).column("trips", "pickup_at"))
    assert text(Declaration(run).column("zones", "elsewhere")).startswith('SourceTable("zones", ')


def test_function(tmp_path: Path) -> None:
    """A function is where it begins."""
    where = Declaration(noshow_project(tmp_path))
    assert "def patient_history(tables: Tables) -> ibis.Table:" == text(where.function(noshow.patient_history))


def test_exception_of_a_library(tmp_path: Path) -> None:
    """An exception leads to the last line of the use case's own that it came through; without one, nowhere."""
    where = Declaration(noshow_project(tmp_path))
    assert noshow.use_case.name == "noshow"
    with pytest.raises(KeyError) as caught:
        noshow.examples({})
    assert 'return tables["appointments"].select(' == text(where.raised(caught.value) or "")
    assert where.raised(KeyError()) is None


@pytest.mark.parametrize(("params", "line"), [(ONE, 4), (SEVERAL, 8)])
def test_setting(tmp_path: Path, params: str, line: int) -> None:
    """A setting is found below its group, and below its own use case where there are several."""
    run = noshow_project(tmp_path)
    (tmp_path / "params.yaml").write_text(params.format(name=run.settings.use_case), encoding="utf-8")
    assert f"params.yaml:{line}" == Declaration(run).setting("windows", "holdout")


def test_setting_that_is_not_given(tmp_path: Path) -> None:
    """A setting left to its default has no line."""
    run = noshow_project(tmp_path)
    (tmp_path / "params.yaml").write_text(ONE.format(name="x"), encoding="utf-8")
    assert "params.yaml" == Declaration(run).setting("gate", "min_blocks")


def test_function_that_a_helper_made(tmp_path: Path) -> None:
    """It is where the use case says so, for nobody is to change the helper."""
    churn = case_project(tmp_path, "churn", CHURN)
    assert "trailing(" == text(Declaration(churn).function(churn.use_case.view("account").compute))
    run = noshow_project(tmp_path)
    helped = with_use_case(run, examples=examples_of(noshow.use_case.tables[0], noshow.Reminder, _.missed))
    assert "examples=examples," == text(Declaration(helped).function(helped.use_case.examples))
