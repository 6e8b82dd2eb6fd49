"""Small projects of the use cases whose sources are simulators, and their rows as a test reads them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from ratchet.core.clock import FixedClock
from ratchet.core.environment import Environment
from ratchet.core.settings import PARAMS_FILE, DriftSettings, Settings, SourceSettings, TrainingSettings
from ratchet.features.expressions import CompiledExpression
from ratchet.features.source_rows import SourceRows
from ratchet.project.run import Run
from ratchet.storage.duckdb import connect, scan
from ratchet.use_case.contract import load_use_case
from tests.support.checkout import ROOT
from tests.support.windows import Days, as_of, windows

CHURN = (date(2023, 10, 15), date(2023, 12, 1), date(2024, 1, 15), date(2024, 2, 9), date(2024, 3, 11))
DEMAND = (date(2024, 3, 11), date(2024, 4, 8), date(2024, 4, 12), date(2024, 4, 22), date(2024, 4, 29))
"""The jump to summer time is among the days."""
Row = dict[str, Any]


def case_project(root: Path, use_case: str, days: Days, **options: int) -> Run:
    """A project of a simulated source, whose clock stands at the end of its windows."""
    declared = Settings.load(ROOT / PARAMS_FILE, use_case)
    settings = Settings(
        use_case=use_case,
        source=SourceSettings(name="simulator", path=f"use_cases/{use_case}/simulator.py", options=options),
        windows=windows(days),
        training=TrainingSettings(
            early_stopping_rounds=20,
            refit="after_gate",
            lightgbm={"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 30},
        ),
        gate=declared.gate.model_copy(update={"resamples": 500}),
        drift=DriftSettings(min_rows=200),
    )
    instants = as_of(days[-1], load_use_case(use_case).timezone)
    return Run(root, settings, instants, Environment(threads=1), FixedClock(instants.feature))


def accepted_rows(run: Run, table: str) -> list[Row]:
    """All accepted rows of a table."""
    connection = connect(run.environment)
    rows = scan(connection, run.paths.accepted / table, run.use_case.table(table).accepted_schema)
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
