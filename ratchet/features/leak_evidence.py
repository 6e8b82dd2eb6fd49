"""The result of the leak check for each table: how many rows were compared, and how many used data that were not known yet."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AwareDatetime, NonNegativeInt

from ratchet.core.frozen import Frozen


class LeakComparison(Frozen):
    """One table, recomputed on sources cut off at some instants, in numbers of rows: those that were `compared` and those that
    `changed`, the source rows that became known `later`, and how many of these were `hidden` by the cut-offs."""

    cut_offs: tuple[AwareDatetime, ...]
    compared: NonNegativeInt
    later: NonNegativeInt
    hidden: NonNegativeInt
    changed: NonNegativeInt

    @classmethod
    def nothing(cls) -> LeakComparison:
        return cls(cut_offs=(), compared=0, later=0, hidden=0, changed=0)

    @classmethod
    def total(cls, parts: Sequence[LeakComparison]) -> LeakComparison:
        """The sum over several cut-offs."""
        sums = {name: sum(getattr(part, name) for part in parts) for name in ("compared", "later", "hidden", "changed")}
        return cls(cut_offs=tuple(at for part in parts for at in part.cut_offs), **sums)

    @property
    def is_evidence(self) -> bool:
        """Whether rows were compared, and later source rows were hidden from them, if there were any."""
        return self.compared > 0 and (self.hidden > 0 or not self.later)


class LeakEvidence(Frozen):
    """The result of the leak check for each view, and for `requests` and `labels`.

    `upstream` names the views that another system computes. Nothing was recomputed for these: they use a row only from the time
    at which that system says that it was available.
    """

    tables: dict[str, LeakComparison]
    upstream: tuple[str, ...] = ()

    @property
    def changed(self) -> dict[str, int]:
        """Table → the number of its rows that changed."""
        return {name: found.changed for name, found in self.tables.items()}

    @property
    def unproved(self) -> list[str]:
        """The tables for which the check is no evidence."""
        expected = {"requests", "labels"} - self.tables.keys()
        return sorted(expected | {name for name, found in self.tables.items() if not found.is_evidence})

    @property
    def passed(self) -> bool:
        return not self.unproved and not any(self.changed.values())
