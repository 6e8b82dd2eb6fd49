"""Code is named as git names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.code.git import CodeVersion, code_version
from ratchet.project.project import Project
from tests.support.checkout import run_command
from tests.support.recorded import record, recorded_project, write


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A git and DVC repository with one stage, whose output is the features."""
    return recorded_project(tmp_path)


class TestCode:
    def test_a_clean_checkout_is_its_commit(self, project: Project) -> None:
        """Data, state and dvc.lock change without changing the code."""
        write(project, a="1")
        record(project, "one")
        head = run_command(project.root, "git", "rev-parse", "HEAD").stdout.strip()
        assert CodeVersion(head, dirty=False) == code_version(project.root)

    @pytest.mark.parametrize("name", ["code.py", "new.py"])
    def test_a_changed_or_unknown_file_makes_it_dirty(self, project: Project, name: str) -> None:
        """What the commit does not hold cannot be rebuilt from it."""
        (project.root / name).write_text("x = 1\n", encoding="utf-8")
        assert code_version(project.root).dirty

    def test_a_folder_inside_another_repository_has_no_commit(self, project: Project) -> None:
        """The commit of some repository above says nothing about a copy."""
        (project.root / "copy").mkdir()
        assert CodeVersion(None, dirty=True) == code_version(project.root / "copy")

    def test_without_git_there_is_no_commit(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine without git still trains, and says that the code is unknown."""
        monkeypatch.setenv("PATH", "")
        assert CodeVersion(None, dirty=True) == code_version(project.root)
