"""`ratchet advance`: let the data go further."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ratchet.project.run import Pipeline, Run

CHOICES: tuple[Pipeline, ...] = ("feature", "training", "inference")


@click.command()
@click.argument("name", required=False, metavar="[USE_CASE]")
@click.option("--to", metavar="WHEN", help="`newest`, a local day such as 2024-05-01, or a time with its offset.")
@click.option("--by", metavar="LENGTH", help="How much further, such as 1d or 6h.")
@click.option(
    "--pipeline", "pipelines", type=click.Choice(CHOICES), multiple=True, help="Only these. Default: all three."
)
@click.option("--back", is_flag=True, help="Allow an earlier instant than the present one.")
def advance(name: str | None, to: str | None, by: str | None, pipelines: tuple[Pipeline, ...], back: bool) -> None:
    """Say how far the data of a use case go.

    Everything is computed as of an instant, which as_of.yaml holds; `dvc repro` then computes what follows from a later one.
    Without --to and --by, it is the newest instant up to which the source is completely delivered. If only `feature` and
    `inference` advance, new requests are scored, and no model is trained."""
    from ratchet.project.advance import advance as move
    from ratchet.project.run import Run

    run = Run.load(use_case=name or click.get_current_context().obj)
    chosen = pipelines or CHOICES
    before = _present(run, chosen[0])
    instant = _later(run, by, chosen[0]) if by and not to else named(run, to or "newest") if not by else None
    if instant is None:
        raise click.UsageError("Give either --to or --by, not both.")
    moved = move(run, instant, chosen, back=back)
    click.echo(f"{run.settings.use_case} is as of {shown(moved, instant)}{before}")
    click.echo(f"next: dvc repro monitor@{run.settings.use_case}")


def named(run: Run, text: str) -> datetime:
    """The instant that a person named. Raises SettingsError, and SourceError if the source cannot say how far it goes."""
    from ratchet.project.advance import parse_instant
    from ratchet.sources.newest import newest

    return newest(run) if text == "newest" else parse_instant(text, run.use_case.timezone)


def _later(run: Run, by: str, pipeline: Pipeline) -> datetime:
    """The present instant of a pipeline and a length of time; days are local ones."""
    from ratchet.core.clock import later
    from ratchet.project.advance import parse_length

    return later(run.as_of(pipeline), parse_length(by), run.use_case.timezone)


def _present(run: Run, pipeline: Pipeline) -> str:
    return f" (before: {shown(run, run.as_of(pipeline))})" if run.instants else ""


def shown(run: Run, instant: datetime) -> str:
    """An instant in the use case's local time."""
    from zoneinfo import ZoneInfo

    return instant.astimezone(ZoneInfo(run.use_case.timezone)).isoformat(timespec="minutes")
