"""`ratchet accept`: a person signs a reason for what the gate would otherwise refuse."""

from __future__ import annotations

import click

from cli.context import current_run
from cli.current_user import current_user


@click.command()
@click.argument("what", type=click.Choice(["too-good"]), metavar="WHAT")
@click.option("--reason", required=True, help="Why a caller knows all inputs before the outcome.")
@click.option("--by", default=current_user, show_default="you", help="Who signs it.")
def accept(what: str, reason: str, by: str) -> None:
    """Sign a reason why WHAT is not a mistake.

    WHAT is `too-good`: the inputs give the label away, or a model has almost no error. The reason holds for the current inputs
    and features. It is kept in the use case's folder as reasons.json, to be committed."""
    from ratchet.features.service import service_spec
    from ratchet.gate.gate import Gate
    from ratchet.gate.reasons import accept as sign_reason

    run = current_run()
    spec = service_spec(run.use_case)
    gate = Gate.open(run)
    signed = sign_reason(gate, spec.name, spec.fingerprint, by=by, reason=reason)
    path = gate.reasons_file.relative_to(run.root)
    click.echo(f"{signed.by} accepts {what} of {signed.feature_service}: {signed.reason}")
    click.echo(f"next: `git add {path}`, commit it, and `dvc repro monitor@{run.settings.use_case}`")
