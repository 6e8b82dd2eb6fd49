"""Does what the champion scores still look like what it was trained on?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inference_pipeline.champion import load_champion
from inference_pipeline.monitor import comparison
from inference_pipeline.monitor.comparison import MISSING
from ratchet import prediction_log
from ratchet.errors import DataError
from ratchet.model import REFERENCE
from ratchet.project import Project
from ratchet.promotion import Champion
from ratchet.reports import Report
from ratchet.settings import DriftSettings
from ratchet.tables import to_columns
from ratchet.use_case import Array, Columns

PREDICTION = "prediction"


def monitor(project: Project) -> Report:
    """Compare the newest scored window with the champion's training rows; writes drift.html and drift.json.

    Raises RegistryError or GateError where no model serves, DataError where it scored too few rows to tell.
    """
    champion = load_champion(project)
    return drift_report(project, champion, scored_window(project, champion), project.reports)


def scored_window(project: Project, champion: Champion) -> dict[str, Array]:
    """What the champion was given in the fresh period, in batch and online, and what it answered."""
    log = prediction_log.read(project, project.period("fresh"))
    own = log.filter(pc.field("model_digest") == champion.model.digest)
    return {**prediction_log.served(project.use_case, own), PREDICTION: own.column(PREDICTION).to_numpy()}


def drift_report(project: Project, champion: Champion, window: Columns, directory: Path) -> Report:
    """Verdicts for each column and for all, of a window that has the model's inputs, `prediction` and `event_timestamp`.

    It is drift when the prediction drifted, or a share of the columns that the settings name.
    """
    settings, columns = project.settings.drift, {**champion.model.contract.inputs, PREDICTION: "number"}
    _require_rows(window, settings)
    reference = to_columns(pq.read_table(champion.directory / REFERENCE))
    sides = comparison.frames(columns, reference, _sample(window, settings.reference_rows))
    scores = comparison.compare(*sides, settings, directory)
    verdicts = {name: _verdict(scores[name], scores.get(name + MISSING), settings) for name in columns}
    judged = [verdict["drift"] for verdict in verdicts.values() if verdict["drift"] is not None]
    share = sum(judged) / len(judged)
    is_drift = share >= settings.share_threshold or verdicts[PREDICTION]["drift"]
    return {
        "verdict": "drift" if is_drift else "no drift",
        "columns": verdicts,
        "share": round(share, 6),
        "html": str((directory / comparison.HTML).relative_to(project.root)),
        "json": str((directory / comparison.JSON).relative_to(project.root)),
        "window": _describe(window),
    }


def _verdict(values: float | None, missing: float | None, settings: DriftSettings) -> dict[str, Any]:
    """A column drifted when its values did, or how often they are missing; the larger score decides.

    With too few values to score, and no more of them missing than ever, there is no verdict.
    """
    score = max(score for score in (values, missing, 0.0) if score is not None)
    found: dict[str, Any] = {"drift": score >= settings.column_threshold, "score": round(score, 6)}
    if missing is not None:
        found["missing"] = round(missing, 6)
    if values is None:
        found["reason"] = f"fewer than {settings.min_rows} values to compare"
    return found if found["drift"] or values is not None else {**found, "drift": None, "score": None}


def _describe(window: Columns) -> Report:
    first, last = (f"{moment}+00:00" for moment in np.sort(window["event_timestamp"])[[0, -1]])
    return {"from": first, "to": last, "n": len(window[PREDICTION])}


def _require_rows(window: Columns, settings: DriftSettings) -> None:
    rows = len(window[PREDICTION])
    if rows < settings.min_rows:
        raise DataError(
            f"the window has {rows} rows, too few to compare: {settings.min_rows} are needed",
            subject="drift report",
            remedy="Run the stage `predict`, or lower drift.min_rows in params.yaml",
        )


def _sample(window: Columns, most: int) -> dict[str, Array]:
    """At most that many rows, the same ones every time."""
    rows = len(window[PREDICTION])
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[:most])
    return {name: values[chosen] for name, values in window.items()}
