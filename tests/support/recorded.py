"""A small git and DVC repository with one stage, and what a flow does to record it."""

from __future__ import annotations

from pathlib import Path

import yaml

from ratchet.project.dvc import commit_stages
from ratchet.project.inputs import inputs
from ratchet.project.run import Run
from tests.support.checkout import commit, run_command
from tests.support.runs import noshow_project

STAGE = "featurize@tests.support.noshow"


def recorded_project(tmp_path: Path) -> Run:
    """A git and DVC repository with one stage, whose output is the features."""
    run = noshow_project(tmp_path)
    output = str(run.paths.features.relative_to(tmp_path))
    do = {"cmd": "true", "deps": ["code.py"], "outs": [{output: {"persist": True}}]}
    stages = {"featurize": {"foreach": [run.settings.use_case], "do": do}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (tmp_path / "code.py").write_text("x = 0", encoding="utf-8")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n", encoding="utf-8")
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("/data/\n/state/\n", encoding="utf-8")
    run_command(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "Begin")
    return run


def write(run: Run, **files: str) -> None:
    """Write files of features; `__` in a name is a folder."""
    for name, text in files.items():
        path = run.paths.features / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def kept(run: Run, name: str) -> Path:
    """Where the dvc.lock of a run is kept."""
    return run.paths.state / "runs" / name / "dvc.lock"


def record(run: Run, name: str) -> None:
    """Record the stage as a flow does that nobody disturbed."""
    commit_stages(run, [STAGE], kept(run, name), inputs(run, [STAGE]))
