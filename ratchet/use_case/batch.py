"""What a source delivers: batches, those that are missing, and the loader that finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from ratchet.core.clock import Period


@dataclass(frozen=True)
class Batch:
    """One batch of one table, as its source delivers it. Ingest reads, and reads again, a whole batch at a time.

    `complete_until` is the instant up to which the source's rows of the table are complete once this batch was delivered; None
    if only the rows themselves say so. `period` is the time of its rows, which are missing if it cannot be read; or None.

    `digest` is cheap to compute and changes whenever the data behind `read` changes (files, options, the period). It does not
    cover the code of the loader or the use case: ingest does. `files` are the files that the digest depends on, besides options
    and period: empty if code makes the rows, None if it depends on anything else, so that only the loader can tell.

    `read` returns the batch in the table's canonical schema, with a note for every column that was cast, filled or dropped.
    A value that its column cannot hold is null there, and its text is kept in the column UNREADABLE, which
    `ratchet.sources.unreadable` adds; its row is quarantined. It raises SourceError if the batch must be delivered again.
    `count` counts the source's rows independently of `read`; it is None if the loader makes the rows itself.
    """

    table: str
    name: str
    digest: str
    read: Callable[[], tuple[pa.Table, list[str]]]
    count: Callable[[], int] | None = None
    files: Sequence[Path] | None = None
    complete_until: datetime | None = None
    period: Period | None = None


@dataclass(frozen=True)
class Gap:
    """A batch that should be there and is not, or cannot be read. Rows of its `period` are missing; the rest goes on."""

    table: str
    name: str
    period: Period


@dataclass(frozen=True)
class Unread:
    """Something at the place of the batches that is not read. Ingest's report names it, with the reason."""

    name: str
    reason: str


Loader = Callable[["str", Mapping[str, Any], Period], "Iterable[Batch | Gap | Unread]"]
"""(path, options, period) → the batches that may hold rows of the period, those that are missing, and everything that is not
read. Raises SourceError.

`path` is `source.path` of params.yaml: an address as it is, any other below the root of the checkout."""


@runtime_checkable
class Keeping(Protocol):
    """A loader that keeps files between runs, such as downloads. It is called only after it was given a folder for them."""

    def kept_in(self, folder: Path) -> Loader: ...
