"""`ratchet trace`: where a prediction comes from."""

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
    """Show where a prediction comes from.

    For a prediction of any use case, it prints the features, model, gate record, data version and commit; and the files of
    other systems with whose features the model was trained, if DVC's cache holds them. If the gate record cannot be verified,
    it prints them too, but fails."""
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.prediction_log.log import PredictionLog
    from ratchet.prediction_log.trace import trace as way_back
    from ratchet.project.registered_files import registered_files

    run = _predicting(prediction_id)
    found = way_back(PredictionLog.open(run), ModelRegistry.open(run), prediction_id)
    if run.settings.upstream:
        found["upstream"] = registered_files(run, found["features_version"])
    click.echo(as_json(found))
    if not found["gate_record"]["verified"]:
        raise GateError(
            "cannot be verified, and nothing else proves training period, feature service, data version and commit",
            subject=f"gate record of {found['model']['name']} version {found['model']['version']}",
            remedy=f"Do not rely on these values: {found['gate_record']['objection']}",
        )


def _predicting(prediction_id: str) -> Run:
    """A run for the use case that made a prediction. One service answers for all use cases, and an id does not name one."""
    from ratchet.prediction_log.log import PredictionLog
    from ratchet.project.run import Run

    selected = current_run()
    runs = [selected, *Run.load_all()]
    holding = (run for run in runs if PredictionLog.open(run).holds(prediction_id))
    dropping = (run for run in runs if PredictionLog.open(run).dropped(prediction_id))
    return next(holding, None) or next(dropping, selected)
