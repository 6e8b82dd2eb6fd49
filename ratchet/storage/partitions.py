"""Partitioned Parquet: atomic writes, equal bytes for equal input, and only what changed is computed.

A directory holds units (a delivered batch, a UTC date). A manifest beside them says which inputs a unit was computed from
and which files it wrote, so that a rerun computes only units whose inputs' digest changed or whose files are not as written.
While units are computed a journal grows by a line for each; it becomes part of the manifest in the end, and is deleted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ratchet.core import progress
from ratchet.core.errors import StoreError
from ratchet.storage.digests import digest, md5
from ratchet.storage.files import atomic, read_json, unwritable, write_json

MANIFEST = "_manifest.json"
Manifest = dict[str, dict[str, Any]]
Files = Mapping[str, pa.Table]
"""Path relative to the directory, without `.parquet` → its rows."""
Compute = Callable[[Sequence[str]], Iterable[tuple[str, Files]]]
"""Stale units, in order → each with the files it consists of."""


@dataclass(frozen=True)
class Changes:
    """What `update` did: units computed, kept and removed, and the rows of each unit that stands now."""

    computed: list[str]
    kept: list[str]
    removed: list[str]
    rows: dict[str, int]


def write_table(path: Path, table: pa.Table) -> None:
    """Parquet with fixed settings: the same rows in the same order are the same bytes."""
    with atomic(path) as temporary:
        pq.write_table(table.combine_chunks(), temporary, compression="zstd", row_group_size=1 << 17)


def read_manifest(directory: Path) -> Manifest:
    """Unit → {inputs, files: {path: md5}, rows}, also of a run that did not end; empty where nothing was written yet."""
    path = directory / MANIFEST
    return dict(sorted({**(read_json(path) if path.exists() else {}), **_journaled(_journal(directory))}.items()))


def _journal(directory: Path) -> Path:
    """The journal of what was computed since the manifest, after which it is named: one of another manifest is never read."""
    path = directory / MANIFEST
    return directory / f"_journal-{md5(path) if path.exists() else 'new'}.jsonl"


def _journaled(journal: Path) -> Manifest:
    """The units of a journal, without the line that a killed run was writing."""
    found: Manifest = {}
    for line in journal.read_bytes().splitlines() if journal.exists() else ():
        with suppress(ValueError):
            found |= json.loads(line)
    return found


def _record(journal: Path, unit: str, entry: Mapping[str, Any]) -> None:
    """Without fsync: a lost line costs a computation, because units are believed only if their files are as listed."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("ab") as handle:
            handle.write(f"\n{json.dumps({unit: entry})}".encode())  # a line that a killed run was writing ends here
    except OSError as error:
        raise unwritable(journal, error) from error


def update(directory: Path, wanted: Mapping[str, str], compute: Compute) -> Changes:
    """Bring `directory` to exactly the `wanted` units (name → digest of its inputs).

    Units that stand as recorded are kept, others are computed, those no longer wanted are removed. It may be killed at any
    point: files appear whole or not at all, a unit stays listed as it was until its successor is written, and a unit that
    does not stand as listed is computed again.
    """
    manifest, journal = read_manifest(directory), _journal(directory)
    stands = {unit: _stands(directory, manifest.get(unit), inputs) for unit, inputs in wanted.items()}
    stale = [unit for unit in wanted if not stands[unit]]
    removed = [unit for unit in manifest if unit not in wanted]
    computed = []
    units = progress.counted(compute(stale), directory.name, len(stale)) if stale else ()
    for unit, files in units:
        manifest[unit] = _write_unit(directory, wanted[unit], files)
        _record(journal, unit, manifest[unit])
        computed.append(unit)
    if set(computed) != set(stale):
        raise StoreError(
            f"units {stale} were wanted and {computed} computed",
            subject=str(directory),
            remedy="This is a defect: report it",
        )
    manifest = {unit: manifest[unit] for unit in wanted}
    _sweep(directory, manifest, journal)
    write_json(directory / MANIFEST, manifest)
    journal.unlink(missing_ok=True)
    kept = [unit for unit in wanted if stands[unit]]
    return Changes(computed, kept, removed, {unit: manifest[unit]["rows"] for unit in wanted})


def _stands(directory: Path, entry: Mapping[str, Any] | None, inputs: str) -> bool:
    if entry is None or entry["inputs"] != inputs:
        return False
    paths = {directory / name: expected for name, expected in entry["files"].items()}
    return all(path.exists() and md5(path) == expected for path, expected in paths.items())


def _write_unit(directory: Path, inputs: str, files: Files) -> dict[str, Any]:
    written = {f"{name}.parquet": table for name, table in files.items()}
    for name, table in written.items():
        write_table(directory / name, table)
    return {
        "inputs": inputs,
        "files": {name: md5(directory / name) for name in sorted(written)},
        "rows": sum(table.num_rows for table in written.values()),
    }


def _sweep(directory: Path, manifest: Manifest, journal: Path) -> None:
    """Remove files that no unit vouches for, and folders left empty."""
    vouched = {directory / name for entry in manifest.values() for name in entry["files"]} | {journal}
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in vouched and path.name != MANIFEST:
            path.unlink()


def unit_digests(directory: Path) -> dict[str, str]:
    """Unit → digest of its content, for the inputs of the next step. Raises StoreError where nothing was written."""
    manifest = read_manifest(directory)
    if not manifest:
        raise StoreError(
            "holds no tables", subject=str(directory), remedy="Run `dvc repro`, or the stage that writes it"
        )
    return {unit: digest(entry["files"]) for unit, entry in manifest.items()}


def files(directory: Path, first: date | None = None, last: date | None = None) -> list[str]:
    """The Parquet files below `directory`, of the UTC dates from `first` to `last` inclusive where they are given."""
    entries = sorted(os.scandir(directory), key=lambda entry: entry.name) if directory.is_dir() else []
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    parts = [directory / name for name in names if _within(name, first, last)]
    found = (path for part in parts for path in (sorted(part.rglob("*.parquet")) if part.is_dir() else [part]))
    return [str(path) for path in found if path.suffix == ".parquet" and not path.name.startswith(".")]


def _within(path: str, first: date | None, last: date | None) -> bool:
    day = partition_date(path)
    return day is None or ((first is None or day >= first) and (last is None or day <= last))


def by_date(rows: pa.Table, column: str) -> dict[date, pa.Table]:
    """The rows of each UTC date of an instant, dates and rows in order; rows without one are in none."""
    days = pc.cast(rows[column], pa.date32())
    order = pc.sort_indices(days)  # stable, nulls last
    ordered, counts = rows.take(order), pc.value_counts(days.take(order)).to_pylist()
    starts = accumulate((count["counts"] for count in counts), initial=0)
    return {
        count["values"]: ordered.slice(start, count["counts"])
        for start, count in zip(starts, counts, strict=False)
        if count["values"] is not None
    }


def partition_date(path: str) -> date | None:
    """The UTC date of a file, by the folder in its table that it lies in; None for one that lies in none of a date."""
    folder, is_within, _ = path.partition("/")
    is_date = is_within and folder.startswith("date=")
    return date.fromisoformat(folder.removeprefix("date=")) if is_date else None
