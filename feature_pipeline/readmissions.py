"""The decisions of people about quarantined rows, kept with the data in one JSON file.

A decision is about a batch with a certain content. If the batch is delivered again with other content, it no longer counts; nor
does it after it was withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from ratchet.core.errors import DataError
from ratchet.core.frozen import Frozen
from ratchet.storage.digests import digest
from ratchet.storage.files import write_json

Kind = Literal["batch", "rule", "rows", "replay", "withdrawal"]


class Readmission(Frozen):
    """Who readmitted which rows of a batch (`TABLE/BATCH`, whose raw rows have the digest `content`), when, and why.

    `kind` is "batch" for a refused batch, "rule" for the rows that break the one of `rules`, "rows" for single rows, for which
    `rules` are all that they broke, and "replay" if the rows came back by themselves, because rules had changed. A rule that is
    not named quarantines them as it does others. A "withdrawal" ends all earlier decisions about the batch. `count` and
    `digest` are of the ids of all these rows; `rows` lists them for the kind "rows" only.
    """

    batch: str
    content: str
    kind: Kind
    rules: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    count: int
    digest: str
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    at: AwareDatetime

    @property
    def effect(self) -> str:
        """A digest that changes with what this decision does."""
        return digest(self.kind, self.rules, self.rows, self.reason)


_All = TypeAdapter(tuple[Readmission, ...])


def read_readmissions(path: Path) -> tuple[Readmission, ...]:
    """All decisions, in the order in which they were made. Raises DataError if the file cannot be read."""
    try:
        return _All.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise DataError(
            f"is no list of readmissions ({' '.join(str(error).split())[:200]})",
            subject=str(path),
            remedy="Restore it by `dvc checkout`, or from another copy of the data",
        ) from error


def write_readmissions(path: Path, readmissions: Sequence[Readmission]) -> None:
    """Write all decisions, unless the file holds just these."""
    if not path.exists() or read_readmissions(path) != tuple(readmissions):
        write_json(path, [each.model_dump(mode="json") for each in readmissions])


def effective(readmissions: Sequence[Readmission], contents: Mapping[str, str]) -> dict[str, list[Readmission]]:
    """Batch → the decisions that count for its present content, which `contents` names."""
    found: dict[str, list[Readmission]] = {}
    for each in readmissions:
        if each.kind == "withdrawal":
            found.pop(each.batch, None)
        elif each.kind != "replay" and contents.get(each.batch) == each.content:
            found.setdefault(each.batch, []).append(each)
    return found
