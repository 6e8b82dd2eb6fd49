"""The model card of a refit: which model was judged, what was added to its rows, and whether it still behaves alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ratchet.gate.refit import RefitRecord
from ratchet.model_registry.model_card import LIMIT, cell, number, origin, table
from ratchet.models.metrics import METRICS

if TYPE_CHECKING:
    from ratchet.models.contract import Contract


def refit_card(record: RefitRecord, contract: Contract, version: int, judged: Sequence[int]) -> str:
    """At most LIMIT characters. `judged` is the version of its judged model; it is empty if that is not registered."""
    name = f"version {judged[0]}" if judged else f"model {record.judged.candidate[:12]}"
    head = [*_verdict(record, contract, version, name), "", *_scores(record), ""]
    tail = [*origin(record, contract), "", *_promotion(record, version, name)]
    room = LIMIT - sum(len(line) + 1 for line in [*head, *tail]) - LIMIT // 10
    return "\n".join([*head, *table("Checks", record.checks, room), *tail])


def _verdict(record: RefitRecord, contract: Contract, version: int, judged: str) -> Iterator[str]:
    evidence = record.evidence
    yield f"## Version {version}, refit of {judged}: {record.verdict}"
    yield ""
    yield (
        f"The recipe of {judged} ({cell(record.kind)}, {record.judged.verdict} by its gate record), fitted on "
        f"{evidence.rows:,} rows until {contract.trained_until:%Y-%m-%d}: {evidence.added:,} more than {judged}."
    )
    yield "These include the rows that it was judged on, so no quality is measured here; later rows confirm it."


def _scores(record: RefitRecord) -> Iterator[str]:
    evidence = record.evidence
    yield "| on the rows added | refit, fitted on them | judged model, not fitted on them |"
    yield "| --- | --- | --- |"
    for name, metric in METRICS[evidence.task].items():
        values = (number(score.metrics.get(name)) for score in (evidence.refit, evidence.judged))
        yield f"| {metric.title} | {' | '.join(values)} |"


def _promotion(record: RefitRecord, version: int, judged: str) -> Iterator[str]:
    yield "### To promote it"
    yield ""
    if record.verdict == "failed":
        yield f"It cannot be promoted. Promote {judged} instead, which was judged."
    else:
        yield (
            f"Set the alias `requested` on this version, or run `ratchet promote {version}`. It serves if {judged} does, or "
            f"may. A rollback then leads to {judged}."
        )
