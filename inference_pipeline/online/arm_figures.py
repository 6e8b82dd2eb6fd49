"""What the arms of a rollout did since its last step began: how they answered, and how well, as far as outcomes are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import Period
from ratchet.core.frozen import Frozen
from ratchet.gate.arm_gain import CLUSTERS, ArmLosses, arm_gain
from ratchet.gate.evidence import Gain
from ratchet.gate.rollout import Rollout
from ratchet.models.metrics import finite, metrics, row_losses, usable
from ratchet.prediction_log.arms import CHALLENGER, CHAMPION
from ratchet.prediction_log.feedback import FeedbackLog
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.shadow import ShadowLog
from ratchet.project.run import Run
from ratchet.storage.arrow import to_columns
from ratchet.use_case.contract import Columns, Task


class ArmFigures(Frozen):
    """The predictions of an arm's own model, and its metrics on those whose outcome is known.

    `failures` are predictions that it could not make in the shadow. When it answers, the champion takes those over.
    """

    predictions: int
    failures: int
    mean_prediction: float | None
    outcomes: int
    metrics: dict[str, float | None]


class RolloutFigures(Frozen):
    """Both arms from `since` up to `until`. `gain` is the challenger's over the champion.

    `is_paired` if both predicted the same rows; then `difference` is the mean of what the challenger predicted beyond the
    champion, and `different` the share of rows on which they differ.
    """

    since: datetime
    until: datetime
    is_paired: bool
    champion: ArmFigures
    challenger: ArmFigures
    difference: float | None
    different: float | None
    gain: Gain


def arm_figures(run: Run, rollout: Rollout, until: datetime, confidence: float) -> RolloutFigures:
    """The figures of a step of a rollout, up to an instant. Bounds of the gain are one-sided, at this confidence.

    Answers of the baseline, and those that their callers never got, are left out. Only predictions with an outcome are kept in
    memory. Raises StoreError if the log cannot be read.
    """
    period = Period(rollout.at, max(until, rollout.at + timedelta(microseconds=1)))
    task, outcomes = run.use_case.task, FeedbackLog(run.paths.online_log).read(period.dates())
    outcomes = outcomes.select(["prediction_id", "outcome"]).filter(_is_usable(task, outcomes["outcome"]))
    arms = _mirrored(run, rollout, period, outcomes) if rollout.mirrors else _answered(run, rollout, period, outcomes)
    champion, challenger = arms[CHAMPION], arms[CHALLENGER]
    return RolloutFigures(
        since=rollout.at,
        until=until,
        is_paired=rollout.mirrors,
        champion=champion.figures(task),
        challenger=challenger.figures(task),
        difference=finite(challenger.differences / challenger.count) if rollout.mirrors and challenger.count else None,
        different=challenger.different / challenger.count if rollout.mirrors and challenger.count else None,
        gain=arm_gain(task, challenger.losses(task), champion.losses(task), confidence),
    )


@dataclass
class _Arm:
    """What is counted of an arm, and its predictions whose outcome is known."""

    count: int = 0
    total: float = 0.0
    failures: int = 0
    differences: float = 0.0
    different: int = 0
    known: list[pa.Table] = field(default_factory=list)

    def add(self, predictions: pa.ChunkedArray, known: pa.Table) -> None:
        """Count predictions, and keep rows with `prediction`, `outcome` and `cluster`."""
        self.count += len(predictions)
        self.total += pc.sum(predictions).as_py() or 0.0
        self.known.append(known.select(_KNOWN.names))

    def figures(self, task: Task) -> ArmFigures:
        rows = self._rows()
        return ArmFigures(
            predictions=self.count,
            failures=self.failures,
            mean_prediction=finite(self.total / self.count) if self.count else None,
            outcomes=len(rows["outcome"]),
            metrics=metrics(task, rows["outcome"], rows["prediction"]) if len(rows["outcome"]) else {},
        )

    def losses(self, task: Task) -> ArmLosses:
        rows = self._rows()
        return ArmLosses(row_losses(task, rows["outcome"], rows["prediction"]), rows["cluster"].astype(np.int64))

    def _rows(self) -> Columns:
        return to_columns(pa.concat_tables([_KNOWN.empty_table(), *self.known]))


_KNOWN = pa.schema({"prediction": pa.float64(), "outcome": pa.float64(), "cluster": pa.float64()})


def _is_usable(task: Task, outcomes: pa.ChunkedArray) -> pa.Array:
    return pa.array(usable(task, outcomes.to_numpy()))


def _answered(run: Run, rollout: Rollout, period: Period, outcomes: pa.Table) -> dict[str, _Arm]:
    """What both arms answered."""
    arms = {CHAMPION: _Arm(), CHALLENGER: _Arm()}
    digests = {CHAMPION: rollout.champion, CHALLENGER: rollout.digest}
    for block in _given(run, period):
        for arm, digest in digests.items():
            rows = block.filter((pc.field("arm") == arm) & (pc.field("model_digest") == digest))
            arms[arm].add(rows["prediction"], _known(run, rows, outcomes))
    return arms


def _mirrored(run: Run, rollout: Rollout, period: Period, outcomes: pa.Table) -> dict[str, _Arm]:
    """What the champion answered, and the challenger predicted of the same requests."""
    champion, challenger = _Arm(), _Arm()
    clusters = _clustered(run, period, outcomes)
    own = (pc.field("model_digest") == rollout.digest) & (pc.field("time") >= period.start)
    for block in ShadowLog(run.paths.online_log).read(period.dates()):
        rows = block.filter(own & (pc.field("time") < period.end))
        made = rows.filter(pc.is_valid(pc.field("prediction")))
        known = made.join(clusters, "prediction_id", join_type="inner")
        differences = pc.subtract(made["prediction"], made["answered"])
        challenger.failures += rows.num_rows - made.num_rows
        challenger.differences += pc.sum(differences).as_py() or 0.0
        challenger.different += pc.sum(pc.not_equal(differences, 0)).as_py() or 0
        challenger.add(made["prediction"], known)
        champion.add(made["answered"], known.drop_columns("prediction").rename_columns({"answered": "prediction"}))
    return {CHAMPION: champion, CHALLENGER: challenger}


def _given(run: Run, period: Period) -> Iterator[pa.Table]:
    """The answers of models, not of the baseline, a block at a time."""
    columns = ["prediction", "model_digest", "arm", "rung", "keys", "request"]
    for block in PredictionLog.open(run).online_blocks(period, columns):
        yield block.filter(pc.field("rung").is_valid() & (pc.field("rung") != "baseline"))


def _clustered(run: Run, period: Period, outcomes: pa.Table) -> pa.Table:
    """The predictions whose outcome is known, with it and the cluster of each."""
    known = [_known(run, block, outcomes) for block in (_given(run, period) if outcomes.num_rows else ())]
    schema = pa.schema([outcomes.schema.field("prediction_id"), _KNOWN.field("outcome"), _KNOWN.field("cluster")])
    return pa.concat_tables([schema.empty_table(), *(each.select(schema.names) for each in known)])


def _known(run: Run, rows: pa.Table, outcomes: pa.Table) -> pa.Table:
    """The rows of the log whose outcome is known, with it and the cluster of each."""
    own = rows.filter(pc.is_in(rows["prediction_id"], value_set=outcomes["prediction_id"].combine_chunks()))
    plain = own.select(["prediction_id", "prediction"]).append_column("cluster", _clusters(run, own))
    return plain.join(outcomes, "prediction_id", join_type="inner")


def _clusters(run: Run, log: pa.Table) -> pa.Array:
    """A cluster for each row, the same for what gets the same arm: the values of `sticky_by`, the keys, or the request."""
    named = run.settings.serving.rollout.sticky_by
    entities = log.column("keys" if "keys" in log.column_names and not named else "request").to_pylist()
    texts = (json.dumps([each[name] for name in named or sorted(each)], default=str) for each in entities)
    return pa.array([float(crc32(text.encode()) % CLUSTERS) for text in texts], pa.float64())
