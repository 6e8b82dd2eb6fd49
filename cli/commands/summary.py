"""`ratchet summary`: what the last run did."""

from __future__ import annotations

import click

from cli.context import as_json, current_run


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print reports/summary.json instead of text.")
def summary(is_json: bool) -> None:
    """Show what the last run did, from ingest to drift, and what to type next."""
    from cli.summary import build, render, write

    run = current_run()
    found = build(run)
    write(run, found)
    click.echo(as_json(found) if is_json else render(found))
