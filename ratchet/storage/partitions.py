"""Partitioned Parquet: atomic writes, equal bytes for equal input, and only changed units are computed.

A directory holds units (a delivered batch, a UTC date). A manifest beside them records from which inputs each unit was
computed and which files it wrote, so that a rerun computes only units whose inputs' digest changed or whose files differ from
the record. While units are computed, a journal gets a line for each; at the end it is merged into the manifest and deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
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
from ratchet.storage.date_folders import folder_dates
from ratchet.storage.digests import digest, md5
from ratchet.storage.files import atomic, read_json, unwritable, write_json

MANIFEST = "_manifest.json"
Manifest = dict[str, dict[str, Any]]
Files = Mapping[str, pa.Table]
"""Path relative to the directory, without `.parquet` → its rows."""


class Provisional(dict[str, pa.Table]):
    """Files that hold for now, for a unit that cannot be computed: the next `update` tries again. Without any, the unit is
    left out."""


_TRY_AGAIN = "provisional"

Compute = Callable[[Sequence[str]], Iterable[tuple[str, Files]]]
"""Stale units, in order → pairs of a unit and its files."""


@dataclass(frozen=True)
class Changes:
    """The result of `update`: units computed, kept and removed, and the number of rows of each wanted unit that exists now."""

    computed: list[str]
    kept: list[str]
    removed: list[str]
    rows: dict[str, int]


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet with fixed settings: the same rows in the same order give the same bytes."""
    with atomic(path) as temporary:
        pq.write_table(table.combine_chunks(), temporary, compression="zstd", row_group_size=1 << 17)


def rows_digest(table: pa.Table) -> str:
    """A digest of rows in their order, whatever other rows their file has."""
    written = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), written)
    return hashlib.sha256(written.getvalue()).hexdigest()


def read_manifest(directory: Path) -> Manifest:
    """Unit → {inputs, files: {path: md5}, rows}, including units of an unfinished run; empty if nothing was written yet."""
    path = directory / MANIFEST
    return dict(sorted({**(read_json(path) if path.exists() else {}), **_journaled(_journal(directory))}.items()))


def _journal(directory: Path) -> Path:
    """The journal of units computed since the manifest. Its name has the manifest's digest, so that no older one is read."""
    path = directory / MANIFEST
    return directory / f"_journal-{md5(path) if path.exists() else 'new'}.jsonl"


def _journaled(journal: Path) -> Manifest:
    """The units of a journal, without a line that a killed run left incomplete."""
    found: Manifest = {}
    for line in journal.read_bytes().splitlines() if journal.exists() else ():
        with suppress(ValueError):
            found |= json.loads(line)
    return found


def _record(journal: Path, unit: str, entry: Mapping[str, Any]) -> None:
    """Append a unit to the journal, without fsync: a lost line only costs a computation."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("ab") as handle:
            handle.write(f"\n{json.dumps({unit: entry})}".encode())  # a killed run may have left half a line
    except OSError as error:
        raise unwritable(journal, error) from error


def update(directory: Path, wanted: Mapping[str, str], compute: Compute, *, keep_others: bool = False) -> Changes:
    """Make `directory` hold exactly the `wanted` units (name → digest of its inputs).

    Units that are up to date are kept, and others are computed. Units that are not wanted are removed, unless `keep_others`.
    The process may be killed at any point: files appear whole or not at all, the manifest lists the old unit until the new one
    is written, and a unit whose files differ from the manifest is computed again.
    """
    manifest, journal = read_manifest(directory), _journal(directory)
    is_current = {unit: _is_current(directory, manifest.get(unit), inputs) for unit, inputs in wanted.items()}
    stale = [unit for unit in wanted if not is_current[unit]]
    others = {unit: entry for unit, entry in manifest.items() if unit not in wanted}
    done = []
    units = progress.counted(compute(stale), directory.name, len(stale)) if stale else ()
    for unit, content in units:
        done.append(unit)
        is_final = not isinstance(content, Provisional)
        if content or is_final:
            manifest[unit] = _write_unit(directory, wanted[unit] if is_final else _TRY_AGAIN, content)
            _record(journal, unit, manifest[unit])
        else:
            manifest.pop(unit, None)
    if set(done) != set(stale):
        raise StoreError(
            f"units {stale} were wanted and {done} computed",
            subject=str(directory),
            remedy="This is a defect: report it",
        )
    there = {unit: manifest[unit] for unit in wanted if unit in manifest}
    manifest = {**(others if keep_others else {}), **there}
    _sweep(directory, manifest, journal)
    write_json(directory / MANIFEST, manifest)
    journal.unlink(missing_ok=True)
    kept = [unit for unit in wanted if is_current[unit]]
    computed = [unit for unit in done if unit in there and there[unit]["inputs"] != _TRY_AGAIN]
    rows = {unit: entry["rows"] for unit, entry in there.items()}
    changes = Changes(computed, kept, [] if keep_others else [*others], rows)
    if computed or changes.removed:
        _CHANGED.get({})[directory.name] = changes
    return changes


@contextmanager
def changed_tables() -> Iterator[dict[str, Changes]]:
    """Collects what `update` changes while the block runs: name of the directory → its changes."""
    found: dict[str, Changes] = {}
    token = _CHANGED.set(found)
    try:
        yield found
    finally:
        _CHANGED.reset(token)


_CHANGED: ContextVar[dict[str, Changes]] = ContextVar("changed")


def remove(directory: Path, unwanted: Collection[str]) -> None:
    """Remove units, and all files that belong to no unit. May be killed at any point and called again."""
    journal = _journal(directory)
    manifest = {unit: entry for unit, entry in read_manifest(directory).items() if unit not in unwanted}
    write_json(directory / MANIFEST, manifest)
    journal.unlink(missing_ok=True)
    _sweep(directory, manifest, journal)


def intact(directory: Path, unit: str) -> list[Path]:
    """The files of a unit; none if it was never computed, or if a file differs from the manifest."""
    entry = read_manifest(directory).get(unit)
    is_intact = entry is not None and _is_current(directory, entry, entry["inputs"])
    return [directory / name for name in entry["files"]] if entry and is_intact else []


def _is_current(directory: Path, entry: Mapping[str, Any] | None, inputs: str) -> bool:
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
    """Remove files that belong to no unit, and empty folders."""
    listed = {directory / name for entry in manifest.values() for name in entry["files"]} | {journal}
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in listed and path.name != MANIFEST:
            path.unlink()


def unit_digests(directory: Path) -> dict[str, str]:
    """Unit → digest of its content, as an input of the next step. Raises StoreError if nothing was written yet."""
    manifest = read_manifest(directory)
    if not manifest:
        raise StoreError(
            "holds no tables", subject=str(directory), remedy="Run `dvc repro`, or the stage that writes it"
        )
    return {unit: digest(entry["files"]) for unit, entry in manifest.items()}


def files(directory: Path, first: date | None = None, last: date | None = None) -> list[str]:
    """The Parquet files below `directory`, in order; only of the UTC dates `first` to `last`, inclusive, if they are given.

    A file with several dates is among those of each.
    """
    entries = sorted(os.scandir(directory), key=lambda entry: entry.name) if directory.is_dir() else []
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    parts = [directory / name for name in names if _within(name, first, last)]
    found = (path for part in parts for path in (sorted(part.rglob("*.parquet")) if part.is_dir() else [part]))
    return [str(path) for path in found if path.suffix == ".parquet" and not path.name.startswith(".")]


def _within(path: str, first: date | None, last: date | None) -> bool:
    days = folder_dates(path)
    return not days or any((first is None or day >= first) and (last is None or day <= last) for day in days)


def by_date(rows: pa.Table, column: str) -> dict[date, pa.Table]:
    """UTC date → the rows whose instant `column` is on it, dates and rows in order; rows without an instant are left out."""
    days = pc.cast(rows[column], pa.date32())
    order = pc.sort_indices(days)  # stable, nulls last
    ordered, counts = rows.take(order), pc.value_counts(days.take(order)).to_pylist()
    starts = accumulate((count["counts"] for count in counts), initial=0)
    return {
        count["values"]: ordered.slice(start, count["counts"])
        for start, count in zip(starts, counts, strict=False)
        if count["values"] is not None
    }
