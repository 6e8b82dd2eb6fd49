"""What DVC knows: record the stages of a flow, and read what was recorded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ratchet.code.git import AS_OF_FILE, LOCK_FILE
from ratchet.core.errors import RatchetError, StoreError, VersionError
from ratchet.core.text import one_line
from ratchet.project.inputs import Inputs, inputs, require_unedited
from ratchet.project.locks import REPOSITORY, WAIT, held
from ratchet.project.run import Pipeline, Run
from ratchet.project.steps import steps_of
from ratchet.storage.digests import directory_md5
from ratchet.storage.files import atomic, write_text

if TYPE_CHECKING:
    from dvc.repo import Repo

Locked = dict[str, Mapping[str, Any]]
"""Name → stage, as in a dvc.lock."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PAUSE = 0.2
"""Seconds until a lock of DVC is tried again."""
TORN_LOCK = "DVC was killed while it wrote that file: delete it, and run again"
TORN_STAGES = f"DVC was killed while it wrote that file: `git checkout {LOCK_FILE}`, and run again"


def commit_stages(run: Run, stages: Sequence[str], keep: Path, began: Inputs, wait: float = WAIT) -> None:
    """Record the present outputs of the stages in DVC, and keep a copy of dvc.lock at `keep`.

    `began` are the inputs of all stages of this run, from before the first one ran. DVC would record the present inputs, so
    these must be the same. Waits up to `wait` seconds for other runs. Raises VersionError.
    """
    with held(run.paths.shared_state / REPOSITORY, wait):
        require_unedited(began.content, inputs(run, began.stages).content)
        _mend(run)
        _dvc(run, "commit", "--force", *stages)
        for copy in (keep, _last_whole(run)):
            with atomic(copy) as temporary:
                shutil.copyfile(run.root / LOCK_FILE, temporary)


def _mend(run: Run) -> None:
    """If a dvc.lock is there that cannot be read, put back the last one that a flow kept.

    DVC does not write it in one go: what it leaves when it is killed may be empty. Stages that it recorded after that copy are
    run again.
    """
    lock, copy = run.root / LOCK_FILE, _last_whole(run)
    if lock.exists() and copy.exists():
        try:
            read_lock(lock, "")
        except VersionError:
            with atomic(lock) as temporary:
                shutil.copyfile(copy, temporary)


def _last_whole(run: Run) -> Path:
    """The copy of dvc.lock that the last flow of any use case kept."""
    return run.paths.shared_state / LOCK_FILE


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
    if "RWLock-file" in error:
        return TORN_LOCK
    return TORN_STAGES if f"{LOCK_FILE}' validation failed" in error else "Fix what it names, and run again"


def read_lock(lock: Path, remedy: str) -> Locked:
    """The stages of a dvc.lock. Raises VersionError if the file cannot be read as one."""
    try:
        text = lock.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unreadable(error, str(lock), remedy) from error
    return parse_lock(text, str(lock), remedy)


def parse_lock(text: str, subject: str, remedy: str) -> Locked:
    """The stages in the text of a dvc.lock. Raises VersionError if it is none."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        content = yaml.load(text, _LOADER)  # noqa: S506 - it is a safe loader
        return dict(COMPILED_LOCKFILE_SCHEMA(content).get("stages", {}))
    except (ValueError, TypeError, RecursionError, yaml.YAMLError, Invalid) as error:
        raise _unreadable(error, subject, remedy) from error


def _unreadable(error: Exception, subject: str, remedy: str) -> VersionError:
    return VersionError(f"cannot be read as a dvc.lock ({one_line(str(error))})", subject=subject, remedy=remedy)


@contextmanager
def between_stages(run: Run, pipelines: Iterable[Pipeline], wait: float) -> Iterator[None]:
    """While the block runs, `dvc repro` is at no stage of these pipelines.

    DVC reads the instant of a stage when its step has ended. If it was moved by then, what was computed as of one instant would
    be recorded as of another. Waits up to `wait` seconds for the stage that it is at; then raises VersionError. Raises
    StoreError if DVC's own lock cannot be used.
    """
    from dvc.exceptions import DvcException
    from dvc.fs import localfs
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    folder = run.root / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    outputs = [str(run.paths.reports / f"{step.name}.json") for pipeline in pipelines for step in steps_of(pipeline)]
    deadline = time.monotonic() + wait
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(rwlock(str(folder), localfs, "ratchet advance", [], outputs, hardlink=False))
                break
            except LockError as error:
                if time.monotonic() >= deadline:
                    raise VersionError(
                        f"`dvc repro` is at one of its stages ({one_line(str(error))})",
                        subject=run.settings.use_case,
                        remedy="Wait until it has ended, and run again",
                    ) from error
            except DvcException as error:
                raise StoreError(
                    f"cannot be used ({one_line(str(error))})", subject=str(folder), remedy=remedy_of(str(error))
                ) from error
            time.sleep(_PAUSE)
        yield


@contextmanager
def opened(root: Path) -> Iterator[Repo]:
    """The checkout's DVC repository, while no other DVC command may change it. An error of DVC becomes a VersionError."""
    from dvc.repo import Repo, lock_repo

    try:
        with Repo(str(root)) as repo, lock_repo(repo):
            yield repo
    except (RatchetError, OSError):
        raise
    except Exception as error:
        raise VersionError(
            f"failed ({one_line(str(error.__cause__ or error))})",
            subject="DVC",
            remedy=remedy_of(str(error)),
        ) from error


def stages_of(locked: Locked, use_case: str) -> Locked:
    """The stages of a use case."""
    return {name: stage for name, stage in locked.items() if name.endswith(f"@{use_case}")}


def instants_of(stages: Locked) -> dict[str, str]:
    """Pipeline → the instant at which it stood when the stages ran."""
    locked = [stage.get("params", {}).get(AS_OF_FILE, {}) for stage in stages.values()]
    return {name.rpartition(".")[2]: instant for each in locked for name, instant in each.items()}


def write_lock(root: Path, stages: Locked) -> None:
    """Write dvc.lock. The caller holds the lock of the repository, and DVC's own."""
    write_text(root / LOCK_FILE, yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))


def record_again(root: Path, directory: Path, recorded: str) -> None:
    """Where dvc.lock names the content `recorded` of a directory, let it name the present one instead.

    The caller holds the lock of the repository, and DVC's own.
    """
    lock, path = root / LOCK_FILE, directory.relative_to(root).as_posix()
    stages = read_lock(lock, "Restore it from git") if lock.exists() else {}
    items = [item for stage in stages.values() for kind in ("deps", "outs") for item in stage.get(kind, ())]
    stale = [item for item in items if item["path"] == path and item.get("md5") == recorded]
    if stale:
        sizes = [file.stat().st_size for file in directory.rglob("*") if file.is_file()]
        for item in stale:
            item.update(md5=directory_md5(directory), size=sum(sizes), nfiles=len(sizes))
        write_lock(root, stages)
