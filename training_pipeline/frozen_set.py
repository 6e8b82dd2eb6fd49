"""The rows that a training run fits and evaluates on, as the stage `dataset` froze them. Features may change meanwhile.

The folder dataset/ is the frozen set, and its DVC hash is the data version of the models. It holds the joined requests with
their labels: one file for the requests before the holdout, one for those among them whose labels became known only during the
holdout, and one for the requests of the holdout. The folder evaluation/ holds what `evaluate` needs from features and accepted
rows: the findings of the leak check, and the predictions of a champion that reads other features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AwareDatetime, ValidationError

from ratchet.code.git import code_version
from ratchet.core.clock import Period
from ratchet.core.errors import StoreError
from ratchet.core.frozen import Frozen
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.features.service import service_spec
from ratchet.models.contract import Contract
from ratchet.project.run import Run
from ratchet.storage.arrow import to_array, to_columns
from ratchet.storage.digests import directory_md5
from ratchet.use_case.columns import EVENT_TIMESTAMP, LABEL_COLUMNS, LABEL_KNOWN_AT, REQUEST_ID
from ratchet.use_case.contract import Array, Columns, UseCase

FITTING, HOLDOUT, REQUESTS, ORIGIN = "fitting.parquet", "holdout.parquet", "requests.parquet", "origin.json"
LATE_LABELS = "late_labels.parquet"
FINDINGS, ANSWERS = "findings.json", "answers.parquet"


class Origin(Frozen):
    """Where a frozen set comes from: the service of its features, and the timestamps that split the rows."""

    feature_service: str
    fingerprint: str
    start: AwareDatetime
    early_stopping: AwareDatetime
    holdout: AwareDatetime
    end: AwareDatetime


class Provenance(Frozen):
    """The version of a frozen set, and of the features that it was last taken from.

    It is kept beside the set: later features change neither its rows nor its version, and nothing is judged again.
    """

    data_version: str
    features_version: str


class Findings(Frozen):
    """The findings for the frozen set of a data version.

    `champion` is the digest of the champion that was scored by its own code, if one was.
    """

    data_version: str
    leaks: LeakEvidence
    champion: str | None = None
    obstacle: str = ""


@dataclass(frozen=True)
class TrainingSet:
    """The rows to fit on, which of them early stopping holds back at first, and the contract of the models fitted on them."""

    use_case: UseCase
    rows: Columns
    is_stopping: Array
    contract: Contract


@dataclass(frozen=True)
class RefitSet:
    """The rows to refit on, in order; which of them are not among the training rows; and the contract of the refit."""

    rows: Columns
    is_added: Array
    contract: Contract


@dataclass(frozen=True)
class Answers:
    """Predictions by request_id, made by a champion's own code. If there are none, `obstacle` says why."""

    predicted: pd.Series[float]
    obstacle: str = ""

    @classmethod
    def none(cls, obstacle: str) -> Answers:
        return cls(pd.Series(dtype=np.float64), obstacle)


@dataclass(frozen=True)
class Holdout:
    """The rows to evaluate on: requests of the period with their labels, and the fingerprint of their feature service.

    `request_times` are the timestamps of all requests, with a label or without. `answers` maps a model's digest to its answers,
    for models that read another feature service.
    """

    rows: Columns
    request_times: Array
    period: Period
    fingerprint: str
    rolled_forward: bool = False
    answers: Mapping[str, Answers] = field(default_factory=dict)

    def after(self, instant: datetime) -> Holdout:
        """The part of the holdout from `instant` on, where the training rows of a model end."""
        if instant <= self.period.start:
            return self
        instant = min(instant, self.period.end)
        start, period = np.datetime64(instant.replace(tzinfo=None), "us"), Period(instant, self.period.end)
        rows = select(self.rows, self.rows[EVENT_TIMESTAMP] >= start)
        times = self.request_times[self.request_times >= start]
        return replace(self, rows=rows, request_times=times, period=period, rolled_forward=True)


def select(columns: Columns, rows: Array) -> dict[str, Array]:
    """The rows that a mask or an array of indices selects."""
    return {name: column[rows] for name, column in columns.items()}


def data_version(run: Run) -> str:
    """DVC's hash of the frozen set. Raises StoreError if there is none."""
    _origin(run)
    return directory_md5(run.paths.dataset)


def read_training_set(run: Run) -> TrainingSet:
    """The rows before the holdout. Raises StoreError if no rows are frozen, or rows of other features."""
    origin, rows = _origin(run), _rows(run, FITTING)
    is_stopping = rows[EVENT_TIMESTAMP] >= np.datetime64(origin.early_stopping.replace(tzinfo=None), "us")
    return TrainingSet(run.use_case, rows, is_stopping, _contract(run, origin))


def frozen_contract(run: Run) -> Contract:
    """The contract of models that are fitted on the frozen set; its rows are not read. Raises StoreError if there is none."""
    return _contract(run, _origin(run))


def read_refit_set(run: Run) -> RefitSet:
    """All rows whose labels were known strictly before the holdout ended: those that would be frozen to fit on if the holdout
    began there. Raises StoreError if no rows are frozen, or rows of other features."""
    origin = _origin(run)
    with _readable(run):
        fitting, late, holdout = (pq.read_table(run.paths.dataset / name) for name in (FITTING, LATE_LABELS, HOLDOUT))
    added = pa.concat_tables([late, holdout.filter(pc.less(holdout[LABEL_KNOWN_AT], origin.end))])
    is_added = np.repeat([False, True], [fitting.num_rows, added.num_rows])
    table = pa.concat_tables([fitting, added])
    order = pc.sort_indices(table, [(EVENT_TIMESTAMP, "ascending"), (REQUEST_ID, "ascending")])
    contract = _contract(run, origin).model_copy(update={"trained_until": origin.end})
    return RefitSet(complete(run.use_case, table.take(order)), is_added[order.to_numpy()], contract)


def read_holdout(run: Run) -> Holdout:
    """The rows to evaluate on, without answers. Raises StoreError if no rows are frozen, or rows of other features."""
    origin = _origin(run)
    with _readable(run):
        times = to_array(pq.read_table(run.paths.dataset / REQUESTS)[EVENT_TIMESTAMP])
    return Holdout(_rows(run, HOLDOUT), times, Period(origin.holdout, origin.end), origin.fingerprint)


def read_findings(run: Run) -> tuple[Findings, dict[str, Answers]]:
    """The findings for this frozen set, and the answers by the digest of the model that gave them.

    Raises StoreError if there are none, or if they belong to another frozen set.
    """
    with _readable(run):
        findings = Findings.model_validate_json((run.paths.evaluation / FINDINGS).read_bytes())
        predicted = pd.read_parquet(run.paths.evaluation / ANSWERS).set_index("request_id")["prediction"]
    if findings.data_version != data_version(run):
        raise _not_frozen(run, "has no findings: those in evaluation/ belong to another frozen set")
    answers = Answers(predicted, findings.obstacle)
    return findings, {findings.champion: answers} if findings.champion else {}


def _provenance(run: Run) -> Provenance:
    with _readable(run):
        provenance = Provenance.model_validate_json(run.paths.dataset_provenance.read_bytes())
    if provenance.data_version != data_version(run):
        raise _not_frozen(run, f"is not the one that {run.paths.dataset_provenance.name} is about")
    return provenance


def _origin(run: Run) -> Origin:
    with _readable(run):
        origin = Origin.model_validate_json((run.paths.dataset / ORIGIN).read_bytes())
    if origin.fingerprint != service_spec(run.use_case).fingerprint:
        raise _not_frozen(run, f"holds the features of {origin.feature_service}, which this code does not compute")
    return origin


def _rows(run: Run, name: str) -> Columns:
    with _readable(run):
        table = pq.read_table(run.paths.dataset / name)
    return complete(run.use_case, table)


def complete(use_case: UseCase, labelled: pa.Table) -> Columns:
    """Labelled requests with on-demand columns, which are computed without the labels."""
    completed = use_case.complete(to_columns(labelled.drop_columns([*LABEL_COLUMNS])))
    return {**completed, **to_columns(labelled.select([*LABEL_COLUMNS]))}


@contextmanager
def _readable(run: Run) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise _not_frozen(run, f"cannot be read ({' '.join(str(error).split())[:200]})") from error


def _not_frozen(run: Run, problem: str) -> StoreError:
    return StoreError(
        problem,
        subject=f"the frozen set of {run.scope.namespace}",
        remedy=f"Run `ratchet --use-case {run.settings.use_case} stage dataset`",
    )


def _contract(run: Run, origin: Origin) -> Contract:
    use_case, code, provenance = run.use_case, code_version(run.root), _provenance(run)
    return Contract(
        model_name=run.scope.namespace,
        use_case=run.settings.use_case,
        source=run.settings.source.name,
        task=use_case.task,
        kind="baseline",
        feature_service=origin.feature_service,
        fingerprint=origin.fingerprint,
        inputs=dict(use_case.inputs),
        trained_from=origin.start,
        trained_until=origin.holdout,
        data_version=provenance.data_version,
        features_version=provenance.features_version,
        commit=code.commit,
        dirty=code.dirty,
        experiment=code.experiment,
        params={},
    )
