"""The version of the code: the commit that is checked out, changes since then, and the files of another commit."""

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
"""The file in which DVC records what each stage read and wrote."""
AS_OF_FILE = "as_of.yaml"
"""The file that says how far the data go."""
_CHANGE_WITH_DATA = (f"**/{LOCK_FILE}", AS_OF_FILE)
_EXPERIMENT = "DVC_EXP_NAME"
"""The environment variable that `dvc exp run` sets for its stages."""


@dataclass(frozen=True)
class CodeVersion:
    """The commit that is checked out (None without git), whether files differ from it, and the name of the DVC experiment
    that is running (None outside `dvc exp run`)."""

    commit: str | None
    dirty: bool
    experiment: str | None = None


def code_version(root: Path) -> CodeVersion:
    """The version of a checkout. Files that git neither tracks nor ignores make it dirty, too: the code may import them. Files
    that change with the data do not."""
    commit = git(root, "rev-parse", "--verify", "HEAD")
    excluded = [f":(exclude,glob){pattern}" for pattern in _CHANGE_WITH_DATA]
    changes = git(root, "status", "--porcelain", "--", ".", *excluded)
    return CodeVersion(commit, dirty=commit is None or changes != "", experiment=os.environ.get(_EXPERIMENT) or None)


@contextmanager
def checked_out(root: Path, commit: str, folder: Path) -> Iterator[None]:
    """While the block runs, `folder` holds the files of a commit and nothing else, even if a killed run left files there.

    The caller makes sure that no other process uses the folder. Raises VersionError if git cannot check the commit out.
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
    """Deletes the files first so that git drops the worktree without prompting; `--force` twice also removes a locked one."""
    shutil.rmtree(folder, ignore_errors=True)
    git(root, "worktree", "remove", "--force", "--force", str(folder))


def git(root: Path, *arguments: str) -> str | None:
    """The output of git for the repository at `root` (none above it); None if the command fails or git is not installed."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
