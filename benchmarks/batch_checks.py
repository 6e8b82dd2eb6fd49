"""What do the checks of whole batches find, and how often are they wrong? `python -m benchmarks.batch_checks [DIR]`.

It validates the batches of the three simulators over more time than params.yaml has, and, if DIR is given, real months of TLC
trip records: as months, weeks and days. All of these batches are good, so every finding is a false alarm. Then some of the
batches are spoilt in several ways, and checked again against the good batches before them.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_pipeline.batch_records import read_record, read_records
from feature_pipeline.ingest import ingest
from feature_pipeline.quarantine import Quarantine, read_rows
from feature_pipeline.validate import validate
from ratchet.core.clock import Period, local_midnight, local_time, utc_time
from ratchet.core.environment import Environment
from ratchet.core.settings import Settings, SourceSettings, Windows
from ratchet.project.as_of import AsOf
from ratchet.project.run import Run
from ratchet.storage.partitions import read_manifest, write_table
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import ROW_ID, SourceTable, UseCase, load_use_case

RNG = np.random.default_rng(7)
FIRST_SPOILT = 3
"""Batches are spoilt from this one on, so that there are earlier ones to compare with."""
MOST_SPOILT = 12
Spoil = Callable[[pa.Table, SourceTable, str], pa.Table]
SIMULATED = {"nyc_taxi": ("trips", 2023, 2024), "churn": ("bills", 2022, 2025), "demand": ("rides", 2023, 2025)}
"""Use case → the table that is spoilt, and the first and last year."""


def garbage(share: float) -> Spoil:
    """Random values of the right type in some of the rows."""
    return lambda rows, table, _zone: _replaced(rows, table, RNG.random(rows.num_rows) < share)


def _replaced(rows: pa.Table, table: SourceTable, where: np.ndarray) -> pa.Table:
    columns = {name: rows[name] for name in rows.column_names}
    for field in table.schema:
        random = _random(field.type, rows.num_rows)
        columns[field.name] = pc.if_else(pa.array(where), random, columns[field.name])
    return pa.table(columns, schema=rows.schema)


def _random(kind: pa.DataType, rows: int) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(RNG.integers(10**15, 2 * 10**15, rows)).cast(kind)
    if pa.types.is_string(kind):
        return pa.array(RNG.integers(0, 10**9, rows)).cast(pa.string())
    if pa.types.is_boolean(kind):
        return pa.array(RNG.random(rows) < 0.5)
    return pa.array(RNG.integers(-(10**9), 10**9, rows)).cast(kind)


def half(rows: pa.Table, _table: SourceTable, _zone: str) -> pa.Table:
    return rows.filter(pa.array(RNG.random(rows.num_rows) < 0.5))


def first_half(rows: pa.Table, table: SourceTable, _zone: str) -> pa.Table:
    return rows.sort_by(table.event_time or table.key[0]).slice(0, rows.num_rows // 2)


def later(hours: float | None) -> Spoil:
    """All times later; None: as if UTC had been taken for local time."""
    return lambda rows, _table, zone: _moved(rows, zone, hours)


def _moved(rows: pa.Table, zone: str, hours: float | None) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            utc = rows[field.name].cast(pa.timestamp("us")).to_numpy()
            moved = utc_time(utc, zone) if hours is None else utc + np.timedelta64(int(hours * 60), "m")
            rows = rows.set_column(place, field, pa.array(moved).cast(field.type))
    return rows


def as_it_is(rows: pa.Table, _table: SourceTable, _zone: str) -> pa.Table:
    return rows


SPOILT: Mapping[str, tuple[Spoil, int]] = {
    "30% garbage": (garbage(0.3), 0),
    "all garbage": (garbage(1.0), 0),
    "half the rows": (half, 0),
    "first half": (first_half, 0),
    "UTC taken for local": (later(None), 0),
    "1 h early": (later(-1), 0),
    "1 h late": (later(1), 0),
    "2 h early": (later(-2), 0),
    "2 h late": (later(2), 0),
    "the last one, renamed": (as_it_is, 1),
    "the first one, as _v2": (as_it_is, 3),
}
"""How a batch is spoilt, and how many batches back it is taken from."""


Span = tuple[date, date]
"""The local days from the first to the one after the last."""


def simulated() -> Iterator[tuple[str, UseCase, SourceSettings, Span, str]]:
    for name, (table, first, last) in SIMULATED.items():
        source = SourceSettings(name="simulator", path=f"use_cases/{name}/simulator.py")
        yield f"{name} simulated", load_use_case(name), source, (date(first, 1, 1), date(last, 1, 1)), table


def real(folder: Path) -> Iterator[tuple[str, UseCase, SourceSettings, Span, str]]:
    """The months of 2023, and the same trips by week and by day."""
    taxi, source = load_use_case("nyc_taxi"), SourceSettings(name="tlc", path=str(folder))
    last = max(path.stem[-7:] for path in folder.glob("green_tripdata_2023-*.parquet"))
    end = (date.fromisoformat(f"{last}-01") + timedelta(days=31)).replace(day=1)
    span = (date(2023, 1, 1), end)
    months = list(taxi.sources["tlc"](str(folder), {}, Period.between(*span, taxi.timezone)))
    yield "trips by month", taxi, source, span, "trips"
    delivered = pa.concat_tables(batch.read()[0] for batch in months if getattr(batch, "table", "") == "trips")
    delivered = delivered.filter(pc.equal(delivered["months_from_delivery"], 0))
    local = local_time(delivered["pickup_at"].cast(pa.timestamp("us")).to_numpy(), taxi.timezone)
    days = local.astype("datetime64[D]").astype(np.int64)
    others = [batch for batch in months if getattr(batch, "table", "trips") != "trips"]
    for size, title in ((7, "trips by week"), (1, "trips by day")):
        parts = [(int(part), delivered.filter(pa.array(days // size == part))) for part in np.unique(days // size)]
        batches = [Batch("trips", f"{part:06}", str(part), lambda rows=rows: (rows, [])) for part, rows in parts]
        split = replace(taxi, sources={"tlc": lambda _path, _options, _period, all_=(*batches, *others): all_})
        yield title, split, source, span, "trips"


def measure(use_case: UseCase, source: SourceSettings, span: Span, name: str, root: Path) -> None:
    day = timedelta(days=1)
    settings = Settings(
        use_case=use_case.name,
        source=source,
        windows=Windows(start=span[0], early_stopping=day, holdout=day, fresh=day),
    )
    instants = AsOf.at(local_midnight(span[1], use_case.timezone))
    run = Run(root, settings, instants, Environment(threads=2), given=use_case)
    ingest(run)
    report = validate(run)
    good = Counter(each["check"] for kind in ("refused", "warned") for found in report[kind].values() for each in found)
    refused = len(report["refused"])
    _print(
        f"  good: {len(read_records(run)):,} batches of {len(use_case.tables)} tables: {dict(good)}, {refused} refused"
    )
    for kind in ("refused", "warned"):
        for unit, found in report[kind].items():
            _print(f"    {kind} {unit}: {'; '.join(each['check'] + ': ' + each['detail'] for each in found)}")
    batches = [unit.partition("/")[2] for unit in read_manifest(run.paths.raw) if unit.startswith(f"{name}/")]
    chosen = range(FIRST_SPOILT, len(batches), -(-len(batches) // MOST_SPOILT))
    found: dict[str, list[tuple[set[str], bool]]] = {}
    for place in chosen:
        judge = Quarantine(run, use_case.table(name))
        for title, (spoil, back) in SPOILT.items():
            found.setdefault(title, []).append(_found(judge, batches[:place], batches[place - back], spoil))
    for title, results in found.items():
        _show(title, results)


def _found(judge: Quarantine, earlier: Sequence[str], batch: str, spoil: Spoil) -> tuple[set[str], bool]:
    """The checks that a spoilt batch fails, and whether it is refused."""
    run, table, name = judge.run, judge.table, judge.table.name
    rows = spoil(read_rows(run.paths.raw / name / f"{batch}.parquet"), table, run.use_case.timezone)
    ids = pa.array([f"spoilt:{row:08d}" for row in range(rows.num_rows)])
    path = run.paths.raw / name / "spoilt.parquet"
    write_table(path, rows.set_column(0, rows.schema.field(ROW_ID), ids))
    judged = run.root / "judged.parquet"
    write_table(judged, judge.rejected("spoilt", earlier))
    path.unlink()
    record = read_record(judged)
    return {each.check for each in record.findings}, record.is_refused


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _show(title: str, found: Sequence[tuple[set[str], bool]]) -> None:
    named, refused = sum(bool(checks) for checks, _ in found), sum(is_refused for _, is_refused in found)
    by_check = Counter(check for checks, _ in found for check in checks)
    _print(f"  {title:<22} named {named:>3} of {len(found)}, refused {refused:>3}: {dict(by_check.most_common())}")


if __name__ == "__main__":
    sets = [*simulated(), *(real(Path(sys.argv[1])) if len(sys.argv) > 1 else ())]
    for title, use_case, source, span, table in sets:
        _print(title)
        with tempfile.TemporaryDirectory() as folder:
            measure(use_case, source, span, table, Path(folder))
