"""Find the rows of a batch that may not be used, with every reason for each row.

A row with a value that could not be read is quarantined for that, and for the rules that it breaks in its other columns. Other
rows are quarantined if they have no key or event time, or if they break a rule of the use case and no person readmitted them.
Of the remaining rows with the same key, the first is accepted. As of an instant before it came, a row waits in quarantine.
If the batch as a whole is refused, all of its rows are quarantined for that, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_pipeline.batch_checks import (
    FEWEST_EARLIER,
    Finding,
    broken_rule,
    expected,
    finding,
    own_findings,
    repeated,
)
from feature_pipeline.batch_records import BatchRecord, read_record, with_record
from feature_pipeline.batch_statistics import Statistics, statistics, weekday_of
from feature_pipeline.data_docs import write_page
from feature_pipeline.expectations import EVERY_ROW, Results, failing, judge, observed, rules_digest
from feature_pipeline.readmissions import Readmission
from feature_pipeline.seen_rows import as_seen, unseen
from ratchet.project.run import Run
from ratchet.sources import unreadable
from ratchet.storage.digests import digest
from ratchet.storage.duckdb import connect, literal
from ratchet.storage.sql import names, quoted
from ratchet.use_case.contract import ROW_ID, UNREADABLE, Rule, SourceTable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DUPLICATE_KEY = "duplicate_key"
NOT_ARRIVED = "not_arrived"
REFUSED_BATCH = "refused_batch"
NULL_KEY = "null_key"
NULL_EVENT_TIME = "null_event_time"
_REASONS = pa.field("reasons", pa.list_(pa.string()))
_BATCH = f'"batch of {ROW_ID}"'  # no column of a use case
_BATCH_OF_ROW = f"regexp_replace({ROW_ID}, ':[0-9]+$', '') AS {_BATCH}"
Reasons = dict[str, list[str]]
"""Row id → its reasons."""


@dataclass(frozen=True)
class Quarantine:
    """Checks the batches of one table. It reads the raw rows and, once, the accepted keys and records of earlier batches.

    `readmissions` are the decisions of people that count, by unit.
    """

    run: Run
    table: SourceTable
    readmissions: Mapping[str, Sequence[Readmission]] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set, init=False)
    _records: dict[str, BatchRecord] = field(default_factory=dict, init=False)

    @cached_property
    def digest(self) -> str:
        """A digest that changes with any requirement for a row or a batch."""
        table = self.table
        requirements = (table.delivered_schema.to_string(), table.key, table.event_time, rules_digest(table.rules))
        return digest(*requirements, self.run.settings.validation.model_dump(), self.run.use_case.timezone)

    def rejected(self, batch: str, earlier: Sequence[str]) -> pa.Table:
        """The rows to quarantine, in delivered order: raw schema plus `reasons`. The file's metadata has the batch's record.

        Raises DataError, as `judge` does.
        """
        as_of = self.run.as_of("feature")
        raw = as_seen(self.table, read_rows(self._path(self.run.paths.raw, batch)), as_of)
        later = unseen(raw, as_of)
        there = leave_out(raw, later)
        reasons, record, results = self._judge(there, batch, earlier)
        if record.is_refused:
            reasons = {row_id: [REFUSED_BATCH, *reasons.get(row_id, ())] for row_id in there[ROW_ID].to_pylist()}
        reasons |= {row_id: [NOT_ARRIVED] for row_id in later}
        counts = Counter(reason for each in reasons.values() for reason in each)
        write_page(self.run.paths.data_docs, f"{self.table.name}/{batch}", results, record, counts)
        rejected = raw.filter(_among(raw, list(reasons)))
        column = [reasons[row_id] for row_id in rejected[ROW_ID].to_pylist()]
        return with_record(rejected.append_column(_REASONS, pa.array(column, _REASONS.type)), record)

    def _judge(self, raw: pa.Table, batch: str, earlier: Sequence[str]) -> tuple[Reasons, BatchRecord, Results]:
        """The rows that may not be used, without those of which only the batch is refused; the batch's record; and the results
        of Great Expectations."""
        rows, unit, settings = unreadable.readable(raw), f"{self.table.name}/{batch}", self.run.settings.validation
        of_rows = judge(self.table.rules, rows, unit, EVERY_ROW)
        broken = failing(of_rows)
        for rule, row_ids in self._broken_beside(raw, unit):
            broken[rule] = broken.get(rule, []) + row_ids
        reasons = _unreadable(raw)
        for row_id, others in self._broken(rows, broken, self.readmissions.get(unit, ())).items():
            reasons.setdefault(row_id, []).extend(others)
        sound = leave_out(rows, list(reasons))
        usual = self._comparable(weekday_of(self.table, self.run.use_case.timezone, sound), earlier)
        found = statistics(self.table, self.run.use_case.timezone, sound, usual)
        wanted = {f"{each.check} {each.column or ''}": each for each in expected(found, usual, settings)}
        of_batch = judge({name: each.rule for name, each in wanted.items()}, sound, unit, "BASIC")
        self._learn([each for each in earlier if each not in self._known])
        findings = [
            *(broken_rule(rule, value, settings) for rule, value in observed(of_rows).items()),
            *own_findings(found, usual, (len(reasons), raw.num_rows), settings),
            *self._repeats(rows),
            *(wanted[name].failed(value, settings) for name, value in observed(of_batch).items()),
        ]
        reasons |= {row_id: [DUPLICATE_KEY] for row_id in self._duplicates(sound)}
        return reasons, self._record(unit, found, findings), {**of_rows, **of_batch}

    def _record(self, unit: str, found: Statistics, findings: Sequence[Finding]) -> BatchRecord:
        refuses = any(each.refuses for each in findings)
        overruled = next((each.reason for each in self.readmissions.get(unit, ()) if each.kind == "batch"), None)
        return BatchRecord(
            statistics=found,
            findings=tuple(findings),
            is_refused=refuses and overruled is None,
            overruled=overruled if refuses else None,
        )

    def _comparable(self, weekday: int | None, earlier: Sequence[str]) -> list[Statistics]:
        """The last earlier batches that were accepted: those of mostly the same weekday if there are enough, or else any."""
        latest: list[Statistics] = []
        alike: list[Statistics] = []
        for batch in reversed(earlier):
            record = self._recorded(batch)
            if record.is_refused or not record.statistics.rows:
                continue
            latest.append(record.statistics)
            if record.statistics.weekday == weekday:
                alike.append(record.statistics)
            if len(alike) == self.run.settings.validation.trailing:
                break
        chosen = alike if len(alike) >= FEWEST_EARLIER else latest
        return chosen[: self.run.settings.validation.trailing]

    def _recorded(self, batch: str) -> BatchRecord:
        if batch not in self._records:
            self._records[batch] = read_record(self._path(self.run.paths.quarantine, batch))
        return self._records[batch]

    def _broken_beside(self, raw: pa.Table, unit: str) -> Iterator[tuple[str, list[str]]]:
        """Rules, each with ids of unreadable rows that break it in columns that could be read."""
        spoilt = raw.filter(pc.is_valid(raw[UNREADABLE.name]))
        groups: dict[frozenset[str], list[str]] = {}
        for row_id, texts in zip(spoilt[ROW_ID].to_pylist(), spoilt[UNREADABLE.name].to_pylist(), strict=True):
            groups.setdefault(frozenset(dict(texts)), []).append(row_id)
        for columns, row_ids in groups.items():
            rules = {} if unreadable.WHOLE_ROW in columns else _not_about(columns, self.table.rules)
            rows = spoilt.filter(_among(spoilt, row_ids)).drop_columns([UNREADABLE.name])
            yield from failing(judge(rules, rows, unit, EVERY_ROW)).items()

    def _broken(self, rows: pa.Table, failing: Mapping[str, list[str]], decisions: Sequence[Readmission]) -> Reasons:
        """Every reason that lies in the row itself, whatever other rows hold, without those that a person overruled."""
        instants = (self.table.event_time,) if self.table.event_time else ()
        found = {NULL_KEY: _without(rows, self.table.key), NULL_EVENT_TIME: _without(rows, instants)}
        for rule, row_ids in failing.items():
            found[rule] = found.get(rule, []) + _not_readmitted(rule, row_ids, decisions)
        reasons: Reasons = {}
        for reason, row_ids in found.items():
            for row_id in row_ids:
                reasons.setdefault(row_id, []).append(reason)
        return reasons

    def _repeats(self, rows: pa.Table) -> Iterator[Finding]:
        """The finding that most rows have the keys of one earlier batch."""
        self._connection.register("here", rows)
        keys = names(self.table.key)
        found = f"SELECT {_BATCH}, count(*) FROM here JOIN accepted USING ({keys}) GROUP BY {_BATCH}"
        counts = dict(self._connection.sql(found).fetchall())
        batch = repeated(counts, rows.num_rows)
        if batch is None:
            return
        same = " AND ".join(
            f"here.{quoted(name)} IS NOT DISTINCT FROM old.{quoted(name)}" for name in self.table.schema.names
        )
        self._view_batches([batch])
        self._connection.sql(f"FROM raw ANTI JOIN rejected USING ({ROW_ID})").create_view("old", replace=True)
        changed = f"SELECT count(*) FROM here SEMI JOIN old USING ({keys}) WHERE NOT EXISTS (FROM old WHERE {same})"
        ((revised,),) = self._connection.sql(changed).fetchall()
        whose = f"{counts[batch]:,} of its {rows.num_rows:,} rows have keys that were accepted from there"
        lost = f", {revised:,} of them with other values, which are not used: to replace that batch, deliver under its name"
        detail = f"repeats {self.table.name}/{batch}: {whose}{lost if revised else ''}"
        yield finding("repeated", detail, self.run.settings.validation)

    def _duplicates(self, rows: pa.Table) -> list[str]:
        """Ids of the rows whose key came before: in this batch, or accepted from an earlier one."""
        self._connection.register("here", rows)
        keys = names(self.table.key)
        again = self._connection.sql(
            f"""
            SELECT {ROW_ID} FROM here QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {ROW_ID}) > 1
            UNION
            SELECT {ROW_ID} FROM here SEMI JOIN (SELECT * FROM accepted SEMI JOIN here USING ({keys})) USING ({keys})
            """
        )
        return [row_id for (row_id,) in again.fetchall()]

    def _learn(self, batches: Sequence[str]) -> None:
        """Add the accepted keys of these batches to the known keys."""
        if not batches:
            return
        self._view_batches(batches)
        keys = names(self.table.key)
        self._connection.execute(
            f"INSERT INTO accepted SELECT {keys}, {_BATCH_OF_ROW} FROM raw ANTI JOIN rejected USING ({ROW_ID})"
        )
        self._known.update(batches)

    def _view_batches(self, batches: Sequence[str]) -> None:
        """Make views of these batches: `raw`, and of that what is `rejected`."""
        for name, folder in (("raw", self.run.paths.raw), ("rejected", self.run.paths.quarantine)):
            paths = [literal(str(self._path(folder, batch))) for batch in batches]
            self._connection.read_parquet(paths, hive_partitioning=False).create_view(name, replace=True)

    @cached_property
    def _connection(self) -> DuckDBPyConnection:
        """A database with an empty table of the accepted keys and their batches."""
        connection: DuckDBPyConnection = connect(self.run.environment).con
        connection.register("here", self.table.delivered_schema.empty_table())
        return connection.execute(f"CREATE TABLE accepted AS SELECT {names(self.table.key)}, {_BATCH_OF_ROW} FROM here")

    def _path(self, folder: Path, batch: str) -> Path:
        return folder / self.table.name / f"{batch}.parquet"


def read_rows(path: Path) -> pa.Table:
    """The rows of a raw or quarantined batch, without the metadata of its file."""
    return pq.read_table(path, partitioning=None).replace_schema_metadata(None)


def leave_out(rows: pa.Table, row_ids: Sequence[str]) -> pa.Table:
    """All rows except those with the given ids, in order."""
    return rows.filter(pc.invert(_among(rows, row_ids)))


def _unreadable(raw: pa.Table) -> dict[str, list[str]]:
    """Row id → a reason for each of its columns that could not be read."""
    rows = raw.filter(pc.is_valid(raw[UNREADABLE.name]))
    names = (dict(texts) for texts in rows[UNREADABLE.name].to_pylist())
    return {
        row_id: [f"unreadable_{name}" for name in each]
        for row_id, each in zip(rows[ROW_ID].to_pylist(), names, strict=True)
    }


def _not_about(columns: Collection[str], rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules none of whose arguments names one of the columns."""
    found = {}
    for reason, rule in rules.items():
        texts = [
            text
            for value in rule.arguments.values()
            for text in (value if isinstance(value, list | tuple) else [value])
        ]
        if not any(text in columns for text in texts if isinstance(text, str)):
            found[reason] = rule
    return found


def _not_readmitted(rule: str, row_ids: Sequence[str], decisions: Sequence[Readmission]) -> list[str]:
    """The rows that break a rule and that no person readmitted."""
    about = [each for each in decisions if rule in each.rules]
    if any(each.kind == "rule" for each in about):
        return []
    readmitted = {row_id for each in about for row_id in each.rows}
    return [row_id for row_id in row_ids if row_id not in readmitted]


def _among(rows: pa.Table, row_ids: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(rows[ROW_ID], value_set=pa.array(row_ids, pa.string()))


def _without(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """Ids of the rows that lack a value in any of the columns."""
    lacking = [rows.filter(pc.is_null(rows[column], nan_is_null=True))[ROW_ID].to_pylist() for column in columns]
    return list(dict.fromkeys(row_id for row_ids in lacking for row_id in row_ids))
