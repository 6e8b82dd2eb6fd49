"""A scripted time of operation, and what became of every row: `python -m benchmarks.operation [MONTHS]`.

It writes docs/a-year-of-operation.md. MONTHS is a folder of real TLC months; without it there is only the simulated year. In a
checkout in a temporary folder, months are delivered one by one, and then what goes wrong in practice: corrections, a month with
another name, a file cut short, a column that vanished. After each event, every step of all pipelines runs as of its day.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from ratchet.core.clock import local_midnight
from ratchet.core.errors import RatchetError
from ratchet.core.text import one_line
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.status import status
from ratchet.project.advance import move
from ratchet.project.run import PIPELINES, Run
from ratchet.project.step_reports import Report, run_step
from ratchet.project.steps import STEPS
from tests.support.checkout import commit, plain_checkout

TIMEZONE = "America/New_York"
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


@dataclass(frozen=True)
class Event:
    """Something that happens before the pipelines run as of a local day."""

    what: str
    day: date
    happen: Callable[[], None] = lambda: None


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


def _operated(prepare: Callable[[Path], tuple[dict[str, Any], list[Event]]]) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        checkout = plain_checkout(Path(name))
        section, events = prepare(checkout)
        _settle(checkout, section)
        commit(checkout, "Begin")
        outcomes = [_after(checkout, event) for event in events]
    return [*_rows_table(outcomes), "", *_verdicts_table(outcomes), "", *_seconds_table(outcomes), ""]


def real_months(checkout: Path, months: Path) -> tuple[dict[str, Any], list[Event]]:
    """The settings of the source, and the events: months one by one, then what goes wrong."""
    folder = checkout / "data" / "delivered" / "months"
    shutil.copytree(months.parent / "ref", folder.parent / "ref")
    folder.mkdir()

    def bring(month: str, change: Callable[[pa.Table], pa.Table] = lambda rows: rows, name: str = "") -> None:
        rows = pq.read_table(months / f"green_tripdata_{month}.parquet")
        pq.write_table(change(rows), folder / f"green_tripdata_{name or month}.parquet")

    def first() -> None:
        bring("2023-01")
        bring("2023-02")

    def cut_short() -> None:
        path = folder / "green_tripdata_2023-06.parquet"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    june = "2023-06"
    events = [
        Event("January and February are delivered", date(2023, 3, 1), first),
        *(
            Event(
                f"2023-{month:02} is delivered", date(2023, month + 1, 1), lambda month=month: bring(f"2023-{month:02}")
            )
            for month in (3, 4, 5, 6)
        ),
        Event(
            "April again: 5% of fares corrected, 500 trips gone", date(2023, 7, 2), lambda: bring("2023-04", corrected)
        ),
        Event("May again, as 2023-05_v2", date(2023, 7, 3), lambda: bring("2023-05", name="2023-05_v2")),
        Event("June again, cut short", date(2023, 7, 4), cut_short),
        Event(
            "June again, without passenger_count",
            date(2023, 7, 5),
            lambda: bring(june, lambda rows: rows.drop_columns(["passenger_count"])),
        ),
        Event("June again, whole", date(2023, 7, 6), lambda: bring(june)),
    ]
    source = {"name": "tlc", "path": "data/delivered/months", "history": False}
    return {"source": source, "windows": _windows("2023-01-01")}, events


def corrected(rows: pa.Table) -> pa.Table:
    """Every twentieth fare is a dollar more, and the last 500 trips are gone."""
    more = pa.array(np.arange(rows.num_rows) % 20 == 0)
    fares = pc.if_else(more, pc.add(rows["total_amount"], 1.0), rows["total_amount"])
    return rows.set_column(rows.column_names.index("total_amount"), "total_amount", fares).slice(0, rows.num_rows - 500)


def simulated_year(_checkout: Path) -> tuple[dict[str, Any], list[Event]]:
    """The simulated city at the end of each month, with everything switched on that may go wrong with a delivery."""
    options = {
        "late": {"share": 0.01, "after": "3d"},
        "corrections": {"share": 0.005, "after": "10d"},
        "duplicates": {"share": 0.005, "after": "1d"},
        "closed_zone": {"zone": 20, "first": "2023-06-01", "until": "2023-07-01"},
        "outage": {"first": "2023-08-30", "until": "2023-09-02", "delivered": "2023-09-20"},
        "schema_change": {"kind": "retyped", "first": "2023-11-01"},
    }
    source = {"name": "simulator", "path": "use_cases/nyc_taxi/simulator.py", "history": False, "options": options}
    ends = [date(2023, month, 1) for month in range(3, 13)] + [date(2024, 1, 1)]
    events = [Event(f"the data go up to {end}", end) for end in ends]
    return {"source": source, "windows": _windows("2023-01-01")}, events


def _windows(start: str) -> dict[str, str]:
    return {"start": start, "early_stopping": "7d", "holdout": "14d", "fresh": "7d"}


def _settle(checkout: Path, section: dict[str, Any]) -> None:
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    taxi = {**params["use_cases"]["nyc_taxi"], **section}
    taxi["training"]["lightgbm"]["n_estimators"] = 200
    path.write_text(yaml.safe_dump({**params, "use_cases": {"nyc_taxi": taxi}}, sort_keys=False), encoding="utf-8")
    (checkout / "as_of.yaml").unlink()


def _after(checkout: Path, event: Event) -> Outcome:
    """Let the event happen, and run every step."""
    sys.stderr.write(f"{event.day} {event.what}\n")
    event.happen()
    outcome = Outcome(event)
    run = move(Run.load(checkout, "nyc_taxi"), local_midnight(event.day, TIMEZONE), PIPELINES, back=False)
    try:
        for name, step in STEPS.items():
            before = resource.getrusage(resource.RUSAGE_SELF)
            outcome.reports[name] = run_step(run, name, step.load())
            after = resource.getrusage(resource.RUSAGE_SELF)
            outcome.seconds[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    except RatchetError as error:
        outcome.problem = one_line(str(error).replace(str(checkout), "…"), 160)
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
    named = [*ingest["unread"], *(f"{unit} {kind}" for kind in ("refused", "warned") for unit in validate[kind])]
    return [outcome.event.day, outcome.event.what, *counts, f"{late:,}", "; ".join(corrections), ", ".join(named)]


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
