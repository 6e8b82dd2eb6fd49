"""A scripted time of operation, and what became of every row: `python -m benchmarks.operation [MONTHS]`.

It writes docs/a-year-of-operation.md. MONTHS is a folder of real TLC months; without it there is only the simulated year. In a
checkout in a temporary folder, months are delivered one by one, and then what goes wrong in practice: corrections, a month with
another name, a file cut short, a column that vanished. After each event, every step of all pipelines runs as of its day.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ratchet.core.clock import local_midnight
from ratchet.core.errors import RatchetError
from ratchet.core.text import one_line
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.status import status
from ratchet.project.step_reports import Report, run_step
from ratchet.project.steps import STEPS
from tests.support.operation import TIMEZONE, Event, Operation, real_months, simulated_year

TREES = 200
PAGE = Path(__file__).parents[1] / "docs" / "a-year-of-operation.md"
SHOWN = (
    "ingest",
    "validate",
    "featurize",
    "materialize",
    "dataset",
    "train",
    "evaluate",
    "register",
    "predict",
    "monitor",
)


@dataclass
class Outcome:
    """What the pipelines made of an event."""

    event: Event
    seconds: dict[str, float] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    problem: str = ""
    serves: str = ""


def main(months: str | None) -> None:
    parts = ["# A year of operation\n", f"Written by `python -m benchmarks.operation`. {_INTRODUCTION}\n"]
    if months:
        parts += [
            "## Half a year of real months\n",
            *_operated(lambda checkout: real_months(checkout, Path(months).resolve())),
        ]
    parts += ["## A simulated year\n", *_operated(simulated_year)]
    PAGE.write_text("\n".join(parts), encoding="utf-8")


_INTRODUCTION = (
    "After each event, every step of the three pipelines runs as of that day. Every row is accepted, quarantined or a "
    "duplicate, and late rows are among them. Seconds are CPU seconds in one process, so imports count only once."
)


def _operated(script: Callable[[Path], Operation]) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        operation = script(Path(name))
        operation.begin(TREES)
        outcomes = [_after(operation, event) for event in operation.events]
    return [*_rows_table(outcomes), "", *_verdicts_table(outcomes), "", *_seconds_table(outcomes), ""]


def _after(operation: Operation, event: Event) -> Outcome:
    """Let the event happen, and run every step."""
    sys.stderr.write(f"{event.day} {event.what}\n")
    outcome, run = Outcome(event), operation.after(event)
    try:
        for name, step in STEPS.items():
            before = resource.getrusage(resource.RUSAGE_SELF)
            outcome.reports[name] = run_step(run, name, step.load())
            after = resource.getrusage(resource.RUSAGE_SELF)
            outcome.seconds[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    except RatchetError as error:
        outcome.problem = one_line(str(error).replace(str(operation.checkout), "…"), 160)
    champion = status(ModelRegistry.open(run))["champion"]
    return replace(outcome, serves=f"v{champion}" if champion else "")


def _table(heads: Sequence[str], rows: Iterator[Sequence[object]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]


def _rows_table(outcomes: Sequence[Outcome]) -> list[str]:
    heads = ("as of", "event", "raw", "accepted", "quarantined", "duplicates", "late", "corrected", "named")
    return _table(heads, (_row(outcome) for outcome in outcomes))


def _row(outcome: Outcome) -> list[object]:
    ingest, validate = outcome.reports.get("ingest"), outcome.reports.get("validate")
    if not ingest or not validate:
        return [outcome.event.day, outcome.event.what, *[""] * 6, f"stopped: {outcome.problem}"]
    counts = [f"{validate['rows'][kind]:,}" for kind in ("raw", "accepted", "quarantined", "duplicates")]
    late = sum(count for batches in ingest["late"].values() for count in batches.values())
    corrections = [
        f"{unit}: {found['changed']:,} changed, {found['removed']:,} removed"
        for batches in ingest["corrected"].values()
        for unit, instants in batches.items()
        if (found := instants.get(local_midnight(outcome.event.day, TIMEZONE).isoformat()))
    ]
    named = [
        *ingest["unread"],
        *_rejected(ingest),
        *(f"{unit} {kind}" for kind in ("refused", "warned") for unit in validate[kind]),
    ]
    return [outcome.event.day, outcome.event.what, *counts, f"{late:,}", "; ".join(corrections), ", ".join(named)]


def _rejected(ingest: Report) -> list[str]:
    return [f"{table}/{name} rejected" for table, batches in ingest["rejected"].items() for name in batches]


def _verdicts_table(outcomes: Sequence[Outcome]) -> list[str]:
    heads = (
        "as of",
        "baseline",
        "candidate",
        "gain",
        "error of the candidate",
        "serves",
        "predictions of this run",
        "drift",
    )
    return _table(heads, (_verdict(outcome) for outcome in outcomes if "monitor" in outcome.reports))


def _verdict(outcome: Outcome) -> list[object]:
    evaluated = outcome.reports["evaluate"]
    candidate, gain = evaluated["candidate"], evaluated["candidate"]["gain"]
    return [
        outcome.event.day,
        evaluated["baseline"]["verdict"],
        candidate["verdict"],
        f"{gain['value']:+.1%} ({gain['lower']:+.1%} to {gain['upper']:+.1%})" if gain else "",
        f"{candidate['metrics']['rmse']:.2f}",
        outcome.serves,
        f"{outcome.reports['predict']['rows']:,}",
        outcome.reports["monitor"]["verdict"],
    ]


def _seconds_table(outcomes: Sequence[Outcome]) -> list[str]:
    rows = ([outcome.event.day, *(_shown(outcome.seconds.get(step)) for step in SHOWN)] for outcome in outcomes)
    return _table(("as of", *SHOWN), rows)


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
