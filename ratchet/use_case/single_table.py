"""A use case of one table: the examples and the history that follow from its label.

Each row is a request, made at the table's event_time, whose label is known at its known_at, once the row has arrived. Write any
other case by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from ratchet.use_case.columns import ARRIVED_AT
from ratchet.use_case.contract import ROW_KEY, Kind, Lookup, SourceTable, Tables, View
from ratchet.use_case.windows import Feature, total, trailing

if TYPE_CHECKING:
    import ibis


def examples_of(table: SourceTable, request: type[BaseModel], label: ibis.Deferred) -> Callable[[Tables], ibis.Table]:
    """A request for each row. Its label is `label` as a number, known once the row has arrived; unknown before it is known."""

    def examples(tables: Tables) -> ibis.Table:
        rows = tables[table.name].mutate(label=label.cast("float64"))
        return rows.select(
            *request.model_fields,
            request_id=ROW_KEY,
            event_timestamp=table.event_time,
            label=rows[ARRIVED_AT].notnull().ifelse(rows["label"], None),
            label_known_at=ARRIVED_AT,
        )

    return examples


def outcomes(
    entity: str,
    table: SourceTable,
    label: ibis.Deferred,
    *,
    tile: str,
    windows: Sequence[str],
    delay: str,
    scale: int = 1,
) -> View:
    """The view `{entity}_outcomes`: how many labels of an entity became known in each trailing window, and their mean.

    Labels are multiplied by `scale`, rounded and added up as integers. See `trailing` for the other arguments.
    """
    return trailing(
        f"{entity}_outcomes",
        (entity,),
        table,
        tile=tile,
        windows=windows,
        delay=delay,
        sums={"known": label.notnull(), "total": (label.cast("float64") * scale).round().cast("int64")},
        features={"known": total("known"), "mean": _mean(scale)},
    )


def outcome_lookup(entity: str) -> Lookup:
    """How a request finds the outcomes of its entity."""
    return Lookup(f"{entity}_outcomes", {entity: entity})


def outcome_inputs(entity: str, windows: Sequence[str]) -> dict[str, Kind]:
    """The features of `outcomes` as inputs."""
    return {f"{entity}_outcomes__{feature}_{window}": "number" for feature in ("known", "mean") for window in windows}


def _mean(scale: int) -> Feature:
    return lambda sums: sums["total"] / (sums["known"] * scale).nullif(0)
