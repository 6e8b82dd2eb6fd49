"""Record the stages of a flow in DVC, and restore data that were recorded earlier."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from ratchet.code.git import LOCK_FILE
from ratchet.core.errors import VersionError
from ratchet.project.advance import REPOSITORY_LOCK
from ratchet.project.inputs import Inputs, inputs, require_unedited
from ratchet.project.locks import alone, held
from ratchet.project.run import PIPELINES, Run
from ratchet.storage.files import atomic, write_text

TORN_LOCK = "DVC was killed while it wrote that file: delete it, and run again"
_WAIT = 120.0


def commit_stages(run: Run, stages: Sequence[str], keep: Path, began: Inputs, wait: float = _WAIT) -> None:
    """Record the present outputs of the stages in DVC, and keep a copy of dvc.lock at `keep`.

    `began` are the inputs of all stages of this run, from before the first one ran. DVC would record the present inputs, so
    these must be the same. Waits up to `wait` seconds for other runs. Raises VersionError.
    """
    with held(run.paths.shared_state / REPOSITORY_LOCK, wait):
        require_unedited(began.content, inputs(run, began.stages).content)
        _dvc(run, "commit", "--force", *stages)
        with atomic(keep) as temporary:
            shutil.copyfile(run.root / LOCK_FILE, temporary)


def restore(run: Run, lock: Path, wait: float = _WAIT) -> None:
    """Put the use case's stages of a kept dvc.lock back into dvc.lock, and check out their data.

    A kept file has the stages that had run by then. Other use cases and the outputs of other stages are not changed. Raises
    VersionError, also if the data were never committed.
    """
    own = {name: of for name, of in _locked(lock).items() if name.endswith(f"@{run.settings.use_case}")}
    if not own:
        raise VersionError(
            f"names no stage of {run.settings.use_case}", subject=str(lock), remedy="Name its use case (--use-case)"
        )
    current = run.root / LOCK_FILE
    with alone(run, PIPELINES, wait), held(run.paths.shared_state / REPOSITORY_LOCK, wait):
        stages = {**(_locked(current) if current.exists() else {}), **own}
        write_text(current, yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))
        _dvc(run, "checkout", *own)


def _locked(lock: Path) -> dict[str, object]:
    """Name → stage, from a dvc.lock. Raises VersionError if it cannot be read."""
    try:
        return dict(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise VersionError(
            f"cannot be read as a dvc.lock ({' '.join(str(error).split())})",
            subject=str(lock),
            remedy="Name a dvc.lock that a flow run kept",
        ) from error


def _dvc(run: Run, *arguments: str) -> None:
    """Run DVC in a process of its own, because it keeps state per process and flows call it from any thread."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=run.root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VersionError(
            f"failed ({' '.join(done.stderr.rpartition('ERROR: ')[2].split())})",
            subject=f"dvc {' '.join(arguments)}",
            remedy=TORN_LOCK if "RWLock-file" in done.stderr else "Fix what it names, and run again",
        )
