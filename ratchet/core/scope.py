"""A scope: one use case with one source of its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scope:
    """A use case of params.yaml and the source of its data. Everything is stored under both names, so that scopes never mix."""

    use_case: str
    source: str

    @property
    def namespace(self) -> str:
        """`{use case}-{source}`: the MLflow model's name and, with underscores, the Feast project's."""
        return f"{self.use_case.rpartition('.')[2]}-{self.source}"

    @property
    def folder(self) -> Path:
        """The folder of this scope in data/, state/ and reports/."""
        return Path(self.use_case, self.source)
