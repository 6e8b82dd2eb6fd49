"""`ratchet status` as text: how far the data go; aliases, versions and history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from ratchet.core.text import format_duration, minute


def render_status(status: Mapping[str, Any]) -> str:
    """The version that serves and the requested one, why each version does not serve, what to do next, and the history."""
    lines = [f"{name:<9} {status[name] or '-'}" for name in ("requested", "champion", "previous")]
    lines += [f"on hold   {hold['by']} rolled back: {hold['reason']}"] if (hold := status["hold"]) else []
    lines += [f"rollout   {_rollout(status['rollout'])}"] if status["rollout"] else []
    lines += ["", status["warning"]] if status["warning"] else []
    if status["versions"]:
        lines += ["", "version  kind          verdict       code          status"]
        lines += [_version(version) for version in status["versions"]]
    lines += _section("what to do next", _next(status["versions"]))
    lines += _section("history", (_entry(entry) for entry in status["history"]))
    return "\n".join(lines)


def render_data(data: Mapping[str, Any]) -> str:
    """Where each pipeline stands, how far the source goes, and what is due."""
    lines = ["pipeline   as of              last run"]
    lines += [
        f"{name:<9}  {_short(found['as_of']):<17}  {_short(found['last_run'])}"
        for name, found in data["pipelines"].items()
    ]
    further = f", {data['lag']} further" if data["lag"] else ""
    newest = (
        _short(data["newest"]) if data["newest"] else "only its rows say how far it goes: `ratchet advance` reads them"
    )
    lines += ["", f"source    {newest}{further}"]
    views = [data["online_store"]] if data["online_store"] else _views(data["freshness"])
    lines += [f"views     {line}" for line in views]
    lines += [f"due       {line}" for line in data["due"]]
    return "\n".join(lines)


def _views(freshness: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """How many views are fresh in the online store, and one line for each view that is not."""
    fresh = [name for name, view in freshness.items() if view["fresh"]]
    yield f"{len(fresh)} of {len(freshness)} fresh in the online store" if freshness else "none in the online store"
    for name in (name for name in freshness if name not in fresh):
        yield f"{name}: {_too_old(freshness[name])}"


def _too_old(view: Mapping[str, Any]) -> str:
    """Why a view is not fresh."""
    if view["newest"] is None:
        return "no rows"
    age, most = (format_duration(timedelta(seconds=view[name])) for name in ("age_seconds", "max_age_seconds"))
    return f"its newest row, of {_short(view['newest'])}, is {age} old, and may be {most} old at most"


def _short(instant: str | None) -> str:
    """An instant without seconds, in UTC; any other text as it is."""
    try:
        return minute(datetime.fromisoformat(instant)) if instant else "-"
    except ValueError:
        return str(instant)


def _section(title: str, lines: Iterator[str]) -> list[str]:
    found = [f"  {line}" for line in lines]
    return ["", title, *found] if found else []


def _version(version: Mapping[str, Any]) -> str:
    shown = {name: value or "-" for name, value in version.items()}
    shown["code"] = "uncommitted" if version["dirty"] else shown["commit"][:12]
    if version["failed"] and version["status"] == "candidate" and version["verdict"] != "undecided":
        shown["status"] = f"candidate: it failed {version['failed']}"
    if version["refit_of"]:
        shown["kind"] = f"refit of {version['refit_of']}"[:12]
    if confirmation := version["confirmation"]:
        shown["status"] = f"{shown['status']}; {confirmation['outcome']}: {confirmation['reason']}"
    return "{version:>7}  {kind:<12}  {verdict:<12}  {code:<12}  {status}".format(**shown)


def _next(versions: list[dict[str, Any]]) -> Iterator[str]:
    """Each advice, with the versions that it is for."""
    advice: dict[str, list[str]] = {}
    for version in versions:
        if version["next"]:
            advice.setdefault(version["next"], []).append(str(version["version"]))
    for text, numbers in advice.items():
        yield f"version{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}: {text}"


def _entry(entry: Mapping[str, Any]) -> str:
    return f"{entry['at'][:19]}  {entry['kind']:<10}  version {entry['version']} by {entry['by']}: {entry['reason']}"


def _rollout(rollout: Mapping[str, Any]) -> str:
    return f"version {rollout['version']} {rollout['step']}: {rollout['by']}, {rollout['reason']}; see `ratchet rollout status`"
