"""Data that a run kept are brought back, or nothing is changed and one line says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from ratchet.core.errors import VersionError
from ratchet.project.dvc import commit_stages
from ratchet.project.inputs import inputs
from ratchet.project.locks import alone
from ratchet.project.restore import restore
from ratchet.project.run import PIPELINES, Run
from tests.support.checkout import run_command
from tests.support.killing import contents, survives
from tests.support.messages import one_short_line
from tests.support.recorded import STAGE, kept, record, recorded_project, write
from tests.support.runs import noshow_project

CLEAN = "Data and pipelines are up to date."
LEFTOVERS = r"\.dvc/tmp/.*|(\.dvc/cache/.*/|data/[^/]+/[^/]+/)?\.[^/]*\.tmp"
"""What DVC writes for itself, and files that were being written; the outputs themselves have none."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A git and DVC repository with one stage, whose output is the features."""
    return recorded_project(tmp_path)


@pytest.fixture(scope="module")
def recorded_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after two runs, of which the second left out a file, and changed and added one."""
    root = tmp_path_factory.mktemp("recorded")
    record_two(recorded_project(root))
    return root


@pytest.fixture
def two(recorded_twice: Path, tmp_path: Path) -> Run:
    """A copy of that for the test to change."""
    return noshow_project(shutil.copytree(recorded_twice, tmp_path / "copy"))


def record_two(run: Run) -> None:
    """Record both runs."""
    write(run, a="1", b="0")
    record(run, "one")
    (run.paths.features / "b").unlink()
    write(run, a="2", c__d="2")
    record(run, "two")


def declare(run: Run, name: str, stage: object) -> None:
    """Add a stage to dvc.yaml."""
    path = run.root / "dvc.yaml"
    declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    declared["stages"][name] = stage
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")


def refusal(run: Run, lock: Path) -> str:
    """The error of a restore. Asserts that it is a short line, and that neither data nor dvc.lock changed."""
    before = contents(run.paths.data), (run.root / "dvc.lock").read_bytes()
    with pytest.raises(VersionError) as failure:
        restore(run, lock)
    assert before == (contents(run.paths.data), (run.root / "dvc.lock").read_bytes())
    return one_short_line(failure.value)


class TestRestored:
    def test_a_kept_lock_brings_earlier_data_back(self, two: Run) -> None:
        """Data of an earlier run can be had again, exactly, and that of the later one after it; the stage is clean."""
        second = contents(two.paths.features)
        restore(two, kept(two, "one"))
        assert {"a": "1", "b": "0"} == {path.name: path.read_text() for path in two.paths.features.iterdir()}
        restore(two, kept(two, "two"))
        assert second == contents(two.paths.features)
        assert CLEAN in run_command(two.root, "dvc", "status").stdout

    def test_deleted_data_are_brought_back(self, two: Run) -> None:
        """Of a whole folder, too, and in a checkout without dvc.lock."""
        shutil.rmtree(two.paths.data)
        (two.root / "dvc.lock").unlink()
        restore(two, kept(two, "one"))
        assert {"a", "b"} == set(contents(two.paths.features))

    def test_a_stage_that_had_not_run_is_left_alone(self, run: Run) -> None:
        """A lock from before a stage's first run restores what it names, and takes nothing else away."""
        declare(run, "train", {"cmd": "true", "outs": ["model"]})
        write(run, a="1")
        record(run, "one")
        (run.root / "model").write_text("kept", encoding="utf-8")
        (run.paths.features / "a").unlink()
        restore(run, kept(run, "one"))
        assert "1" == (run.paths.features / "a").read_text(encoding="utf-8")
        assert "kept" == (run.root / "model").read_text(encoding="utf-8")

    def test_an_output_that_the_stage_had_not_yet_is_left_alone(self, two: Run) -> None:
        """Its data follow from no version of that run."""
        path = two.root / "dvc.yaml"
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
        declared["stages"]["featurize"]["do"]["outs"].append("summary")
        path.write_text(yaml.safe_dump(declared), encoding="utf-8")
        (two.root / "summary").write_text("kept", encoding="utf-8")
        restore(two, kept(two, "one"))
        assert "kept" == (two.root / "summary").read_text(encoding="utf-8")

    def test_other_use_cases_stay_as_they_are(self, run: Run) -> None:
        """A kept lock names them too, but they may be at work: neither their data nor what DVC knows of them is put back."""
        declare(run, "train", {"foreach": ["other"], "do": {"cmd": "true", "outs": ["model"]}})
        for name in ("one", "two"):
            write(run, a=name)
            (run.root / "model").write_text(name, encoding="utf-8")
            commit_stages(run, [STAGE, "train@other"], kept(run, name), inputs(run, [STAGE]))
        with alone(run.with_settings(use_case="other"), PIPELINES, wait=0):
            restore(run, kept(run, "one"))
        assert "one" == (run.paths.features / "a").read_text(encoding="utf-8")
        assert "two" == (run.root / "model").read_text(encoding="utf-8")
        assert CLEAN in run_command(run.root, "dvc", "status").stdout


class TestKilled:
    def test_a_restore_can_be_killed_at_any_point_and_run_again(self, tmp_path: Path) -> None:
        """After each kill dvc.lock is the old one or the new one; a second restore leaves what an undisturbed one leaves."""
        assert survives("tests.integration.ratchet.project.test_restore", tmp_path) > 8


def prepare(root: Path) -> None:
    """What stands before the work that is killed everywhere: the data of the second of two runs."""
    root.mkdir()
    record_two(recorded_project(root))


def work(root: Path) -> None:
    """Restore the first one. What dvc.lock holds meanwhile is one of the two, and the new one only beside the new data."""
    run = noshow_project(root)
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    one, two = (yaml.safe_load(kept(run, name).read_text(encoding="utf-8")) for name in ("one", "two"))
    assert lock in (one, two)
    assert lock == two or {"a", "b"} == set(contents(run.paths.features))
    restore(run, kept(run, "one"))


class TestRefused:
    def test_data_that_was_never_recorded_is_not_overwritten(self, two: Run) -> None:
        """Restoring stops before it would lose what no version holds; the file and the way out are named."""
        write(two, a="3")
        said = refusal(two, kept(two, "one"))
        assert "features: 1 file (a) would be lost" in said
        assert f"dvc commit --force {STAGE}" in said

    def test_a_stage_that_dvc_has_never_recorded_is_a_short_line(self, two: Run) -> None:
        """However many files it holds."""
        for name in range(500):
            write(two, **{f"part_{name:03}": f"part {name}"})
        (two.root / "dvc.lock").write_text("schema: '2.0'\n", encoding="utf-8")
        assert "500 files (part_000, part_001, part_002) would be lost" in refusal(two, kept(two, "one"))

    def test_what_a_killed_step_left_half_written_is_no_data(self, two: Run) -> None:
        """A temporary file keeps nothing from being restored, and goes."""
        write(two, **{".a.parquet.0f.tmp": "half"})
        restore(two, kept(two, "one"))
        assert {"a", "b"} == set(contents(two.paths.features))

    @pytest.mark.parametrize(("text", "missing"), [("0", "1 file (b)"), ("[", "the content")])
    def test_data_that_are_gone_from_the_cache_change_nothing(self, two: Run, text: str, missing: str) -> None:
        """A file, or the list of an output's files: DVC itself would delete the output."""
        for path in (two.root / ".dvc" / "cache").rglob("*"):
            if path.is_file() and path.read_text(encoding="utf-8").startswith(text):
                path.unlink()
        assert f"needs {missing} of data" in refusal(two, kept(two, "one"))

    def test_a_stage_or_an_output_that_is_not_declared_any_more_is_named(self, two: Run) -> None:
        """Another source of the use case, or code of a different time: its data would stand where nothing reads them."""
        path = two.root / "dvc.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("features", "another"), encoding="utf-8")
        assert "features" in refusal(two, kept(two, "one"))
        path.write_text(text.replace("featurize", "another"), encoding="utf-8")
        assert STAGE in refusal(two, kept(two, "one"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "No such file"),
            ("just text", "cannot be read as a dvc.lock"),
            ("{" * 2000, "cannot be read as a dvc.lock"),
            ("", "cannot be read as a dvc.lock"),
            ("schema: '2.0'\nstages: [1, 2]", "cannot be read as a dvc.lock"),
            ("schema: '2.0'\nstages: {featurize@x: 5}", "cannot be read as a dvc.lock"),
            ("stages: {featurize: {foreach: [1], do: {cmd: 'true'}}}", "cannot be read as a dvc.lock"),
            ("schema: '2.0'\nstages: {train@other: {cmd: 'true'}}", "--use-case"),
        ],
    )
    def test_what_is_no_lock_of_the_use_case_changes_nothing(self, two: Run, text: str | None, message: str) -> None:
        """A wrong path, another file and the lock of another use case are told apart."""
        if text is not None:
            kept(two, "none").parent.mkdir(parents=True)
            kept(two, "none").write_text(text, encoding="utf-8")
        assert message in refusal(two, kept(two, "none"))

    def test_a_folder_is_no_lock(self, two: Run) -> None:
        """The folder of a run, say, in place of the file in it."""
        assert "cannot be read as a dvc.lock" in refusal(two, kept(two, "one").parent)

    def test_a_dvc_lock_in_conflict_is_named_before_anything_is_changed(self, two: Run) -> None:
        """It is not the file that was given, so the remedy is a different one."""
        (two.root / "dvc.lock").write_text("<<<<<<< HEAD\nstages:\n", encoding="utf-8")
        assert "git checkout dvc.lock" in refusal(two, kept(two, "one"))

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [(".dvc/config", "?" * 5000, "DVC: failed"), (".dvc/tmp/rwlock", "torn", "delete it")],
    )
    def test_what_dvc_cannot_do_is_a_short_line(self, two: Run, file: str, text: str, message: str) -> None:
        """Whatever its own error looks like."""
        (two.root / file).write_text(text, encoding="utf-8")
        assert message in refusal(two, kept(two, "one"))
