"""`ratchet backfill`: work through a past interval."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cli.commands.advance import CHOICES, named, shown

if TYPE_CHECKING:
    from ratchet.project.run import Pipeline


@click.command()
@click.argument("name", required=False, metavar="[USE_CASE]")
@click.option("--from", "first", metavar="WHEN", required=True, help="The first instant: a local day, or a time.")
@click.option("--to", "last", metavar="WHEN", default="newest", show_default=True, help="The last instant.")
@click.option("--step", metavar="LENGTH", default="1d", show_default=True, help="From one instant to the next.")
@click.option(
    "--pipeline", "pipelines", type=click.Choice(CHOICES), multiple=True, help="Only these. Default: all three."
)
def backfill(name: str | None, first: str, last: str, step: str, pipelines: tuple[Pipeline, ...]) -> None:
    """Run the pipelines as of each instant of a past interval, as their schedules would have.

    A model is trained, gated and promoted, and requests are scored, as of each instant. It may be stopped: the same command
    goes on where it was."""
    from ratchet.core.progress import show_line
    from ratchet.project.advance import parse_length
    from ratchet.project.backfill import backfill as work_through
    from ratchet.project.backfill import remaining
    from ratchet.project.run import Run

    run = Run.load(use_case=name or click.get_current_context().obj)
    chosen = pipelines or CHOICES
    instants = remaining(run, named(run, first), named(run, last), parse_length(step), chosen)
    began = time.monotonic()
    with show_line(run.settings.use_case):
        for done, instant in enumerate(work_through(run, instants, chosen), 1):
            now = time.monotonic()
            click.echo(f"{shown(run, instant)}  {done} of {len(instants)} ({now - began:.1f} s)")
            began = now
