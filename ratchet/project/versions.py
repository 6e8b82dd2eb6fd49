"""Which data and which code: DVC's name of a directory, git's name of a commit, and the way back to kept data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Literal, get_args

import yaml

from ratchet.core.errors import StoreError, VersionError
from ratchet.core.settings import PARAMS_FILE
from ratchet.project.project import Project
from ratchet.storage.digests import digest, md5
from ratchet.storage.files import atomic, write_text

Pipeline = Literal["training", "inference", "feature"]
LOCK_FILE = "dvc.lock"
"""Where DVC writes what each stage read and wrote; it changes with the data, not with the code."""
PIPELINES: tuple[Pipeline, ...] = get_args(Pipeline)
"""In the order in which `alone` keeps them out, so that no two runs wait for each other."""
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


def features_version(project: Project) -> str:
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


@dataclass(frozen=True)
class Inputs:
    """What people edit of some stages: settings, and files of code → a name of the content of each."""

    stages: Sequence[str]
    content: Mapping[str, str]


def inputs(project: Project, stages: Sequence[str]) -> Inputs:
    """The inputs that dvc.yaml names of the stages, as they are now.

    Data are no part of it: paths with a source's name, or the source's own. Git knows the content of what is committed, so
    that only what differs from the commit is read. Raises VersionError where there is no git.
    """
    declared = yaml.safe_load((project.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    bodies = [body.get("do", body) for body in (declared.get(stage.partition("@")[0], {}) for stage in stages)]
    named = {name.removeprefix("use_cases.${key}.") for body in bodies for name in body.get("params", ())}
    code = {path for body in bodies for path in body.get("deps", ()) if "${item" not in path}
    settings = {f"{PARAMS_FILE}: {name}": digest(_setting(project, name)) for name in {*named, "source"}}
    paths = sorted(path.replace("${key}", project.settings.use_case) for path in code)
    return Inputs(stages, {**settings, **_committed(project.root, paths), **_uncommitted(project.root, paths)})


def _setting(project: Project, name: str) -> object:
    return reduce(getattr, name.split("."), project.settings)


def _committed(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The files of the commit that is checked out → git's names of their content; none where nothing is committed yet."""
    listed = _git(root, "ls-tree", "-r", "-z", "--format=%(objectname) %(path)", "HEAD", "--", *paths) or ""
    return {path: name for name, _, path in (line.partition(" ") for line in listed.split("\0") if line)}


def _uncommitted(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The files that differ from the commit, or are not in it and not ignored → the name that git would give the content,
    empty where there is none any more."""
    changed = _git(root, "diff", "--name-only", "-z", "HEAD", "--", *paths) or ""
    added = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *paths)
    if added is None:
        raise VersionError("is no git repository", subject=str(root), remedy="Run from a clone of one")
    found = [path for path in f"{changed}\0{added}".split("\0") if path]
    there = [path for path in found if (root / path).is_file()]
    names = (_git(root, "hash-object", "--", *there) or "").split() if there else []
    return {**dict.fromkeys(found, ""), **dict(zip(there, names, strict=True))}


def commit_stages(project: Project, stages: Sequence[str], keep: Path, began: Inputs, wait: float = _WAIT) -> None:
    """Record in DVC what the stages' outputs are now, and keep a copy of dvc.lock at `keep`.

    `began` are the inputs of these stages and of those that ran with them, before any ran; DVC would take those of now for
    them. One run at a time: it waits up to `wait` seconds for others. Raises VersionError.
    """
    with _held(project.shared_state / _REPOSITORY, wait):
        _require_unedited(began.content, inputs(project, began.stages).content)
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
    with alone(project, PIPELINES, wait), _held(project.shared_state / _REPOSITORY, wait):
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
def alone(project: Project, pipelines: Iterable[Pipeline], wait: float) -> Iterator[None]:
    """While the block runs, no other run of these pipelines changes what they keep of this use case and source.

    A step reads files one after the other, and DVC records what it read when it has ended: had another run changed them in
    between, the record would name data that the step never saw. It waits up to `wait` seconds for each; raises VersionError.
    """
    with ExitStack() as held:
        for pipeline in sorted(pipelines, key=PIPELINES.index):
            held.enter_context(_held(project.state / f"{pipeline}.lock", wait))
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
