"""DuckDB connections, queries, SQL text, and Parquet files read by their exact paths."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from ratchet.storage.partitions import files

if TYPE_CHECKING:
    import ibis
    import ibis.backends.duckdb

    from ratchet.core.environment import Environment


def literal(path: str) -> str:
    """A path, escaped for DuckDB, which reads `*`, `?` and `[` in a path as a pattern."""
    return glob.escape(path)


def connect(environment: Environment) -> ibis.backends.duckdb.Backend:
    """An in-memory DuckDB in UTC, limited to the environment's threads and memory."""
    import ibis

    connection = ibis.duckdb.connect(threads=environment.threads, memory_limit=environment.memory_limit)
    connection.raw_sql("SET TimeZone='UTC'")
    return connection


def scan(
    connection: ibis.backends.duckdb.Backend,
    directory: Path,
    schema: pa.Schema,
    first: date | None = None,
    last: date | None = None,
) -> ibis.Table:
    """The rows of `directory` from `first` to `last` (UTC dates, inclusive); an empty table of `schema` if there is no file."""
    import ibis
    from ibis.util import gen_name

    found = files(directory, first, last)
    if found:
        return read_parquet(connection, found)
    return connection.create_table(gen_name("nothing"), schema=ibis.Schema.from_pyarrow(schema), temp=True)


def read_parquet(connection: ibis.backends.duckdb.Backend, paths: Sequence[str]) -> ibis.Table:
    """The rows of exactly these files: `?`, `*` and `[` are no patterns, and `name=value` folders add no columns."""
    return connection.read_parquet([literal(path) for path in paths], hive_partitioning=False)


@dataclass(frozen=True)
class Query:
    """SQL, and the Arrow tables that it refers to by name."""

    sql: str
    tables: Mapping[str, pa.Table] = field(default_factory=dict)

    def run(self, threads: int, memory_limit: str) -> pa.Table:
        with duckdb.connect(config={"threads": threads, "memory_limit": memory_limit}) as connection:
            connection.execute("SET TimeZone='UTC'")
            for name, table in self.tables.items():
                connection.register(name, table)
            return connection.sql(self.sql).to_arrow_table()


def parquet(paths: Sequence[str], *, by_name: bool = False) -> str:
    """SQL for the rows of exactly these Parquet files; their paths are no patterns. With `by_name`, their columns may be in any
    order, and each gets a type that holds the values of all files."""
    listed = ", ".join("'" + literal(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = {by_name})"
