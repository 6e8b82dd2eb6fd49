"""`make demo` after the main job: what must go wrong does, is told, and leaves what serves as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click import unstyle

from cli.commands.demo import ask_in_person, cost_of, finish_story, select_source
from cli.current_user import current_user
from cli.summary import Summary, render
from ratchet.core.settings import PARAMS_FILE, SourceSettings
from ratchet.model_registry.champion import resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import rollback
from ratchet.model_registry.status import status
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
from tests.support.checkout import ROOT
from tests.support.messages import missing
from tests.support.registry import copied, trained
from training_pipeline.register import register


@pytest.fixture(scope="module")
def run(finished_project: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A checkout in which every step has run once."""
    return copied(finished_project, tmp_path_factory.mktemp("demo") / "project")


@pytest.fixture(scope="module")
def told(run: Run) -> Summary:
    return finish_story(run, wait=0)


def test_a_worse_candidate_is_refused_with_its_reason(run: Run, told: Summary) -> None:
    """It becomes a version that never serves, says why, and is requested no more."""
    worse, found = told["story"]["worse_candidate"], status(ModelRegistry.open(run))
    assert "refused" == worse["verdict"]
    assert worse["reason"].startswith("refused: it failed ")
    assert "ratchet:non-inferior" in worse["reason"]
    assert worse["reason"] == found["versions"][worse["version"] - 1]["status"]
    assert (2, 2, 2) == (found["requested"], found["champion"], resolve_champion(ModelRegistry.open(run)).version)
    assert [1, 2] == [entry["version"] for entry in found["history"]]


def test_uncommitted_models_serve_because_somebody_asks(unserved: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy leaves them to whoever types the command: both are promoted in that name, the baseline first."""
    reports.run_step(trained(unserved, dirty=True), "register", register)
    assert status(ModelRegistry.open(unserved))["champion"] is None
    ask_in_person(unserved)
    found = status(ModelRegistry.open(unserved))
    assert [(1, current_user()), (2, current_user())] == [(each["version"], each["by"]) for each in found["history"]]
    assert "uncommitted" in capsys.readouterr().out


def test_nobody_asks_over_a_rollback(unserved: Run) -> None:
    """Where a person went back, the command leaves that version in place."""
    reports.run_step(trained(unserved, dirty=True), "register", register)
    ask_in_person(unserved)
    rollback(ModelRegistry.open(unserved), by="ann", reason="slow")
    reports.run_step(unserved, "register", register)
    ask_in_person(unserved)
    assert status(ModelRegistry.open(unserved))["champion"] == 1


def test_planted_drift_is_told_as_drift(run: Run, told: Summary) -> None:
    """The window as it was is none, and its report is not the planted one's."""
    planted = told["story"]["planted_drift"]
    assert ("drift", "no drift") == (planted["verdict"], told["drift"]["verdict"])
    assert planted["html"] != told["drift"]["html"]
    assert all((run.root / page).exists() for page in (planted["html"], told["drift"]["html"]))


def test_a_champion_meets_both_once(run: Run, told: Summary) -> None:
    """Told again, the story is the same: nothing more is registered, and no page written."""
    page = run.root / told["story"]["planted_drift"]["html"]
    before = status(ModelRegistry.open(run)), page.stat().st_mtime_ns
    assert told["story"] == finish_story(run, wait=0)["story"]
    assert before == (status(ModelRegistry.open(run)), page.stat().st_mtime_ns)


def test_the_text_has_what_the_demo_is_for(told: Summary) -> None:
    """Rows by their reasons, the gate's checks, what was offered afterwards, and where to go from there."""
    blocks = {unstyle(head): lines for head, *lines in (block.splitlines() for block in render(told).split("\n\n"))}
    assert any("missed_is_no_yes_or_no" in line for line in blocks["Rows"])
    assert "  candidate: superior" == blocks["Gate"][0]
    worse, planted = blocks["Offered afterwards"]
    assert [] == missing(worse, "version 3", "refused", "failed")
    assert planted.endswith("highest predictions): drift")
    assert "  make serve" == blocks["What to type next"][0]


def test_another_source_is_written_among_the_comments(tmp_path: Path) -> None:
    """Of params.yaml only the source's lines change, and they keep their comments; asked for again, not even its bytes."""
    path = tmp_path / PARAMS_FILE
    shutil.copy2(ROOT / PARAMS_FILE, path)
    before = path.read_text(encoding="utf-8")
    select_source(Run.load(tmp_path), "tlc", "months")
    after, written = path.read_text(encoding="utf-8"), path.stat().st_mtime_ns
    select_source(Run.load(tmp_path), "tlc", "months")
    pairs = [(old.split("#"), new.split("#")) for old, new in zip(before.splitlines(), after.splitlines(), strict=True)]
    assert [old[1:] for old, _ in pairs] == [new[1:] for _, new in pairs]
    assert ["name: tlc", "path: months"] == [new[0].strip() for old, new in pairs if old != new]
    assert written == path.stat().st_mtime_ns
    assert SourceSettings(name="tlc", path="months", history=True) == Run.load(tmp_path).settings.source


def test_the_cost_of_a_day_stands_beside_the_first() -> None:
    """For each step that ran again, in their order; what ran for the first time has nothing to compare with."""
    first = {"featurize": 4.84, "ingest": 1.3, "train": 30.0}
    now = {**first, "featurize": 0.51, "predict": 2.0}
    _, *lines = cost_of(first, now, {"featurize", "ingest", "predict"})
    assert [["ingest", "1.3", "1.3"], ["featurize", "4.8", "0.5"]] == [line.split() for line in lines]
