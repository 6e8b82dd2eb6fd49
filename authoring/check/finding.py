"""A finding of `ratchet check`: what is wrong, where to change it, and how."""

from __future__ import annotations

from dataclasses import dataclass

from ratchet.core.errors import RatchetError


@dataclass(frozen=True)
class Finding:
    """`what` is a short name of the kind of mistake, `where` the file and line to change."""

    what: str
    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}.\n  {self.remedy.rstrip('.')}."

    @classmethod
    def of(cls, what: str, where: str, error: RatchetError) -> Finding:
        return cls(what, where, f"{error.subject}: {error.problem}", error.remedy)
