"""Addresses of SQLite databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from ratchet.storage import sqlite

NAMES = ["a?b", "a#b", "a%20b", "a b&c=d", "é", "q'u\"o", "[1]*", "file:x", "?mode=memory"]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_is_at_its_path_whatever_its_name(tmp_path: Path, name: str) -> None:
    """What one address writes the other reads, there is one file, and it has the name that was given."""
    path = tmp_path / name
    with closing(sqlite.connect(path, create=True)) as connection:
        connection.execute("CREATE TABLE found (x)")
    engine = sqlalchemy.create_engine(sqlite.url(path), poolclass=sqlalchemy.NullPool)
    assert ["found"] == sqlalchemy.inspect(engine).get_table_names()
    assert [name] == [found.name for found in tmp_path.iterdir()]


def test_nobody_makes_a_database_without_saying_so(tmp_path: Path) -> None:
    """A file that is absent is an error, and stays absent."""
    path = tmp_path / "x.db"
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite.connect(path)
    engine = sqlalchemy.create_engine(sqlite.url(path), poolclass=sqlalchemy.NullPool)
    with pytest.raises(sqlalchemy.exc.OperationalError, match="unable to open"):
        sqlalchemy.inspect(engine)
    assert [] == list(tmp_path.iterdir())


@given(st.text(min_size=1).filter(lambda name: "?" not in name and name != ":memory:"))
def test_a_plain_address_names_a_file(name: str) -> None:
    """It is the path behind three slashes, seen from the working directory."""
    assert Path(name).absolute() == sqlite.path_of(f"sqlite:///{name}")


@pytest.mark.parametrize(
    "address", ["", "http://x", "postgresql://x/y", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///x?a=b"]
)
def test_any_other_address_names_none(address: str) -> None:
    """Servers, databases in memory, and addresses with options of their own."""
    assert sqlite.path_of(address) is None
