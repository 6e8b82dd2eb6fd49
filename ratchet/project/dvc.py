"""Record the stages of a flow in DVC."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet.code.git import LOCK_FILE
from ratchet.core.errors import VersionError
from ratchet.core.text import one_line
from ratchet.project.inputs import Inputs, inputs, require_unedited
from ratchet.project.locks import REPOSITORY, WAIT, held
from ratchet.project.run import Run
from ratchet.storage.files import atomic

TORN_LOCK = "DVC was killed while it wrote that file: delete it, and run again"


def commit_stages(run: Run, stages: Sequence[str], keep: Path, began: Inputs, wait: float = WAIT) -> None:
    """Record the present outputs of the stages in DVC, and keep a copy of dvc.lock at `keep`.

    `began` are the inputs of all stages of this run, from before the first one ran. DVC would record the present inputs, so
    these must be the same. Waits up to `wait` seconds for other runs. Raises VersionError.
    """
    with held(run.paths.shared_state / REPOSITORY, wait):
        require_unedited(began.content, inputs(run, began.stages).content)
        _dvc(run, "commit", "--force", *stages)
        with atomic(keep) as temporary:
            shutil.copyfile(run.root / LOCK_FILE, temporary)


def _dvc(run: Run, *arguments: str) -> None:
    """Run DVC in a process of its own, because it keeps state per process and flows call it from any thread."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=run.root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VersionError(
            f"failed ({one_line(done.stderr.rpartition('ERROR: ')[2])})",
            subject=f"dvc {' '.join(arguments)}",
            remedy=remedy_of(done.stderr),
        )


def remedy_of(error: str) -> str:
    """What to do about an error of DVC."""
    return TORN_LOCK if "RWLock-file" in error else "Fix what it names, and run again"
