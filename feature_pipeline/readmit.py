"""Readmit quarantined rows: by today's rules, or by a person's decision, which is recorded with the data.

Rows whose rules have changed come back by themselves whenever `validate` runs. Only a person can readmit a refused batch, the
rows of a batch that break a certain rule, or single rows, and withdraw that. A row without its key or event time, with an
unreadable value, or with a key that came before, cannot be readmitted by anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from feature_pipeline.quarantine import NULL_EVENT_TIME, NULL_KEY, REFUSED_BATCH, read_rows
from feature_pipeline.quarantine_contents import known_unit
from feature_pipeline.readmissions import Kind, Readmission, effective, read_readmissions, write_readmissions
from feature_pipeline.validate import validate
from ratchet.core.errors import DataError
from ratchet.core.text import did_you_mean
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.storage.digests import digest
from ratchet.storage.partitions import read_manifest, unit_digests
from ratchet.use_case.contract import ROW_ID

Ids = dict[str, list[str]]
"""Unit → ids of its rows."""


@dataclass(frozen=True)
class Decision:
    """What a person wants back: a refused `batch`; its rows that break `rule`; or single `rows` (`TABLE/BATCH:NUMBER`)."""

    batch: str | None = None
    rule: str | None = None
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Person:
    """Who decides, and why."""

    by: str
    reason: str


def readmit(run: Run, person: Person, decision: Decision | None = None) -> dict[str, int]:
    """Validate by today's rules, then also with the decision if there is one. Returns unit → the rows that came back.

    The caller must keep other runs of the feature pipeline out. Raises DataError if the decision cannot be made.
    """
    _require_words(person)
    before = _quarantined(run)
    run_step(run, "validate", validate)
    replayed = _came_back(run, before)
    _record(run, [_readmission(run, person, "replay", unit, ids) for unit, ids in replayed.items()])
    if decision:
        _record(run, _decided(run, person, decision))
        run_step(run, "validate", validate)
    return {unit: len(ids) for unit, ids in _came_back(run, before).items()}


def withdraw(run: Run, person: Person, batch: str) -> int:
    """Withdraw all decisions about a batch, and validate. Returns how many rows went back into quarantine.

    The caller must keep other runs of the feature pipeline out. Raises DataError if no decision about the batch counts.
    """
    _require_words(person)
    unit = known_unit(run, batch)
    if unit not in effective(read_readmissions(run.paths.readmissions), unit_digests(run.paths.raw)):
        raise DataError(
            "no decision about it counts", subject=unit, remedy="`ratchet quarantine list` shows those that do"
        )
    before = {*_ids(run, unit)}
    _record(run, [_readmission(run, person, "withdrawal", unit, [])])
    run_step(run, "validate", validate)
    return len({*_ids(run, unit)} - before)


def _require_words(person: Person) -> None:
    if not (person.by.strip() and person.reason.strip()):
        raise DataError(
            "an empty reason answers for nothing",
            subject="readmission",
            remedy="Give --reason and --by a word at least",
        )


def _quarantined(run: Run) -> Ids:
    folder = run.paths.quarantine
    return {unit: _ids(run, unit) for unit in read_manifest(folder) if (folder / f"{unit}.parquet").exists()}


def _ids(run: Run, unit: str) -> list[str]:
    path = run.paths.quarantine / f"{unit}.parquet"
    ids: list[str] = pq.read_table(path, columns=[ROW_ID], partitioning=None)[ROW_ID].to_pylist()
    return ids


def _came_back(run: Run, before: Mapping[str, Sequence[str]]) -> Ids:
    """The rows that were in quarantine before and are accepted now."""
    now = read_manifest(run.paths.quarantine)
    ids = {unit: {*_ids(run, unit)} for unit in before if unit in now}
    found = {unit: [row_id for row_id in before[unit] if row_id not in ids[unit]] for unit in ids}
    return {unit: row_ids for unit, row_ids in found.items() if row_ids}


def _decided(run: Run, person: Person, decision: Decision) -> list[Readmission]:
    if decision.batch is None:
        return [
            _readmission(
                run, person, "rows", unit, row_ids, rules=_rules_broken(run, unit, row_ids), rows=tuple(row_ids)
            )
            for unit, row_ids in _by_unit(decision.rows).items()
        ]
    if decision.rule is None:
        refused = _with_reason(run, decision.batch, REFUSED_BATCH, "is not refused")
        sound = [row_id for row_id, reasons in refused.items() if reasons == [REFUSED_BATCH]]
        return [_readmission(run, person, "batch", decision.batch, sound)]
    table = run.use_case.table(known_unit(run, decision.batch).partition("/")[0])
    if decision.rule not in {*table.rules} - {NULL_KEY, NULL_EVENT_TIME}:
        raise DataError(
            f"{decision.rule!r} is no rule of table {table.name}{did_you_mean(decision.rule, table.rules)}",
            subject=decision.batch,
            remedy="Name a rule of the use case: only what breaks one can be readmitted",
        )
    broken = _with_reason(run, decision.batch, decision.rule, f"has no row that breaks {decision.rule!r}")
    return [_readmission(run, person, "rule", decision.batch, list(broken), rules=(decision.rule,))]


def _with_reason(run: Run, unit: str, reason: str, otherwise: str) -> dict[str, list[str]]:
    """The rows of a batch with this reason, and all of their reasons. Raises DataError if there is none."""
    found = {row_id: reasons for row_id, reasons in _reasons_of(run, unit).items() if reason in reasons}
    if not found:
        raise DataError(
            otherwise, subject=unit, remedy="`ratchet quarantine list` shows what is in quarantine, and why"
        )
    return found


def _reasons_of(run: Run, unit: str) -> dict[str, list[str]]:
    rows = read_rows(run.paths.quarantine / f"{known_unit(run, unit)}.parquet")
    return dict(zip(rows[ROW_ID].to_pylist(), rows["reasons"].to_pylist(), strict=True))


def _by_unit(rows: Sequence[str]) -> Ids:
    """The ids of rows that are named `TABLE/BATCH:NUMBER`, by batch. Raises DataError for another name."""
    found: Ids = {}
    for row in dict.fromkeys(rows):
        unit = row.rpartition(":")[0]
        if "/" not in unit:
            remedy = "Name it as `ratchet quarantine show` does: TABLE/BATCH:NUMBER"
            raise DataError("is no name of a row", subject=row, remedy=remedy)
        found.setdefault(unit, []).append(row.partition("/")[2])
    return found


def _rules_broken(run: Run, unit: str, row_ids: Sequence[str]) -> tuple[str, ...]:
    """All rules that these rows break. Raises DataError if a person may not readmit each of them."""
    reasons, rules = _reasons_of(run, unit), {*run.use_case.table(unit.partition("/")[0]).rules}
    for row_id in row_ids:
        others = [reason for reason in reasons.get(row_id, ()) if reason not in rules - {NULL_KEY, NULL_EVENT_TIME}]
        if row_id not in reasons or others:
            problem = f"may not be readmitted ({', '.join(others)})" if others else "is not in quarantine"
            raise DataError(
                problem,
                subject=f"row {unit.partition('/')[0]}/{row_id}",
                remedy="Readmit its batch first"
                if REFUSED_BATCH in others
                else "Name a row that `ratchet quarantine show` lists and that only breaks rules of the use case",
            )
    return tuple(sorted({reason for row_id in row_ids for reason in reasons[row_id]}))


def _readmission(
    run: Run,
    person: Person,
    kind: Kind,
    unit: str,
    row_ids: Sequence[str],
    *,
    rules: tuple[str, ...] = (),
    rows: tuple[str, ...] = (),
) -> Readmission:
    return Readmission(
        batch=unit,
        content=unit_digests(run.paths.raw)[unit],
        kind=kind,
        rules=rules,
        rows=rows,
        count=len(row_ids),
        digest=digest(row_ids),
        by=person.by.strip(),
        reason=" ".join(person.reason.split()),
        at=run.clock.now(),
    )


def _record(run: Run, added: Sequence[Readmission]) -> None:
    path = run.paths.readmissions
    write_readmissions(path, [*read_readmissions(path), *added])
