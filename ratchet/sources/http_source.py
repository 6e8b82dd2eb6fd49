"""A ready-made source of files on a web server: one for each year, month or day, or a single one. Each file is a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from pydantic import Field

from ratchet.core.clock import TICK, Period
from ratchet.core.errors import SettingsError, SourceError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import PARAMS_FILE, parse
from ratchet.sources.declared_table import DeclaredTable
from ratchet.sources.downloads import WAITS, Copy, Downloads, is_url
from ratchet.sources.file_kinds import errors_about, file_batch
from ratchet.sources.places import without_secrets
from ratchet.use_case.batch import Batch, Gap, Loader, Unread

_SPANS = {"year": 4, "month": 7, "day": 10}
"""Field of an address → how much of a date in ISO format names its span. The finest field that an address has counts."""
_FIELDS = {*_SPANS, "table"}


class HttpOptions(Frozen):
    """`ask_again_days`: files of spans that ended longer than this before the period's end are downloaded only once. The server
    is asked in every run whether any other file changed."""

    ask_again_days: int = Field(45, ge=0, le=100_000)


@dataclass(frozen=True)
class Remote:
    """A file on the server: its batch, its address, and the first local day of its span and the day after the last one; None if
    it has no span."""

    name: str
    address: str
    span: tuple[date, date] | None


@dataclass(frozen=True)
class HttpSource:
    """A loader: call it with (path, options, period), after it was given a folder."""

    declared: DeclaredTable
    folder: Path | None = None
    waits: tuple[float, ...] = WAITS

    def kept_in(self, folder: Path) -> Loader:
        """The same, with a folder for its downloads."""
        return replace(self, folder=folder)

    def __call__(self, path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch | Gap | Unread]:
        chosen = parse(HttpOptions, options, f"{PARAMS_FILE}, source.options")
        if self.folder is None:
            raise SettingsError(
                "was given no folder for its downloads",
                subject=f"source of {self.declared.table}",
                remedy="Declare http_source(...) itself in `sources`, or within several_tables(...)",
            )
        remotes = remote_files(path, self.declared.table, period, self.declared.timezone)
        if not remotes:
            return []
        closed = _last_day(period, self.declared.timezone) - timedelta(days=chosen.ask_again_days)
        folder = self.folder / self.declared.table
        with Downloads.open(folder, remotes[0].address, self.waits) as downloads:
            copies = {remote: _copy(downloads, remote, closed) for remote in remotes}
        last = max((place for place, copy in enumerate(copies.values()) if copy), default=-1)
        return [
            self._batch(remote, folder / copy.file, copy, period) if copy else self._absent(remote, place < last)
            for place, (remote, copy) in enumerate(copies.items())
        ]

    def _absent(self, remote: Remote, is_gap: bool) -> Gap | Unread:
        if is_gap and (period := self._period(remote)):
            return Gap(self.declared.table, remote.name, period)
        return Unread(remote.name, f"is not there yet: {without_secrets(remote.address)}")

    def _batch(self, remote: Remote, file: Path, copy: Copy, period: Period) -> Batch:
        batch = file_batch(self.declared, remote.name, file, copy.sha256, period)
        span = self._period(remote)

        def read() -> tuple[pa.Table, list[str]]:
            _check_whole(file, copy)
            with errors_about(copy.address):
                return batch.read()

        return replace(batch, read=read, files=None, complete_until=span.end if span else None, period=span)

    def _period(self, remote: Remote) -> Period | None:
        """The time of which a file has the rows, if its address says so."""
        return Period.between(*remote.span, self.declared.timezone) if remote.span else None


def http_source(
    table: str,
    schema: pa.Schema,
    *,
    timezone: str,
    known_after: tuple[str, timedelta] | None = None,
    scattered_by: str | None = None,
    renamed: Mapping[str, str] | None = None,
    optional: Sequence[str] = (),
) -> Loader:
    """A loader of `table` from files of a web server. The arguments are those of `DeclaredTable`.

    `source.path` is an address such as `https://host/trips_{year}-{month:02}.parquet`. With {day} there is a batch for each
    local day that the period touches, else with {month} for each month, else with {year} for each year; without any of them
    there is the batch `all`. {table} is the table's name. A file's kind follows from the end of the address's path, without
    a known end it is CSV. A file that the server does not have (404) is a gap if it has a later one, and otherwise not there
    yet: ingest's report names both. The table is complete up to the end of the last span that has a file. Raises SettingsError.
    """
    declared = DeclaredTable(table, schema, timezone, known_after, scattered_by, renamed or {}, optional)
    return HttpSource(declared)


def remote_files(template: str, table: str, period: Period, timezone: str) -> list[Remote]:
    """The files of the period, in order. Raises SettingsError if the template is wrong."""
    subject = f"{PARAMS_FILE}, source.path {without_secrets(template)}"
    if not template.startswith(("http://", "https://")):
        raise SettingsError("is no address", subject=subject, remedy="Begin it with https:// or http://")
    fields = _fields(template, subject)
    finest = max((_SPANS.get(name, 0) for name in fields), default=0)
    spans = {day.isoformat()[:finest] or "all": day for day in _days(period, timezone)}
    try:
        addresses = {
            name: template.format(table=table, year=day.year, month=day.month, day=day.day)
            for name, day in spans.items()
        }
    except (ValueError, LookupError, AttributeError) as error:
        raise SettingsError("has a field that cannot be filled in", subject=subject, remedy=_REMEDY) from error
    if not all(map(is_url, addresses.values())):
        raise SettingsError("is no address", subject=subject, remedy=_REMEDY)
    if len({*addresses.values()}) < len(addresses):
        raise SettingsError("is the same for several spans", subject=subject, remedy=_REMEDY)
    return [Remote(name, address, _span(name)) for name, address in addresses.items()]


_REMEDY = "Write each field as {year}, {month:02} or {day:02}, the coarser ones too, and other braces twice"


def _fields(template: str, subject: str) -> set[str]:
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise SettingsError("has a single brace", subject=subject, remedy=_REMEDY) from error
    if unknown := sorted(fields - _FIELDS):
        problem = f"has {', '.join(f'{{{name}}}' for name in unknown)}, which is no field"
        raise SettingsError(problem, subject=subject, remedy=_REMEDY)
    return fields


def _days(period: Period, timezone: str) -> Iterator[date]:
    """Every local day that the period touches, in order."""
    day, last = period.start.astimezone(ZoneInfo(timezone)).date(), _last_day(period, timezone)
    while day <= last:
        yield day
        day += timedelta(days=1)


def _last_day(period: Period, timezone: str) -> date:
    return (period.end - TICK).astimezone(ZoneInfo(timezone)).date()


def _span(name: str) -> tuple[date, date] | None:
    """The first day of a year, month or day in ISO format, and the day after its last one."""
    if name == "all":
        return None
    if len(name) == _SPANS["day"]:
        day = date.fromisoformat(name)
        return day, day + timedelta(days=1)
    year, month = int(name[:4]), int(name[5:] or 12)
    return date(year, month if name[5:] else 1, 1), date(year + month // 12, month % 12 + 1, 1)


def _copy(downloads: Downloads, remote: Remote, closed: date) -> Copy | None:
    is_closed = remote.span is not None and remote.span[1] <= closed
    kept = downloads.kept(remote.name, remote.address) if is_closed else None
    return kept or downloads.bring(remote.name, remote.address)


def _check_whole(file: Path, copy: Copy) -> None:
    """Raises SourceError if the content of a copy is not that which was downloaded."""
    try:
        with file.open("rb") as opened:
            is_whole = hashlib.file_digest(opened, "sha256").hexdigest() == copy.sha256
    except OSError:
        is_whole = False
    if not is_whole:
        raise SourceError(
            f"its copy {file.name} is no longer as it was downloaded",
            subject=copy.address,
            remedy=f"Delete {file}, and run again: it is then downloaded again",
        )
