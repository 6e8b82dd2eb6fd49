"""Where a column gives the label away, `ratchet init` asks whether it is known late, or for a reason to sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from authoring.init.answers import UnansweredError
from cli.main import ratchet
from ratchet.features.service import service_spec
from ratchet.gate.gate import Gate
from ratchet.gate.reasons import find_reason
from tests.support.begun import RIDES, begun, project_of
from tests.support.csv_files import checkout, rides
from tests.support.messages import missing


def test_asks_for_a_reason(tmp_path: Path) -> None:
    """Without a terminal both ways out are named with the columns, and nothing is written."""
    path = rides(checkout(tmp_path) / "rides.csv")
    with pytest.raises(UnansweredError) as asked:
        begun(tmp_path, "rides", path, replace(RIDES, late=()))
    assert [] == missing(asked.value.problem, "fare", "minutes", "away")
    assert [] == missing(asked.value.remedy, "--late fare", "--too-good")
    assert not (tmp_path / "use_cases").exists()


@pytest.mark.parametrize(
    ("said", "fields", "is_signed"),
    [("fares\nfare", "bike", False), ("because fares are fixed before", "bike, fare", True)],
)
def test_at_a_terminal_asks_whether_that_is_known_late(
    said: str, fields: str, is_signed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that there is not is asked for again; a reason is signed and counts for what was written."""
    path = rides(checkout(tmp_path) / "rides.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cli.commands.init.is_terminal", lambda: True)
    given = ["--label", "minutes", "--known-at", "ended_at", "--timezone", "Europe/Berlin", "--entity", "zone"]
    command = ["init", "rides", "--csv", str(path), *given, "--by", "ann"]
    done = CliRunner().invoke(ratchet, command, input=f"{said}\n")
    assert done.exit_code == 0, done.output
    assert f" zone, distance_km, class_, {fields}\n" in done.output
    with project_of(tmp_path, "rides") as run:
        reason, _ = find_reason(Gate.open(run), service_spec(run.use_case).fingerprint)
    assert is_signed == (reason is not None and reason.by == "ann")
