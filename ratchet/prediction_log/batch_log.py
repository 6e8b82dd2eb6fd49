"""The batch half of the prediction log: a file for each UTC date and scorer, to which rows are only ever added."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ratchet.storage.date_folders import date_folder
from ratchet.storage.dated import chunks
from ratchet.storage.digests import digest
from ratchet.storage.partitions import Files, by_date, intact, update

Score = Callable[[date, date], pa.Table]
"""First and last date → the log's rows for all requests of these dates."""


@dataclass(frozen=True)
class BatchLog:
    """The predictions of one scorer, which is a model with the code that scores by it. Those of others are kept as they are."""

    folder: Path
    scorer: str

    def add(self, requested: Mapping[date, Sequence[str]], score: Score) -> None:
        """Add a row for each requested id that has none yet, by the UTC date of its request. A row that is there never changes.

        The process may be killed at any point; then another call adds the rest.
        """
        held = {day: self._held(day) for day in requested}
        wanted = {self._unit(day): digest(sorted({*ids, *_ids(held[day])})) for day, ids in requested.items()}
        days = {self._unit(day): day for day in requested}

        def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
            for chunk in chunks([days[unit] for unit in stale]):
                found = by_date(score(chunk[0], chunk[-1]), "time")
                for day in chunk:
                    yield self._unit(day), {self._unit(day): _merged(held[day], found[day], requested[day])}

        update(self.folder, wanted, compute, keep_others=True)

    def _unit(self, day: date) -> str:
        return f"{date_folder(day)}/{self.scorer}"

    def _held(self, day: date) -> pa.Table | None:
        """The rows of a date that this scorer wrote."""
        paths = intact(self.folder, self._unit(day))
        return pa.concat_tables(pq.read_table(path, partitioning=None) for path in paths) if paths else None


def _ids(held: pa.Table | None) -> list[str]:
    found: list[str] = held["request_id"].to_pylist() if held else []
    return found


def _merged(held: pa.Table | None, scored: pa.Table, requested: Sequence[str]) -> pa.Table:
    """The rows that were there, and the requested ones that were not, in order of time."""
    new = sorted({*requested} - {*_ids(held)})
    rows = scored.filter(pc.is_in(scored["request_id"], value_set=pa.array(new, pa.string())))
    return pa.concat_tables([*filter(None, [held]), rows]).sort_by([("time", "ascending"), ("request_id", "ascending")])
