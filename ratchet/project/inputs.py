"""The inputs of stages that people edit, so that a run notices if they were edited while it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import yaml

from ratchet.code.git import git
from ratchet.core.errors import VersionError
from ratchet.core.settings import PARAMS_FILE
from ratchet.project.run import Run
from ratchet.storage.digests import digest


@dataclass(frozen=True)
class Inputs:
    """The inputs of some stages that people edit: setting or file of code → a name of its content."""

    stages: Sequence[str]
    content: Mapping[str, str]


def inputs(run: Run, stages: Sequence[str]) -> Inputs:
    """The present content of the settings and code that dvc.yaml lists for the stages.

    Data, which are paths with a source's name, are left out; so is as_of.yaml, which nobody changes while a run goes on. Git
    knows the content of committed files, so only files that differ from the commit are read. Raises VersionError if the
    checkout is not a git repository.
    """
    declared = yaml.safe_load((run.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    bodies = [body.get("do", body) for body in (declared.get(stage.partition("@")[0], {}) for stage in stages)]
    params = [name for body in bodies for name in body.get("params", ())]
    named = {name.removeprefix("use_cases.${key}.") for name in params if isinstance(name, str)}
    code = {path for body in bodies for path in body.get("deps", ()) if "${item" not in path}
    settings = {f"{PARAMS_FILE}: {name}": digest(_setting(run, name)) for name in {*named, "source", "upstream"}}
    paths = sorted(path.replace("${key}", run.settings.use_case) for path in code)
    return Inputs(stages, {**settings, **_committed(run.root, paths), **_uncommitted(run.root, paths)})


def _setting(run: Run, name: str) -> object:
    return reduce(getattr, name.split("."), run.settings)


def _committed(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """File of the commit that is checked out → git's name of its content; empty if nothing is committed yet."""
    listed = git(root, "ls-tree", "-r", "-z", "--format=%(objectname) %(path)", "HEAD", "--", *paths) or ""
    return {path: name for name, _, path in (line.partition(" ") for line in listed.split("\0") if line)}


def _uncommitted(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """File that differs from the commit, or is new and not ignored → the name that git would give to its content; "" if it was
    deleted."""
    changed = git(root, "diff", "--name-only", "-z", "HEAD", "--", *paths) or ""
    added = git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *paths)
    if added is None:
        raise VersionError("is no git repository", subject=str(root), remedy="Run from a clone of one")
    found = [path for path in f"{changed}\0{added}".split("\0") if path]
    there = [path for path in found if (root / path).is_file()]
    names = (git(root, "hash-object", "--", *there) or "").split() if there else []
    return {**dict.fromkeys(found, ""), **dict(zip(there, names, strict=True))}


def require_unedited(began: Mapping[str, str], now: Mapping[str, str]) -> None:
    edited = sorted(name for name in {*began, *now} if began.get(name) != now.get(name))
    if edited:
        raise VersionError(
            "edited while the run went on, so its results are not recorded",
            subject=", ".join(edited),
            remedy="Run the flow again",
        )
