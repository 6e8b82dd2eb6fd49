"""Kill a piece of work at each of its durable writes, then run it again: what stands must be what an undisturbed run leaves.

Run as `python -m tests.support.killing MODULE FOLDER`. The module has two functions of a folder: `prepare`, which is not
disturbed, and `work`. Each attempt is a forked child, so that imports are paid once, by the undisturbed run; it is killed
when it renames, removes or appends to a file for the n-th time. `LEFTOVERS` in the module is a pattern of paths that a killed
attempt may leave, beside files in state/ that were being written.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

Work = Callable[[Path], object]


def _is_durable(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & os.O_APPEND)
    return event == "os.rename" or (event == "os.remove" and Path(str(arguments[0])).exists())


def contents(folder: Path) -> dict[str, str]:
    """Every file below the folder → digest of its bytes."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def in_child(work: Work, folder: Path, die_at: int = 0) -> int:
    """Do the work in a forked child that is killed at its n-th durable write (0: never); the child's exit code."""
    child = os.fork()
    if not child:
        os._exit(_attempt(work, folder, die_at))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _attempt(work: Work, folder: Path, die_at: int) -> int:
    if die_at:
        _arm(die_at)
    try:
        work(folder)
    except Exception:  # noqa: BLE001 - a child must not return into its parent's code
        traceback.print_exc()
        return 1
    return 0


def _arm(die_at: int) -> None:
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        durable = _is_durable(event, arguments)
        seen += durable
        if durable and seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def survive(prepare: Work, work: Work, folder: Path, leftovers: str = "") -> int:
    """Kill and rerun at every durable write; how many there are. Raises AssertionError where a rerun differs."""
    prepare(folder / "prepared")
    work(copy := _copy(folder, "undisturbed"))
    expected, kills = _kept(copy, leftovers), 0
    while (code := in_child(work, copy := _copy(folder, str(kills)), die_at=kills + 1)) != 0:
        assert -signal.SIGKILL == code
        assert in_child(work, copy) == 0
        assert expected == _kept(copy, leftovers), f"killed at write {kills + 1}"
        kills += 1
    return kills


def _kept(folder: Path, leftovers: str) -> dict[str, str]:
    """The contents but for files that were being written by a process that was killed: nobody reads them."""
    ignored = re.compile(rf"state/(.*/)?\..*\.tmp|{leftovers}")
    return {name: of for name, of in contents(folder).items() if not ignored.fullmatch(name)}


def _copy(folder: Path, name: str) -> Path:
    return shutil.copytree(folder / "prepared", folder / name)


def survives(module: str, folder: Path) -> int:
    """`survive` in a process of its own, where nothing but the work has started threads; how many kills it survived."""
    command = [sys.executable, "-m", "tests.support.killing", module, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


if __name__ == "__main__":
    module = importlib.import_module(sys.argv[1])
    print(survive(module.prepare, module.work, Path(sys.argv[2]), getattr(module, "LEFTOVERS", "")))  # noqa: T201 - read by `survives`
