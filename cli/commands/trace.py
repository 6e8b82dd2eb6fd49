"""`ratchet trace`: the way back from a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.context import as_json, current_run
from ratchet.core.errors import GateError

if TYPE_CHECKING:
    from ratchet.project.run import Run


@click.command()
@click.argument("prediction_id")
def trace(prediction_id: str) -> None:
    """The way from a prediction of any use case back to its features, model, gate record, data version and commit.

    It is shown also where the gate record cannot be verified, and fails then."""
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.prediction_log.log import PredictionLog
    from ratchet.prediction_log.trace import trace as way_back

    run = _predicting(prediction_id)
    found = way_back(PredictionLog.open(run), ModelRegistry.open(run), prediction_id)
    click.echo(as_json(found))
    if not found["gate_record"]["verified"]:
        raise GateError(
            "cannot be verified, and nothing else vouches for training period, feature service, data version and commit",
            subject=f"gate record of {found['model']['name']} version {found['model']['version']}",
            remedy=f"Do not rely on them as they are shown: {found['gate_record']['objection']}",
        )


def _predicting(prediction_id: str) -> Run:
    """A run for the use case that made a prediction: one service answers for all of them, and an id names none."""
    from ratchet.prediction_log.log import PredictionLog
    from ratchet.project.run import Run

    selected = current_run()
    if PredictionLog.open(selected).holds(prediction_id):
        return selected
    return next((other for other in Run.load_all() if PredictionLog.open(other).holds(prediction_id)), selected)
