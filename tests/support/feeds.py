"""Ready-made sources of payments by day, and how a test delivers to each of them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ratchet.core.clock import Period
from ratchet.core.settings import SourceSettings
from ratchet.sources.file_source import file_source
from ratchet.sources.http_source import HttpSource, http_source
from ratchet.sources.postgres_source import postgres_source
from ratchet.use_case.batch import Batch, Gap, Keeping, Loader, Unread
from tests.support.feed import PAYMENTS, SHOPS
from tests.support.web_server import WebServer

FIRST = date(2024, 1, 1)
FILES = file_source("payments", PAYMENTS, timezone="UTC")
WEB = http_source("payments", PAYMENTS, timezone="UTC")
TABLE = postgres_source("payments", PAYMENTS, timezone="UTC")


def named(day: int) -> str:
    """The name of a day's batch; days are counted from 0."""
    return (FIRST + timedelta(days=day)).isoformat()


def payments(day: int, ids: Sequence[int]) -> pa.Table:
    """The payments of a day, of one coin each."""
    columns = {
        "id": ids,
        "shop": ["a"] * len(ids),
        "at": [f"{named(day)}T12:00:00"] * len(ids),
        "amount": [1.0] * len(ids),
    }
    return pa.table(columns, schema=pa.schema({**{f.name: f.type for f in PAYMENTS}, "at": pa.string()}))


class Feed(Protocol):
    """A ready-made source, where it reads, and what a test does to it."""

    loader: Loader

    @property
    def settings(self) -> SourceSettings: ...

    def deliver(self, day: int, ids: Sequence[int]) -> None:
        """Deliver payments in place of the former ones of that day."""

    def take_away(self, day: int) -> None:
        """Let the source have no payments of that day."""

    def break_it(self) -> str:
        """Make the source unreadable. Returns a name that the error must have."""


@dataclass
class CsvFolder:
    """`{folder}/{day}.csv`"""

    root: Path
    loader: Loader = FILES

    @property
    def settings(self) -> SourceSettings:
        return SourceSettings(name="folder", path="batches")

    def deliver(self, day: int, ids: Sequence[int]) -> None:
        self._path(day).parent.mkdir(exist_ok=True)
        pyarrow.csv.write_csv(payments(day, ids), self._path(day))

    def take_away(self, day: int) -> None:
        self._path(day).unlink()

    def break_it(self) -> str:
        self._path(1).write_bytes("id,shop,at,amount\n1,Jörg,2024-01-01,1.0\n".encode("latin-1"))
        return str(self._path(1))

    def _path(self, day: int) -> Path:
        return self.root / "batches" / f"{named(day)}.csv"


@dataclass
class Pattern:
    """Packed CSV files in folders of years."""

    root: Path
    loader: Loader = FILES

    @property
    def settings(self) -> SourceSettings:
        return SourceSettings(name="folder", path="batches/20*/[0-9]*.csv.gz")

    def deliver(self, day: int, ids: Sequence[int]) -> None:
        self._path(day).parent.mkdir(parents=True, exist_ok=True)
        plain = io.BytesIO()
        pyarrow.csv.write_csv(payments(day, ids), plain)
        self._path(day).write_bytes(gzip.compress(plain.getvalue(), mtime=0))

    def take_away(self, day: int) -> None:
        self._path(day).unlink()

    def break_it(self) -> str:
        self._path(1).write_bytes(self._path(1).read_bytes()[:-9])
        return str(self._path(1))

    def _path(self, day: int) -> Path:
        return self.root / "batches" / named(day)[:4] / f"{named(day)}.csv.gz"


@dataclass
class Web:
    """`/{day}.parquet` on a web server."""

    server: WebServer
    loader: Loader = WEB

    def __post_init__(self) -> None:
        assert isinstance(self.loader, HttpSource)
        self.loader = replace(self.loader, waits=(0.0,))

    @property
    def settings(self) -> SourceSettings:
        return SourceSettings(name="folder", path=f"{self.server.address}/{{year}}-{{month:02}}-{{day:02}}.parquet")

    def deliver(self, day: int, ids: Sequence[int]) -> None:
        sink = io.BytesIO()
        pq.write_table(payments(day, ids), sink)
        self.server.files[f"/{named(day)}.parquet"] = sink.getvalue()

    def take_away(self, day: int) -> None:
        del self.server.files[f"/{named(day)}.parquet"]

    def break_it(self) -> str:
        self.server.faults[f"/{named(1)}.parquet"] = [500] * 99
        return f"{self.server.address}/{named(1)}.parquet"


@dataclass
class Database:
    """Rows that were written on that day."""

    address: str
    loader: Loader = TABLE

    def __post_init__(self) -> None:
        self._execute(
            "CREATE TABLE payments (id bigint, shop text, at timestamp, amount float8, updated_at timestamptz)",
            "CREATE INDEX ON payments (updated_at)",
        )

    @property
    def settings(self) -> SourceSettings:
        return SourceSettings(name="folder", path=self.address, options={"watermark": "updated_at"})

    def deliver(self, day: int, ids: Sequence[int]) -> None:
        rows = [
            f"({row['id']}, '{row['shop']}', '{row['at']}', {row['amount']}, '{named(day)} 12:00+00')"
            for row in payments(day, ids).to_pylist()
        ]
        self.take_away(day)
        self._execute(f"INSERT INTO payments VALUES {', '.join(rows)}")

    def take_away(self, day: int) -> None:
        self._execute(f"DELETE FROM payments WHERE updated_at = '{named(day)} 12:00+00'")

    def break_it(self) -> str:
        self._execute("ALTER TABLE payments DROP COLUMN shop")
        return "table payments of postgresql://"

    def _execute(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.address) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@dataclass(frozen=True)
class Observed:
    """A loader of payments and of two shops that notes which batches of payments are read."""

    loader: Loader
    reads: list[str]

    def kept_in(self, folder: Path) -> Loader:
        return replace(self, loader=self.loader.kept_in(folder)) if isinstance(self.loader, Keeping) else self

    def __call__(self, path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch | Gap | Unread]:
        for found in self.loader(path, options, period):
            yield self._observed(found) if isinstance(found, Batch) else found
        yield Batch("shops", "all", "", lambda: (pa.table({"shop": ["a"], "city": ["x"]}, SHOPS), []), files=())

    def _observed(self, batch: Batch) -> Batch:
        def read() -> tuple[pa.Table, list[str]]:
            self.reads.append(batch.name)
            return batch.read()

        return replace(batch, read=read)
