"""The sensor of upstream views: a file that says what their files hold. DVC only sees files, so featurize depends on it.

The stage `sensors` looks at the beginning of every run. While path, inode, size and time of each file are as before, it reads
none of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.core.paths import Paths
from ratchet.features.upstream_files import file_digests, find_files
from ratchet.storage.digests import digest
from ratchet.storage.file_states import FileState, file_states, settled
from ratchet.storage.files import read_json, write_json

if TYPE_CHECKING:
    from ratchet.project.run import Run


def sense(runs: Iterable[Run]) -> None:
    """Write what the files of the upstream views of each run hold now."""
    for run in runs:
        files = {name: find_files(run.root / path) for name, path in run.settings.upstream.items()}
        memory, began = run.paths.state / "upstream_sensed.json", time.time_ns()
        states = file_states(path for paths in files.values() for path in paths)
        if memory.exists() and read_json(memory) == _seen(run, states):
            continue
        memory.unlink(missing_ok=True)
        write_upstream_watermark(run.paths, {name: _contents(paths, run.root) for name, paths in files.items()})
        if settled(states, began):
            write_json(memory, _seen(run, states))


def write_upstream_watermark(paths: Paths, found: Mapping[str, Mapping[str, str]]) -> None:
    """`found`: view → each of its files with its MD5."""
    write_json(paths.upstream_watermark, found)


def _contents(files: Iterable[Path], root: Path) -> dict[str, str]:
    """The MD5 of each file. If one cannot be read: why. featurize then says what to do, and other use cases go on."""
    try:
        return file_digests([*files], root)
    except OSError as error:
        return {"problem": str(error)}


def _seen(run: Run, states: Iterable[FileState]) -> str:
    """A digest that changes with the files, with their settings, and with what was written about them."""
    written = run.paths.upstream_watermark
    text = written.read_text(encoding="utf-8") if written.exists() else None
    return digest([*states], run.settings.upstream, text)
