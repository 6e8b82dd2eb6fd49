"""Restore data of a use case that a flow recorded earlier.

DVC's own `checkout` takes the versions from dvc.lock, so that it would have to be changed first; it deletes outputs whose data
it does not find, and it names each file that it refuses to delete. Therefore its parts are used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.code.git import LOCK_FILE
from ratchet.core.errors import VersionError
from ratchet.core.text import count_of, one_line
from ratchet.project.as_of import AsOf, write_as_of
from ratchet.project.dvc import Locked, instants_of, opened, read_lock, stages_of, write_lock
from ratchet.project.locks import REPOSITORY, WAIT, alone, held
from ratchet.project.run import PIPELINES, Run
from ratchet.storage.digests import md5

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


def restore(run: Run, lock: Path, wait: float = WAIT) -> None:
    """Check out the data of the use case's stages of a kept dvc.lock, and then put their instants into as_of.yaml, and the
    stages into dvc.lock.

    A kept file has the stages that had run by then. Other use cases and the outputs of other stages are not changed. Nothing
    is changed if data would be lost that DVC does not hold, or if DVC no longer holds what is to be restored. A restore that
    was killed can be run again. Raises VersionError.
    """
    own = stages_of(read_lock(lock, _KEPT), run.settings.use_case)
    if not own:
        raise VersionError(
            f"names no stage of {run.settings.use_case}", subject=str(lock), remedy="Name its use case (--use-case)"
        )
    current = run.root / LOCK_FILE
    with alone(run, PIPELINES, wait) as run, held(run.paths.shared_state / REPOSITORY, wait), opened(run.root) as repo:
        stages = {**(read_lock(current, _CURRENT) if current.exists() else {}), **own}
        _check_out(repo, lock, own)
        _put_back_instants(run, own)
        write_lock(run.root, stages)


def _put_back_instants(run: Run, stages: Locked) -> None:
    """Let the pipelines stand where they stood when the stages ran."""
    then = instants_of(stages)
    if then:
        now = run.instants.model_dump(mode="json") if run.instants else {}
        write_as_of(run.root, run.settings.use_case, AsOf.model_validate({**now, **then}))


_KEPT = "Name a dvc.lock that a flow run kept"
_CURRENT = f"Get it back with `git checkout {LOCK_FILE}`, or delete it"


def _check_out(repo: Repo, lock: Path, own: Locked) -> None:
    """Check out the data of some stages of a lock. Raises VersionError, before it changes anything, if it cannot."""
    declared = {stage.name: stage for stage in repo.stage.load_all(f"{repo.root_dir}/dvc.yaml")}
    stages = [_stage(declared.get(name), lock, name, of) for name, of in own.items()]
    outputs = [(stage, out) for stage in stages for out in stage.outs if out.use_cache and out.hash_info]
    for _, out in outputs:
        _require_cached(lock, out)
    for stage, out in outputs:
        _require_recorded(stage, out)
    for stage, out in outputs:
        if "failed" in stage.checkout(filter_info=out.fs_path, force=True):
            raise VersionError(
                "could not be checked out",
                subject=out.def_path,
                remedy="Run again, while no one deletes data from DVC's cache",
            )
        _remove_empty_folders(Path(out.fs_path))


def _stage(stage: Stage | None, lock: Path, name: str, locked: Mapping[str, Any]) -> Stage:
    """A stage as dvc.yaml declares it, with the versions of the lock. Raises VersionError if it declares less than the lock."""
    from dvc.stage.loader import StageLoader

    known = {out.def_path for out in stage.outs} if stage else set()
    unknown = [out["path"] for out in locked.get("outs", ()) if out["path"] not in known]
    if stage is None or unknown:
        raise VersionError(
            f"has {f'the output {unknown[0]} of ' if unknown else ''}the stage {name}, which dvc.yaml does not declare now",
            subject=str(lock),
            remedy="Check out the code and the settings of that run, and run again",
        )
    StageLoader.fill_from_lock(stage, locked)
    return stage


def _require_cached(lock: Path, out: Output) -> None:
    """Raises VersionError if DVC's cache does not hold all of what an output is to become."""
    listed = out.get_obj()
    if listed is None or not out.cache.exists(out.hash_info.value):
        missing = "the content"
    else:
        files = listed.as_list() if out.is_dir_checksum else []
        lost = [file["relpath"] for file in files if not out.cache.exists(file["md5"])]
        missing = f"{count_of(len(lost), 'file')}{_such_as(lost)}" if lost else ""
    if missing:
        raise VersionError(
            f"needs {missing} of {out.def_path}, which DVC's cache does not hold",
            subject=str(lock),
            remedy="Restore another run, or copy it into the cache from a clone or a remote that has it",
        )


def _require_recorded(stage: Stage, out: Output) -> None:
    """Raises VersionError if an output has files that DVC's cache does not hold, and which would be lost."""
    path = Path(out.fs_path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    own = [file.relative_to(path).as_posix() for file in files if file.is_file() and not _is_temporary(file, path)]
    lost = [name for name in own if not out.cache.exists(md5(path / name))]
    if lost:
        raise VersionError(
            f"{count_of(len(lost), 'file')}{_such_as(lost)} would be lost, because DVC does not hold their present content",
            subject=out.def_path,
            remedy=f"Keep it (`dvc commit --force {stage.name}`, and a copy of {LOCK_FILE}) or delete it, and run again",
        )


def _such_as(names: list[str]) -> str:
    shown = ", ".join(name for name in names[:3] if name not in ("", "."))
    return f" ({one_line(shown)})" if shown else ""


def _remove_empty_folders(output: Path) -> None:
    for folder in sorted((path for path in output.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _is_temporary(file: Path, output: Path) -> bool:
    """Whether a step or DVC was killed while it wrote this file."""
    return any(part.startswith(".") and part.endswith(".tmp") for part in file.relative_to(output).parts)
