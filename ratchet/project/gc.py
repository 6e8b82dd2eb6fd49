"""Remove what is older than `retention` of params.yaml keeps it, and nothing that anything kept needs.

All ages are counted back from the as-of, not from today: while a pipeline stands still, nothing gets older. A process that is
killed leaves nothing but what another call removes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from ratchet.model_registry.logged_models import LoggedModel, has_trash, logged_models, remove
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.dropped import days_before, drop_before
from ratchet.project.cache import Cache
from ratchet.project.dvc import opened, record_again
from ratchet.project.kept_data import KeptRun, committed_contents, contents_of, kept_runs
from ratchet.project.leftovers import leftovers, remove_paths
from ratchet.project.locks import REPOSITORY, WAIT, alone, held
from ratchet.project.needed_models import Needs, first_kept_day, needs
from ratchet.project.run import PIPELINES, Run
from ratchet.storage.digests import directory_md5
from ratchet.storage.files import read_json, write_json


@dataclass(frozen=True)
class Part:
    """One kind of things: those that are to be removed, as number and bytes, with the reason, and what is kept for which
    reason. `remove` may be killed at any point."""

    kind: str
    count: int
    size: int
    why: str
    kept: str
    remove: Callable[[], None]


def collect(run: Run, *, apply: bool, wait: float = WAIT) -> list[Part]:
    """What there is to remove of a use case and, of what its checkout shares, nobody needs; `apply` removes it.

    No pipeline of the use case runs meanwhile, and nothing is recorded in DVC. Raises VersionError if other runs do not end
    within `wait` seconds or what DVC or git recorded cannot be read, RegistryError if the model registry cannot be read.
    """
    with alone(run, PIPELINES, wait) as run, held(run.paths.shared_state / REPOSITORY, wait), opened(run.root) as repo:
        parts = _parts(run, Cache(repo))
        for part in parts if apply else ():
            if part.count:
                part.remove()
    return parts


def _parts(run: Run, cache: Cache) -> list[Part]:
    """The cache is last: what is removed before names what it has to keep."""
    runs, models = kept_runs(run.paths.shared_state), logged_models(ModelRegistry.open(run))
    required = needs(run, models)
    old = {kept.path: kept for kept in runs if _is_old(run, required, kept)}
    unneeded = [model for model in models if model.name == run.scope.namespace and required.reason(model) is None]
    going = {model.run_id for model in unneeded}
    named = {
        *(name for kept in runs if kept.path not in old for name in contents_of(kept.stages)),
        *(name for model in models if model.run_id not in going for name in required.contents(model)),
    }
    return [
        _predictions(run),
        _runs(run, required, runs, [*old]),
        _models(run, required, models, unneeded),
        _leftovers(run, cache),
        _cache(run, cache, named),
    ]


def _predictions(run: Run) -> Part:
    kept, paths = run.settings.retention.predictions, run.paths
    first = first_kept_day(run)
    halves = (paths.predictions, paths.online_log)
    days = [day for half in halves for day in days_before(half, first)]
    unfinished = [path for path in (_unfinished(run),) if path.exists()]
    later = [day for half in halves for day in days_before(half, date.max) if day not in days]
    return Part(
        "days of predictions",
        len(days) + len(unfinished),
        _size(days),
        f"before {first} (retention.predictions: {kept.days}d)" if kept else "",
        f"{len(later)} later" if kept else f"{len(later)}, for ever: no retention.predictions",
        partial(_drop_predictions, run, first),
    )


def _unfinished(run: Run) -> Path:
    """The file that exists while predictions are dropped, with DVC's name of the log before."""
    return run.paths.state / "dropping_predictions.json"


def _drop_predictions(run: Run, first_kept: date) -> None:
    """Drop them, and let dvc.lock name the rest if it named the whole: nobody has to score again."""
    batch, unfinished = run.paths.predictions, _unfinished(run)
    if not unfinished.exists():
        write_json(unfinished, directory_md5(batch))
    drop_before(batch, run.paths.online_log, first_kept)
    record_again(run.root, batch, read_json(unfinished))
    unfinished.unlink()


def _is_old(run: Run, required: Needs, kept: KeptRun) -> bool:
    return kept.path.is_relative_to(run.paths.state) and required.is_old(kept.instant)


def _runs(run: Run, required: Needs, runs: Sequence[KeptRun], old: Sequence[Path]) -> Part:
    own = [kept for kept in runs if kept.path.is_relative_to(run.paths.state)]
    return Part(
        "data versions of runs",
        len(old),
        _size(old),
        required.age,
        f"{len(own) - len(old)} {required.rest}",
        partial(remove_paths, old),
    )


def _models(run: Run, required: Needs, models: Sequence[LoggedModel], unneeded: Sequence[LoggedModel]) -> Part:
    store = ModelRegistry.open(run)
    reasons = Counter(required.reason(model) for model in models if model.name == run.scope.namespace)
    reasons.pop(None, None)
    folders = [folder for model in unneeded for folder in (*model.folders, store.paths.state / "models" / model.digest)]
    return Part(
        "models that never served",
        len(unneeded) + has_trash(store),
        _size(folders),
        required.age,
        ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=str)) or "0",
        partial(remove, store, unneeded),
    )


def _leftovers(run: Run, cache: Cache) -> Part:
    paths = leftovers(run.paths, cache.folder if cache.is_own else None)
    why = "left by killed processes more than a day ago"
    return Part("unfinished files", len(paths), _size(paths), why, "", partial(remove_paths, paths))


def _cache(run: Run, cache: Cache, named: set[str]) -> Part:
    if not cache.is_own:
        kept = f"all: {cache.folder} is outside of this checkout, and others may need it. Use `dvc gc --projects`"
        return Part("files in DVC's cache", 0, 0, "", kept, lambda: None)
    needed = cache.needed({*named, *committed_contents(run.root)})
    unused = cache.unused(needed)
    return Part(
        "files in DVC's cache",
        len(unused),
        _size(unused),
        "no kept run or model, no commit and no file of the checkout names them",
        "what they name",
        partial(cache.remove_all_but, needed),
    )


def _size(paths: Iterable[Path]) -> int:
    """Bytes of files, and of all files in folders."""
    return sum(file.stat().st_size for path in paths for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
