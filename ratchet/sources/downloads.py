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

import filelock
import httpx

from ratchet.core.errors import SettingsError, SourceError, SourceUnavailableError
from ratchet.core.settings import PARAMS_FILE
from ratchet.sources.file_kinds import CSV, kind_of
from ratchet.sources.partial_download import Begun, BusyError, Part, Version, read_note
from ratchet.sources.places import without_secrets
from ratchet.storage.digests import digest
from ratchet.storage.files import unwritable, write_json

WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each further attempt."""
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_LOCK_SECONDS = 3600.0
_GONE = {404, 410}
_BUSY = {408, 425, 429}
"""Answers after which another attempt may succeed, besides those from 500 on."""


class Copy(Begun):
    """The note beside a copy. `asked` is a digest of the whole address, and `sha256` of the file's content."""

    asked: str
    file: str
    bytes: int
    sha256: str


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
        with _alone(folder), _client(address) as client:
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
            except (httpx.TransportError, BusyError) as error:
                problem = str(error) or type(error).__name__
                if _UNTRUSTED in problem:
                    raise _refused(address, f"has a certificate that is not trusted ({problem})", _TRUST) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _refused(address, f"cannot be asked for ({type(error).__name__})", _REMEDY) from error
        raise SourceUnavailableError(
            f"cannot be downloaded, also in attempt {len(self.waits) + 1} ({problem})",
            subject=without_secrets(address),
            remedy="Run again when the server answers: what was downloaded so far is kept",
        )

    def _copy(self, name: str, address: str) -> Copy | None:
        """The copy under a name, if it is from that address but for its secrets, and its file is there."""
        copy = read_note(Copy, self.folder / f"{name}.json", address)
        file = self.folder / copy.file if copy else None
        return copy if copy and file and file.is_file() and file.stat().st_size == copy.bytes else None

    def _attempt(self, name: str, address: str) -> Copy | None:
        copy, part = self._copy(name, address), Part(self.folder / f"{name}.part", address)
        conditions = copy.version.unless_changed() if copy else {}
        headers = {"Accept-Encoding": "identity", **conditions, **part.rest()}
        with self.client.stream("GET", address, headers=headers) as answer:
            _check_encryption(answer, address)
            if answer.status_code == httpx.codes.NOT_MODIFIED and copy:
                return self._kept_as(name, copy.model_copy(update={"asked": digest(address)}))
            if answer.status_code in _GONE:
                self._sweep(name)
                return None
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.restart("the server has no such rest")
            _check(answer, address)
            part.write(answer)
        return self._kept_as(name, self._finished(name, part))

    def _finished(self, name: str, part: Part) -> Copy:
        """Give a download that is whole the name of a copy."""
        begun = part.begun
        with part.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        end = kind_of(httpx.URL(part.address).path).lower() or CSV
        path = part.path.replace(self.folder / f"{name}.{sha256[:16]}{end}")
        return Copy(
            address=without_secrets(part.address),
            version=begun.version if begun else Version(),
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


def is_url(address: str) -> bool:
    """Whether an address can be asked for."""
    try:
        return bool(httpx.URL(address).host)
    except httpx.InvalidURL:
        return False


def _check_encryption(answer: httpx.Response, address: str) -> None:
    """Raises SourceError if an encrypted address sent on to one without encryption."""
    schemes = [each.url.scheme for each in (*answer.history, answer)]
    if "https" in schemes and schemes[schemes.index("https") :] != ["https"] * schemes.count("https"):
        raise _refused(address, "sends on to an address without encryption", _REMEDY)


def _check(answer: httpx.Response, address: str) -> None:
    """Raises SourceError unless the answer is a whole file or the rest of it, and BusyError if another attempt may help."""
    status = answer.status_code
    if status in _BUSY or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise BusyError(f"it answers {status}")
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise _refused(address, f"answers {status}", _REMEDY)
    if "Content-Length" not in answer.headers and answer.headers.get("Transfer-Encoding") != "chunked":
        problem = "is sent without its length, so that a cut connection would go unnoticed"
        raise _refused(address, problem, "Let the server send Content-Length, or send the file chunked")


_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_TRUST = "If it is the right server, name a file with the certificate of its authority in SSL_CERT_FILE"
_REMEDY = f"Fix source.path in {PARAMS_FILE}, or the server's login in ~/.netrc"


def _refused(address: str, problem: str, remedy: str) -> SourceError:
    return SourceError(problem, subject=without_secrets(address), remedy=remedy)


def _client(address: str) -> httpx.Client:
    try:
        return httpx.Client(auth=_auth(address), timeout=TIMEOUT, follow_redirects=True)
    except OSError as error:  # of the files with certificates
        file = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR", "")
        raise SettingsError(
            f"cannot be read ({error.strerror or error})",
            subject=f"SSL_CERT_FILE={file}",
            remedy="Name a file of certificates",
        ) from error


def _auth(address: str) -> httpx.Auth | None:
    """The logins of the file NETRC (default: ~/.netrc), unless the address has its own."""
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    if httpx.URL(address).userinfo or not file.is_file():
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
