"""One source of several tables, made of a loader for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ratchet.core.clock import Period
from ratchet.use_case.batch import Batch, Gap, Keeping, Loader, Unread


@dataclass(frozen=True)
class SeveralTables:
    """A loader: call it with (path, options, period), which it passes on."""

    loaders: tuple[Loader, ...]

    def __call__(self, path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch | Gap | Unread]:
        for loader in self.loaders:
            yield from loader(path, options, period)

    def kept_in(self, folder: Path) -> Loader:
        """The same, with the folder for those loaders that keep files."""
        kept = (loader.kept_in(folder) if isinstance(loader, Keeping) else loader for loader in self.loaders)
        return SeveralTables(tuple(kept))


def several_tables(*loaders: Loader) -> Loader:
    """A loader of everything that these load. Each gets the same path and options."""
    return SeveralTables(loaders)
