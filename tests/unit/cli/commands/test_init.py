"""`ratchet init` as a command: what it says, and what it asks at a terminal and without one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import ratchet
from ratchet.core.errors import SourceError
from tests.support.begun import RIDES, begin_known, begun, facts_of
from tests.support.checkout import ROOT
from tests.support.csv_files import checkout, rides, subscribers
from tests.support.messages import missing


def test_says_what_was_decided_and_what_to_do_next(tmp_path: Path) -> None:
    """What it inferred stands there to be contradicted, with the files that it wrote and the commands to type."""
    said = begin_known(checkout(tmp_path), "rides")
    facts, names = (
        facts_of(said),
        {
            "predicts": ["minutes", "regression", "ended_at", "2h"],
            "asked": ["asked_at", "zone, distance_km, class_, bike"],
            "key": ["ride_id"],
            "history of": ["zone"],
            "baseline": ["distance_km_band"],
            "trains": ["2024-03-08", "2024-05-24"],
            "judges": ["2024-06-04", "2024-06-22", "462 rows"],
        },
    )
    paths = re.findall(r"\S+\.\w+", said.splitlines()[0])
    assert [
        "use_cases/rides/__init__.py",
        "use_cases/rides/on_demand.py",
        "tests/use_cases/test_rides.py",
        "params.yaml",
        "as_of.yaml",
    ] == paths
    assert {name: [] for name in names} == {name: missing(fact, *names[name]) for name, fact in facts.items()}
    commands = [line.partition("#")[0].strip() for line in said.partition("\nnext:\n")[2].splitlines()]
    assert ["ratchet check", "dvc repro monitor@rides", "make serve", "ratchet summary"] == commands


def test_says_what_is_lost_without_time(tmp_path: Path) -> None:
    """Before anybody trusts it."""
    predicts = facts_of(begin_known(checkout(tmp_path), "subscribers"))["predicts"]
    assert [] == missing(predicts, "churn", "binary", "entity", "'no time evidence'")


def test_without_a_terminal_names_the_flag(tmp_path: Path) -> None:
    """An expected failure is one line, and nothing is written."""
    path = rides(checkout(tmp_path) / "rides.csv")
    command = [sys.executable, "-m", "cli", "init", "rides", "--csv", str(path)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"ratchet: {path}: ")
    assert [] == missing(done.stderr, "--label COLUMN")
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.parametrize(("path", "name"), [("ride.csv", "--csv"), ("data", "source.path")])
def test_needs_a_file(path: str, name: str, tmp_path: Path) -> None:
    """A wrong path is no wrong file."""
    rides(checkout(tmp_path) / "data" / "rides.csv")
    with pytest.raises(SourceError) as raised:
        begun(tmp_path, "rides", tmp_path / path, RIDES)
    assert str(tmp_path / path) == raised.value.subject
    assert [] == missing(raised.value.remedy, name)


def test_at_a_terminal_asks_until_nothing_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question at a time; an answer that will not do is asked for again."""
    path = rides(checkout(tmp_path) / "rides.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cli.commands.init.is_terminal", lambda: True)
    answers = ["minute", "minutes", "asked_at", "ended_at", "Europe/Berlin", "zone, bike"]
    given = ["init", "rides", "--csv", str(path), "--late", "fare"]
    done = CliRunner().invoke(ratchet, given, input="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    assert [] == missing(done.output, "'minute'", "'minutes'")
    assert "zone, bike" == facts_of(done.output)["history of"]


def test_at_a_terminal_asks_for_the_snapshot_s_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it costs."""
    path = subscribers(checkout(tmp_path) / "subscribers.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cli.commands.init.is_terminal", lambda: True)
    given = ["init", "churned", "--csv", str(path), "--label", "Churn"]
    done = CliRunner().invoke(ratchet, given, input="soon\n2024-06-30\n")
    assert done.exit_code == 0, done.output
    assert [] == missing(done.output.partition("use_cases/churned")[0], "YYYY-MM-DD", "'no time evidence'")
