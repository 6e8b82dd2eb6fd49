"""Kill materialize between the SQL statements of its databases, run it again, and compare with an undisturbed run.

Run as `python -m tests.support.killing_sql FOLDER [PART …]`, in a process where nothing else has started threads. FOLDER
has a featurized project of parcels in `prepared`. Every attempt is a forked child, killed when it begins a statement: after
the given parts of an undisturbed run, or, where none is given, in every state in which a statement finds the files of the
databases. A kill between two states is one before the second: what a process holds in memory dies with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from feature_pipeline.materialize import materialize
from ratchet.feature_store.feast_import import feast_module
from ratchet.feature_store.feature_store import feast_project
from ratchet.feature_store.online_sqlite import SqliteOnlineStore
from ratchet.project.run import Run
from tests.support.killing import in_child
from tests.support.parcels import parcels_project

Rows = set[tuple[Any, ...]]


def online_file(run: Run) -> Path:
    return SqliteOnlineStore(run.paths.state, feast_project(run.scope)).path


def online_rows(run: Run) -> dict[str, Rows]:
    """Everything that the online store holds, by table."""
    with sqlite3.connect(online_file(run)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = "entity_key, feature_name, value, event_ts"
        views = [name for name in tables if name != "ratchet_mark"]
        return {name: set(database.execute(f'SELECT {columns} FROM "{name}"')) for name in views}


def work(root: Path) -> None:
    materialize(parcels_project(root))


def counting(root: Path) -> None:
    """Do the work and leave in a file how many states its statements found."""
    seen = _profile(root, lambda _state: None)
    work(root)
    (root / "states").write_text(str(seen()), encoding="utf-8")


def killed(point: int) -> Callable[[Path], None]:
    """The work, until a statement finds the state of that number, from 1."""

    def attempt(root: Path) -> None:
        _profile(root, lambda state: os.kill(os.getpid(), signal.SIGKILL) if state == point else None)
        work(root)

    return attempt


def _profile(root: Path, react: Callable[[int], None]) -> Callable[[], int]:
    seen, last = 0, None

    def watch(_frame: object, event: str, function: Any) -> None:
        nonlocal seen, last
        if event == "c_call" and isinstance(getattr(function, "__self__", None), sqlite3.Connection | sqlite3.Cursor):
            found = _state(root)
            if found != last:
                seen, last = seen + 1, found
                react(seen)

    sys.setprofile(watch)
    return lambda: seen


def _state(root: Path) -> list[tuple[str, int, bytes]]:
    """The databases, their journals and write-ahead logs: size and header, which every transaction changes."""
    files = sorted(parcels_project(root).paths.state.glob("*.db*"))
    return [(path.name, path.stat().st_size, path.read_bytes()[:100]) for path in files]


def survive(folder: Path, parts: list[float]) -> int:
    """How many kills it survived. Raises AssertionError where a rerun differs."""
    feast_module()
    expected = shutil.copytree(folder / "prepared", folder / "undisturbed")
    assert in_child(counting, expected) == 0
    states = int((expected / "states").read_text(encoding="utf-8"))
    points, kills = (max(1, round(part * states)) for part in parts) if parts else count(1), 0
    for point in points:
        copy = shutil.copytree(folder / "prepared", folder / str(point))
        if in_child(killed(point), copy) == 0:
            break
        assert not list(copy.rglob("materialized.json")), f"a marker stands, though killed in state {point}"
        assert in_child(work, copy) == 0
        rows = [online_rows(parcels_project(folder)) for folder in (expected, copy)]
        assert rows[0] == rows[1], f"killed in state {point} of {states}"
        shutil.rmtree(copy)
        kills += 1
    return kills


def survives(folder: Path, *parts: str) -> int:
    """`survive` in a process of its own."""
    command = [sys.executable, "-m", "tests.support.killing_sql", str(folder), *parts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


if __name__ == "__main__":
    print(survive(Path(sys.argv[1]), [float(part) for part in sys.argv[2:]]))  # noqa: T201 - read by who started it
