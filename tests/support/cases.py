"""Small projects of the use cases whose sources are simulators, and their rows as a test reads them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from ratchet.core.clock import FixedClock
from ratchet.core.environment import Environment
from ratchet.core.settings import PARAMS_FILE, DriftSettings, Periods, Settings, SourceSettings, TrainingSettings
from ratchet.features.expressions import CompiledExpression
from ratchet.features.source_rows import SourceRows
from ratchet.project.run import Run
from ratchet.storage.duckdb import connect, scan
from tests.support.checkout import ROOT

CHURN = Periods(
    start=date(2023, 10, 15),
    early_stopping=date(2023, 12, 1),
    holdout=date(2024, 1, 15),
    fresh=date(2024, 2, 9),
    end=date(2024, 3, 11),
)
DEMAND = Periods(
    start=date(2024, 3, 11),  # so that the jump to summer time is among the days
    early_stopping=date(2024, 4, 8),
    holdout=date(2024, 4, 12),
    fresh=date(2024, 4, 22),
    end=date(2024, 4, 29),
)
Row = dict[str, Any]


def case_project(root: Path, use_case: str, periods: Periods, **options: int) -> Run:
    """A project of a simulated source, whose clock stands at the end of its periods."""
    declared = Settings.load(ROOT / PARAMS_FILE, use_case)
    settings = Settings(
        use_case=use_case,
        source=SourceSettings(name="simulator", path=f"use_cases/{use_case}/simulator.py", options=options),
        periods=periods,
        training=TrainingSettings(
            early_stopping_rounds=20,
            lightgbm={"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 30},
        ),
        gate=declared.gate.model_copy(update={"resamples": 500}),
        drift=DriftSettings(min_rows=200),
    )
    run = Run(root, settings, Environment(threads=1))
    return Run(root, settings, run.environment, FixedClock(run.period("all").end))


def accepted_rows(run: Run, table: str) -> list[Row]:
    """All accepted rows of a table."""
    connection = connect(run.environment)
    rows = scan(connection, run.paths.accepted / table, run.use_case.table(table).stored_schema)
    found: list[Row] = connection.to_pyarrow(rows).to_pylist()
    return found


def derived_rows(run: Run, compiled: CompiledExpression) -> list[Row]:
    """What a view, the requests or the labels are by all accepted rows."""
    accepted = SourceRows.of(run.paths.accepted, run.use_case, run.environment, compiled)
    accepted.bind(None, None)
    found: list[Row] = accepted.connection.to_pyarrow(compiled.expression).to_pylist()
    return found


def unknown_columns(run: Run, made_on_demand: set[str]) -> set[str]:
    """What inputs, slices, block and baseline name, and is no request's field, view's feature or made on demand."""
    from ratchet.features.service import service_spec

    use_case = run.use_case
    features = service_spec(use_case).features
    known = {f"{lookup.prefix}__{name}" for lookup in use_case.lookups for name in features[lookup.view]}
    known |= {*use_case.request_fields(), *made_on_demand, "day", "week"}
    named = {
        *use_case.inputs,
        *run.settings.gate.slices,
        run.settings.gate.block,
        *(name for level in use_case.baseline for name in level),
    }
    return named - known
