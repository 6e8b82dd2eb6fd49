"""Whether the online store is the one that materialize wrote last: it may be lost, or be put back as it was before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store.online_store import feast_project, online_store
from ratchet.storage.files import read_json, write_json

if TYPE_CHECKING:
    from ratchet.core.paths import Paths
    from ratchet.project.run import Run


def problem_of(run: Run) -> str:
    """Why the online store must not be used; empty if it may. If materialize ran elsewhere, any finished store will do.

    Raises StoreUnavailableError if it cannot be asked.
    """
    store = online_store(run.environment, run.paths.state, feast_project(run.scope))
    before = _written(run.paths)
    try:
        mark = store.mark()
    except store.errors as error:
        problem = f"cannot be read ({' '.join(str(error).split())[:200]})"
        raise StoreUnavailableError(problem, subject="online store", remedy=store.remedy) from error
    if mark is None:
        return "is not there"
    if not mark:
        return "is being written anew, was never finished, or is damaged"
    is_other = before not in (None, mark) and before == _written(run.paths)
    return "is not the one that was written last: it was put back, or lost what was written" if is_other else ""


def problem_now(run: Run) -> str:
    """The same with what to do; empty if it may be used."""
    try:
        problem = problem_of(run)
    except StoreUnavailableError as error:
        return str(error)
    return problem and f"online store: {problem}. Run `dvc repro materialize@{run.settings.use_case}`."


def sense(runs: Sequence[Run]) -> None:
    """Count for DVC how often the store of each run was found to be lost after it had been written."""
    for run in runs:
        _count(run.paths, _losses(run.paths) + _is_lost(run))


def begin_count(run: Run) -> None:
    """Let there be a count, without which DVC cannot record materialize: a flow may be the first to run it."""
    if not run.paths.online_watermark.exists():
        _count(run.paths, 0)


def _losses(paths: Paths) -> int:
    return int(read_json(paths.online_watermark)["losses"]) if paths.online_watermark.exists() else 0


def _count(paths: Paths, losses: int) -> None:
    write_json(paths.online_watermark, {"losses": losses})


def _is_lost(run: Run) -> bool:
    """A store that cannot be asked is not lost: it may come back."""
    try:
        return _written(run.paths) is not None and problem_of(run) != ""
    except StoreUnavailableError:
        return False


def _written(paths: Paths) -> str | None:
    """The mark of the store that materialize wrote last; None if it never did, or while it writes."""
    marker = paths.materialized_file
    return str(read_json(marker)["inputs"]) if marker.exists() else None
