"""Accepted tables without ingest and validate, for tests of what stands on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from feature_pipeline.accepted_files import accepted_files
from ratchet.features.leak_check import CutOff, known_before, leak_check
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.features.source_rows import SourceRows
from ratchet.project.run import Run
from ratchet.sources.batches import Source
from ratchet.storage.digests import digest
from ratchet.storage.partitions import Files, update
from ratchet.use_case.contract import INSTANT

Batches = Mapping[tuple[str, str], pa.Table]
"""Table and batch → rows in the table's schema; `row_late_at` and `row_early_late_at` may say which came late."""


def accept_all(run: Run, change: Callable[[pa.Table], pa.Table] = lambda rows: rows) -> None:
    """Accept what the project's loader delivers, save the impossible codes of the no-show feed, and changed as it is said."""
    source = run.settings.source
    batches = Source.open(run).loader(source.path, source.options, run.period("all"))
    accept(run, {(batch.table, batch.name): change(_possible(batch.read()[0])) for batch in batches})


def accept(run: Run, batches: Batches) -> None:
    """Make these the accepted rows: with row_key, by the UTC date of their event time."""
    wanted = {f"{table}/{batch}": digest(rows.to_pylist()) for (table, batch), rows in batches.items()}
    update(run.paths.accepted, wanted, lambda stale: [(unit, _files(run, unit, batches)) for unit in stale])


def check_for_leaks(run: Run, cut_offs: Sequence[datetime], cut: CutOff = known_before) -> LeakEvidence:
    """The leak check on the accepted rows."""
    opened = partial(SourceRows.of, run.paths.accepted, run.use_case, run.environment)
    return leak_check(run.use_case, opened, cut_offs, run.period("all").end, cut)


def _files(run: Run, unit: str, batches: Batches) -> Files:
    name, batch = unit.split("/")
    rows = batches[name, batch]
    table = run.use_case.table(name)
    for column in table.late_columns:
        if column not in rows.column_names:
            rows = rows.append_column(column, pa.nulls(rows.num_rows, INSTANT))
    return accepted_files(table, batch, rows, run.delivery(name), run.use_case.delay(name))


def _possible(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.field("missed") <= 1) if "missed" in rows.column_names else rows
