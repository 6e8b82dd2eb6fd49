"""`ratchet check`: find the usual mistakes of a use case before anything is computed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.context import current_run

if TYPE_CHECKING:
    from ratchet.use_case.batch import Unread


MOST_NAMED = 3
"""The most unread entries of a source that are listed by name."""


@click.command()
def check() -> None:
    """Find the usual mistakes of the active use case.

    It checks a sample of the data in seconds, and names the line to change for each mistake."""
    from authoring.check import checkup
    from ratchet.core.text import count_of

    began = time.monotonic()
    run = current_run()
    found = checkup(run)
    for finding in found.findings:
        click.echo(f"{finding}\n")
    if found.unread:
        click.echo(note_of(found.unread, str(run.paths.reports.relative_to(run.root))))
    if found.upstream:
        click.echo(
            f"note: not checked for leaks: {', '.join(found.upstream)}. Other systems compute these views, and nobody else "
            "knows whether a row was available when its `available_at` says so"
        )
    count, seconds = len(found.findings), time.monotonic() - began
    result = f"{count_of(count, 'thing')} to change" if count else "nothing found"
    click.echo(
        f"{result} (looked at {found.rows:,} rows of {count_of(found.batches, 'batch', 'batches')} in {seconds:.1f} s)"
    )
    sys.exit(1 if count else 0)


def note_of(unread: Sequence[Unread], reports: str) -> str:
    """Which entries of a source are not read, and why: the first few by name, and the file in which ingest lists the others."""
    named = "; ".join(f"{each.name!r} {each.reason}" for each in unread[:MOST_NAMED])
    more = len(unread) - MOST_NAMED
    return f"note: not read of the source: {named}" + (
        f"; and {more:,} more: `ratchet stage ingest` lists them in {reports}/ingest.json" if more > 0 else ""
    )
