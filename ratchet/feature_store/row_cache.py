"""Rows of an online store that a process keeps, up to a number of keys. The reader decides how long they hold."""

from __future__ import annotations

from ratchet.feature_store.stored_rows import HeldRows

MOST_KEYS = 20_000
_Key = tuple[int, bytes]


class RowCache:
    """The place of a view and a key → the key's rows, or None if the store has none. Full, it forgets the key it got first."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self.rows: dict[_Key, HeldRows | None] = {}
        self._most = most

    def put(self, key: _Key, rows: HeldRows | None) -> HeldRows | None:
        """Keep the rows of a key, and return them."""
        if len(self.rows) >= self._most and key not in self.rows:
            self.rows.pop(next(iter(self.rows)))
        self.rows[key] = rows
        return rows
