"""Labelled rows of the feature store, split by time: what models are fitted on, and what they are judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd

from ratchet.core.clock import TICK, Period
from ratchet.core.errors import DataError
from ratchet.feature_store.reads import request_times, training_set
from ratchet.features.service import service_spec
from ratchet.models.metrics import usable
from ratchet.models.model import Contract
from ratchet.project.project import Project
from ratchet.project.versions import code_version, data_version
from ratchet.use_case.contract import Array, Columns, UseCase


@dataclass(frozen=True)
class TrainingSet:
    """Rows to fit on, which of them early stopping holds back at first, and the contract that they imply."""

    use_case: UseCase
    rows: Columns
    is_stopping: Array
    contract: Contract


@dataclass(frozen=True)
class Answers:
    """Predictions by request_id, made elsewhere; `obstacle` says why there are none."""

    predicted: pd.Series[float]
    obstacle: str = ""

    @classmethod
    def none(cls, obstacle: str) -> Answers:
        return cls(pd.Series(dtype=np.float64), obstacle)


@dataclass(frozen=True)
class Holdout:
    """Rows to judge on: requests of the period with their labels, and which feature service computed them.

    `request_times` are those of all requests, with a label or without; `answers` are by digest those of models that read
    another feature service.
    """

    rows: Columns
    request_times: Array
    period: Period
    fingerprint: str
    rolled_forward: bool = False
    answers: Mapping[str, Answers] = field(default_factory=dict)

    def after(self, instant: datetime) -> Holdout:
        """What is left of it from an instant on, up to which a model has been trained."""
        if instant <= self.period.start:
            return self
        start, period = np.datetime64(instant.replace(tzinfo=None), "us"), Period(instant, self.period.end)
        rows = select(self.rows, self.rows["event_timestamp"] >= start)
        times = self.request_times[self.request_times >= start]
        return replace(self, rows=rows, request_times=times, period=period, rolled_forward=True)


def select(columns: Columns, rows: Array) -> dict[str, Array]:
    """The rows of a mask or of indices."""
    return {name: column[rows] for name, column in columns.items()}


def read_training_set(project: Project) -> TrainingSet:
    """All requests before the holdout whose labels were known strictly before it began. Raises DataError, StoreError."""
    stopping, until = project.period("early_stopping").start, project.period("holdout").start
    period = Period(project.period("train").start, until)
    rows = _labelled(project, period, until - TICK)
    is_stopping = rows["event_timestamp"] >= np.datetime64(stopping.replace(tzinfo=None), "us")
    for name, part in (("training", ~is_stopping), ("early-stopping", is_stopping)):
        if len(np.unique(rows["label"][part])) < 2:
            raise DataError(
                f"has fewer than two different labels among its {part.sum()} rows",
                subject=f"the {name} period",
                remedy="Give params.yaml longer periods, or the sources more rows",
            )
    return TrainingSet(project.use_case, rows, is_stopping, _contract(project, period))


def read_holdout(project: Project) -> Holdout:
    """All requests of the holdout period whose labels are known by now, from what was delivered up to the last period's end.

    Raises DataError, StoreError.
    """
    period = project.period("holdout")
    rows = _labelled(project, period, min(project.clock.now(), project.period("all").end))
    return Holdout(rows, request_times(project, period), period, service_spec(project.use_case).fingerprint)


def _labelled(project: Project, period: Period, as_of: datetime) -> Columns:
    """The period's requests whose label was known at `as_of`. Raises DataError for a label that says nothing."""
    rows, task = training_set(project, period, as_of), project.use_case.task
    wrong = rows["label"][~usable(task, rows["label"])]
    if len(wrong):
        raise DataError(
            f"{len(wrong):,} of {len(rows['label']):,} are {'neither 0 nor 1' if task == 'binary' else 'no finite number'}, "
            f"such as {wrong[0]:g}",
            subject=f"labels of {period}",
            remedy="Let a rule quarantine these rows, or `examples` leave the label null where the outcome is not known",
        )
    return rows


def _contract(project: Project, trained: Period) -> Contract:
    use_case, spec, code = project.use_case, service_spec(project.use_case), code_version(project.root)
    return Contract(
        model_name=project.namespace,
        use_case=project.settings.use_case,
        source=project.settings.source.name,
        task=use_case.task,
        kind="baseline",
        feature_service=spec.name,
        fingerprint=spec.fingerprint,
        inputs=dict(use_case.inputs),
        trained_from=trained.start,
        trained_until=trained.end,
        data_version=data_version(project),
        commit=code.commit,
        dirty=code.dirty,
        experiment=code.experiment,
        params={},
    )
