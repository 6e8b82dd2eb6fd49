"""Check whether the rows that a model scores still look like the rows that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inference_pipeline.batch.scorer import scorer
from inference_pipeline.monitor import drift_page
from inference_pipeline.monitor.drift_page import MISSING
from ratchet.core.errors import DataError, StoreError
from ratchet.core.settings import DriftSettings
from ratchet.model_registry.champion import Champion, resolve_former
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.model_files import REFERENCE
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.schema import PREDICTION, served
from ratchet.project.run import Run
from ratchet.project.step_reports import Report, read
from ratchet.storage.arrow import to_columns
from ratchet.storage.files import write_json
from ratchet.use_case.contract import Array, Columns


def monitor(run: Run) -> Report:
    """Compare the newest scored window with the training rows of the model that scored it; writes drift.html, drift.json and
    metrics/drift.json.

    That is the model of the last `predict`, also if another one serves by now, which has scored nothing of this window yet. A
    window with too few predictions, such as after an outage, is not judged. Raises StoreError if nothing was scored,
    RegistryError or GateError if that model is gone, DataError if it was trained on too few rows to compare.
    """
    champion = resolve_former(ModelRegistry.open(run), _scored_with(run))
    window = scored_window(run, champion)
    if _rows(window) < run.settings.drift.min_rows:
        found = _not_judged(run, window)
    else:
        found = {**drift_report(run, champion, window, run.paths.reports), "reason": None}
    report = {"model_version": champion.version, **found}
    write_json(run.paths.reports / "metrics" / "drift.json", _figures(report))
    return report


def _not_judged(run: Run, window: Columns) -> Report:
    """A report without a verdict on drift, and pages that say why, in place of those of an earlier window."""
    reason = f"{_rows(window)} predictions in the fresh window, and {run.settings.drift.min_rows} are needed (drift.min_rows)"
    verdict = {"verdict": "not judged", "reason": reason}
    drift_page.write_reason(verdict, run.paths.reports)
    nothing: Report = {"share": None, "columns": {}, "mean_prediction": None}
    return {**verdict, **nothing, "window": _describe(window), **_pages(run, run.paths.reports)}


def _pages(run: Run, directory: Path) -> dict[str, str]:
    files = {"html": directory / drift_page.HTML, "json": directory / drift_page.JSON}
    return {name: str(path.relative_to(run.root)) for name, path in files.items()}


def _scored_with(run: Run) -> int:
    """The version that scored last."""
    report = read(run, "predict")
    if report is None:
        raise StoreError(
            "nothing was scored yet",
            subject=f"use case {run.settings.use_case}",
            remedy=f"Run `dvc repro monitor@{run.settings.use_case}`",
        )
    return int(report["model_version"])


def _figures(report: Report) -> Report:
    """The numbers that `dvc metrics` compares between runs, and the verdict."""
    return {
        "drift": report["verdict"],
        "drift_share": report["share"],
        "drifted_columns": sum(bool(column["drift"]) for column in report["columns"].values()),
        "mean_prediction": report["mean_prediction"],
        "predictions": report["window"]["n"],
    }


def scored_window(run: Run, champion: Champion) -> dict[str, Array]:
    """A model's inputs and predictions of the fresh period: those of a batch by the present code, and online answers.

    Answers that their callers never got are left out: most of these requests were sent again.
    """
    log = PredictionLog.open(run).read(run.period("fresh"))
    is_present = pc.field("scorer").is_null() | (pc.field("scorer") == scorer(champion))
    is_own = pc.field("model_digest") == champion.model.digest
    own = log.filter(is_own & is_present & ~pc.field("undelivered"))
    return served(run.use_case, [*champion.model.contract.inputs], own)


def drift_report(run: Run, champion: Champion, window: Columns, directory: Path) -> Report:
    """Verdicts for each column and for all. The window has the model's inputs, `prediction` and `event_timestamp`.

    The verdict is drift if the prediction drifted, or if at least the configured share of the columns drifted.
    """
    settings, columns = run.settings.drift, {**champion.model.contract.inputs, PREDICTION: "number"}
    reference = to_columns(pq.read_table(champion.directory / REFERENCE))
    for side, rows in (("the window", window), ("the reference", reference)):
        _require_rows(side, rows, settings)
    sides = drift_page.frames(columns, reference, _sample(window, settings.reference_rows))
    scores = drift_page.scores(*sides, settings.min_rows)
    verdicts = {name: _verdict(scores[name], scores.get(name + MISSING), settings) for name in columns}
    found = {**_conclude(verdicts, settings), "mean_prediction": _means(reference, window), "window": _describe(window)}
    scored = [name for name, score in scores.items() if score is not None]
    drift_page.write(*sides, scored, settings.column_threshold, _headline(found, settings), directory)
    return {**found, **_pages(run, directory)}


def _conclude(verdicts: Mapping[str, dict[str, Any]], settings: DriftSettings) -> Report:
    judged = [verdict["drift"] for verdict in verdicts.values() if verdict["drift"] is not None]
    share = sum(judged) / len(judged)
    is_drift = share >= settings.share_threshold or verdicts[PREDICTION]["drift"]
    return {"verdict": "drift" if is_drift else "no drift", "columns": dict(verdicts), "share": round(share, 6)}


def _means(reference: Columns, window: Columns) -> Report:
    """The mean prediction (for a binary task: the expected rate) of the reference and of the window."""
    sides = {"reference": reference[PREDICTION], "window": window[PREDICTION]}
    return {name: round(float(values[np.isfinite(values)].mean()), 6) for name, values in sides.items()}


def _headline(found: Report, settings: DriftSettings) -> dict[str, str]:
    """The report in a few words, as shown above the page's columns."""
    mean, columns = found["mean_prediction"], found["columns"]
    judged = [column["drift"] for column in columns.values() if column["drift"] is not None]
    return {
        "verdict": found["verdict"],
        f"columns drifted ({settings.share_threshold:.0%} are drift)": f"{sum(judged)} of {len(judged)}",
        "prediction (alone is drift)": "drifted" if columns[PREDICTION]["drift"] else "not drifted",
        "mean prediction, reference → window": f"{mean['reference']:.4g} → {mean['window']:.4g}",
    }


def _verdict(values: float | None, missing: float | None, settings: DriftSettings) -> dict[str, Any]:
    """A column drifted if its values drifted, or if their share of missing ones did; the larger score decides.

    If there are too few values to score, and the share of missing ones did not drift, there is no verdict.
    """
    score = max(score for score in (values, missing, 0.0) if score is not None)
    found: dict[str, Any] = {"drift": score >= settings.column_threshold, "score": round(score, 6)}
    if missing is not None:
        found["missing"] = round(missing, 6)
    if values is None:
        found["reason"] = f"fewer than {settings.min_rows} values to compare"
    return found if found["drift"] or values is not None else {**found, "drift": None, "score": None}


def _describe(window: Columns) -> Report:
    times = np.sort(window["event_timestamp"])
    first, last = (f"{timestamp}+00:00" for timestamp in times[[0, -1]]) if len(times) else (None, None)
    return {"from": first, "to": last, "n": len(window[PREDICTION])}


def _require_rows(side: str, columns: Columns, settings: DriftSettings) -> None:
    rows = _rows(columns)
    if rows < settings.min_rows:
        raise DataError(
            f"{side} has {rows} rows with a prediction, too few to compare: {settings.min_rows} are needed",
            subject="drift report",
            remedy="Let more rows be scored or trained on, or lower drift.min_rows in params.yaml",
        )


def _rows(columns: Columns) -> int:
    """How many rows have a prediction."""
    return int(np.isfinite(columns[PREDICTION]).sum())


def _sample(window: Columns, most: int) -> dict[str, Array]:
    """At most `most` rows, the same ones every time."""
    rows = len(window[PREDICTION])
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[:most])
    return {name: values[chosen] for name, values in window.items()}
