"""Code is named as git names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ratchet.code.git import CodeVersion, code_version
from ratchet.project.run import Run
from tests.support.checkout import run_command
from tests.support.recorded import record, recorded_project, write


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A git and DVC repository with one stage, whose output is the features."""
    return recorded_project(tmp_path)


class TestCode:
    def test_a_clean_checkout_is_its_commit(self, run: Run) -> None:
        """Data, state and dvc.lock change without changing the code."""
        write(run, a="1")
        record(run, "one")
        (run.root / "sensors").mkdir()
        shutil.copy(run.root / "dvc.lock", run.root / "sensors" / "dvc.lock")
        head = run_command(run.root, "git", "rev-parse", "HEAD").stdout.strip()
        assert CodeVersion(head, dirty=False) == code_version(run.root)

    @pytest.mark.parametrize("name", ["code.py", "new.py"])
    def test_a_changed_or_unknown_file_makes_it_dirty(self, run: Run, name: str) -> None:
        """What the commit does not hold cannot be rebuilt from it."""
        (run.root / name).write_text("x = 1\n", encoding="utf-8")
        assert code_version(run.root).dirty

    def test_a_folder_inside_another_repository_has_no_commit(self, run: Run) -> None:
        """The commit of some repository above says nothing about a copy."""
        (run.root / "copy").mkdir()
        assert CodeVersion(None, dirty=True) == code_version(run.root / "copy")

    def test_without_git_there_is_no_commit(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine without git still trains, and says that the code is unknown."""
        monkeypatch.setenv("PATH", "")
        assert CodeVersion(None, dirty=True) == code_version(run.root)
