"""A loader for each table, behind one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ratchet.core.clock import Period
from ratchet.sources.several_tables import several_tables
from ratchet.use_case.batch import Batch, Gap, Keeping, Loader, Unread
from tests.support.feed import SHOPS

DAY = Period.between(date(2024, 1, 1), date(2024, 1, 2), "UTC")


def shops(path: str, options: Mapping[str, Any], _period: Period) -> Iterable[Batch | Gap | Unread]:
    yield Batch("shops", path, str(options), lambda: (SHOPS.empty_table(), []))


@dataclass(frozen=True)
class Kept:
    """A loader that says where it keeps files."""

    folder: Path | None = None

    def kept_in(self, folder: Path) -> Loader:
        return Kept(folder)

    def __call__(self, path: str, _options: Mapping[str, Any], _period: Period) -> Iterable[Batch | Gap | Unread]:
        yield Unread(path, str(self.folder))


def test_each_gets_the_same_arguments(tmp_path: Path) -> None:
    """And a folder, if it keeps files."""
    source = several_tables(shops, Kept())
    assert isinstance(source, Keeping)
    batch, unread = source.kept_in(tmp_path)("place", {"a": 1}, DAY)
    assert isinstance(batch, Batch)
    assert ("shops", "place", "{'a': 1}") == (batch.table, batch.name, batch.digest)
    assert Unread("place", str(tmp_path)) == unread
