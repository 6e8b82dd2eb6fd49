"""The watermark: a file that says what a source holds. DVC only sees files, so ingest depends on this one for any source.

The stage `sensors` asks every source at the beginning of a run. Asking imports the use case and reads every file for its
digest, which is slow. So if a loader names the files that it reads, the sensor first compares their states: while these are
unchanged, the source holds the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ratchet
from ratchet.core.paths import Paths
from ratchet.sources.batches import Found, Source, find
from ratchet.sources.places import watched
from ratchet.storage.digests import digest
from ratchet.storage.file_states import FileState, file_states, settled
from ratchet.storage.files import read_json, write_json

if TYPE_CHECKING:
    from ratchet.project.run import Run


def write_watermark(paths: Paths, found: Found) -> None:
    """Write the digest of every batch, the batches that are missing, and the reason for everything that is not read."""
    batches = {unit: batch.digest for unit, batch in sorted(found.batches.items())}
    gaps = [f"{gap.table}/{gap.name}" for gap in found.gaps]
    unread = {each.name: each.reason for each in found.unread}
    write_json(paths.watermark, {"batches": batches, "gaps": gaps, "unread": unread})


def sense(runs: Sequence[Run]) -> None:
    """Write what the source of each run holds now."""
    for run in runs:
        memory = run.paths.state / "source_sensed.json"
        last = dict(read_json(memory)) if memory.exists() else {}
        if last and last["seen"] == _seen(run, _states(run, map(Path, last["files"]))):
            continue
        memory.unlink(missing_ok=True)
        began, before = time.time_ns(), _states(run, ())
        files = _ask(run)
        states = _states(run, files or ())
        if files is not None and {*before} <= {*states} and settled(states, began):
            write_json(memory, {"seen": _seen(run, states), "files": sorted(map(str, files))})


def _ask(run: Run) -> set[Path] | None:
    """Write what the source holds. Returns the files that this depends on, or None if files alone do not show a change."""
    try:
        found = find(Source.open(run))
    except Exception as error:  # noqa: BLE001 # a use case may raise anything: ingest raises it again, and others go on
        write_json(run.paths.watermark, {"problem": repr(error)})
        return None
    write_watermark(run.paths, found)
    named = [batch.files for batch in found.batches.values()]
    return None if run.given or None in named else {file for files in named for file in files or ()}


def _states(run: Run, files: Iterable[Path]) -> list[FileState]:
    return file_states([*_watched(run), *files])


def _watched(run: Run) -> Iterator[Path]:
    """The code that finds batches, and everything where it looks for them."""
    for code in (Path(ratchet.__file__).parent, run.root / "use_cases"):
        yield from code.rglob("*.py")
    yield from watched(run.root, run.settings.source.path)


def _seen(run: Run, states: Sequence[FileState]) -> str:
    """A digest that changes with everything that the watermark depends on, and with the watermark itself."""
    written = run.paths.watermark
    text = written.read_text(encoding="utf-8") if written.exists() else None
    instants = run.instants and run.instants.model_dump(mode="json")
    return digest(states, run.settings.source.model_dump(), run.settings.windows.start, instants, text)
