"""Versions: data named as DVC names it, kept with a run and brought back; code named as git names it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from ratchet.core.errors import StoreError, VersionError
from ratchet.core.settings import DriftSettings, GateSettings, SourceSettings
from ratchet.project.project import Project
from ratchet.project.versions import (
    PIPELINES,
    CodeVersion,
    Inputs,
    alone,
    code_version,
    commit_stages,
    directory_md5,
    features_version,
    inputs,
    restore,
)
from tests.support.checkout import ROOT, commit, run
from tests.support.killing import contents
from tests.support.projects import noshow_project, params

STAGE = "featurize@tests.support.noshow"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A git and DVC repository with one stage, whose output is the features."""
    project = noshow_project(tmp_path)
    output = str(project.features.relative_to(tmp_path))
    do = {"cmd": "true", "deps": ["code.py"], "outs": [{output: {"persist": True}}]}
    stages = {"featurize": {"foreach": [project.settings.use_case], "do": do}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (tmp_path / "code.py").write_text("x = 0", encoding="utf-8")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n", encoding="utf-8")
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("/data/\n/state/\n", encoding="utf-8")
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "Begin")
    return project


def write(project: Project, **files: str) -> None:
    for name, text in files.items():
        path = project.features / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def kept(project: Project, name: str) -> Path:
    return project.state / "runs" / name / "dvc.lock"


def record(project: Project, name: str) -> None:
    """Record the stage as a flow does that nobody disturbed."""
    commit_stages(project, [STAGE], kept(project, name), inputs(project, [STAGE]))


class TestData:
    def test_a_directory_is_named_as_dvc_names_it(self, project: Project) -> None:
        """The data version is the hash in dvc.lock."""
        write(project, b__x="1", a="2", b_c="3", b__é="4")
        record(project, "one")
        locked = yaml.safe_load(kept(project, "one").read_text(encoding="utf-8"))
        expected = locked["stages"][STAGE]["outs"][0]["md5"]
        assert expected == features_version(project) == directory_md5(project.features)

    def test_any_change_is_another_version(self, project: Project) -> None:
        """Content, name and absence of a file all count."""
        versions = []
        for name, text in (("a", "1"), ("a", "2"), ("b", "2")):
            write(project, **{name: text})
            versions.append(features_version(project))
        (project.features / "a").unlink()
        versions.append(features_version(project))
        assert 4 == len(set(versions))

    def test_no_features_is_an_error(self, project: Project) -> None:
        """There is no version of nothing."""
        with pytest.raises(StoreError, match="Run `dvc repro featurize`"):
            features_version(project)


class TestKeeping:
    def test_a_kept_lock_brings_earlier_data_back(self, project: Project) -> None:
        """Data of an earlier run can be had again, exactly, and that of the later one after it; the stage is clean."""
        write(project, a="1", b="1")
        record(project, "one")
        first = contents(project.features)
        (project.features / "b").unlink()
        write(project, a="2", c__d="2")
        record(project, "two")
        second = contents(project.features)
        restore(project, kept(project, "one"))
        assert first == contents(project.features)
        restore(project, kept(project, "two"))
        assert second == contents(project.features)
        assert "Data and pipelines are up to date." in run(project.root, "dvc", "status").stdout

    def test_a_stage_that_had_not_run_is_left_alone(self, project: Project) -> None:
        """A lock from before a stage's first run restores what it names, and takes nothing else away."""
        stages = yaml.safe_load((project.root / "dvc.yaml").read_text(encoding="utf-8"))
        stages["stages"]["train"] = {"cmd": "true", "outs": ["model"]}
        (project.root / "dvc.yaml").write_text(yaml.safe_dump(stages), encoding="utf-8")
        write(project, a="1")
        record(project, "one")
        (project.root / "model").write_text("kept", encoding="utf-8")
        (project.features / "a").unlink()
        restore(project, kept(project, "one"))
        assert "1" == (project.features / "a").read_text(encoding="utf-8")
        assert "kept" == (project.root / "model").read_text(encoding="utf-8")

    def test_other_use_cases_stay_as_they_are(self, project: Project) -> None:
        """A kept lock names them too, but they may be at work: neither their data nor what DVC knows of them is put back."""
        stages = yaml.safe_load((project.root / "dvc.yaml").read_text(encoding="utf-8"))
        stages["stages"]["train"] = {"foreach": ["other"], "do": {"cmd": "true", "outs": ["model"]}}
        (project.root / "dvc.yaml").write_text(yaml.safe_dump(stages), encoding="utf-8")
        for name in ("one", "two"):
            write(project, a=name)
            (project.root / "model").write_text(name, encoding="utf-8")
            commit_stages(project, [STAGE, "train@other"], kept(project, name), inputs(project, [STAGE]))
        with alone(project.with_settings(use_case="other"), PIPELINES, wait=0):
            restore(project, kept(project, "one"))
        assert "one" == (project.features / "a").read_text(encoding="utf-8")
        assert "two" == (project.root / "model").read_text(encoding="utf-8")
        assert "Data and pipelines are up to date." in run(project.root, "dvc", "status").stdout

    def test_data_that_was_never_committed_is_not_overwritten(self, project: Project) -> None:
        """Restoring stops before it would lose what no version holds."""
        write(project, a="1")
        record(project, "one")
        write(project, a="2")
        with pytest.raises(VersionError, match=f"dvc checkout {STAGE}: failed"):
            restore(project, kept(project, "one"))
        assert "2" == (project.features / "a").read_text(encoding="utf-8")

    def test_waits_no_longer_than_it_is_told(self, project: Project) -> None:
        """A repository held by another run is a clear error, and nothing is committed."""
        write(project, a="1")
        project.shared_state.mkdir()
        with (
            FileLock(project.shared_state / "repository.lock"),
            pytest.raises(VersionError, match=r"repository\.lock: is held by another run"),
        ):
            commit_stages(project, [STAGE], kept(project, "one"), inputs(project, [STAGE]), wait=0.1)
        assert not (project.root / "dvc.lock").exists()

    @pytest.mark.parametrize(("stage", "message"), [("nothing", "nothing"), (STAGE, "does not exist")])
    def test_what_dvc_refuses_is_a_clear_error(self, project: Project, stage: str, message: str) -> None:
        """A stage that is not declared, or whose output is not there, is named."""
        with pytest.raises(VersionError, match=f"dvc commit --force {stage}: failed .*{message}"):
            commit_stages(project, [stage], kept(project, "one"), inputs(project, [stage]))
        assert not kept(project, "one").exists()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "cannot be read as a dvc.lock (.*No such file.*)"),
            ("just text", "cannot be read as a dvc.lock"),
            ("stages: {train@other: {}}", "names no stage of tests.support.noshow. Name its use case"),
        ],
    )
    def test_what_is_no_lock_of_the_use_case_changes_nothing(
        self, project: Project, text: str | None, message: str
    ) -> None:
        """A wrong path, another file and the lock of another use case are told apart."""
        if text is not None:
            kept(project, "none").parent.mkdir(parents=True)
            kept(project, "none").write_text(text, encoding="utf-8")
        with pytest.raises(VersionError, match=message):
            restore(project, kept(project, "none"))
        assert not (project.root / "dvc.lock").exists()


class TestInputs:
    def test_what_was_edited_meanwhile_is_not_recorded(self, project: Project) -> None:
        """Data are never said to come from code that did not make them; DVC still sees that the stage has to run."""
        write(project, a="1")
        record(project, "one")
        before, began = (project.root / "dvc.lock").read_bytes(), inputs(project, [STAGE])
        write(project, a="2")
        (project.root / "code.py").write_text("x = 1", encoding="utf-8")
        with pytest.raises(VersionError, match=r"^code\.py: edited while the run went on.*Run the flow again"):
            commit_stages(project, [STAGE], kept(project, "two"), began)
        assert before == (project.root / "dvc.lock").read_bytes()
        assert not kept(project, "two").exists()
        assert "code.py" in run(project.root, "dvc", "status").stdout

    def test_settings_count_that_the_stage_has(self, templated: Project) -> None:
        """Those of its own section which dvc.yaml names, and the source, after which its data are called."""
        began = inputs(templated, TRAIN)
        changes = {
            "drift": DriftSettings(reference_rows=2000, min_rows=100),
            "source": SourceSettings(name="hospital", path="x"),
            "gate": GateSettings(min_rows=1),
        }
        changed = [edited(began, inputs(templated.with_settings(**{name: changes[name]}), TRAIN)) for name in changes]
        assert [{"params.yaml: drift.reference_rows"}, {"params.yaml: source"}, set()] == changed

    @pytest.mark.parametrize("name", ["training_pipeline/train.py", "use_cases/tests.support.noshow/new.py"])
    def test_code_counts_that_the_stage_has(self, templated: Project, name: str) -> None:
        """A file, or one in a folder, also where it is new."""
        began = inputs(templated, TRAIN)
        (templated.root / name).write_text("x = 1", encoding="utf-8")
        assert {name} == edited(began, inputs(templated, TRAIN))

    @pytest.mark.parametrize("name", ["delivered/week.csv", "data/features", "use_cases/__pycache__/x.pyc", "other.py"])
    def test_nothing_else_does(self, templated: Project, name: str) -> None:
        """Data come and go, modules are compiled, and other stages have code of their own."""
        began = inputs(templated, TRAIN)
        (templated.root / name).parent.mkdir(parents=True, exist_ok=True)
        (templated.root / name).write_text("x", encoding="utf-8")
        assert began == inputs(templated, TRAIN)

    def test_a_commit_changes_no_content(self, templated: Project) -> None:
        """What was edited before the run may be committed while it goes on."""
        (templated.root / "training_pipeline" / "train.py").write_text("x = 1", encoding="utf-8")
        began = inputs(templated, TRAIN)
        commit(templated.root, "Edit")
        assert began == inputs(templated, TRAIN)

    def test_a_file_that_was_deleted_counts(self, templated: Project) -> None:
        """Also one that was committed."""
        path = templated.root / "training_pipeline" / "train.py"
        path.write_text("x = 1", encoding="utf-8")
        commit(templated.root, "Begin")
        began = inputs(templated, TRAIN)
        path.unlink()
        assert {"training_pipeline/train.py"} == edited(began, inputs(templated, TRAIN))

    def test_without_git_nothing_is_known(self, templated: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """That is an error: an edit would not be seen."""
        monkeypatch.setenv("PATH", "")
        with pytest.raises(VersionError, match="git"):
            inputs(templated, TRAIN)


TRAIN = ["train@tests.support.noshow"]


def edited(before: Inputs, after: Inputs) -> set[str]:
    return {name for name, _ in before.content.items() ^ after.content.items()}


@pytest.fixture
def templated(tmp_path: Path) -> Project:
    """A checkout with this repository's dvc.yaml, whose train stage also depends on what the source delivered."""
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    declared["stages"]["train"]["do"]["deps"].append("${item.source.path}")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    for folder in ("training_pipeline", "use_cases/tests.support.noshow"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    run(tmp_path, "git", "init", "--quiet")
    return noshow_project(tmp_path).with_settings(source=SourceSettings(name="clinic", path="delivered"))


HOLD = """
import sys
from pathlib import Path
from ratchet.project.project import Project
from ratchet.project.versions import PIPELINES, alone

with alone(Project.load(Path(sys.argv[1])), PIPELINES, wait=0):
    print("alone", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_run(project: Project) -> Iterator[subprocess.Popen[str]]:
    """Another process, which is at work on the same use case until its input ends."""
    (project.root / "params.yaml").write_text(params(project.settings), encoding="utf-8")
    command, pipe = [sys.executable, "-c", HOLD, str(project.root)], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert "alone" == process.stdout.readline().strip()
        yield process
        process.kill()


class TestAlone:
    def test_a_step_does_not_begin_while_another_run_is_at_work(
        self, project: Project, other_run: subprocess.Popen[str]
    ) -> None:
        """What the other run reads stays as it is; who was kept waiting is told so in one line, and can run afterwards."""
        ingest = [sys.executable, "-m", "cli", "stage", "ingest"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        refused = subprocess.run(ingest, cwd=project.root, env=environment, capture_output=True, text=True, check=False)
        assert 1 == refused.returncode
        assert f"ratchet: {project.state}/feature.lock: is held by another run, also after 5 seconds" in refused.stderr
        assert not project.raw.exists()
        other_run.communicate("")
        subprocess.run(ingest, cwd=project.root, env=environment, capture_output=True, check=True)
        assert project.raw.exists()

    def test_a_run_that_is_killed_keeps_nobody_out(self, project: Project, other_run: subprocess.Popen[str]) -> None:
        """The lock dies with its process."""
        with pytest.raises(VersionError, match=r"Wait until that run has ended"), alone(project, ["feature"], wait=0):
            pass
        other_run.kill()
        other_run.wait()
        with alone(project, ["feature"], wait=0):
            pass

    @pytest.mark.usefixtures("other_run")
    def test_other_use_cases_are_none_of_its_business(self, project: Project) -> None:
        """Runs of two use cases, or of two sources of one, go side by side."""
        for other in (
            project.with_settings(use_case="another"),
            project.with_settings(source=SourceSettings(name="hospital", path="x")),
        ):
            with alone(other, PIPELINES, wait=0):
                pass

    @pytest.mark.usefixtures("other_run")
    def test_earlier_data_wait_until_nobody_is_at_work(self, project: Project) -> None:
        """Nothing is put back under a run that reads it."""
        write(project, a="1")
        record(project, "one")
        (project.features / "a").unlink()
        with pytest.raises(VersionError, match=r"\.lock: is held by another run"):
            restore(project, kept(project, "one"), wait=0)
        assert not (project.features / "a").exists()

    def test_a_folder_that_may_not_be_written_is_a_clear_error(self, project: Project) -> None:
        """What stands in the way is named."""
        project.state.parent.mkdir(parents=True)
        project.state.write_text("a file", encoding="utf-8")
        with pytest.raises(VersionError, match=r"feature\.lock: cannot be locked"), alone(project, ["feature"], wait=0):
            pass


class TestCode:
    def test_a_clean_checkout_is_its_commit(self, project: Project) -> None:
        """Data, state and dvc.lock change without changing the code."""
        write(project, a="1")
        record(project, "one")
        head = run(project.root, "git", "rev-parse", "HEAD").stdout.strip()
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
