"""What the online store holds of a view, remembered beside it, so that only changes are written.

Before rows are written, they are kept as pending. If the process is killed, some of them may be in the store: a row then counts
as written only if it was there before, too, and is among the pending ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.storage.duckdb import Query
from ratchet.storage.partitions import write_table
from ratchet.storage.sql import names


@dataclass(frozen=True)
class WrittenRows:
    """The rows of one view, in a folder with those of others. `keys` are the view's keys; rows have one of each."""

    folder: Path
    view: str
    keys: Sequence[str]

    def changed(self, rows: pa.Table) -> Query:
        """The rows that the store does not hold like this."""
        held = [table for table in self._held() if table.schema.equals(rows.schema)]
        is_certain = len(held) == len(self._held()) and self._written.exists()
        certain = " INTERSECT ".join(f"SELECT * FROM held_{place}" for place in range(len(held)))
        without = f" EXCEPT ({certain})" if is_certain else ""
        tables = {f"held_{place}": table for place, table in enumerate(held)}
        return Query(f"SELECT * FROM (SELECT * FROM new{without}) ORDER BY {names(self.keys)}", {"new": rows, **tables})

    def removed(self, rows: pa.Table) -> Query:
        """The keys that the store may hold, and that have no row any more."""
        held = [rows.slice(0, 0).select(self.keys), *(table.select(self.keys) for table in self._held())]
        keys = names(self.keys)
        sql = f"SELECT DISTINCT {keys} FROM held ANTI JOIN new USING ({keys}) ORDER BY {keys}"
        return Query(sql, {"held": pa.concat_tables(held), "new": rows})

    def begin(self, rows: pa.Table) -> None:
        """Call it before anything is written."""
        write_table(self._pending, rows)

    def finish(self) -> None:
        """Call it when everything is written."""
        self._pending.replace(self._written)

    @property
    def _written(self) -> Path:
        return self.folder / f"{self.view}.parquet"

    @property
    def _pending(self) -> Path:
        return self.folder / f"{self.view}.pending.parquet"

    def _held(self) -> list[pa.Table]:
        paths = (path for path in (self._written, self._pending) if path.exists())
        return [pq.read_table(path, partitioning=None).replace_schema_metadata(None) for path in paths]


def forget_all_but(folder: Path, views: Collection[str]) -> None:
    """Forget the views that the store no longer has."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.partition(".")[0] not in views:
            path.unlink()
