"""Which code: git's name of a commit, what differs from it, and the files of an earlier one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ratchet.core.errors import VersionError

LOCK_FILE = "dvc.lock"
"""Where DVC writes what each stage read and wrote; it changes with the data, not with the code."""
_EXPERIMENT = "DVC_EXP_NAME"
"""What `dvc exp run` sets for the stages that it runs."""


@dataclass(frozen=True)
class CodeVersion:
    """The commit that is checked out (None without git), whether the files differ from it, and the name of the DVC
    experiment that runs (None outside `dvc exp run`)."""

    commit: str | None
    dirty: bool
    experiment: str | None = None


def code_version(root: Path) -> CodeVersion:
    """The commit of a checkout. Files that git neither tracks nor ignores make it dirty too: they may be imported."""
    commit = git(root, "rev-parse", "--verify", "HEAD")
    changes = git(root, "status", "--porcelain", "--", ".", f":(exclude,glob)**/{LOCK_FILE}")
    return CodeVersion(commit, dirty=commit is None or changes != "", experiment=os.environ.get(_EXPERIMENT) or None)


@contextmanager
def checked_out(root: Path, commit: str, folder: Path) -> Iterator[None]:
    """While the block runs, `folder` holds the files of a commit and nothing else, whatever a killed run left there.

    The caller keeps others out of the folder: it belongs to a use case, as does `alone`. Raises VersionError where git cannot.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_worktree(root, folder)
    try:
        no_hooks = ("-c", f"core.hooksPath={os.devnull}")
        if git(root, *no_hooks, "worktree", "add", "--detach", "--", str(folder), commit) is None:
            raise VersionError(
                "cannot be checked out", subject=f"commit {commit}", remedy="Fetch it, or clone without --depth"
            )
        yield
    finally:
        _remove_worktree(root, folder)


def _remove_worktree(root: Path, folder: Path) -> None:
    """Deletes the files first so that git drops the worktree without prompting, and forces it twice: it may be locked."""
    shutil.rmtree(folder, ignore_errors=True)
    git(root, "worktree", "remove", "--force", "--force", str(folder))


def git(root: Path, *arguments: str) -> str | None:
    """The answer of git about this folder and none above it; None where there is no git or no repository."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
