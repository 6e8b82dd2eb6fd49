"""The sensors look at the registry where anything that they read has changed, and only there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.sensors import sense
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
from ratchet.storage.files import write_json
from tests.support.registry import artifacts, candidate, move
from tests.support.runs import write_settings
from training_pipeline.register import register

SENSE = """
import sys
from pathlib import Path
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.sensors import sense
from ratchet.project.run import Run
sense([ModelRegistry.open(Run.load(Path(sys.argv[1])))])
print(*sys.modules)
"""
Change = Callable[[Run], object]


def age(run: Run, seconds: int) -> None:
    """Let every file be that old: what changed just now is looked at again in any case."""
    for path in run.root.rglob("*"):
        changed = path.stat().st_mtime_ns - seconds * 1_000_000_000
        os.utime(path, ns=(changed, changed))


@pytest.fixture
def looked_at(served: Run) -> Run:
    """A project, version 2 of which serves, that the sensors have looked at since it last changed."""
    reports.run_step(served, "register", register)
    sense([ModelRegistry.open(served)])
    age(served, 60)
    sense([ModelRegistry.open(served)])
    return served


def modules_of_a_look(run: Run) -> set[str]:
    """What is imported when the sensors run."""
    write_settings(run.root, run)
    command = [sys.executable, "-c", SENSE, str(run.root)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_nothing_is_imported_where_nothing_has_changed(looked_at: Run) -> None:
    """Neither MLflow nor the use case, and what was found stays."""
    before = looked_at.paths.requested_file.read_bytes(), looked_at.paths.missing_file.read_bytes()
    loaded = modules_of_a_look(looked_at)
    assert {"mlflow", "sqlalchemy", looked_at.settings.use_case} & loaded == set()
    assert before == (looked_at.paths.requested_file.read_bytes(), looked_at.paths.missing_file.read_bytes())
    age(looked_at, 1)
    assert "mlflow" in modules_of_a_look(looked_at)


def request_the_first(run: Run) -> None:
    move(run, "requested", 1)


def lose_a_file(run: Run) -> None:
    (artifacts(run, 2) / "model.skops").unlink()
    shutil.rmtree(run.paths.state / "models")


def spoil_a_record(run: Run) -> None:
    for record in Path(artifacts(run, 2)).parents[2].rglob("gate/*.json"):
        record.write_text(record.read_text(encoding="utf-8").replace('"', " ", 1), encoding="utf-8")


def lose_the_key(run: Run) -> None:
    shutil.rmtree(run.paths.shared_state / "keys")


def serve_nothing(run: Run) -> None:
    write_json(run.paths.serving_file, {"version": None, "digest": None})


def lose_an_answer(run: Run) -> None:
    run.paths.requested_file.unlink()


@pytest.mark.parametrize(
    ("change", "requested", "lost"),
    [
        (request_the_first, 1, False),
        (lose_a_file, None, True),
        (spoil_a_record, None, True),
        (lose_the_key, None, True),
        (serve_nothing, 2, False),
        (lose_an_answer, None, False),
    ],
)
@pytest.mark.parametrize("seconds", [0, 30])
def test_every_change_is_seen(looked_at: Run, change: Change, requested: int | None, lost: bool, seconds: int) -> None:
    """Whatever it is, and whether it was made just now or a while ago."""
    change(looked_at)
    age(looked_at, seconds)
    found = sense([ModelRegistry.open(looked_at)])[looked_at.scope.namespace]
    assert requested == found["requested"]
    assert lost == (candidate().digest in found["missing"])
    assert looked_at.paths.requested_file.exists()
