"""A download that is not whole yet: its bytes, and a note that says of which version they are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import httpx
from pydantic import ValidationError

from ratchet.core.frozen import Frozen
from ratchet.core.progress import report
from ratchet.sources.places import without_secrets
from ratchet.storage.files import unwritable, write_json


class Version(Frozen):
    """What a server says of the version of a file."""

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, answer: httpx.Response) -> Version:
        return cls(etag=answer.headers.get("ETag"), last_modified=answer.headers.get("Last-Modified"))

    def may_be(self, other: Version) -> bool:
        """Whether nothing that both say differs."""
        both = ((self.etag, other.etag), (self.last_modified, other.last_modified))
        return all(mine == theirs for mine, theirs in both if mine and theirs)

    def unless_changed(self) -> dict[str, str]:
        """Headers for "only if it is another version"."""
        known = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in known.items() if value}

    def from_byte(self, start: int) -> dict[str, str]:
        """Headers for "the rest, or all of it if it is another version"; none if nothing names this version."""
        is_strong = self.etag and not self.etag.startswith("W/")
        known = self.etag if is_strong else self.last_modified
        return {"Range": f"bytes={start}-", "If-Range": known} if known and start else {}


class Begun(Frozen):
    """The note beside a download that is not whole yet: where it is from, without secrets, and its version."""

    address: str
    version: Version


Note = TypeVar("Note", bound=Begun)


class BusyError(Exception):
    """An answer after which another attempt may succeed."""


def read_note(kind: type[Note], path: Path, address: str) -> Note | None:
    """A note about an address; None if there is none that can be read."""
    try:
        note = kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return note if note.address == without_secrets(address) else None


@dataclass(frozen=True)
class Part:
    """A download that is not whole yet, and its note."""

    path: Path
    address: str

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def begun(self) -> Begun | None:
        """The note of the version whose bytes came so far."""
        return read_note(Begun, self.note, self.address)

    def rest(self) -> dict[str, str]:
        """Headers that ask for the rest alone, if the server can tell that this is the same version."""
        begun = self.begun
        return begun.version.from_byte(self.path.stat().st_size) if begun and self.path.exists() else {}

    def write(self, answer: httpx.Response) -> None:
        """Write the answer's content at its place. Raises BusyError, and what httpx raises, if it does not reach to the end of
        the file; what came so far is kept."""
        try:
            is_rest = answer.status_code == httpx.codes.PARTIAL_CONTENT
            end = self._end_of_rest(answer) if is_rest else None
            if not is_rest:
                self._begin(Version.of(answer))
            with self.path.open("ab") as file:
                rest = answer.headers.get("Content-Length", "")
                total = file.tell() + int(rest) if rest.isdecimal() else None
                for block in answer.iter_raw():
                    file.write(block)
                    report(f"kB of {self.path.stem}", file.tell() // 1000, total and total // 1000)
                file.flush()
                os.fsync(file.fileno())
            if end is not None and self.path.stat().st_size != end:
                raise BusyError("the server sent less than it was asked for")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _end_of_rest(self, answer: httpx.Response) -> int:
        """The size of the whole file. Raises BusyError if the answer is not the rest of the version that was begun."""
        begun = self.begun
        sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        is_next = sent and self.path.exists() and int(sent[1]) == self.path.stat().st_size
        if not sent or not is_next or not begun or not begun.version.may_be(Version.of(answer)):
            self.restart("the server sent another part than it was asked for")
        return int(sent[2])

    def _begin(self, version: Version) -> None:
        self.path.unlink(missing_ok=True)  # first, so that no bytes stand beside the note of another version
        write_json(self.note, Begun(address=without_secrets(self.address), version=version).model_dump())

    def restart(self, problem: str) -> NoReturn:
        """Forget what came so far. Raises BusyError: the next attempt begins at the beginning."""
        self.path.unlink(missing_ok=True)
        raise BusyError(problem)
