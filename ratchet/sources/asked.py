"""What ingest found when it asked a source last: for what time, which batches it read, and which it could not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from pydantic import AwareDatetime

from ratchet.core.errors import StoreError
from ratchet.core.frozen import Frozen
from ratchet.storage.digests import digest
from ratchet.storage.files import read_json, write_json
from ratchet.use_case.batch import Batch

if TYPE_CHECKING:
    from ratchet.project.run import Run

_ASKED = "asked.json"
_HOW_OFTEN = {"ask_again_days"}
"""Options that say how often a source is asked, and not what."""


class Asked(Frozen):
    """For what time ingest has asked a source so far, a digest of that source's settings, and what each batch then was.

    `last_start` and `last_end` are the time for which it asked last: history may begin later than before, and the run may be
    as of an earlier instant.
    `contents` are the batches that were read: the digest of each, and of the code and schema that read it. `rejected` are those
    that could not be read, with the digest of each.
    """

    source: str
    start: AwareDatetime
    end: AwareDatetime
    last_start: AwareDatetime
    last_end: AwareDatetime
    contents: dict[str, str]
    rejected: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> Self | None:
        """What was found last; None if this source was never asked."""
        path = run.paths.deliveries / _ASKED
        found = cls.model_validate(read_json(path)) if path.exists() else None
        return found if found and found.source == _source(run) else None

    @classmethod
    def next(cls, run: Run, before: Self | None, contents: Mapping[str, str], rejected: Mapping[str, str]) -> Self:
        """What was found so far, after the source was asked for all that the run covers."""
        period = run.period("all")
        return cls(
            source=_source(run),
            start=min(before.start, period.start) if before else period.start,
            end=max(before.end, period.end) if before else period.end,
            last_start=period.start,
            last_end=period.end,
            contents={**(before.contents if before else {}), **contents},
            rejected=dict(rejected),
        )

    def write(self, run: Run) -> None:
        write_json(run.paths.deliveries / _ASKED, self.model_dump(mode="json"))

    def was_read(self, unit: str, batch: Batch) -> bool:
        """Whether a batch could be read as it is delivered now, by the code of then."""
        return self.contents.get(unit, "").startswith(f"{batch.digest} ")

    def was_rejected(self, unit: str, batch: Batch) -> bool:
        """Whether a batch could not be read as it is delivered now, by the code of then."""
        return self.rejected.get(unit) == batch.digest


def require_asked(run: Run) -> None:
    """Raises StoreError if ingest last asked the source as of another instant than the run's, which was moved since then."""
    asked, as_of = Asked.of(run), run.as_of("feature")
    if asked and asked.last_end != as_of:
        raise StoreError(
            f"are as of {asked.last_end.isoformat()}, and {as_of.isoformat()} is needed: it was moved since ingest",
            subject=f"raw rows of {run.settings.use_case}",
            remedy=f"Run `dvc repro materialize@{run.settings.use_case}`, or `ratchet stage ingest`",
        )


def _source(run: Run) -> str:
    """A digest of what the source is asked: with other settings it is another source, but for how often it is asked."""
    settings = run.settings.source
    options = {name: value for name, value in settings.options.items() if name not in _HOW_OFTEN}
    return digest(settings.name, settings.path, options)
