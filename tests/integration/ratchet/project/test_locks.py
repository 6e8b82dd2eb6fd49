"""Two runs of one pipeline exclude each other; others do not wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from ratchet.core.errors import VersionError
from ratchet.core.settings import SourceSettings
from ratchet.project import locks
from ratchet.project.as_of import AsOf, write_as_of
from ratchet.project.locks import alone
from ratchet.project.restore import restore
from ratchet.project.run import PIPELINES, Run
from tests.support.checkout import ROOT
from tests.support.killing import contents
from tests.support.messages import missing
from tests.support.recorded import kept, record, recorded_project, write
from tests.support.runs import noshow_project, write_settings
from tests.support.waiting import awaited


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A git and DVC repository with one stage, whose output is the features."""
    return recorded_project(tmp_path)


HOLD = """
import sys
from pathlib import Path
from ratchet.project.locks import alone
from ratchet.project.run import PIPELINES, Run

with alone(Run.load(Path(sys.argv[1])), PIPELINES, wait=0):
    print("alone", flush=True)
    sys.stdin.read()
"""


FEATURES = """
import sys
from pathlib import Path
from ratchet.project.locks import alone
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.project.steps import STEPS

run = Run.load(Path(sys.argv[1]))
sys.stdin.read()
with alone(run, ["feature"], wait=60):
    for name in ("ingest", "validate"):
        run_step(run, name, STEPS[name].load())
"""


@pytest.fixture
def other_run(run: Run) -> Iterator[subprocess.Popen[str]]:
    """Another process, which is at work on the same use case until its input ends."""
    write_settings(run.root, run)
    command, pipe = [sys.executable, "-c", HOLD, str(run.root)], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert "alone" == process.stdout.readline().strip()
        yield process
        process.kill()


class TestAlone:
    def test_who_waits_says_so(
        self,
        run: Run,
        other_run: subprocess.Popen[str],
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Once, and goes on as soon as the other run has ended."""
        monkeypatch.setattr(locks, "QUIET", 0.01)

        def wait() -> Run:
            with alone(run, ["feature"], wait=60) as waited:
                return waited

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(wait)
            awaited(lambda: caplog.messages)
            other_run.kill()
            assert run.root == waiting.result().root
        assert ["feature.lock"] == [message.rpartition("/")[2] for message in caplog.messages]

    def test_a_step_does_not_begin_while_another_run_is_at_work(
        self, run: Run, other_run: subprocess.Popen[str]
    ) -> None:
        """What the other run reads stays as it is; who was kept waiting is told so in one line, and can run afterwards."""
        ingest = [sys.executable, "-m", "cli", "stage", "ingest"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        refused = subprocess.run(ingest, cwd=run.root, env=environment, capture_output=True, text=True, check=False)
        assert 1 == refused.returncode
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"ratchet: {run.paths.state}/feature.lock: is held ")
        assert [] == missing(line, "5 seconds")
        assert not run.paths.raw.exists()
        other_run.communicate("")
        subprocess.run(ingest, cwd=run.root, env=environment, capture_output=True, check=True)
        assert run.paths.raw.exists()

    def test_a_run_that_waited_goes_on_as_of_the_present(self, tmp_path: Path) -> None:
        """The run that it waited for may have moved the pipelines."""
        loaded = noshow_project(tmp_path)
        later = AsOf.at(loaded.as_of("feature") + timedelta(days=1))
        write_as_of(tmp_path, loaded.settings.use_case, later)
        with alone(loaded, ["feature"], wait=0) as run:
            assert later == run.instants

    def test_two_runs_on_one_interval_leave_what_one_leaves(self, tmp_path: Path) -> None:
        """Both begin at the same time; the second one waits, and then finds nothing to do."""
        found = {}
        for name, runs in (("one", 1), ("two", 2)):
            run = noshow_project(tmp_path / name, rows_per_week=20)
            run.root.mkdir()
            write_settings(run.root, run)
            command, pipe = [sys.executable, "-c", FEATURES, str(run.root)], subprocess.PIPE
            started = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, text=True) for _ in range(runs)]
            for process in started:
                assert process.stdin is not None
                process.stdin.close()
            assert [0] * runs == [process.wait() for process in started]
            found[name] = contents(run.paths.data), contents(run.paths.reports)
        assert found["one"] == found["two"]

    def test_a_run_that_is_killed_keeps_nobody_out(self, run: Run, other_run: subprocess.Popen[str]) -> None:
        """The lock dies with its process."""
        with pytest.raises(VersionError, match=r"feature\.lock: is held"), alone(run, ["feature"], wait=0):
            pass
        other_run.kill()
        other_run.wait()
        with alone(run, ["feature"], wait=0):
            pass

    @pytest.mark.usefixtures("other_run")
    def test_other_use_cases_are_none_of_its_business(self, run: Run) -> None:
        """Runs of two use cases, or of two sources of one, go side by side."""
        for other in (
            run.with_settings(use_case="another"),
            run.with_settings(source=SourceSettings(name="hospital", path="x")),
        ):
            with alone(other, PIPELINES, wait=0):
                pass

    @pytest.mark.usefixtures("other_run")
    def test_earlier_data_wait_until_nobody_is_at_work(self, run: Run) -> None:
        """Nothing is put back under a run that reads it."""
        write(run, a="1")
        record(run, "one")
        (run.paths.features / "a").unlink()
        with pytest.raises(VersionError, match=r"\.lock: is held"):
            restore(run, kept(run, "one"), wait=0)
        assert not (run.paths.features / "a").exists()

    def test_a_folder_that_may_not_be_written_is_a_clear_error(self, run: Run) -> None:
        """What stands in the way is named."""
        run.paths.state.parent.mkdir(parents=True)
        run.paths.state.write_text("a file", encoding="utf-8")
        with pytest.raises(VersionError, match=r"feature\.lock: cannot be locked"), alone(run, ["feature"], wait=0):
            pass
