"""The active source of a use case: where its batches come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError
from ratchet.core.scope import Scope
from ratchet.core.settings import PARAMS_FILE, SourceSettings
from ratchet.use_case.contract import Loader, UseCase

if TYPE_CHECKING:
    from ratchet.project.run import Run


@dataclass(frozen=True)
class Source:
    """Which loader of the use case reads from where; `settings.path` may be relative to the folder `root`."""

    scope: Scope
    use_case: UseCase
    settings: SourceSettings
    period: Period
    root: Path

    @classmethod
    def open(cls, run: Run) -> Source:
        """The source that params.yaml selects. Raises SettingsError where the use case has none of its name."""
        settings, use_case = run.settings.source, run.use_case
        if settings.name not in use_case.sources:
            raise SettingsError(
                f"source {settings.name!r} is none of {', '.join(sorted(use_case.sources))}",
                subject=PARAMS_FILE,
                remedy="Set source.name to one of them",
            )
        return cls(run.scope, use_case, settings, run.period("all"), run.root)

    @property
    def loader(self) -> Loader:
        return self.use_case.sources[self.settings.name]
