"""`ratchet gc` removes what is older than it is kept for, and nothing that anything kept needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from mlflow.tracking._tracking_service import utils

from ratchet.core.errors import RegistryError, RegistryUnavailableError, StoreError, VersionError
from ratchet.model_registry.logged_models import logged_models, remove
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.trace import trace
from ratchet.project.gc import Part, collect
from ratchet.project.restore import restore
from ratchet.project.run import Run
from tests.support.aged import RETENTION, ROWS, aged_project, prediction_ids, with_retention
from tests.support.checkout import commit, run_command
from tests.support.interruptions import counted, fail_at
from tests.support.killing import contents, survives
from tests.support.recorded import kept, recorded_project
from tests.support.registry import artifacts, client, copied, create_registry, move, trained
from tests.support.runs import noshow_project, write_settings
from training_pipeline.register import register

CLEAN = "Data and pipelines are up to date."
KINDS = ["predictions", "runs", "models", "unfinished", "cache"]


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory, served_registry: Run) -> Run:
    """See `aged_project`; to be left as it is found."""
    return aged_project(served_registry, tmp_path_factory.mktemp("aged") / "project")


@pytest.fixture
def run(aged: Run, tmp_path: Path) -> Run:
    """A copy of it for the test to change."""
    return copied(aged, tmp_path / "copy")


def counts(parts: list[Part]) -> dict[str, int]:
    return dict(zip(KINDS, (part.count for part in parts), strict=True))


def traced(run: Run, age: int) -> list[object]:
    """What `ratchet trace` shows of every prediction of an age."""
    log, store = PredictionLog.open(run), ModelRegistry.open(run)
    return [trace(log, store, prediction_id) for prediction_id in prediction_ids(run, age)]


def versions(run: Run) -> list[int]:
    return sorted(int(found.version) for found in client(run).search_model_versions(f"name = '{run.scope.namespace}'"))


def everything(run: Run) -> dict[str, str]:
    """All files but DVC's own, and the locks of pipelines."""
    ignored = re.compile(r"\.dvc/tmp/.*|\.git/.*|state/.*/[a-z]+\.lock")
    return {path: of for path, of in contents(run.root).items() if not ignored.fullmatch(path)}


def status(run: Run) -> str:
    return run_command(run.root, "dvc", "status").stdout


def restored(run: Run, lock: Path) -> dict[str, str]:
    """The features after a restore."""
    restore(run, lock)
    return {path.name: path.read_text(encoding="utf-8") for path in run.paths.features.iterdir()}


def logged_lock(run: Run, version: int) -> Path:
    """The dvc.lock that MLflow keeps with a version, copied."""
    run_id = client(run).get_model_version(run.scope.namespace, str(version)).run_id
    return Path(client(run).download_artifacts(run_id, "versions/dvc.lock", str(run.root)))


class TestDryRun:
    def test_it_is_the_default_and_changes_nothing(self, run: Run) -> None:
        """It counts what is old: of both halves of the log a day, a run, a version, and the data that only these name."""
        before = everything(run)
        parts = collect(run, apply=False)
        assert {"predictions": 2, "runs": 1, "models": 1, "unfinished": 0, "cache": 2} == counts(parts)
        assert all(part.size > 0 for part in parts if part.count)
        assert before == everything(run)


class TestApplied:
    def test_what_is_kept_can_be_traced_and_restored(self, run: Run) -> None:
        """Every kept prediction as before, and every kept run and version. DVC has nothing to do, and another call finds
        nothing."""
        before, folder = {age: traced(run, age) for age in (60, 0)}, artifacts(run, 3)
        old, planned = [*prediction_ids(run, 120)], counts(collect(run, apply=False))
        assert CLEAN in status(run)
        assert planned == counts(collect(run, apply=True))
        assert CLEAN in status(run)
        assert before == {age: traced(run, age) for age in (60, 0)}
        assert ([1, 2, 4, 5], False) == (versions(run), folder.exists())
        assert {0} == set(counts(collect(run, apply=True)).values())
        assert ["60", "0"] == [restored(run, kept(run, age))["changes"] for age in ("60", "0")]
        assert ["60", "0"] == [restored(run, logged_lock(run, version))["changes"] for version in (4, 5)]
        assert not kept(run, "120").exists()
        for prediction_id in old:
            with pytest.raises(StoreError, match="older"):
                PredictionLog.open(run).find(prediction_id)

    def test_the_data_of_kept_versions_stay_after_their_runs_are_gone(self, run: Run) -> None:
        """A version has a dvc.lock of its own."""
        shutil.rmtree(kept(run, "60").parent)
        move(run, "kept", 3)
        collect(run, apply=True)
        assert ["120", "60"] == [restored(run, logged_lock(run, version))["changes"] for version in (3, 4)]

    def test_the_trash_of_a_shared_registry_is_not_emptied(self, run: Run) -> None:
        """What is removed goes there, and does not count again; whoever runs the registry decides when it is emptied."""
        address = f"sqlite:///{run.paths.shared_state / 'mlflow.db'}"
        shared = replace(run, environment=run.environment.model_copy(update={"tracking_uri": address}))
        folder = artifacts(run, 3)
        assert 1 == counts(collect(shared, apply=True))["models"]
        assert ([1, 2, 4, 5], True) == (versions(run), folder.exists())
        assert {0} == set(counts(collect(shared, apply=True)).values())

    def test_committed_data_stay(self, run: Run) -> None:
        """Those of every commit, also of another branch, whatever their age."""
        lock = run.root / "dvc.lock"
        now = lock.read_text(encoding="utf-8")
        run_command(run.root, "git", "checkout", "--quiet", "-b", "before")
        lock.write_text(kept(run, "120").read_text(encoding="utf-8"), encoding="utf-8")
        commit(run.root, "Then")
        run_command(run.root, "git", "checkout", "--quiet", "-")
        lock.write_text(now, encoding="utf-8")
        then = run.root / "then.lock"
        then.write_text(run_command(run.root, "git", "show", "before:dvc.lock").stdout, encoding="utf-8")
        collect(run, apply=True)
        assert "120" == restored(run, then)["changes"]


class TestKept:
    @pytest.mark.parametrize("alias", ["requested", "previous", "a-name-of-ours"])
    def test_a_version_with_an_alias_stays(self, run: Run, alias: str) -> None:
        """Whoever set it."""
        move(run, alias, 3)
        assert 0 == counts(collect(run, apply=True))["models"]
        assert [1, 2, 3, 4, 5] == versions(run)

    def test_a_version_that_a_kept_prediction_names_stays(self, run: Run) -> None:
        """Of either half of the log, even if no history has it: its prediction can be traced."""
        digest = client(run).get_model_version(run.scope.namespace, "3").tags["ratchet.digest"]
        segment = max(run.paths.online_log.rglob("*.jsonl"))
        served = client(run).get_model_version(run.scope.namespace, "2").tags["ratchet.digest"]
        segment.write_text(segment.read_text(encoding="utf-8").replace(served, digest), encoding="utf-8")
        assert 0 == counts(collect(run, apply=True))["models"]

    def test_without_retention_all_evidence_is_kept(self, run: Run) -> None:
        """What is not named in params.yaml is kept for ever."""
        ever = with_retention(run, predictions=None, runs=None)
        assert {0} == set(counts(collect(ever, apply=True)).values())

    def test_data_of_other_use_cases_stay(self, run: Run) -> None:
        """Their runs name them, and only their own retention lets them go."""
        other = run.paths.shared_state / "other" / "source" / "runs" / "1" / "dvc.lock"
        other.parent.mkdir(parents=True)
        text = kept(run, "120").read_text(encoding="utf-8")
        other.write_text(text.replace(f"@{run.settings.use_case}", "@other"), encoding="utf-8")
        assert 0 == counts(collect(run, apply=True))["cache"]

    def test_a_cache_that_others_may_use_stays(self, run: Run, tmp_path: Path) -> None:
        """It lies outside of the checkout."""
        cache = (run.root / ".dvc" / "cache").rename(tmp_path / "cache")
        run_command(run.root, "dvc", "cache", "dir", "--local", str(cache))
        before = contents(cache)
        assert 0 == counts(collect(run, apply=True))["cache"]
        assert before == contents(cache)


class TestAbsent:
    def test_where_nothing_was_scored_or_recorded_the_online_log_is_collected(self, run: Run) -> None:
        """A service may have answered without any batch, and before anything was recorded in DVC."""
        shutil.rmtree(run.paths.predictions)
        (run.root / "dvc.lock").unlink()
        move(run, "kept", 3)
        assert 1 == counts(collect(run, apply=True))["predictions"]
        assert {0} == set(counts(collect(run, apply=True)).values())

    def test_a_checkout_in_which_nothing_ran_has_nothing_to_collect(self, tmp_path: Path) -> None:
        """Without registry, log or cache."""
        run = recorded_project(tmp_path)
        write_settings(run.root, run)
        assert {0} == set(counts(collect(run, apply=True)).values())


class TestLeftovers:
    def test_what_killed_processes_left_goes_after_a_day(self, run: Run) -> None:
        """Files and folders that were being written, also in DVC's cache; younger ones may still be written."""
        old = [
            run.paths.features / ".a.parquet.0f.tmp",
            run.root / ".dvc" / "cache" / "files" / "md5" / "0f" / ".x.tmp",
        ]
        folder = run.paths.data / ".dataset.0f.old"
        young = run.paths.state / ".b.json.0f.tmp"
        for path in (*old, folder / "part", young):
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text("half", encoding="utf-8")
        for path in (*old, folder):
            os.utime(path, (0, 0))
        move(run, "kept", 3)
        assert 3 == counts(collect(run, apply=True))["unfinished"]
        assert [False, False, False, True] == [path.exists() for path in (*old, folder, young)]


class TestInterrupted:
    def test_a_model_that_was_removed_in_part_is_removed_by_the_next_call(self, run: Run) -> None:
        """Its version was deleted, and its run and files were not."""
        folder = artifacts(run, 3)
        client(run).delete_model_version(run.scope.namespace, "3")
        assert 1 == counts(collect(run, apply=True))["models"]
        assert not folder.exists()
        assert 0 == counts(collect(run, apply=True))["models"]

    def test_predictions_that_were_dropped_in_part_leave_dvc_nothing_to_do(self, run: Run) -> None:
        """The log was changed, and dvc.lock still names what it was: another call finishes both."""
        from ratchet.prediction_log.dropped import drop_before
        from ratchet.project.needed_models import first_kept_day
        from ratchet.storage.digests import directory_md5
        from ratchet.storage.files import write_json

        move(run, "kept", 3)
        write_json(run.paths.state / "dropping_predictions.json", directory_md5(run.paths.predictions))
        drop_before(run.paths.predictions, run.paths.online_log, first_kept_day(run))
        assert CLEAN not in status(run)
        collect(run, apply=True)
        assert CLEAN in status(run)
        assert {0} == set(counts(collect(run, apply=True)).values())

    def test_a_trash_that_was_emptied_in_part_is_emptied_by_the_next_call(
        self, run: Run, aged: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """MLflow removes the runs of models first, so that nothing but a file of ours tells of what is left."""

        def killed(uri: str) -> None:
            trash = client(run).search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)
            names = ",".join(found.info.run_id for found in trash)
            command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri]
            subprocess.run([*command, "--run-ids", names], check=True, capture_output=True)
            raise KeyboardInterrupt

        experiment = client(run).get_experiment_by_name(run.scope.namespace).experiment_id
        with monkeypatch.context() as changed:
            changed.setattr("ratchet.model_registry.logged_models._empty_trash", killed)
            with pytest.raises(KeyboardInterrupt):
                collect(run, apply=True)
        assert 1 == counts(collect(run, apply=False))["models"]
        collect(run, apply=True)
        assert 0 == counts(collect(run, apply=True))["models"]
        collect(undisturbed := copied(aged, tmp_path / "undisturbed"), apply=True)
        left = [{*contents(each.paths.shared_state / "mlartifacts")} for each in (undisturbed, run)]
        assert left[0] == left[1]


def prepare(root: Path) -> None:
    """What stands before the work that is killed everywhere."""
    base = noshow_project(root.with_name("registry"))
    create_registry(base)
    register(trained(base))
    aged_project(base, root)


def work(root: Path) -> None:
    """Collect. However far an earlier call came, what is kept can be traced."""
    utils._artifact_repos_cache.clear()  # a process remembers by the run's id where it read before
    run = noshow_project(root).with_settings(retention=RETENTION)
    assert all(len(traced(run, age)) == 2 * ROWS for age in (60, 0))
    collect(run, apply=True)


LEFTOVERS = r"state/mlflow\.db.*|state/.*\.lock|\.dvc/tmp/.*|\.dvc/cache/.*\.tmp|\..*\.tmp"
"""MLflow's database, which has times in it; locks, and what DVC writes for itself; and files that were being written."""


@pytest.mark.soak
def test_it_can_be_killed_at_any_point_and_run_again(tmp_path: Path) -> None:
    """Another call leaves what an undisturbed one leaves."""
    assert survives("tests.integration.ratchet.project.test_gc", tmp_path) > 6


@pytest.mark.soak
@pytest.mark.parametrize("write", [1, 2, 3])
def test_the_registry_may_go_away_at_any_write(run: Run, write: int) -> None:
    """Another call finds the rest of the model, and finishes."""
    before = traced(run, 0)
    with counted(fail_at(write)), pytest.raises(RegistryUnavailableError):
        collect(run, apply=True)
    assert before == traced(run, 0)
    collect(run, apply=True)
    assert [1, 2, 4, 5] == versions(run)
    assert {0} == set(counts(collect(run, apply=True)).values())


class TestRefused:
    def test_a_deleted_run_of_a_version_is_not_purged(self, run: Run) -> None:
        """Emptying MLflow's trash would take its evidence: a person has to say which of both was meant."""
        client(run).delete_run(client(run).get_model_version(run.scope.namespace, "1").run_id)
        with pytest.raises(RegistryError, match=r"version 1.*mlflow runs restore"):
            collect(run, apply=True)

    def test_a_version_that_is_asked_for_meanwhile_is_not_removed(self, run: Run) -> None:
        """Nor are the data that it needs: these would go last."""
        store = ModelRegistry.open(run)
        unneeded = [model for model in logged_models(store) if model.version == 3]
        move(run, "requested", 3)
        with pytest.raises(RegistryError, match=r"version 3.*Run again"):
            remove(store, unneeded)
        assert [1, 2, 3, 4, 5] == versions(run)

    @pytest.mark.parametrize("lost", ["mlartifacts", "mlflow.db"])
    def test_a_registry_that_is_away_is_not_an_empty_one(self, run: Run, lost: str) -> None:
        """Then nobody knows which data its versions need."""
        (run.paths.shared_state / lost).rename(run.root / "away")
        before = contents(run.root / ".dvc" / "cache")
        with pytest.raises(RegistryUnavailableError):
            collect(run, apply=True)
        assert before == contents(run.root / ".dvc" / "cache")

    def test_a_kept_lock_that_cannot_be_read_removes_nothing(self, run: Run) -> None:
        """Nobody knows what it names."""
        kept(run, "60").write_text("<<<<<<<", encoding="utf-8")
        before = everything(run)
        with pytest.raises(VersionError, match=r"60.*dvc\.lock"):
            collect(run, apply=True)
        assert before == everything(run)
