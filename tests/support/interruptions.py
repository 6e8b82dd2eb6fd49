"""Interrupt a process at its n-th write to a database: by an error, or by a kill that nothing can catch."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, event

LAZY = ("mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store")
"""What MLflow imports when it is used: imported once, not by each process that is to be killed."""
WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass
class Writes:
    """How many transactions that wrote something have been committed."""

    done: int = 0


@contextmanager
def counted(before_each: Callable[[int], None] = lambda _number: None) -> Iterator[Writes]:
    """Count writing transactions of any database; `before_each` is told the number, from 1, of the one to be committed."""
    writes, writing = Writes(), set[Connection]()

    def execute(connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.lstrip().upper().startswith(WRITES):
            writing.add(connection)

    def commit(connection: Connection) -> None:
        if connection in writing:
            writing.discard(connection)
            before_each(writes.done + 1)
            writes.done += 1

    event.listen(Engine, "before_cursor_execute", execute)
    event.listen(Engine, "commit", commit)
    try:
        yield writes
    finally:
        event.remove(Engine, "before_cursor_execute", execute)
        event.remove(Engine, "commit", commit)


def fail_at(number: int) -> Callable[[int], None]:
    """The write of that number fails, as it does when a database goes away; so do all after it."""

    def fail(current: int) -> None:
        if current >= number:
            raise ConnectionError("the database went away")

    return fail


def die_at(number: int) -> Callable[[int], None]:
    """The process is killed before the write of that number."""

    def die(current: int) -> None:
        if current == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def killed(function: Callable[..., object], *arguments: object, at: int) -> None:
    """Run a function in a process of its own that is killed before its write number `at`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__, *LAZY])
    process = context.Process(target=_run_and_die, args=(function, arguments, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _run_and_die(function: Callable[..., object], arguments: tuple[object, ...], number: int) -> None:
    with counted(die_at(number)):
        function(*arguments)
