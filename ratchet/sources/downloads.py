"""Copies of files of web servers, which are asked only whether they changed since.

A copy `{name}.{checksum}{end}` counts from the moment its note `{name}.json` names it; a killed download leaves
`{name}.part`, which the next one resumes. So a copy is whole or absent, and no two versions are mixed.
"""

from __future__ import annotations

import hashlib
import logging
import netrc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import filelock
import httpx
from pydantic import ValidationError

from ratchet.core.errors import SettingsError, SourceError, SourceUnavailableError
from ratchet.core.settings import PARAMS_FILE, Frozen
from ratchet.sources.file_kinds import CSV, kind_of
from ratchet.sources.places import without_secrets
from ratchet.storage.digests import digest
from ratchet.storage.files import unwritable, write_json

WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each further attempt."""
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_LOCK_SECONDS = 3600.0
_BLOCK = 1 << 20
_GONE = {404, 410}
_BUSY = {408, 425, 429}
"""Answers after which another attempt may succeed, besides those from 500 on."""


class Version(Frozen):
    """What a server says of the version of a file."""

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, answer: httpx.Response) -> Version:
        return cls(etag=answer.headers.get("ETag"), last_modified=answer.headers.get("Last-Modified"))

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


class Copy(Begun):
    """The note beside a copy. `asked` is a digest of the whole address, and `sha256` of the file's content."""

    asked: str
    file: str
    bytes: int
    sha256: str


class _BusyError(Exception):
    """An answer after which another attempt may succeed."""


@dataclass(frozen=True)
class Downloads:
    """The copies in a folder. `waits` are the seconds before each further attempt."""

    folder: Path
    client: httpx.Client
    waits: tuple[float, ...] = WAITS

    @classmethod
    @contextmanager
    def open(cls, folder: Path, address: str, waits: tuple[float, ...] = WAITS) -> Iterator[Downloads]:
        """The copies in a folder from the host of an address, while no other process changes them."""
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses with their secrets
        with _alone(folder), httpx.Client(auth=_auth(address), timeout=TIMEOUT, follow_redirects=True) as client:
            yield cls(folder, client, waits)

    def kept(self, name: str, address: str) -> Copy | None:
        """The copy of that very address that is kept under a name; None if there is none."""
        copy = self._copy(name, address)
        return copy if copy and copy.asked == digest(address) else None

    def bring(self, name: str, address: str) -> Copy | None:
        """An up-to-date copy of an address under a name; None if nothing is there.

        Raises SourceError, and SourceUnavailableError after the last attempt.
        """
        problem = ""
        for wait in (0.0, *self.waits):
            time.sleep(wait)
            try:
                return self._attempt(name, address)
            except (httpx.TransportError, _BusyError) as error:
                problem = str(error) or type(error).__name__
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _refused(address, f"cannot be asked for ({type(error).__name__})", _REMEDY) from error
        raise SourceUnavailableError(
            f"cannot be downloaded, also in attempt {len(self.waits) + 1} ({problem})",
            subject=without_secrets(address),
            remedy="Run again when the server answers: what was downloaded so far is kept",
        )

    def _copy(self, name: str, address: str) -> Copy | None:
        """The copy under a name, if it is from that address but for its secrets, and its file is there."""
        copy = _read(Copy, self.folder / f"{name}.json", address)
        file = self.folder / copy.file if copy else None
        return copy if copy and file and file.is_file() and file.stat().st_size == copy.bytes else None

    def _attempt(self, name: str, address: str) -> Copy | None:
        copy, part = self._copy(name, address), Part(self.folder / f"{name}.part", address)
        conditions = copy.version.unless_changed() if copy else {}
        headers = {"Accept-Encoding": "identity", **conditions, **part.rest()}
        with self.client.stream("GET", address, headers=headers) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED and copy:
                return self._kept_as(name, copy.model_copy(update={"asked": digest(address)}))
            if answer.status_code in _GONE:
                self._sweep(name)
                return None
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.restart("the server has no such rest")
            _check(answer, address)
            part.write(answer)
        return self._kept_as(name, self._finished(name, part, Version.of(answer)))

    def _finished(self, name: str, part: Part, version: Version) -> Copy:
        """Give a download that is whole the name of a copy."""
        with part.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        end = kind_of(urlsplit(part.address).path).lower() or CSV
        path = part.path.replace(self.folder / f"{name}.{sha256[:16]}{end}")
        return Copy(
            address=without_secrets(part.address),
            version=version,
            asked=digest(part.address),
            file=path.name,
            bytes=path.stat().st_size,
            sha256=sha256,
        )

    def _kept_as(self, name: str, copy: Copy) -> Copy:
        write_json(self.folder / f"{name}.json", copy.model_dump())
        self._sweep(name, f"{name}.json", copy.file)
        return copy

    def _sweep(self, name: str, *kept: str) -> None:
        """Delete what is under a name but for these files; the note goes first."""
        found = [path for path in self.folder.iterdir() if path.name.startswith(f"{name}.") and path.name not in kept]
        for path in sorted(found, key=lambda path: path.suffix != ".json"):
            path.unlink()


@dataclass(frozen=True)
class Part:
    """A download that is not whole yet, and its note."""

    path: Path
    address: str

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def rest(self) -> dict[str, str]:
        """Headers that ask for the rest alone, if the server can tell that this is the same version."""
        begun = _read(Begun, self.note, self.address)
        return begun.version.from_byte(self.path.stat().st_size) if begun and self.path.exists() else {}

    def write(self, answer: httpx.Response) -> None:
        """Write the answer's content at its place. Raises what httpx raises if it is cut; what came so far is kept."""
        try:
            is_rest = answer.status_code == httpx.codes.PARTIAL_CONTENT
            if not is_rest:
                self._begin(Version.of(answer))
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {self.path.stat().st_size}-"):
                self.restart("sends another part than the one that was asked for")
            with self.path.open("ab") as file:
                for block in answer.iter_raw():
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _begin(self, version: Version) -> None:
        self.path.unlink(
            missing_ok=True
        )  # before the note: the bytes of one version never stand beside the note of another
        write_json(self.note, Begun(address=without_secrets(self.address), version=version).model_dump())

    def restart(self, problem: str) -> None:
        """Forget what came so far. Raises _BusyError: the next attempt begins at the beginning."""
        self.path.unlink(missing_ok=True)
        raise _BusyError(problem)


Note = TypeVar("Note", bound=Begun)


def _read(kind: type[Note], path: Path, address: str) -> Note | None:
    """A note about an address; None if there is none that can be read."""
    try:
        note = kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return note if note.address == without_secrets(address) else None


def _check(answer: httpx.Response, address: str) -> None:
    """Raises SourceError unless the answer is a whole file or the rest of it, and _BusyError if another attempt may help."""
    status = answer.status_code
    if status in _BUSY or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _BusyError(f"it answers {status}")
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise _refused(address, f"answers {status}", _REMEDY)
    if "Content-Length" not in answer.headers and answer.headers.get("Transfer-Encoding") != "chunked":
        problem = "is sent without its length, so that a cut connection would go unnoticed"
        raise _refused(address, problem, "Let the server send Content-Length, or send the file chunked")


_REMEDY = f"Fix source.path in {PARAMS_FILE}, or the server's login in ~/.netrc"


def _refused(address: str, problem: str, remedy: str) -> SourceError:
    return SourceError(problem, subject=without_secrets(address), remedy=remedy)


def _auth(address: str) -> httpx.Auth | None:
    """The logins of the file NETRC (default: ~/.netrc), unless the address has its own."""
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    if "@" in urlsplit(address).netloc or not file.is_file():
        return None
    try:
        return httpx.NetRCAuth(str(file))
    except netrc.NetrcParseError as error:
        raise SettingsError(f"cannot be read ({error.msg})", subject=str(file), remedy="Fix the line") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While the block runs, no other process changes the folder. Raises SourceUnavailableError if one does for too long."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_LOCK_SECONDS)
    except filelock.Timeout as error:
        raise SourceUnavailableError(
            "is being filled by another run", subject=str(folder), remedy="Wait until that run has ended, and run again"
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()
