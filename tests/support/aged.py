"""A project whose data, runs, models and predictions are of three ages: old ones, younger ones and those of today."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from ratchet.core.settings import Retention
from ratchet.model_registry.champion import Champion, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.batch_log import BatchLog
from ratchet.prediction_log.online_log import OnlineLog, line_of
from ratchet.prediction_log.schema import batch_ids, log_entries, log_schema, online_ids
from ratchet.project.dvc import commit_stages
from ratchet.project.inputs import inputs
from ratchet.project.run import Run
from tests.support.champions import joined_columns
from tests.support.checkout import commit
from tests.support.recorded import kept, recorded_project, write
from tests.support.registry import WORSE, candidate, copied, offer_model
from tests.support.runs import write_settings

AGES = (120, 60, 0)
"""Days before the as-of."""
RETENTION = Retention(predictions=timedelta(days=90), runs=timedelta(days=90))
SCORER = "a0b1c2d3e4f5"
ROWS = 6


def aged_project(registry: Run, folder: Path) -> Run:
    """A copy of a registry of which version 2 serves; each age has a run, a refused version (3, 4, 5) and predictions.

    DVC has three stages: the features, the prediction log, and a report that depends on the log.
    """
    run = copied(registry, folder).with_settings(retention=RETENTION)
    recorded_project(run.root)
    _declare(run)
    write_settings(run.root, run)
    champion = resolve_champion(ModelRegistry.open(run))
    for age in AGES:
        _predict(run, champion, age)
        write(run, always="the same", **{f"part{age}": f"of {age} days ago", "changes": str(age)})
        _record(run, str(age), day(run, age))
        offer_model(run, candidate(10 + age), candidate().digest, gain=WORSE)
    (run.root / "dvc.lock").write_text(_without_instants(run), encoding="utf-8")
    commit(run.root, "Settings")
    return run


def day(run: Run, age: int) -> datetime:
    return run.as_of("feature") - timedelta(days=age)


def _declare(run: Run) -> None:
    """Let the prediction log and a report that depends on it be outputs, too."""
    path, name = run.root / "dvc.yaml", run.settings.use_case
    declared: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    log, report = (each.relative_to(run.root).as_posix() for each in (run.paths.predictions, run.paths.data / "report"))
    for stage, dep, out in (
        ("predict", "code.py", {log: {"cache": False, "persist": True}}),
        ("monitor", log, {report: {"persist": True}}),
    ):
        declared["stages"][stage] = {"foreach": [name], "do": {"cmd": "true", "deps": [dep], "outs": [out]}}
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    run.paths.data.mkdir(parents=True, exist_ok=True)
    (run.paths.data / "report").write_text("no drift", encoding="utf-8")


def _record(run: Run, name: str, instant: datetime) -> None:
    """Record all stages as made as of an instant, and keep that dvc.lock with a run of this name."""
    stages = [f"{stage}@{run.settings.use_case}" for stage in ("featurize", "predict", "monitor")]
    commit_stages(run, stages, kept(run, name), inputs(run, stages))
    lock = yaml.safe_load((run.root / "dvc.lock").read_text(encoding="utf-8"))
    instants = {f"{run.settings.use_case}.feature": instant.isoformat()}
    lock["stages"][stages[0]]["params"] = {"as_of.yaml": instants}
    for path in (run.root / "dvc.lock", kept(run, name)):
        path.write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def _without_instants(run: Run) -> str:
    lock = yaml.safe_load((run.root / "dvc.lock").read_text(encoding="utf-8"))
    for stage in lock["stages"].values():
        stage.pop("params", None)
    return yaml.safe_dump(lock, sort_keys=False)


def _predict(run: Run, champion: Champion, age: int) -> None:
    """Add predictions of a day to both halves of the log."""
    at = day(run, age + 1)
    columns = _requests(at)
    rows = _rows(run, champion, columns, batch_ids(SCORER, columns))
    BatchLog(run.paths.predictions, SCORER).add({at.date(): [*columns["request_id"]]}, lambda _first, _last: rows)
    online = _rows(run, champion, columns, online_ids(at, ROWS))
    OnlineLog(run.paths.online_log).append(b"".join(map(line_of, online.to_pylist())), at.date())


def _requests(at: datetime) -> dict[str, Any]:
    columns = joined_columns(ROWS)
    columns["event_timestamp"] = np.full(ROWS, np.datetime64(at.replace(tzinfo=None), "us"))
    columns["request_id"] = np.array([f"{at.date()}-{row}" for row in range(ROWS)], object)
    return columns


def _rows(run: Run, champion: Champion, columns: dict[str, Any], ids: list[str]) -> pa.Table:
    return log_entries(
        log_schema(run.use_case),
        champion,
        columns,
        champion.model.predict(columns),
        ids=ids,
        times=columns["event_timestamp"],
        scorer=SCORER,
    )


def prediction_ids(run: Run, age: int) -> Iterator[str]:
    """The ids of the predictions of an age, of both halves."""
    from ratchet.core.clock import Period, midnight
    from ratchet.prediction_log.log import PredictionLog

    first = midnight(day(run, age + 1).date())
    yield from PredictionLog.open(run).read(Period(first, first + timedelta(days=1)))["prediction_id"].to_pylist()


def with_retention(run: Run, **days: int | None) -> Run:
    """The run with other lengths, in params.yaml, too."""
    lengths = {name: None if length is None else timedelta(days=length) for name, length in days.items()}
    changed = run.with_settings(retention=Retention.model_validate({**RETENTION.model_dump(), **lengths}))
    write_settings(run.root, changed)
    return changed
