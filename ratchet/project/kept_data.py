"""The versions of data that may still be needed: where they are named, and how old they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ratchet.code.git import LOCK_FILE, git
from ratchet.core.errors import VersionError
from ratchet.core.progress import counted
from ratchet.model_registry.logged_models import LoggedModel
from ratchet.project.dvc import Locked, instants_of, parse_lock, read_lock, stages_of
from ratchet.project.run import Run

_MD5 = re.compile(r"\bmd5: '?([0-9a-f]{32}(?:\.dir)?)\b")
_REMEDY = "Delete it if no one needs its data any more, and run again"


@dataclass(frozen=True)
class KeptRun:
    """The dvc.lock that a run left behind, with the stages of its use case."""

    path: Path
    stages: Locked

    @property
    def instant(self) -> datetime | None:
        return latest_instant(self.stages)


def kept_runs(state: Path) -> list[KeptRun]:
    """What the runs of every use case and source left behind. Raises VersionError if such a file cannot be read."""
    paths = sorted(state.glob(f"*/*/runs/**/{LOCK_FILE}"))
    found = counted(paths, "runs", len(paths))
    return [KeptRun(path, stages_of(read_lock(path, _REMEDY), path.relative_to(state).parts[0])) for path in found]


def stages_of_model(model: LoggedModel, runs: Iterable[Run]) -> Locked:
    """The stages in the dvc.lock that was logged with a model: those of its use case, or all if params.yaml has it no more."""
    if model.lock is None:
        return {}
    locked = parse_lock(model.lock, f"{LOCK_FILE} of MLflow's run {model.run_id}", "Restore it in MLflow's artifacts")
    names = [run.settings.use_case for run in runs if run.scope.namespace == model.name]
    return stages_of(locked, names[0]) if names else locked


def latest_instant(stages: Locked) -> datetime | None:
    """How far the data of these stages go; None if that is not recorded."""
    return max((datetime.fromisoformat(instant) for instant in instants_of(stages).values()), default=None)


def contents_of(stages: Locked) -> Iterator[str]:
    """DVC's names of the outputs of stages."""
    for stage in stages.values():
        yield from (out["md5"] for out in stage.get("outs", ()) if "md5" in out)


def committed_contents(root: Path) -> Iterator[str]:
    """DVC's names of everything that a dvc.lock or a .dvc file names, in the working tree or in any commit of any branch, tag,
    stash or experiment."""
    patterns = (f":(glob)**/{LOCK_FILE}", ":(glob)**/?*.dvc")
    for line in _git(
        root, "rev-list", "--all", "--reflog", "--full-history", "--objects", "--", *patterns
    ).splitlines():
        name, _, path = line.partition(" ")
        if path.endswith((LOCK_FILE, ".dvc")):
            yield from _MD5.findall(_git(root, "cat-file", "-p", name))
    present = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns).split("\0")
    for file in {root / LOCK_FILE, *(root / path for path in present if path)}:
        yield from _MD5.findall(file.read_text(encoding="utf-8") if file.is_file() else "")


def _git(root: Path, *arguments: str) -> str:
    found = git(root, *arguments)
    if found is None:
        raise VersionError(
            "failed, so that it is not known which data commits need",
            subject=f"git {arguments[0]}",
            remedy="Run it in this checkout to see why",
        )
    return found
