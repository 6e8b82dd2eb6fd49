"""Data are named as DVC names them, and kept with a run."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from ratchet.core.errors import StoreError, VersionError
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.project.dvc import between_stages, commit_stages
from ratchet.project.inputs import inputs
from ratchet.project.run import Run
from ratchet.storage.digests import directory_md5
from tests.support.checkout import commit, environment
from tests.support.messages import one_short_line
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
        with pytest.raises(VersionError, match=f"dvc commit --force {stage}: failed .*{message}") as failure:
            commit_stages(run, [stage], kept(run, "one"), inputs(run, [stage]))
        assert one_short_line(failure.value)
        assert not kept(run, "one").exists()

    def test_a_lock_that_dvc_was_killed_in_says_what_to_delete(self, run: Run) -> None:
        """DVC writes it in place, and then goes on no more by itself."""
        torn = run.root / ".dvc" / "tmp" / "rwlock"
        torn.parent.mkdir(parents=True, exist_ok=True)
        torn.touch()
        write(run, a="1")
        with pytest.raises(VersionError, match=r"\.dvc/tmp/rwlock.*delete it"):
            record(run, "one")
        with pytest.raises(StoreError, match=r"RWLock-file") as failure, between_stages(run, ["feature"], wait=0):
            pass
        assert "delete" in failure.value.remedy
        torn.unlink()
        record(run, "one")
        assert kept(run, "one").exists()


@pytest.mark.parametrize("left", [0, 20, 0.5])
def test_a_record_that_dvc_was_killed_in_is_put_back(run: Run, left: float) -> None:
    """DVC writes it in place: what is left of it may be empty. Stages that were recorded since the last flow run again."""
    write(run, a="1")
    record(run, "one")
    lock = run.root / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: int(left if left > 1 else left * len(whole))])
    write(run, a="2")
    record(run, "two")
    assert [directory_md5(run.paths.features)] == [
        out["md5"] for out in yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"][STAGE]["outs"]
    ]


def test_a_record_that_was_never_kept_whole_comes_from_git(run: Run) -> None:
    """The error says how."""
    write(run, a="1")
    (run.root / "dvc.lock").touch()
    with pytest.raises(VersionError, match="validation failed") as failure:
        record(run, "one")
    assert "git checkout dvc.lock" in failure.value.remedy


SLOW_STEP = """
import pathlib, time
report = pathlib.Path({report!r})
report.with_name("at_work").touch()
while not report.with_name("go_on").exists():
    time.sleep(0.05)
report.write_text("{{}}")
"""


def test_nothing_moves_until_dvc_has_recorded_the_stage_that_it_is_at(run: Run) -> None:
    """Other pipelines move meanwhile. Afterwards the stage stands in dvc.lock."""
    report = run.paths.reports / "featurize.json"
    report.parent.mkdir(parents=True)
    declared = yaml.safe_load((run.root / "dvc.yaml").read_text(encoding="utf-8"))
    outs = [{report.relative_to(run.root).as_posix(): {"cache": False}}]
    declared["stages"]["featurize"]["do"] = {"cmd": "python step.py", "outs": outs}
    (run.root / "dvc.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    (run.root / "step.py").write_text(SLOW_STEP.format(report=str(report)), encoding="utf-8")
    commit(run.root, "Work slowly")
    with subprocess.Popen(["dvc", "repro"], cwd=run.root, env=environment()) as repro:
        while not report.with_name("at_work").exists():
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended with {repro.wait(0.1)}")
        with between_stages(run, ["training", "inference"], wait=0):
            pass
        with pytest.raises(VersionError, match="dvc repro"), between_stages(run, ["feature"], wait=0):
            pass
        report.with_name("go_on").touch()
        with between_stages(run, ["feature"], wait=60):
            recorded = yaml.safe_load((run.root / "dvc.lock").read_text(encoding="utf-8"))
        assert 0 == repro.wait()
    assert [STAGE] == [*recorded["stages"]]
