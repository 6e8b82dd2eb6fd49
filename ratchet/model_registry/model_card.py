"""The model card that MLflow shows with a version: measurements and verdict in Markdown, for people who promote there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ratchet.gate.checks import Check, Verdict
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import Record
from ratchet.models.metrics import METRICS
from ratchet.use_case.contract import UseCase

if TYPE_CHECKING:
    from ratchet.models.contract import Contract

LIMIT = 5000
"""The length of a description in MLflow: `String(5000)` in its tables of versions and of registered models."""
CELL, DETAIL, FRAME = 80, 160, 250
"""The largest number of characters in a value, in a check's detail, and in a table's title, header and last line."""
_SIGNS = {">=": "≥", "<=": "≤", ">": ">"}
_MARKS = {"passed": "✓", "failed": "✗", "insufficient": "·"}
_ARROWS = {"lower": "↓", "higher": "↑"}
_CHECKS = ("| | check | value | bound | detail |", "| --- | --- | --- | --- | --- |")
_SLICE = "slice:"


def model_card(record: GateRecord, contract: Contract, version: int) -> str:
    """At most LIMIT characters. Failed checks are listed first; checks for which there is no room are only counted."""
    slices = [check for check in record.checks if check.name.startswith(_SLICE)]
    others = [check for check in record.checks if not check.name.startswith(_SLICE)]
    head = [*_verdict(record, version), "", *_scores(record), "", *_gain(record)]
    tail = [*origin(record, contract), "", *_promotion(version, record.verdict)]
    room = LIMIT - sum(len(line) + 1 for line in [*head, *tail]) - 2 * FRAME
    checks = table("Checks", others, room)
    room = max(0, room - sum(len(line) + 1 for line in checks))
    return "\n".join([*head, "", *checks, *table("Slices", slices, room), *tail])


def registered_model_card(use_case: UseCase, source: str) -> str:
    """A description of the registered model: what it predicts, and what its aliases mean."""
    kind = "the probability of" if use_case.task == "binary" else "the value of"
    lines = [
        f"Predicts {kind} **{cell(use_case.label)}** ({cell(use_case.unit)}) for the use case "
        f"**{cell(use_case.name)}**, from the source {cell(source)}.",
        "",
        "| alias | meaning |",
        "| --- | --- |",
        "| `champion` | the version that serves |",
        "| `requested` | the version that a person asks for: set it, and the version serves if its gate record is valid |",
        "| `previous` | the version that a rollback leads to |",
    ]
    return "\n".join(lines)


def _verdict(record: GateRecord, version: int) -> Iterator[str]:
    evidence = record.evidence
    champion = (
        f"the champion then, model `{record.champion[:12]}`" if record.champion else "no champion: nothing served"
    )
    yield f"## Version {version}, {cell(record.kind)}: {record.verdict}"
    yield ""
    yield f"Compared with {champion}, and with the {_reference(record)}, model `{record.reference[:12]}`."
    yield f"Judged on {evidence.n:,} rows from {evidence.start:%Y-%m-%d} to {evidence.end:%Y-%m-%d} (end excluded, UTC)."


def _reference(record: GateRecord) -> str:
    """The reference of skill: the baseline, or a constant for the baseline itself."""
    return "constant" if record.kind == "baseline" else "baseline"


def _scores(record: GateRecord) -> Iterator[str]:
    """Each model's metrics on the same rows, side by side. An arrow shows in which direction a metric is better."""
    evidence = record.evidence
    scores = {"candidate": evidence.candidate, _reference(record): evidence.reference, "champion": evidence.champion}
    yield f"| on the same rows | {' | '.join(scores)} |"
    yield "| --- " * (len(scores) + 1) + "|"
    for name, metric in METRICS[evidence.task].items():
        values = (number(score.metrics.get(name) if score else None) for score in scores.values())
        yield f"| {metric.title} {_ARROWS[metric.better]} | {' | '.join(values)} |"


def _gain(record: GateRecord) -> Iterator[str]:
    gain, confidence = record.evidence.gain, record.policy.confidence
    reference = _reference(record)
    yield f"Skill over the {reference}: {number(record.evidence.skill)} (1 − error / error of the {reference})."
    if gain:
        bounds = f"{number(gain.lower)} and {number(gain.upper)}"
        yield f"Gain over the champion: {number(gain.value)}, between {bounds} at confidence {confidence:g}."


def table(title: str, checks: Sequence[Check], room: int) -> list[str]:
    """As many checks as there is room for, one row each: failed ones first, otherwise in the order of `checks`."""
    if not checks:
        return []
    first = sorted(checks, key=lambda check: ("failed", "insufficient", "passed").index(check.status))
    lines, used = [f"### {title}", "", *_CHECKS], 0
    for place, check in enumerate(first):
        row = _row(check)
        used += len(row) + 1
        if used > room:
            return [*lines, "", _left_out(first[place:]), ""]
        lines.append(row)
    return [*lines, ""]


def _row(check: Check) -> str:
    name, bound = check.name.removeprefix(_SLICE), f"{_SIGNS[check.direction]} {check.bound:g}"
    value = "missing" if check.value is None else number(check.value)
    return f"| {_MARKS[check.status]} | {cell(name)} | {value} | {bound} | {cell(check.detail, DETAIL)} |"


def _left_out(checks: Sequence[Check]) -> str:
    counts = Counter(check.status for check in checks)
    return f"And {len(checks)} more: {', '.join(f'{count} {status}' for status, count in counts.items())}."


def origin(record: Record, contract: Contract) -> Iterator[str]:
    """The lines about a model's data and code."""
    commit = "none" if record.commit is None else f"`{record.commit[:12]}`"
    yield "### Origin"
    yield ""
    yield f"- trained on {contract.trained_from:%Y-%m-%d} to {contract.trained_until:%Y-%m-%d}, {len(contract.inputs)} inputs"
    yield f"- data version {cell(record.data_version)}"
    yield f"- feature service {cell(record.feature_service)}"
    yield f"- commit {commit}" + (", **with uncommitted changes**" if record.dirty or contract.dirty else "")
    if experiment := record.experiment or contract.experiment:
        yield f"- made by the experiment {cell(experiment)}: the policy does not promote it"


def _promotion(version: int, verdict: Verdict) -> Iterator[str]:
    yield "### To promote it"
    yield ""
    yield {
        "superior": f"Set the alias `requested` on this version, or run `ratchet promote {version}`. It serves if its record "
        "is valid.",
        "non-inferior": f"Run `ratchet promote {version} --reason … --until YYYY-MM-DD`: it is not shown to be better, so a "
        "person has to answer for it. The alias `requested` alone is refused.",
        "undecided": "It cannot be promoted: too few rows were newer than the champion's training rows. Judge a later one.",
        "refused": "It cannot be promoted: every request for it is refused. Train a better one.",
    }[verdict]


def number(value: float | None) -> str:
    """A number as a card shows it."""
    return "–" if value is None else f"{value:.4g}"


def cell(text: str, length: int = CELL) -> str:
    """Text on one line, escaped for Markdown and its tables, and cut after `length` characters."""
    shown = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    short = shown if len(shown) <= length else shown[: length - 1] + "…"
    safe = short.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return re.sub(r"([\\`*_{}\[\]()#~!])", r"\\\1", safe)
