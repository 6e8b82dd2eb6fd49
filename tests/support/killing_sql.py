"""Kill materialize between the SQL statements of its databases, run it again, and compare with an undisturbed run.

Run as `python -m tests.support.killing_sql FOLDER POINTS`, in a process where nothing else has started threads. FOLDER
has a featurized project of parcels in `prepared`. Every attempt is a forked child, killed after the given parts of the
statements that an undisturbed run executes.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feature_pipeline.materialize import materialize
from ratchet.feast_import import feast_module
from ratchet.feature_registry import online_database
from tests.support.killing import in_child
from tests.support.parcels import parcels_project

Rows = set[tuple[Any, ...]]


def online_rows(root: Path) -> dict[str, Rows]:
    """Everything that the online store holds, by table."""
    with sqlite3.connect(online_database(parcels_project(root))) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = "entity_key, feature_name, value, event_ts"
        return {name: set(database.execute(f'SELECT {columns} FROM "{name}"')) for name in tables}


def work(root: Path) -> None:
    materialize(parcels_project(root))


def counting(root: Path) -> None:
    """Do the work and leave in a file how many statements it executed."""
    seen = _profile(lambda _count: None)
    work(root)
    (root / "statements").write_text(str(seen()), encoding="utf-8")


def killed(point: int) -> Callable[[Path], None]:
    """The work, until `point` statements were begun."""

    def attempt(root: Path) -> None:
        _profile(lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == point else None)
        work(root)

    return attempt


def _profile(react: Callable[[int], None]) -> Callable[[], int]:
    seen = 0

    def watch(_frame: object, event: str, function: Any) -> None:
        nonlocal seen
        if event == "c_call" and isinstance(getattr(function, "__self__", None), sqlite3.Connection | sqlite3.Cursor):
            seen += function.__name__ in {"execute", "executemany", "commit", "__exit__"}
            react(seen)

    sys.setprofile(watch)
    return lambda: seen


def survive(folder: Path, parts: list[float]) -> None:
    feast_module()
    expected = shutil.copytree(folder / "prepared", folder / "undisturbed")
    assert in_child(counting, expected) == 0
    statements = int((expected / "statements").read_text(encoding="utf-8"))
    for part in parts:
        copy = shutil.copytree(folder / "prepared", folder / str(part))
        assert in_child(killed(max(1, round(part * statements))), copy) == -signal.SIGKILL
        assert not list(copy.rglob("materialized.json")), f"a marker stands, though killed after {part}"
        assert in_child(work, copy) == 0
        assert online_rows(expected) == online_rows(copy), f"killed after {part} of {statements} statements"


if __name__ == "__main__":
    survive(Path(sys.argv[1]), [float(part) for part in sys.argv[2:]])
