"""`ratchet rollout`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import ratchet
from ratchet.core.errors import GateError, RegistryError
from ratchet.project.run import Run
from tests.support.registry import copied
from tests.support.runs import write_settings


@pytest.fixture
def run(serving_project: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Version 2 serves, and version 1 did before."""
    run = copied(serving_project, tmp_path / "project")
    write_settings(run.root, run)
    monkeypatch.chdir(run.root)
    return run


def rollout(*arguments: str) -> Result:
    return CliRunner().invoke(ratchet, ["rollout", *arguments])


def said(*arguments: str) -> str:
    found = rollout(*arguments)
    assert 0 == found.exit_code, found.output
    return found.output


def test_from_shadow_to_all(run: Run) -> None:
    """Each command says where the version stands, and what follows."""
    assert "version 1 predicts in the shadow. After `ratchet rollout advance` it answers 10%\n" == said("start", "1")
    assert "rollout   version 1 predicts in the shadow: " in CliRunner().invoke(ratchet, ["status"]).output
    assert "answers 10%. After `ratchet rollout advance` it answers 50%" in said("advance")
    assert "answers 50%. After `ratchet rollout advance` it is the champion" in said(
        "advance", "--reason", "looks well"
    )
    status = said("status")
    assert ["predicts in the shadow", "answers 10%", "answers 50%"] == [
        next(words for words in ("shadow", "10%", "50%") if words in line)
        and line.split("version 1 ")[1].split("  (")[0]
        for line in status.splitlines()[:3]
    ]
    assert "looks well" in status
    assert "Gain of the challenger: not known" in status
    assert "version 1 serves: it is the champion now\n" == said("advance")
    assert "No version is being rolled out" in said("status")


def test_back(run: Run) -> None:
    said("start", "1", "--steps", "standby, 100%", "--reason", "green")
    assert "version 1 was taken back: the champion answers everybody\n" == said("abort", "--reason", "red")
    found = json.loads(said("status", "--json"))
    assert (None, None) == (found["rollout"], found["figures"])
    assert [("start", "green"), ("abort", "red")] == [(each["kind"], each["reason"]) for each in found["history"]]


def test_the_figures_of_both_arms(run: Run) -> None:
    said("start", "1", "--strategy", "ab")
    found = json.loads(said("status", "--json"))
    assert {"plan": {"steps": [50]}, "at_step": 0, "version": 1}.items() <= found["rollout"].items()
    assert 0 == found["figures"]["challenger"]["predictions"]
    assert not found["figures"]["is_paired"]


@pytest.mark.parametrize("steps", ["", "50,10", "all", "0", "shadow,shadow"])
def test_steps_that_cannot_be(run: Run, steps: str) -> None:
    found = rollout("start", "1", "--steps", steps)
    assert 2 == found.exit_code
    assert "growing percentages" in found.output


@pytest.mark.parametrize(
    "command", [["start", "2"], ["start", "9"], ["advance"], ["abort"], ["start", "1", "--by", " "]]
)
def test_what_cannot_be_done_is_said(run: Run, command: list[str]) -> None:
    assert isinstance(rollout(*command).exception, RegistryError | GateError)


def test_without_any_there_is_nothing_to_show(run: Run) -> None:
    assert "No version is being rolled out\n" == said("status")
