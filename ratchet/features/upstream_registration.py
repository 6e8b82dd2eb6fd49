"""What featurize finds in the files of upstream views: which files there are, and a digest of the rows that are known.

Nothing is copied, so this proves later that the same rows are still there. Rows that the other system adds later do no harm:
they were not known at the instant of the registration. If rows from before are changed, removed or added, the next
registration records that they were restated, and until then nothing is computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import AwareDatetime, NonNegativeInt

from ratchet.core.clock import END, FIRST
from ratchet.core.environment import Environment
from ratchet.core.errors import SourceError, StoreError
from ratchet.core.frozen import Frozen
from ratchet.features.upstream_files import file_digests, find_files
from ratchet.features.upstream_rows import UpstreamRows, upstream_rows
from ratchet.storage.digests import digest
from ratchet.storage.duckdb import Query
from ratchet.storage.file_states import file_states
from ratchet.storage.files import read_json, remove_leftovers, write_json
from ratchet.storage.sql import names, quoted, timestamptz

if TYPE_CHECKING:
    from ratchet.project.run import Run

FILE = "upstream.json"


class Restated(Frozen):
    """The rows that were registered as of an instant had changed when the run as of `found_at` read them again."""

    as_of: AwareDatetime
    found_at: AwareDatetime
    rows_then: NonNegativeInt
    rows_now: NonNegativeInt


class Registration(Frozen):
    """The files of a view, with the MD5 of each, and the number and the digest of the different rows that were known before
    `as_of`. `read_as` changes with the declaration. `restated` is everything that was found to be restated so far."""

    as_of: AwareDatetime
    files: dict[str, str]
    rows: NonNegativeInt
    digest: str
    read_as: str
    schedule: str
    restated: tuple[Restated, ...] = ()

    @property
    def summary(self) -> dict[str, object]:
        """What later steps depend on: not on bytes of the files, which may grow."""
        newly = [each.model_dump(mode="json") for each in self.restated if each.found_at == self.as_of]
        return {**self.model_dump(mode="json", exclude={"as_of", "files"}), "restated": newly}


@dataclass(frozen=True)
class Register:
    """The registrations of a use case's upstream views, in the folder of the offline store."""

    views: Mapping[str, UpstreamRows] = field(hash=False)
    folder: Path
    root: Path
    environment: Environment

    @classmethod
    def open(cls, run: Run) -> Register:
        """Raises SettingsError unless params.yaml says where the files of each view lie."""
        return cls(upstream_rows(run), run.paths.features, run.root, run.environment)

    def write(self, at: datetime) -> dict[str, Registration]:
        """Register what the files of each view hold now, as of an instant.

        Raises SourceError if there are no files, or if rows cannot be used or change while they are read.
        """
        before = self.read()
        found = {name: self._register(rows, at, before.get(name)) for name, rows in self.views.items()}
        remove_leftovers(self._path)
        if found:
            write_json(self._path, {name: each.model_dump(mode="json") for name, each in found.items()})
        else:
            self._path.unlink(missing_ok=True)
        return found

    def read(self) -> dict[str, Registration]:
        """View → its last registration; empty if there is none."""
        stored = read_json(self._path) if self._path.exists() else {}
        return {name: Registration.model_validate(each) for name, each in stored.items()}

    def changed(self) -> list[str]:
        """The views whose registered rows are no longer in the files, or that are not registered."""
        stored = self.read()
        return [name for name, rows in self.views.items() if not self._is_there(rows, stored.get(name))]

    def require(self) -> None:
        """Raise StoreError unless the files still hold the registered rows of every view."""
        if changed := self.changed():
            raise StoreError(
                f"does not hold the rows that featurize registered for {', '.join(changed)}: the other system restated them, "
                "or they are declared otherwise now",
                subject=", ".join(str(self.views[name].place) for name in changed),
                remedy="Run `dvc repro`, or let the feature flow run: it records this, and goes on with the present rows",
            )

    @property
    def _path(self) -> Path:
        return self.folder / FILE

    def _register(self, rows: UpstreamRows, at: datetime, before: Registration | None) -> Registration:
        states = file_states(find_files(rows.place))
        files = self.check(rows)
        contents = file_digests(files, self.root)
        count, content = self._content(rows, files, at)
        restated = before.restated if before else ()
        if before and before.read_as == read_as(rows) and before.files != contents:
            restated += self._restated(rows, files, at, before)
        if file_states(find_files(rows.place)) != states:
            raise SourceError(
                "changed while it was read",
                subject=f"{rows.table} at {rows.place}",
                remedy="Run again when it is written",
            )
        return Registration(
            as_of=at,
            files=contents,
            rows=count,
            digest=content,
            read_as=read_as(rows),
            schedule=rows.schedule,
            restated=restated,
        )

    def _restated(
        self, rows: UpstreamRows, files: Sequence[Path], at: datetime, before: Registration
    ) -> tuple[Restated, ...]:
        """What the last registration counted, if that is not there any more."""
        count, content = self._content(rows, files, before.as_of)
        if (count, content) == (before.rows, before.digest):
            return ()
        return (Restated(as_of=before.as_of, found_at=at, rows_then=before.rows, rows_now=count),)

    def _is_there(self, rows: UpstreamRows, registered: Registration | None) -> bool:
        if registered is None or registered.read_as != read_as(rows):
            return False
        files = rows.files()
        if registered.files == file_digests(files, self.root):
            return True
        return self._content(rows, files, registered.as_of) == (registered.rows, registered.digest)

    def _content(self, rows: UpstreamRows, files: Sequence[Path], at: datetime) -> tuple[int, str]:
        """The number of different rows that were known before an instant, and a digest that does not depend on their order."""
        line = f"json_array({names([*rows.columns])})::VARCHAR"
        halves = ", ".join(f"sum(md5_number_{half}({line}))::VARCHAR AS {half}" for half in ("lower", "upper"))
        known = f"SELECT DISTINCT * FROM ({rows.delivered(files)}) WHERE {rows.known_before(at)}"
        (found,) = self._ask(f"SELECT count(*) AS count, {halves} FROM ({known})").to_pylist()
        return found["count"], digest(found["lower"], found["upper"])

    def check(self, rows: UpstreamRows) -> list[Path]:
        """The files of a view. Raises SourceError if there is none, or one without the declared columns, for a row without a
        key or a usable time, and for different rows with one key and the same times."""
        files = rows.files()
        for path in files:
            counts = [f"count(*) FILTER (NOT ({usable})) AS {quoted(name)}" for name, usable in _usable(rows).items()]
            (found,) = self._ask(f"SELECT {', '.join(counts)} FROM ({rows.delivered([path])})").to_pylist()
            if wrong := ", ".join(f"{name!r} in {count:,} rows" for name, count in found.items() if count):
                raise SourceError(
                    f"a key or a time has no value, or is a time outside of 1970 to 2100: {wrong}",
                    subject=str(path),
                    remedy="Let the other system fill them, or leave out such rows",
                )
        identity = names(list(dict.fromkeys([*rows.keys, rows.event_time, rows.available_at])))
        distinct = f"SELECT DISTINCT * FROM ({rows.delivered(files)})"
        repeated = self._ask(f"SELECT {identity} FROM ({distinct}) GROUP BY {identity} HAVING count(*) > 1 LIMIT 1")
        if repeated.num_rows:
            raise SourceError(
                f"rows with the same {identity} have different values, such as {repeated.to_pylist()[0]}",
                subject=f"{rows.table} at {rows.place}",
                remedy=f"Let the other system write a later {rows.available_at!r} when it corrects a row",
            )
        return files

    def _ask(self, sql: str) -> pa.Table:
        return Query(sql).run(self.environment.threads, self.environment.memory_limit)


def _usable(rows: UpstreamRows) -> dict[str, str]:
    """Column that every row needs → the condition that its value can be used."""
    within = f"> {timestamptz(FIRST)}", f"< {timestamptz(END)}"
    times = {
        name: f"coalesce({' AND '.join(f'{quoted(name)} {bound}' for bound in within)}, false)"
        for name in (rows.event_time, rows.available_at)
    }
    return {**{name: f"{quoted(name)} IS NOT NULL" for name in rows.keys}, **times}


def read_as(rows: UpstreamRows) -> str:
    """A digest that changes with how rows are read, and with when they count as known."""
    return digest(rows.columns, rows.event_time, rows.available_at, rows.lag)
