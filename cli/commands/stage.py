"""`ratchet stage` and `ratchet sensors`: the commands of dvc.yaml, which a person can also run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.context import as_json, current_run
from cli.run_and_report import run_and_report
from ratchet.project.headlines import HEADLINES
from ratchet.project.steps import STEPS

if TYPE_CHECKING:
    from ratchet.project.run import Run
    from ratchet.project.step_reports import Report

STAGE_WAIT = 5.0
"""Seconds. Short, because a flow cannot record its data in DVC while a stage waits; it tries again after ten seconds."""


@click.command(help=f"Run a single step: {', '.join(list(STEPS)[:-1])} or {list(STEPS)[-1]}.")
@click.argument("name", type=click.Choice(list(STEPS)), metavar="NAME")
@click.option("--json", "is_json", is_flag=True, help="Print the step's report as JSON instead of one line.")
def stage(name: str, is_json: bool) -> None:
    run = current_run()
    if is_json:
        click.echo(as_json(_run_alone(run, name)))
    else:
        run_and_report(name, lambda: _run_alone(run, name), HEADLINES[name])


def _run_alone(run: Run, name: str) -> Report:
    from ratchet.project.locks import alone
    from ratchet.project.step_reports import run_step

    with alone(run, STEPS[name].keeps_out, wait=STAGE_WAIT) as run:
        return run_step(run, name, lambda run: STEPS[name].load()(run))


@click.command()
def sensors() -> None:
    """Check sources and registries for changes that DVC cannot see.

    It writes what sources hold, whether the online store was lost, and which versions are requested or lost, to files on which
    stages of dvc.yaml depend."""
    from ratchet.feature_store import written_store
    from ratchet.features import upstream_sensor
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.model_registry.sensors import sense
    from ratchet.project.run import Run
    from ratchet.sources import watermark

    runs = Run.load_all()

    def look() -> Report:
        watermark.sense(runs)
        written_store.sense(runs)
        upstream_sensor.sense(runs)
        return sense([ModelRegistry.open(run) for run in runs])

    run_and_report("sensors", look, HEADLINES["sensors"])
