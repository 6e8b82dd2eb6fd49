"""Data are named as DVC names them, kept with a run, and brought back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from ratchet.core.errors import StoreError, VersionError
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.project.dvc import commit_stages, restore
from ratchet.project.inputs import inputs
from ratchet.project.locks import alone
from ratchet.project.run import PIPELINES, Run
from ratchet.storage.digests import directory_md5
from tests.support.checkout import run_command
from tests.support.killing import contents
from tests.support.recorded import STAGE, kept, record, recorded_project, write


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A git and DVC repository with one stage, whose output is the features."""
    return recorded_project(tmp_path)


class TestData:
    def test_a_directory_is_named_as_dvc_names_it(self, run: Run) -> None:
        """The data version is the hash in dvc.lock."""
        write(run, b__x="1", a="2", b_c="3", b__é="4")
        record(run, "one")
        locked = yaml.safe_load(kept(run, "one").read_text(encoding="utf-8"))
        expected = locked["stages"][STAGE]["outs"][0]["md5"]
        assert expected == FeatureStore.open(run).version() == directory_md5(run.paths.features)

    def test_any_change_is_another_version(self, run: Run) -> None:
        """Content, name and absence of a file all count."""
        versions = []
        for name, text in (("a", "1"), ("a", "2"), ("b", "2")):
            write(run, **{name: text})
            versions.append(FeatureStore.open(run).version())
        (run.paths.features / "a").unlink()
        versions.append(FeatureStore.open(run).version())
        assert 4 == len(set(versions))

    def test_no_features_is_an_error(self, run: Run) -> None:
        """There is no version of nothing."""
        with pytest.raises(StoreError, match="Run `dvc repro featurize`"):
            FeatureStore.open(run).version()


class TestKeeping:
    def test_a_kept_lock_brings_earlier_data_back(self, run: Run) -> None:
        """Data of an earlier run can be had again, exactly, and that of the later one after it; the stage is clean."""
        write(run, a="1", b="1")
        record(run, "one")
        first = contents(run.paths.features)
        (run.paths.features / "b").unlink()
        write(run, a="2", c__d="2")
        record(run, "two")
        second = contents(run.paths.features)
        restore(run, kept(run, "one"))
        assert first == contents(run.paths.features)
        restore(run, kept(run, "two"))
        assert second == contents(run.paths.features)
        assert "Data and pipelines are up to date." in run_command(run.root, "dvc", "status").stdout

    def test_a_stage_that_had_not_run_is_left_alone(self, run: Run) -> None:
        """A lock from before a stage's first run restores what it names, and takes nothing else away."""
        stages = yaml.safe_load((run.root / "dvc.yaml").read_text(encoding="utf-8"))
        stages["stages"]["train"] = {"cmd": "true", "outs": ["model"]}
        (run.root / "dvc.yaml").write_text(yaml.safe_dump(stages), encoding="utf-8")
        write(run, a="1")
        record(run, "one")
        (run.root / "model").write_text("kept", encoding="utf-8")
        (run.paths.features / "a").unlink()
        restore(run, kept(run, "one"))
        assert "1" == (run.paths.features / "a").read_text(encoding="utf-8")
        assert "kept" == (run.root / "model").read_text(encoding="utf-8")

    def test_other_use_cases_stay_as_they_are(self, run: Run) -> None:
        """A kept lock names them too, but they may be at work: neither their data nor what DVC knows of them is put back."""
        stages = yaml.safe_load((run.root / "dvc.yaml").read_text(encoding="utf-8"))
        stages["stages"]["train"] = {"foreach": ["other"], "do": {"cmd": "true", "outs": ["model"]}}
        (run.root / "dvc.yaml").write_text(yaml.safe_dump(stages), encoding="utf-8")
        for name in ("one", "two"):
            write(run, a=name)
            (run.root / "model").write_text(name, encoding="utf-8")
            commit_stages(run, [STAGE, "train@other"], kept(run, name), inputs(run, [STAGE]))
        with alone(run.with_settings(use_case="other"), PIPELINES, wait=0):
            restore(run, kept(run, "one"))
        assert "one" == (run.paths.features / "a").read_text(encoding="utf-8")
        assert "two" == (run.root / "model").read_text(encoding="utf-8")
        assert "Data and pipelines are up to date." in run_command(run.root, "dvc", "status").stdout

    def test_data_that_was_never_committed_is_not_overwritten(self, run: Run) -> None:
        """Restoring stops before it would lose what no version holds."""
        write(run, a="1")
        record(run, "one")
        write(run, a="2")
        with pytest.raises(VersionError, match=f"dvc checkout {STAGE}: failed"):
            restore(run, kept(run, "one"))
        assert "2" == (run.paths.features / "a").read_text(encoding="utf-8")

    def test_waits_no_longer_than_it_is_told(self, run: Run) -> None:
        """A repository held by another run is a clear error, and nothing is committed."""
        write(run, a="1")
        run.paths.shared_state.mkdir()
        with (
            FileLock(run.paths.shared_state / "repository.lock"),
            pytest.raises(VersionError, match=r"repository\.lock: is held"),
        ):
            commit_stages(run, [STAGE], kept(run, "one"), inputs(run, [STAGE]), wait=0.1)
        assert not (run.root / "dvc.lock").exists()

    @pytest.mark.parametrize(("stage", "message"), [("nothing", "nothing"), (STAGE, "does not exist")])
    def test_what_dvc_refuses_is_a_clear_error(self, run: Run, stage: str, message: str) -> None:
        """A stage that is not declared, or whose output is not there, is named."""
        with pytest.raises(VersionError, match=f"dvc commit --force {stage}: failed .*{message}"):
            commit_stages(run, [stage], kept(run, "one"), inputs(run, [stage]))
        assert not kept(run, "one").exists()

    def test_a_lock_that_dvc_was_killed_in_says_what_to_delete(self, run: Run) -> None:
        """DVC writes it in place, and then goes on no more by itself."""
        torn = run.root / ".dvc" / "tmp" / "rwlock"
        torn.parent.mkdir(parents=True, exist_ok=True)
        torn.touch()
        write(run, a="1")
        with pytest.raises(VersionError, match=r"\.dvc/tmp/rwlock.*delete it"):
            record(run, "one")
        torn.unlink()
        record(run, "one")
        assert kept(run, "one").exists()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "cannot be read .*No such file"),
            ("just text", "cannot be read"),
            ("stages: {train@other: {}}", "no stage of tests.support.noshow.*--use-case"),
        ],
    )
    def test_what_is_no_lock_of_the_use_case_changes_nothing(self, run: Run, text: str | None, message: str) -> None:
        """A wrong path, another file and the lock of another use case are told apart."""
        if text is not None:
            kept(run, "none").parent.mkdir(parents=True)
            kept(run, "none").write_text(text, encoding="utf-8")
        with pytest.raises(VersionError, match=message):
            restore(run, kept(run, "none"))
        assert not (run.root / "dvc.lock").exists()
