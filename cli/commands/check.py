"""`ratchet check`: what usually goes wrong, before anything is computed."""

from __future__ import annotations

import sys
import time

import click


@click.command()
def check() -> None:
    """Look for what usually goes wrong with the active use case, on a sample of its data: in seconds, with the line to
    change for each mistake."""
    from authoring.check import checkup
    from ratchet.project.project import Project

    began = time.monotonic()
    found = checkup(Project.load(use_case=click.get_current_context().obj))
    for finding in found.findings:
        click.echo(f"{finding}\n")
    count, seconds = len(found.findings), time.monotonic() - began
    result = f"{count} thing{'s' * (count > 1)} to change" if count else "nothing found"
    click.echo(f"{result} (looked at {found.rows:,} rows of {found.batches} batches in {seconds:.1f} s)")
    sys.exit(1 if count else 0)
