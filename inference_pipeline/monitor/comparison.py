"""Evidently's comparison of two samples: an HTML page to look at, its JSON, and a score for each column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

from inference_pipeline.monitor.psi import psi
from ratchet.settings import DriftSettings
from ratchet.tables import write_json, write_text
from ratchet.use_case import Array, Columns, Kind

HTML, JSON = "drift.html", "drift.json"
MISSING = " (missing)"
_ID_OF_A_WIDGET = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|metric_[0-9a-f]{32}")


def _psi(reference: pd.Series[Any], window: pd.Series[Any], kind: ColumnType, threshold: float) -> tuple[float, bool]:
    score = psi(reference.to_numpy(), window.to_numpy(), numeric=kind == ColumnType.Numerical)
    return score, score >= threshold


METHOD = StatTest(
    name="ratchet_psi",
    display_name="PSI by deciles or common values",
    allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
)
register_stattest(METHOD, _psi)


def frames(columns: Mapping[str, Kind], reference: Columns, window: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Numbers as they are, categories as text with null as a value. Where a number is missing is a category of its own,
    if it is missing anywhere."""
    sides = [dict(_series(columns, side)) for side in (reference, window)]
    never = [
        name for name in sides[0] if name.endswith(MISSING) and not any((side[name] == "yes").any() for side in sides)
    ]
    first, second = (pd.DataFrame(side).drop(columns=never) for side in sides)
    return first, second


def _series(columns: Mapping[str, Kind], values: Columns) -> Iterator[tuple[str, Array]]:
    for name, kind in columns.items():
        if kind == "number":
            yield name, values[name]
            yield name + MISSING, np.where(np.isfinite(values[name]), "no", "yes").astype(object)
        else:
            yield name, np.array([_text(value) for value in values[name]], dtype=object)


def _text(value: Any) -> str:
    return "null" if pd.isna(value) else str(value).removesuffix(".0")


def compare(
    reference: pd.DataFrame, window: pd.DataFrame, settings: DriftSettings, directory: Path
) -> dict[str, float | None]:
    """Write drift.html and drift.json; the population stability index of each column, None where there is too little."""
    names = [str(name) for name in reference]
    enough = [name for name in names if _count(reference[name], window[name]) >= settings.min_rows]
    preset = DataDriftPreset(
        columns=enough,
        method=METHOD.name,
        threshold=settings.column_threshold,
        drift_share=settings.share_threshold,
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # it correlates columns, of which one may be constant
        snapshot = Report([preset]).run(_dataset(window[enough]), _dataset(reference[enough]))
    write_text(directory / HTML, _with_running_ids(snapshot.get_html_str(as_iframe=False)))
    found = snapshot.dict()
    write_json(directory / JSON, found)
    scores = {
        metric["config"]["column"]: metric["value"] for metric in found["metrics"] if "column" in metric["config"]
    }
    return {name: float(scores[name]) if name in scores else None for name in names}


def _count(*sides: pd.Series[Any]) -> int:
    return min(int(side.notna().sum()) for side in sides)


def _dataset(rows: pd.DataFrame) -> Dataset:
    numbers = [name for name in rows if rows[name].dtype == np.float64]
    categories = [name for name in rows if name not in numbers]
    return Dataset.from_pandas(rows, DataDefinition(numerical_columns=numbers, categorical_columns=categories))


def _with_running_ids(html: str) -> str:
    """The page with widgets numbered in their order instead of named at random: equal samples are equal bytes."""
    numbers: dict[str, int] = {}
    return _ID_OF_A_WIDGET.sub(lambda match: f"widget_{numbers.setdefault(match[0], len(numbers) + 1)}", html)
