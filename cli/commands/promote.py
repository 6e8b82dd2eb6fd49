"""`ratchet promote`, `ratchet rollback` and `ratchet release`: a person decides which version serves."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli.context import current_registry
from cli.current_user import current_user


@click.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", help="Why a model that is neither better nor worse may serve.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The day (UTC) on which that reason expires.")
@click.option("--by", default=current_user, show_default="you", help="Who requests it.")
def promote(version: int, reason: str | None, until: datetime | None, by: str) -> None:
    """Request VERSION, which serves if its gate record is valid."""
    from ratchet.model_registry.promotion import promote as request

    day = until and until.replace(tzinfo=UTC)
    report = request(current_registry(), version, by=by, reason=reason, until=day)
    click.echo(f"version {report['champion']['version']} serves")


@click.command()
@click.option("--reason", required=True, help="Why, for the promotion history.")
@click.option("--by", default=current_user, show_default="you", help="Who requests it.")
def rollback(reason: str, by: str) -> None:
    """Return to the version that served before.

    It also begins a hold: the policy promotes no version until `ratchet release` or `ratchet promote`."""
    from ratchet.model_registry.promotion import rollback as return_to_previous

    report = return_to_previous(current_registry(), by=by, reason=reason)
    click.echo(f"version {report['champion']['version']} serves again")
    click.echo("The policy promotes no other version until `ratchet release` or `ratchet promote VERSION`")


@click.command()
@click.option("--reason", required=True, help="Why, for the promotion history.")
@click.option("--by", default=current_user, show_default="you", help="Who releases it.")
def release(reason: str, by: str) -> None:
    """End the hold of a rollback.

    After that, superior candidates of later training runs are promoted again."""
    from ratchet.model_registry.promotion import release as end_hold

    report = end_hold(current_registry(), by=by, reason=reason)
    click.echo(f"version {report['champion']['version']} serves until a better one replaces it")
