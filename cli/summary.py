"""`ratchet summary`: what the last run did, collected from the steps' reports, as data and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from ratchet.core.errors import RegistryError, StoreError
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.metrics import METRICS
from ratchet.project import step_reports as reports
from ratchet.project.headlines import batch_notes, confirmation_of, place_of, refit_of, verdict_of
from ratchet.project.run import Run
from ratchet.project.steps import STEPS
from ratchet.storage.files import write_json

Summary = dict[str, Any]
SUMMARY, REQUEST, STORY = "summary.json", "request.json", "demo"
_ROLES = {"serving": "serves now"}
_ARROWS = {"lower": "↓", "higher": "↑"}
_DRIFT = ("verdict", "reason", "share", "columns", "mean_prediction", "window", "html", "json")
_VALIDATED = ("rows", "reasons", "refused", "warned", "overruled")
_JUDGED = ("verdict", "undecided", "gain", "checks")
_SUMMARISED = ("ingest", "validate", "evaluate", "refit", "register", "predict", "monitor")


def build(run: Run) -> Summary:
    """The content of summary.json: the reports of the steps, and the current state of the registry, which people may change
    between runs.

    The values of a step that has not run are None. So is `serving` if the registry does not answer.
    """
    ingest, validate, evaluate, refit, register, predict, monitor = (reports.read(run, step) for step in _SUMMARISED)
    root, registry = run.root, _registry(run)
    serving = _serving(registry)
    return {
        "model": run.scope.namespace,
        "reports": str(run.paths.reports.relative_to(root)),
        "use_case": run.settings.use_case,
        "task": run.use_case.task,
        "label": run.use_case.label,
        "unit": run.use_case.unit,
        "timezone": run.use_case.timezone,
        "missing": [step for step in STEPS if reports.read(run, step) is None],
        **{name: validate and validate[name] for name in _VALIDATED},
        **{name: ingest and ingest[name] for name in ("rejected", "unread")},
        "holdout": evaluate and _holdout(evaluate, serving),
        "gate": evaluate and {name: evaluate["candidate"][name] for name in _JUDGED},
        "baseline_gate": evaluate and {name: evaluate["baseline"][name] for name in ("verdict", "checks")},
        **_refitted(refit, evaluate),
        "versions": {name: {**of, **_now(registry, of["version"])} for name, of in (register or {}).items()},
        "registry": registry.get("problem"),
        "warning": registry["warning"],
        "serving": serving,
        "requested": _requested(registry),
        "hold": registry["hold"],
        "predictions": {
            "rows": predict and predict["rows"],
            "path": str(run.paths.predictions.relative_to(root)),
            "model_version": predict and predict["model_version"],
        },
        "request": predict and _request(run),
        "drift": monitor and {name: monitor[name] for name in _DRIFT},
        "story": reports.read(run, STORY),
        "seconds": reports.seconds(run),
    }


def write(run: Run, summary: Summary) -> None:
    """Write summary.json and, if there is a request to try, request.json. If no step has run, write nothing.

    Both are written to the folder of the use case's reports, and to reports/, which holds those of the last summary.
    """
    if len(summary["missing"]) == len(STEPS):
        return
    for folder in (run.paths.reports, run.paths.shared_reports):
        write_json(folder / SUMMARY, summary)
        if summary["request"]:
            write_json(folder / REQUEST, summary["request"])
        else:
            (folder / REQUEST).unlink(missing_ok=True)


def render(summary: Summary) -> str:
    """The summary for a person to read."""
    sections = {
        "Rows": _unless_missing("validate", _rows, summary),
        "Holdout": _unless_missing("evaluate", _scores, summary),
        "Gate": _unless_missing("evaluate", _gate, summary),
        "Serving": [summary["registry"]] if summary["registry"] else _served(summary),
        "Drift": _unless_missing("monitor", _drift, summary),
        "Offered afterwards": _story(summary["story"] or {}),
        "Where things are": _places(summary),
        "Seconds": _seconds(summary["seconds"]),
        "What to type next": _next(summary),
    }
    blocks = ((click.style(title, bold=True), *(f"  {line}" for line in lines)) for title, lines in sections.items())
    return "\n\n".join("\n".join(block) for block in blocks if len(block) > 1)


def _request(run: Run) -> dict[str, Any] | None:
    """A request to try, or None where none was scored that this code accepts."""
    from inference_pipeline.online.example import example_request

    try:
        return example_request(run)
    except StoreError:
        return None


def _registry(run: Run) -> dict[str, Any]:
    """The state of the registry. If it does not answer: its `problem`, and otherwise empty values."""
    from ratchet.model_registry.status import status

    try:
        return status(ModelRegistry.open(run))
    except RegistryError as error:
        nothing = dict.fromkeys(("requested", "champion", "hold", "warning"))
        return {**nothing, "versions": [], "history": [], "problem": str(error)}


def _serving(registry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The version that the last entry of the history names, or None."""
    for entry in registry["history"][-1:]:
        return {name: entry[name] for name in ("version", "digest", "previous")} | _now(registry, entry["version"])
    return None


def _requested(registry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The version that is requested but does not serve, or None."""
    version = registry["requested"]
    return None if version in (None, registry["champion"]) else _now(registry, version)


def _now(registry: Mapping[str, Any], number: int | None) -> dict[str, Any]:
    """What the registry says about a version; empty if there is no such version, or if it was deleted."""
    found: dict[str, Any] = next((version for version in registry["versions"] if version["version"] == number), {})
    return {name: found[name] for name in ("version", "status", "refit_of", "commit", "dirty") if name in found}


def _holdout(evaluate: Mapping[str, Any], serving: Mapping[str, Any] | None) -> dict[str, Any]:
    """Each model's metrics on the holdout. `champion` is the model that the candidate was compared with, as in `dvc metrics
    show`. `serving` is the model that serves now; it has metrics only if it is one of the other three."""
    judged = {name: evaluate[name] for name in ("baseline", "candidate", "champion") if evaluate[name]}
    by_digest = {model["digest"]: model["metrics"] for model in judged.values()}
    figures = {
        name: judged[name]["metrics"] if name in judged else None for name in ("baseline", "candidate", "champion")
    }
    return {**figures, "serving": by_digest.get(serving["digest"]) if serving else None}


def _refitted(refit: Mapping[str, Any] | None, evaluate: Mapping[str, Any] | None) -> dict[str, Any]:
    """The refit of the candidate, and what later rows say about the refit that serves."""
    return {"refit": refit, "confirmation": evaluate and evaluate["confirmation"]}


def _unless_missing(step: str, lines: Callable[[Summary], Iterator[str]], summary: Summary) -> Iterator[str]:
    """The lines of the step's report or, if the step has not run yet, what to do or what it waits for."""
    if step not in summary["missing"]:
        yield from lines(summary)
    elif step == "monitor" and _is_refused(summary):
        yield f"the step {step} has not run yet: no version serves, so there is nothing to monitor"
    else:
        yield f"the step {step} has not run yet: `dvc repro {step}@{summary['use_case']}`"


def _is_refused(summary: Summary) -> bool:
    """Whether models were registered, but the gate let none of them serve."""
    return summary["serving"] is None and "register" not in summary["missing"]


def _rows(summary: Summary) -> Iterator[str]:
    for name, count in summary["rows"].items():
        yield f"{name:<12} {count:>10,}"
    for reason, count in sorted(summary["reasons"].items(), key=lambda item: -item[1]):
        yield f"  {count:>8,}  {reason}"
    notes = batch_notes(summary)
    yield from notes
    if notes:
        yield f"`ratchet --use-case {summary['use_case']} quarantine list` says why, with figures"
    for table, batches in (summary["rejected"] or {}).items():
        yield from (f"batch {table}/{name} rejected: {reason}" for name, reason in batches.items())
    if unread := summary["unread"]:
        yield f"entries of the source that were not read: {len(unread):,}; {summary['reports']}/ingest.json says why"


def _scores(summary: Summary) -> Iterator[str]:
    """Each model's metrics. An arrow shows whether lower or higher is better."""
    candidate, named = summary["holdout"]["candidate"], METRICS[summary["task"]]
    heads = {name: f"{metric.title} {_ARROWS[metric.better]}" for name, metric in named.items()}
    yield f"{candidate['n']:,} rows from {_dates(candidate, summary['timezone'])}: {summary['label']} ({summary['unit']})"
    yield f"{'':<12}" + "".join(f"  {head:>8}" for head in heads.values())
    for role, metrics in summary["holdout"].items():
        if metrics:
            cells = (f"  {_number(metrics.get(name)):>{max(len(head), 8)}}" for name, head in heads.items())
            yield f"{_ROLES.get(role, role):<12}" + "".join(cells)


def _dates(period: Mapping[str, str], timezone: str) -> str:
    """The first and last day of a period, in the use case's time zone, as in params.yaml."""
    zone = ZoneInfo(timezone)
    return " to ".join(f"{datetime.fromisoformat(period[name]).astimezone(zone):%Y-%m-%d}" for name in ("from", "to"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _gate(summary: Summary) -> Iterator[str]:
    gate, versions = summary["gate"], summary["versions"]
    yield f"candidate: {gate['undecided'] or verdict_of(gate)}"
    yield from (_check(check) for check in gate["checks"])
    if summary["baseline_gate"]["verdict"] == "refused":
        yield "baseline: refused"
        yield from (_check(check) for check in summary["baseline_gate"]["checks"] if check["status"] == "failed")
    if summary["refit"]:
        yield refit_of(summary["refit"])
    for name, version in versions.items():
        yield f"{name}: {place_of(version)}"


def _check(check: Mapping[str, Any]) -> str:
    mark = {"passed": "✓", "failed": "✗", "insufficient": "·"}[check["status"]]
    value = "missing" if check["value"] is None else f"{check['value']:.4g}"
    return f"{mark} {check['name']:<34} {value:>10} {check['direction']:<2} {check['bound']:<8g} {check['detail']}"


def _served(summary: Summary) -> Iterator[str]:
    serving, requested, scored = summary["serving"], summary["requested"], summary["predictions"]["model_version"]
    if summary["warning"] and "register" not in summary["missing"]:
        yield summary["warning"]
    else:
        recipe_of = serving and serving.get("refit_of")
        judged = f": version {recipe_of}, fitted again on all mature rows" if recipe_of else ""
        yield f"version {serving['version']} serves{judged}" if serving else "no version serves"
    if summary["confirmation"]:
        yield f"the refit that served when the last candidate was judged is {confirmation_of(summary)}"
    if serving and serving.get("dirty"):
        yield "its code was never committed: it cannot be made again, nor judged once the features have changed"
    if requested:
        status = requested["status"] or ""
        yield f"version {requested['version']} is requested: {status if 'refused' in status else 'the next run looks at it'}"
    if hold := summary["hold"]:
        yield f"{hold['by']} rolled back ({hold['reason']}): no policy promotes until `ratchet release`"
    if scored not in (None, serving and serving["version"]):
        yield f"predictions and drift below are of version {scored}: `dvc repro monitor@{summary['use_case']}` makes them anew"


def _drift(summary: Summary) -> Iterator[str]:
    drift = summary["drift"]
    if drift["reason"]:
        yield f"{drift['verdict']}: {drift['reason']}"
        return
    window, mean = drift["window"], drift["mean_prediction"]
    yield f"{drift['verdict']} in {window['n']:,} predictions from {_dates(window, summary['timezone'])}"
    yield f"mean prediction {_number(mean['reference'])} in training, {_number(mean['window'])} now ({summary['unit']})"
    drifted = {name: column["score"] for name, column in drift["columns"].items() if column["drift"]}
    yield from (f"  {name} drifted: {score:.3f}" for name, score in drifted.items())


def _story(story: Mapping[str, Any]) -> Iterator[str]:
    if worse := story.get("worse_candidate"):
        yield f"a deliberately worse candidate became version {worse['version']} and was {worse['reason']}"
    if planted := story.get("planted_drift"):
        yield f"a window with planted drift ({planted['what']}): {planted['verdict']}"


def _places(summary: Summary) -> Iterator[str]:
    if summary["predictions"]["rows"]:
        yield f"predictions   {summary['predictions']['path']} ({summary['predictions']['rows']:,} rows)"
    if summary["drift"]:
        yield f"drift report  {summary['drift']['html']}"
    yield f"this summary  {summary['reports']}/{SUMMARY}"


def _seconds(seconds: Mapping[str, float]) -> Iterator[str]:
    for step in (*STEPS, STORY):
        if step in seconds:
            yield f"{step:<12} {seconds[step]:>8.1f}"


def _next(summary: Summary) -> Iterator[str]:
    repro, scored = f"dvc repro monitor@{summary['use_case']}", summary["serving"] and summary["predictions"]["rows"]
    if scored:
        yield "make serve"
    if scored and summary["request"]:
        yield f"curl --json @{summary['reports']}/{REQUEST} http://127.0.0.1:3000/v1/models/{summary['model']}:predict"
    yield ". .venv/bin/activate"
    if summary["missing"] and not _is_refused(summary):
        yield repro
    yield "ratchet status"
    if scored:
        yield "ratchet trace PREDICTION_ID"
    if scored and summary["serving"]["previous"]:
        yield f"ratchet rollback --reason 'trying it out' && {repro}"
    yield "ratchet ui"
