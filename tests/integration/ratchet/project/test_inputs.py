"""What people edit of a stage: its settings and its code, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ratchet.core.errors import VersionError
from ratchet.core.settings import DriftSettings, GateSettings, SourceSettings
from ratchet.project.dvc import commit_stages
from ratchet.project.inputs import Inputs, inputs
from ratchet.project.run import Run
from tests.support.checkout import ROOT, commit, run_command
from tests.support.recorded import STAGE, kept, record, recorded_project, write
from tests.support.runs import noshow_project

TRAIN = ["train@tests.support.noshow"]


def edited(before: Inputs, after: Inputs) -> set[str]:
    return {name for name, _ in before.content.items() ^ after.content.items()}


@pytest.fixture
def templated(tmp_path: Path) -> Run:
    """A checkout with this repository's dvc.yaml."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for folder in ("training_pipeline", "use_cases/tests.support.noshow"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    run_command(tmp_path, "git", "init", "--quiet")
    return noshow_project(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A git and DVC repository with one stage, whose output is the features."""
    return recorded_project(tmp_path)


class TestInputs:
    def test_what_was_edited_meanwhile_is_not_recorded(self, run: Run) -> None:
        """Data are never said to come from code that did not make them; DVC still sees that the stage has to run."""
        write(run, a="1")
        record(run, "one")
        before, began = (run.root / "dvc.lock").read_bytes(), inputs(run, [STAGE])
        write(run, a="2")
        (run.root / "code.py").write_text("x = 1", encoding="utf-8")
        with pytest.raises(VersionError, match=r"^code\.py: edited"):
            commit_stages(run, [STAGE], kept(run, "two"), began)
        assert before == (run.root / "dvc.lock").read_bytes()
        assert not kept(run, "two").exists()
        assert "code.py" in run_command(run.root, "dvc", "status").stdout

    def test_settings_count_that_the_stage_has(self, templated: Run) -> None:
        """Those of its own section which dvc.yaml names, the source, after which its data are called, and where files of other
        systems lie."""
        began = inputs(templated, TRAIN)
        changes = {
            "drift": DriftSettings(reference_rows=2000, min_rows=100),
            "source": SourceSettings(name="hospital", path="x"),
            "gate": GateSettings(min_rows=1),
            "upstream": {"scores": "elsewhere"},
        }
        changed = [edited(began, inputs(templated.with_settings(**{name: changes[name]}), TRAIN)) for name in changes]
        assert [
            {"params.yaml: drift.reference_rows"},
            {"params.yaml: source"},
            set(),
            {"params.yaml: upstream"},
        ] == changed

    @pytest.mark.parametrize("name", ["training_pipeline/train.py", "use_cases/tests.support.noshow/new.py"])
    def test_code_counts_that_the_stage_has(self, templated: Run, name: str) -> None:
        """A file, or one in a folder, also where it is new."""
        began = inputs(templated, TRAIN)
        (templated.root / name).write_text("x = 1", encoding="utf-8")
        assert {name} == edited(began, inputs(templated, TRAIN))

    @pytest.mark.parametrize("name", ["delivered/week.csv", "data/features", "use_cases/__pycache__/x.pyc", "other.py"])
    def test_nothing_else_does(self, templated: Run, name: str) -> None:
        """Data come and go, modules are compiled, and other stages have code of their own."""
        began = inputs(templated, TRAIN)
        (templated.root / name).parent.mkdir(parents=True, exist_ok=True)
        (templated.root / name).write_text("x", encoding="utf-8")
        assert began == inputs(templated, TRAIN)

    def test_a_commit_changes_no_content(self, templated: Run) -> None:
        """What was edited before the run may be committed while it goes on."""
        (templated.root / "training_pipeline" / "train.py").write_text("x = 1", encoding="utf-8")
        began = inputs(templated, TRAIN)
        commit(templated.root, "Edit")
        assert began == inputs(templated, TRAIN)

    def test_a_file_that_was_deleted_counts(self, templated: Run) -> None:
        """Also one that was committed."""
        path = templated.root / "training_pipeline" / "train.py"
        path.write_text("x = 1", encoding="utf-8")
        commit(templated.root, "Begin")
        began = inputs(templated, TRAIN)
        path.unlink()
        assert {"training_pipeline/train.py"} == edited(began, inputs(templated, TRAIN))

    def test_without_git_nothing_is_known(self, templated: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """That is an error: an edit would not be seen."""
        monkeypatch.setenv("PATH", "")
        with pytest.raises(VersionError, match="git"):
            inputs(templated, TRAIN)
