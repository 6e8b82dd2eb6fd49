"""Which data and which code: DVC's name of a directory, git's name of a commit, and the way back to kept data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import yaml

from ratchet.core.errors import StoreError, VersionError
from ratchet.core.settings import PARAMS_FILE
from ratchet.project.project import Project
from ratchet.storage.digests import digest, md5
from ratchet.storage.files import atomic, write_text

LOCK_FILE = "dvc.lock"
"""Where DVC writes what each stage read and wrote; it changes with the data, not with the code."""
_REPOSITORY = "repository.lock"
_WAIT = 120.0


_EXPERIMENT = "DVC_EXP_NAME"
"""What `dvc exp run` sets for the stages that it runs."""


@dataclass(frozen=True)
class CodeVersion:
    """The commit that is checked out (None without git), whether the files differ from it, and the name of the DVC
    experiment that runs (None outside `dvc exp run`)."""

    commit: str | None
    dirty: bool
    experiment: str | None = None


def directory_md5(directory: Path) -> str:
    """The name that DVC gives to a directory's content, computed from the files as they are."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = [{"md5": md5(path), "relpath": path.relative_to(directory).as_posix()} for path in files]
    listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]))
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def data_version(project: Project) -> str:
    """The version of the features, requests and labels as they are. Raises StoreError where there are none."""
    if not project.features.is_dir():
        raise StoreError("is not there", subject=str(project.features), remedy="Run `dvc repro featurize`")
    return directory_md5(project.features)


def code_version(root: Path) -> CodeVersion:
    """The commit of a checkout. Files that git neither tracks nor ignores make it dirty too: they may be imported."""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".", f":(exclude){LOCK_FILE}")
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
        if _git(root, *no_hooks, "worktree", "add", "--detach", "--", str(folder), commit) is None:
            raise VersionError(
                "cannot be checked out", subject=f"commit {commit}", remedy="Fetch it, or clone without --depth"
            )
        yield
    finally:
        _remove_worktree(root, folder)


def _remove_worktree(root: Path, folder: Path) -> None:
    """The files first: what git then still lists has none, and it forgets that without asking. Twice: also a locked one."""
    shutil.rmtree(folder, ignore_errors=True)
    _git(root, "worktree", "remove", "--force", "--force", str(folder))


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers about this folder and none above it; None where there is no git or no repository."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def inputs(project: Project, stages: Sequence[str]) -> dict[str, str]:
    """What people edit and dvc.yaml names of the stages, settings and files of code → the digest of each as it is.

    Data are no part of it: paths with a source's name, or the source's own.
    """
    declared = yaml.safe_load((project.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    bodies = [body.get("do", body) for body in (declared.get(stage.partition("@")[0], {}) for stage in stages)]
    named = {name.removeprefix("use_cases.${key}.") for body in bodies for name in body.get("params", ())}
    code = {path for body in bodies for path in body.get("deps", ()) if "${item" not in path}
    settings = {f"{PARAMS_FILE}: {name}": digest(_setting(project, name)) for name in {*named, "source"}}
    files = _files(project.root, {path.replace("${key}", project.settings.use_case) for path in code})
    return {**settings, **{path.relative_to(project.root).as_posix(): md5(path) for path in files}}


def _setting(project: Project, name: str) -> object:
    return reduce(getattr, name.split("."), project.settings)


def _files(root: Path, names: Iterable[str]) -> Iterator[Path]:
    """Those named, and those in folders named; compiled Python is no code, as .dvcignore has it."""
    for path in (root / name for name in names):
        found = path.rglob("*") if path.is_dir() else [path]
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


def commit_stages(
    project: Project, stages: Sequence[str], keep: Path, began: Mapping[str, str], wait: float = _WAIT
) -> None:
    """Record in DVC what the stages' outputs are now, and keep a copy of dvc.lock at `keep`.

    `began` are the stages' inputs before they ran; DVC would take those of now for them. One run at a time: it waits up to
    `wait` seconds for others. Raises VersionError.
    """
    with _held(project.shared_state / _REPOSITORY, wait):
        _require_unedited(began, inputs(project, stages))
        _dvc(project, "commit", "--force", *stages)
        with atomic(keep) as temporary:
            shutil.copyfile(project.root / LOCK_FILE, temporary)


def _require_unedited(began: Mapping[str, str], now: Mapping[str, str]) -> None:
    edited = sorted(name for name in {*began, *now} if began.get(name) != now.get(name))
    if edited:
        raise VersionError(
            "edited while the run went on: what it made is not recorded as theirs",
            subject=", ".join(edited),
            remedy="Run the flow again",
        )


def restore(project: Project, lock: Path, wait: float = _WAIT) -> None:
    """Put back what a kept dvc.lock says of the use case and check out the data; raises VersionError, also for data never
    committed.

    It names the stages that had run by then. Other use cases, and what other stages wrote since, stay as they are.
    """
    own = {name: of for name, of in _locked(lock).items() if name.endswith(f"@{project.settings.use_case}")}
    if not own:
        raise VersionError(
            f"names no stage of {project.settings.use_case}", subject=str(lock), remedy="Name its use case (--use-case)"
        )
    current = project.root / LOCK_FILE
    with alone(project, wait), _held(project.shared_state / _REPOSITORY, wait):
        stages = {**(_locked(current) if current.exists() else {}), **own}
        write_text(current, yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))
        _dvc(project, "checkout", *own)


def _locked(lock: Path) -> dict[str, object]:
    """The stages of a dvc.lock by name. Raises VersionError."""
    try:
        return dict(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise VersionError(
            f"cannot be read as a dvc.lock ({' '.join(str(error).split())})",
            subject=str(lock),
            remedy="Name one that a flow run kept",
        ) from error


@contextmanager
def alone(project: Project, wait: float) -> Iterator[None]:
    """While the block runs, no other run changes what this use case and source keep.

    A step reads files one after the other, and DVC records what it read when it has ended: had another run changed them in
    between, the record would name data that the step never saw. It waits up to `wait` seconds; raises VersionError.
    """
    with _held(project.state / "run.lock", wait):
        yield


@contextmanager
def _held(path: Path, wait: float) -> Iterator[None]:
    """Hold a lock, which dies with its process."""
    import filelock

    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
    except filelock.Timeout as error:
        raise VersionError(
            f"is held by another run, also after {wait:g} seconds",
            subject=str(path),
            remedy="Wait until that run has ended, and run again",
        ) from error
    except OSError as error:
        raise VersionError(
            f"cannot be locked ({error})", subject=str(path), remedy="Fix the folder's permissions, and run again"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _dvc(project: Project, *arguments: str) -> None:
    """Run DVC in a process of its own: it keeps state per process, and may be asked from any thread."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VersionError(
            f"failed ({' '.join(done.stderr.rpartition('ERROR: ')[2].split())})",
            subject=f"dvc {' '.join(arguments)}",
            remedy="Fix what it names, and run again",
        )
