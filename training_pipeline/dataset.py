"""Freeze the rows that a training run fits and evaluates on. This takes seconds; later steps do not read the feature store."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import TICK, Period
from ratchet.core.errors import DataError
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import labelled_requests, request_times
from ratchet.features.leak_check import leak_check
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.features.service import service_spec
from ratchet.features.source_rows import SourceRows
from ratchet.models.metrics import usable
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.arrow import to_array
from ratchet.storage.files import replacing, write_json
from ratchet.storage.partitions import write_table
from ratchet.use_case.columns import EVENT_TIMESTAMP, LABEL_KNOWN_AT
from training_pipeline.champion_commit import ask_champion
from training_pipeline.frozen_set import (
    ANSWERS,
    FINDINGS,
    FITTING,
    HOLDOUT,
    LATE_LABELS,
    ORIGIN,
    REQUESTS,
    Findings,
    Origin,
    Provenance,
    data_version,
    read_holdout,
)


def dataset(run: Run) -> Report:
    """Write dataset/, where it comes from, and evaluation/, each completely or not at all.

    Models are fitted on all requests before the holdout whose labels were known strictly before the holdout began. They are
    evaluated on all requests of the holdout whose labels are known as of the training pipeline. A refit is fitted on all
    requests whose labels were known strictly before the holdout ended. Raises DataError if no model can learn from the labels,
    StoreError if the features do not go as far as the training pipeline, or are not kept for as long as its windows.
    """
    features = FeatureStore.open(run)
    origin = _origin(run)
    features.require(run.as_of("training"), origin.start)
    earlier = _labelled(features, Period(origin.start, origin.holdout), origin.end - TICK)
    in_time = pc.less(earlier[LABEL_KNOWN_AT], origin.holdout)
    fitting = earlier.filter(in_time)
    _require_two_labels(fitting, origin)
    holdout = _labelled(features, Period(origin.holdout, origin.end), run.as_of("training"))
    times = request_times(features, Period(origin.holdout, origin.end))
    with replacing(run.paths.dataset) as folder:
        write_table(folder / FITTING, fitting)
        write_table(folder / LATE_LABELS, earlier.filter(pc.invert(in_time)))
        write_table(folder / HOLDOUT, holdout)
        write_table(folder / REQUESTS, times)
        write_json(folder / ORIGIN, origin.model_dump(mode="json"))
    provenance = Provenance(data_version=data_version(run), features_version=features.version())
    write_json(run.paths.dataset_provenance, provenance.model_dump())
    findings = _find(run)
    return {
        "rows": {"fitting": fitting.num_rows, "holdout": holdout.num_rows, "requests": times.num_rows},
        "data_version": findings.data_version,
        "features_version": provenance.features_version,
        "leaks": findings.leaks.changed,
    }


def _origin(run: Run) -> Origin:
    spec = service_spec(run.use_case)
    return Origin(
        feature_service=spec.name,
        fingerprint=spec.fingerprint,
        start=run.period("train").start,
        early_stopping=run.period("early_stopping").start,
        holdout=run.period("holdout").start,
        end=run.period("holdout").end,
    )


def _labelled(features: FeatureStore, period: Period, as_of: datetime) -> pa.Table:
    """The period's requests whose label was known at `as_of`. Raises DataError for a label that the task cannot use."""
    rows, task = labelled_requests(features, period, as_of), features.use_case.task
    labels = to_array(rows["label"])
    wrong = labels[~usable(task, labels)]
    if len(wrong):
        raise DataError(
            f"{len(wrong):,} of {len(labels):,} are {'neither 0 nor 1' if task == 'binary' else 'no finite number'}, "
            f"such as {wrong[0]:g}",
            subject=f"labels of {period}",
            remedy="Let a rule quarantine these rows, or `examples` leave the label null where the outcome is not known",
        )
    return rows


def _require_two_labels(fitting: pa.Table, origin: Origin) -> None:
    labels, is_stopping = to_array(fitting["label"]), pc.greater_equal(fitting[EVENT_TIMESTAMP], origin.early_stopping)
    held_back = np.asarray(is_stopping)
    for name, part in (("training", ~held_back), ("early-stopping", held_back)):
        if len(np.unique(labels[part])) < 2:
            raise DataError(
                f"has fewer than two different labels among its {part.sum()} rows",
                subject=f"the {name} period",
                remedy="Give params.yaml longer windows, advance further, or give the sources more rows",
            )


def _find(run: Run) -> Findings:
    """Look for leaks, and score the champion if only its own code can do so."""
    champion, answers = ask_champion(run, read_holdout(run))
    findings = Findings(
        data_version=data_version(run),
        leaks=find_leaks(run),
        champion=champion,
        obstacle=answers.obstacle,
    )
    with replacing(run.paths.evaluation) as folder:
        answered = {
            "request_id": pa.array([*answers.predicted.index], pa.string()),
            "prediction": answers.predicted.to_numpy(),
        }
        write_table(folder / ANSWERS, pa.table(answered))
        write_json(folder / FINDINGS, findings.model_dump(mode="json"))
    return findings


def find_leaks(run: Run) -> LeakEvidence:
    """Recompute features on sources cut off at timestamps spread evenly over the training and holdout periods."""
    period = Period(run.period("train").start, run.period("holdout").end)
    cuts = run.settings.gate.leak_cut_offs
    cut_offs = [period.start + (period.end - period.start) * i / (cuts + 1) for i in range(1, cuts + 1)]
    accepted = partial(SourceRows.of, run.paths.accepted, run.use_case, run.environment)
    return leak_check(run.use_case, accepted, cut_offs, run.as_of("training"))
