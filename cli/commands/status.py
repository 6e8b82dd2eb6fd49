"""`ratchet status`: which version serves, and why no other does."""

from __future__ import annotations

import click

from cli.context import as_json, current_registry
from cli.render_status import render_status


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")
def status(is_json: bool) -> None:
    """Show which version serves or is requested, and why one was refused."""
    from ratchet.model_registry.status import status as registry_status

    found = registry_status(current_registry())
    click.echo(as_json(found) if is_json else render_status(found))
