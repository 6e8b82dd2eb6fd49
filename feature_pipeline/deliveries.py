"""What a source delivered later than it should have: rows that came late, and batches that it delivered again.

The past stays as it was seen. A row that was not there when ingest last asked for its time has SEEN_AT, and waits as of earlier
instants; if it should have been there, it has LATE_AT, and counts from then on. If a batch is delivered again with rows changed
or removed, its earlier version is kept, and holds as of every earlier instant; that of a reference table also if rows were
added. A row of the new version counts from when its key was first there. The same is so for a batch that vanished, and while it
is away, its version has no rows.

None of that is so for a source of history: what it holds now counts as if it had been delivered in time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_pipeline.batch_changes import Unasked, changes, holding, new_keys, stamped, with_moved
from feature_pipeline.stored_versions import NEWEST, StoredVersions, Version, version_name
from ratchet.project.run import Run
from ratchet.sources.asked import Asked
from ratchet.sources.batches import read, with_arrivals, without_rows
from ratchet.storage.files import atomic
from ratchet.storage.partitions import read_manifest, write_table
from ratchet.use_case.batch import Batch
from ratchet.use_case.columns import SEEN_AT
from ratchet.use_case.contract import SourceTable

_CHANGES = b"ratchet.changes"


@dataclass(frozen=True)
class Deliveries:
    """The deliveries of a source so far. `before` is None if it is asked for the first time."""

    run: Run
    before: Asked | None
    stored: StoredVersions

    @classmethod
    def open(cls, run: Run) -> Deliveries:
        return cls(run, Asked.of(run), StoredVersions(run.use_case, run.paths.deliveries))

    @property
    def asked(self) -> Asked | None:
        """What was found before, if it counts from when it was found: nothing of a source of history does."""
        return None if self.run.settings.source.history else self.before

    def replaced(self, unit: str) -> list[Version]:
        """The earlier versions of a batch, the first one first."""
        return self.stored.earlier.get(unit, []) if self.asked else []

    def units(self, there: Iterable[str]) -> list[str]:
        """The batches that are there, and those of which earlier versions are kept."""
        return sorted({*there, *(self.stored.earlier if self.asked else ())})

    def in_force_until(self, unit: str) -> datetime | None:
        """Until when the version of a batch is in force that holds as of the run's instant; None if it is the newest.

        A batch that a run as of the past is the first to see may hold only from the latest instant on.
        """
        earlier = self._in_force(unit)
        if earlier:
            return earlier.until
        return self._now if self._is_past and not self._known(unit) else None

    def without_absent(self, batches: Mapping[str, Batch]) -> dict[str, Batch]:
        """The batches, as of an instant before the latest without those that had vanished: then, or when the source was asked
        last. Only a run as of the latest instant takes them in again."""
        return {unit: batch for unit, batch in batches.items() if not (self._is_past and self._is_absent(unit))}

    def content(self, unit: str, batch: Batch, inputs: str) -> str:
        """Which content of a batch counts: the delivered one, or as of an instant before the latest the one that is known.

        What is new counts only from the latest instant on, and a run as of that takes it in. So a source may itself be a
        function of the instant: as of the past it delivers the past again. `inputs` is a digest of the code and schema that
        make the rows.
        """
        known = self._known(unit)
        return known if self._is_past and known.endswith(f" {inputs}") else f"{batch.digest} {inputs}"

    def bring(self, unit: str, batch: Batch, inputs: str) -> pa.Table:
        """The rows of a batch that hold as of the run's instant. `inputs` is a digest of the code and schema that make them."""
        newest = self._newest(unit)
        if newest is None or self._known(unit) != self.content(unit, batch, inputs):
            is_same = newest is not None and self._known(unit).startswith(f"{batch.digest} ")
            rows, is_kept = self._stamped(unit, batch, newest, is_same=is_same)
            if is_kept or (newest is not None and not is_same):
                before = rows if newest is None else newest
                is_new = newest is None or self._has_vanished(unit)
                self._keep(unit, without_rows(before) if is_new else before, rows, always=is_kept)
            newest = rows
        if self.stored.file(unit, NEWEST).parent.is_dir():
            write_table(self.stored.file(unit, NEWEST), newest)
        earlier = self._in_force(unit)
        return self.stored.read(unit, earlier.path) if earlier else newest

    def earlier(self, unit: str) -> pa.Table | None:
        """What was delivered as this batch before, in force as of the run's instant. None if that is nothing, or has another
        schema."""
        in_force = self._in_force(unit)
        path = in_force.path if in_force else None if self._has_vanished(unit) else self._newest_path(unit)
        if path is None or self.before is None or not self.stored.is_declared(unit, pq.read_schema(path)):
            return None
        return self.stored.read(unit, path)

    def was_read(self, unit: str, batch: Batch) -> bool:
        """Whether a batch could be read as it is delivered now, by the code of then."""
        return self.before is not None and self.before.was_read(unit, batch)

    def keep_absent(self, units: Collection[str]) -> None:
        """Before raw tables hold only these units: keep the others, if the source is asked for less time than before."""
        for unit in read_manifest(self.run.paths.raw).keys() - {*units} if self._is_for_less else ():
            raw, kept = self.run.paths.raw / f"{unit}.parquet", self.stored.file(unit, NEWEST)
            if raw.exists() and not kept.exists() and not self._has_vanished(unit):
                with atomic(kept) as temporary:
                    shutil.copyfile(raw, temporary)

    def keep_vanished(self, units: Collection[str]) -> None:
        """Keep the batches that are not among these units any more, although the source is asked for at least the same time."""
        if self.asked is None:
            return
        start, folder = self.run.period("all").start, self.run.paths.deliveries
        kept = folder.glob(f"*/*/{NEWEST}.parquet") if start <= self.asked.start else ()
        absent = {path.parent.relative_to(folder).as_posix() for path in kept}
        found_last = read_manifest(self.run.paths.raw) if start <= self.asked.last_start else {}
        for unit in sorted({*found_last, *absent}):
            newest = self._newest(unit) if _table(unit) in self._tables else None
            if unit not in units and newest is not None and not self._has_vanished(unit) and self._is_due(unit, newest):
                self._keep(unit, newest, without_rows(newest), always=False)
                self.stored.file(unit, NEWEST).unlink(missing_ok=True)

    def _is_due(self, unit: str, rows: pa.Table) -> bool:
        """Whether a batch with these rows should be there. As of the past, a source may itself be a function of the instant."""
        event_time = self.run.use_case.table(_table(unit)).event_time
        if not self._is_past or event_time is None:
            return not self._is_past
        return bool(pc.any(pc.less(rows[event_time], self.run.as_of("feature"))).as_py())

    def vanished(self, units: Collection[str]) -> dict[str, datetime]:
        """The batches that are not among these units, but are in force as of the run's instant → until when they are."""
        found = {unit: self._in_force(unit) for unit in self.stored.earlier if unit not in units}
        return {unit: version.until for unit, version in found.items() if version and version.rows}

    def last(self, unit: str) -> pa.Table:
        """The rows of a batch that vanished, as they are in force as of the run's instant."""
        earlier = self._in_force(unit)
        assert earlier is not None
        return self.stored.read(unit, earlier.path)

    def finish(self, contents: Mapping[str, str], rejected: Mapping[str, str]) -> None:
        """Remember for what time the source has been asked, which batches were read, and which could not be read.

        It is called when all are stored.
        """
        folder = self.run.paths.deliveries
        if self.asked is None:
            shutil.rmtree(folder, ignore_errors=True)
        for leftover in folder.rglob(".*.tmp"):  # of killed runs
            leftover.unlink()
        Asked.next(self.run, self.asked, contents, rejected).write(self.run)

    def corrections(self, unit: str) -> dict[str, dict[str, int]]:
        """Instant → how many rows were changed, removed, added and moved to it when the batch was delivered again then.

        A row that moved was in another batch before, or in an earlier version. If it has other values now, it is changed, too.
        """
        as_of = self.run.as_of("feature")
        done = [version for version in self.replaced(unit) if version.until <= as_of]
        return {
            version.until.isoformat(): json.loads(pq.read_schema(version.path).metadata[_CHANGES]) for version in done
        }

    def _in_force(self, unit: str) -> Version | None:
        as_of = self.run.as_of("feature")
        return next((version for version in self.replaced(unit) if version.until > as_of), None)

    def _has_vanished(self, unit: str) -> bool:
        """Whether a batch had vanished when the source was asked last."""
        return bool(self.replaced(unit)) and not self.stored.file(unit, NEWEST).exists()

    def _is_absent(self, unit: str) -> bool:
        """Whether a batch had vanished as of the run's instant, or when the source was asked last."""
        version = self._in_force(unit)
        return self._has_vanished(unit) or (version is not None and not version.rows)

    @property
    def _is_for_less(self) -> bool:
        """Whether the source was asked for more time before."""
        period = self.run.period("all")
        return self.asked is not None and (period.start > self.asked.start or period.end < self.asked.end)

    @property
    def _is_past(self) -> bool:
        """Whether the source was asked as of a later instant before."""
        return self.asked is not None and self.run.as_of("feature") < self.asked.end

    @property
    def _now(self) -> datetime:
        """From when on counts what is new: the run's instant, or the latest one as of which it was seen not to be there."""
        as_of = self.run.as_of("feature")
        return max(as_of, self.asked.end) if self.asked else as_of

    @property
    def _tables(self) -> set[str]:
        return {table.name for table in self.run.use_case.tables}

    def _newest(self, unit: str) -> pa.Table | None:
        """The newest version of a batch so far; None if there is none."""
        path = self._newest_path(unit)
        return self.stored.read(unit, path) if path and self.asked else None

    def _newest_path(self, unit: str) -> Path | None:
        vanished = [version.path for version in self.replaced(unit) if version.rows][-1:]
        paths = (self.stored.file(unit, NEWEST), *vanished, self.run.paths.raw / f"{unit}.parquet")
        return next((path for path in paths if path.exists()), None)

    def _known(self, unit: str) -> str:
        """What a batch was when the source was asked before; empty if it was not there."""
        return self.asked.contents.get(unit, "") if self.asked and not self._has_vanished(unit) else ""

    def _stamped(self, unit: str, batch: Batch, newest: pa.Table | None, *, is_same: bool) -> tuple[pa.Table, bool]:
        """The rows as they are delivered now, with when they came; and whether the version before must be kept: some rows were
        there, but not in the newest version of the batch, or the batch is a new one of a reference table."""
        table, rows = self.run.use_case.table(batch.table), read(self.run.use_case, batch)
        is_kept = table.is_reference and newest is None and self.asked is not None
        if self.asked and not table.is_reference:
            unasked = None if is_same else self._unasked(table, rows, newest)
            rows = stamped(self.run.environment, table, rows, newest, unasked)
            new = rows.filter(pc.equal(rows[SEEN_AT], self._now))
            if others := [] if is_same else self._seen_before(unit, table, new):
                found = stamped(self.run.environment, table, rows, newest, unasked, others)
                is_kept, rows = not found.equals(rows), found
        return with_arrivals(table, rows), is_kept

    def _unasked(self, table: SourceTable, rows: pa.Table, newest: pa.Table | None) -> Unasked:
        """What was not there before. Rows from before the time that was asked for make history longer, and are not
        late, if an earlier time is asked for now, or if a new batch has no others."""
        assert self.asked is not None
        start = self.asked.start
        is_longer = newest is None and not pc.any(pc.greater_equal(rows[table.event_time], start)).as_py()
        is_asked_for_more = self.run.period("all").start < start
        lag = self.run.delivery(table.name).lag
        return Unasked(start if is_longer or is_asked_for_more else None, self.asked.end, lag, self._now)

    def _seen_before(self, unit: str, table: SourceTable, rows: pa.Table) -> list[pa.Table]:
        """The raw rows of the table's other batches, and of all earlier versions, that have some of these rows' keys: a file
        may be renamed, split or merged, or cut off for a while. Those that were in force last come first."""
        if not rows.num_rows:
            return []
        units = [
            each
            for each in sorted({*read_manifest(self.run.paths.raw), *self.stored.earlier})
            if _table(each) == table.name
        ]
        versions = [version for each in units for version in self.replaced(each) if version.rows]
        replaced = [version.path for version in sorted(versions, key=lambda each: each.until, reverse=True)]
        newest = [path for each in units if each != unit and (path := self._newest_path(each))]
        paths = [*(path for path in newest if path not in replaced), *replaced]
        found = holding(self.run.environment, table, rows, paths)
        tables = [self.stored.read(unit, path) for path in found]
        return [each for each in tables if self.stored.is_declared(unit, each.schema)]

    def _keep(self, unit: str, newest: pa.Table, rows: pa.Table, *, always: bool) -> None:
        """Keep the newest version so far, unless the rows only add to those that it has, or `always`. What is added to a table
        of events says itself when it came. A version that was kept until the same instant stays: it was in force before."""
        table = self.run.use_case.table(_table(unit))
        path = self.stored.file(unit, version_name(self._now))
        earlier = self.stored.read(unit, path) if path.exists() else newest
        if not all(self.stored.is_declared(unit, each.schema) for each in (newest, earlier)):
            return
        found = changes(self.run.environment, table, earlier, rows)
        counts = ("changed", "removed", *(("added",) if table.is_reference else ()))
        if always or path.exists() or not earlier.num_rows or any(found[name] for name in counts):
            environment = self.run.environment
            came = new_keys(environment, table, earlier, rows)
            others = self._seen_before(unit, table, came) if found["added"] else []
            found = with_moved(environment, table, earlier, rows, others, found) if others else found
            metadata = {**earlier.schema.metadata, _CHANGES: json.dumps(found)}
            write_table(path, earlier.replace_schema_metadata(metadata))
            self.stored.look_again()


def _table(unit: str) -> str:
    return unit.partition("/")[0]
