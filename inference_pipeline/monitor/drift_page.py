"""Compare two samples: a score for each column, and Evidently's page with its JSON."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Context
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset
from evidently.widgets import CounterData, counter

from inference_pipeline.monitor.psi import psi
from ratchet.core.progress import counted
from ratchet.storage.files import write_json, write_text
from ratchet.use_case.contract import Array, Columns, Kind

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
    """The columns of both samples: numbers unchanged, categories as text with null as a value.

    A number that is missing in any row has a second column, a category, which says where it is missing.
    """
    sides = [dict(_series(columns, side)) for side in (reference, window)]
    never = [
        name for name in sides[0] if name.endswith(MISSING) and not any((side[name] == "yes").any() for side in sides)
    ]
    first, second = (pd.DataFrame(side).drop(columns=never) for side in sides)
    return first, second


def _series(columns: Mapping[str, Kind], values: Columns) -> Iterator[tuple[str, Array]]:
    for name, kind in columns.items():
        if kind == "number":
            is_there = np.isfinite(values[name])
            yield name, np.where(is_there, values[name], np.nan)
            yield name + MISSING, np.where(is_there, "no", "yes").astype(object)
        else:
            yield name, np.array([_text(value) for value in values[name]], dtype=object)


def _text(value: Any) -> str:
    return "null" if pd.isna(value) else str(value).removesuffix(".0")


def scores(reference: pd.DataFrame, window: pd.DataFrame, min_rows: int) -> dict[str, float | None]:
    """The population stability index of each column; None where either side has fewer than `min_rows` values."""
    names = counted(reference, "columns", len(reference.columns))
    return {str(name): _score(reference[name].dropna(), window[name].dropna(), min_rows) for name in names}


def _score(reference: pd.Series[Any], window: pd.Series[Any], min_rows: int) -> float | None:
    if min(len(reference), len(window)) < min_rows:
        return None
    return psi(reference.to_numpy(), window.to_numpy(), numeric=reference.dtype == np.float64)


def write(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    names: Sequence[str],
    threshold: float,
    headline: Mapping[str, str],
    directory: Path,
) -> None:
    """Write drift.html, with the headline (label → value) above the named columns, and drift.json, with Evidently's results."""
    preset = _Columns(headline, columns=names, method=METHOD.name, threshold=threshold)
    with np.errstate(divide="ignore", invalid="ignore"):  # Evidently correlates columns, and one may be constant
        snapshot = Report([preset]).run(_dataset(window[names]), _dataset(reference[names]))
    write_text(directory / HTML, _with_running_ids(snapshot.get_html_str(as_iframe=False)))
    write_json(directory / JSON, snapshot.dict())


def write_reason(verdict: Mapping[str, str], directory: Path) -> None:
    """Write both files for a window that is not judged: they say why, and nothing else."""
    text = ": ".join(verdict.values())
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Drift</title><p>{html.escape(text)}</p></html>'
    write_text(directory / HTML, page)
    write_json(directory / JSON, dict(verdict))


class _Columns(DataDriftPreset):  # type: ignore[misc] # Evidently's types are not read
    """Evidently's table of columns, under our own headline.

    Evidently's own count includes the columns of missing values, and its verdict depends only on the share of drifted columns.
    Both are left out, so that the page has one verdict.
    """

    headline: dict[str, str]

    def __init__(self, headline: Mapping[str, str], **settings: Any) -> None:
        self.headline = dict(headline)
        super().__init__(**settings)

    def generate_metrics(self, context: Context) -> list[Any]:
        _count, *columns = super().generate_metrics(context)
        return list(columns)

    def render(self, context: Context, child_widgets: Any = None) -> list[Any]:
        *_verdict, table = super().render(context, child_widgets)
        table.title = "Columns"
        return [counter(counters=[CounterData(*line) for line in self.headline.items()]), table]


def _dataset(rows: pd.DataFrame) -> Dataset:
    numbers = [name for name in rows if rows[name].dtype == np.float64]
    categories = [name for name in rows if name not in numbers]
    return Dataset.from_pandas(rows, DataDefinition(numerical_columns=numbers, categorical_columns=categories))


def _with_running_ids(html: str) -> str:
    """The page with widgets numbered in order instead of named at random, so that equal samples give equal bytes."""
    numbers: dict[str, int] = {}
    return _ID_OF_A_WIDGET.sub(lambda match: f"widget_{numbers.setdefault(match[0], len(numbers) + 1)}", html)
