"""One PostgreSQL server for all tests of sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres_server import PASSWORD, NoServerError, postgres_server


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """The address of the server's first database."""
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed")
    try:
        with postgres_server() as address:
            yield address
    except NoServerError as error:
        pytest.skip(str(error))


@pytest.fixture
def database(database_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database, in which no table is left over; libpq has the password from the environment."""
    import psycopg

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with psycopg.connect(database_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return database_server
