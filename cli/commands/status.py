"""`ratchet status`: how far the data go, which version serves, and why no other does."""

from __future__ import annotations

import click

from cli.context import as_json, current_run
from cli.render_status import render_data, render_status


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")
def status(is_json: bool) -> None:
    """Show how far the data go and what is due, which version serves or is requested, and why one was refused."""
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.model_registry.status import status as registry_status
    from ratchet.project.data_status import data_status

    run = current_run()
    found = {"data": data_status(run), **registry_status(ModelRegistry.open(run))}
    click.echo(as_json(found) if is_json else f"{render_data(found['data'])}\n\n{render_status(found)}")
