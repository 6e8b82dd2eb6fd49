"""A line about what a step did: the most important numbers of its report, and what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ratchet.core.text import count_of, minute

if TYPE_CHECKING:
    from ratchet.project.step_reports import Report


def _ingest(report: Report) -> str:
    unread = len(report["unread"])
    lists = [_batches(report[kind], said) for kind, said in (("gaps", "missing"), ("rejected", "rejected"))]
    note = f"; {count_of(unread, 'entry', 'entries')} of the source not read: ingest.json says why" if unread else ""
    return f"{_counts(report['rows'])}{''.join(lists)}{note}"


def _batches(tables: Mapping[str, Mapping[str, str]], said: str) -> str:
    """The names of batches by table, after what is said of them."""
    named = [f"{table} {', '.join(names)}" for table, names in tables.items()]
    return f"; {said}: {', '.join(named)}" if named else ""


def _validate(report: Report) -> str:
    rows = report["rows"]
    counts = _counts({kind: rows[kind] for kind in ("accepted", "quarantined", "duplicates")})
    return "; ".join([f"of {rows['raw']:,} rows {counts}", *batch_notes(report)])


def batch_notes(validate: Mapping[str, Any]) -> list[str]:
    """A text for each of the first batches that `validate` refused or warns of, with the checks that they did not pass; and how
    many more there are."""
    notes = [
        f"batch {unit} {said} ({', '.join(dict.fromkeys(each['check'] for each in findings))})"
        for kind, said in (("refused", "refused"), ("warned", "warned of"))
        for unit, findings in validate[kind].items()
    ]
    more = len(notes) - _SHOWN_BATCHES
    return notes if more <= 0 else [*notes[:_SHOWN_BATCHES], f"and {more} more: `ratchet quarantine list`"]


_SHOWN_BATCHES = 4


def _featurize(report: Report) -> str:
    counts = _counts({"requests": report["requests"], "labels": report["labels"]})
    views = f"{sum(report['views'].values()):,} rows in {len(report['views'])} views"
    others = [f"{found['rows']:,} of {name} by another system" for name, found in report["upstream"].items()]
    restated = ", ".join(name for name, found in report["upstream"].items() if found["restated"])
    gaps = f"; not complete: {', '.join(report['gaps'])}" if report["gaps"] else ""
    return (
        f"{', '.join([counts, views, *others])}{gaps}{f'; restated by another system: {restated}' if restated else ''}"
    )


def _materialize(report: Report) -> str:
    keys, changed = sum(report["views"].values()), sum(report["changed"].values())
    old = [name for name, view in report["freshness"].items() if not view["fresh"]]
    warning = f"; too old or empty: {', '.join(old)}" if old else ""
    return f"{keys:,} keys of {len(report['views'])} views in the online store, {changed:,} changed{warning}"


def _dataset(report: Report) -> str:
    rows = report["rows"]
    return f"{rows['fitting']:,} rows to fit on and {rows['holdout']:,} to judge on, of {rows['requests']:,} requests"


def _train(report: Report) -> str:
    rows = report["rows"]
    return f"{report['best_iteration']:,} trees from {sum(rows.values()):,} rows"


def _evaluate(report: Report) -> str:
    candidate, skill = report["candidate"], _number(report["candidate"]["skill"])
    confirmation = f"; the refit that serves is {confirmation_of(report)}" if report["confirmation"] else ""
    if candidate["undecided"]:
        return f"candidate {candidate['undecided']}{confirmation}"
    scored = f"skill {skill} over the baseline on {candidate['metrics']['n']:,} rows"
    return f"candidate {verdict_of(candidate)}: {scored}{confirmation}"


def confirmation_of(evaluate: Mapping[str, Any]) -> str:
    """What later rows say about the refit that serves."""
    return "{outcome}: {reason}".format(**evaluate["confirmation"])


def refit_of(report: Mapping[str, Any]) -> str:
    """On what the candidate was refitted and with which result, or why it was not."""
    refit = report["refit"]
    if refit is None:
        return f"no refit: {report['reason']}"
    failed = ", ".join(check["name"] for check in refit["checks"] if check["status"] == "failed")
    outcome = f"failed {failed}" if failed else "passed its checks"
    rows = f"{refit['rows']['all']:,} rows until {refit['until']}, {refit['rows']['added']:,} more"
    return f"the candidate refitted on {rows}: {outcome}"


def _register(report: Report) -> str:
    return ", ".join(f"{name} is {place_of(of).partition('. ')[0]}" for name, of in report.items())


def _reconcile(report: Report) -> str:
    champion, refused = report["champion"], report["refused"]
    serving = f"version {champion['version']} serves" if champion else "no version serves"
    return f"{serving}; version {refused['version']} was refused: {refused['reason']}" if refused else serving


def _predict(report: Report) -> str:
    ends = [[minute(datetime.fromisoformat(hole[end])) for end in ("start", "end")] for hole in report["unscored"]]
    holes = ", ".join(map(" to ".join, ends))
    note = (
        f"; no run scored the requests from {holes}: `ratchet status` names the commands that score them"
        if holes
        else ""
    )
    return f"{report['rows']:,} predictions by version {report['model_version']}{note}"


def _monitor(report: Report) -> str:
    if report["reason"]:
        return f"{report['verdict']}: {report['reason']}"
    judged = [column["drift"] for column in report["columns"].values() if column["drift"] is not None]
    return (
        f"{report['verdict']}: {sum(judged)} of {len(judged)} columns drifted in {report['window']['n']:,} predictions"
    )


def _sensors(report: Report) -> str:
    """The requested and lost versions that the sensors found, by the model's name."""
    found = {name: ", ".join(_open(of)) for name, of in report.items()}
    changes = "; ".join(f"{name}: {what}" for name, what in found.items() if what)
    return changes or f"nothing requested or lost in {len(report)} models"


def _open(model: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name} {value}" for name, value in model.items() if name != "missing" and value is not None)
    if model["missing"]:
        yield f"{len(model['missing'])} lost"


HEADLINES: Mapping[str, Callable[[Report], str]] = {
    "sensors": _sensors,
    "ingest": _ingest,
    "validate": _validate,
    "featurize": _featurize,
    "materialize": _materialize,
    "dataset": _dataset,
    "train": _train,
    "evaluate": _evaluate,
    "refit": refit_of,
    "register": _register,
    "reconcile": _reconcile,
    "predict": _predict,
    "monitor": _monitor,
}
"""Step → the function that puts its report into one line."""


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def verdict_of(judged: Mapping[str, Any]) -> str:
    """The verdict. For a candidate that is the champion itself: that it serves."""
    if judged["verdict"] == "undecided":
        return "not judged yet"
    failed = {check["name"] for check in judged["checks"] if check["status"] == "failed"}
    return "is the model that serves" if "ratchet:another-model" in failed else str(judged["verdict"])


def place_of(registered: Mapping[str, Any]) -> str:
    """Version and status of an offered model. A baseline is offered only if no model serves."""
    if registered["version"] is None:
        return "not registered, because a model serves already"
    return f"version {registered['version']}, {registered['status']}"


def _number(value: Any) -> str:
    return "missing" if value is None else f"{value:.3f}"
