"""The same data, code and settings give the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

from ratchet.project.run import Run
from tests.support.killing import contents
from tests.support.registry import copied
from tests.support.runs import run_steps


def test_what_is_thrown_away_is_computed_as_it_was(finished_project: Run, tmp_path: Path) -> None:
    """Every table and every model; only the gate's records differ, since what they judged serves by now."""
    run = copied(finished_project, tmp_path / "project")
    before = contents(run.paths.data)
    shutil.rmtree(run.paths.data)
    run_steps(run)
    judged = {name for name in before if name.startswith("gate/")}
    assert len(judged) < len(before)
    assert {name: before[name] for name in before.keys() - judged} == {
        name: found for name, found in contents(run.paths.data).items() if name not in judged
    }
