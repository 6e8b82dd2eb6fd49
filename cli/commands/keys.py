"""`ratchet keys`: who may call the online service, and for what."""

from __future__ import annotations

import click

from cli.context import as_json, current_run
from inference_pipeline.online.access.rates import Rate
from inference_pipeline.online.access.roles import ROLES, Role


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of the online service.

    A running service follows within seconds. Until the first key is made, it answers only callers on its own machine, and they
    need none. From then on every caller needs one."""


def _rate(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        if text:
            Rate.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


@keys.command()
@click.argument("name")
@click.option(
    "--role", "roles", type=click.Choice(ROLES), multiple=True, required=True, help="Repeatable. `admin` is all."
)
@click.option("--model", "models", multiple=True, metavar="MODEL", help="Only this model; repeatable. Default: all.")
@click.option(
    "--rate", default="", callback=_rate, metavar="N/UNIT", help="At most so many, as 100/s, 600/m or 1000/h."
)
def add(name: str, roles: tuple[Role, ...], models: tuple[str, ...], rate: str) -> None:
    """Make a key, and print it once.

    Only its hash is stored: keep what is printed. A caller sends it with each request, as `Authorization: Bearer KEY`. Each of
    the service's processes allows its part of the rate, so that a caller with a single connection may get less than all."""
    from inference_pipeline.online.access.key_file import KeyFile
    from ratchet.core.clock import SystemClock

    run = current_run()
    _require_models(models)
    text = KeyFile.open(run).add(name, roles, models, rate, SystemClock().now())
    click.echo(text)
    click.echo("It is shown only now.", err=True)


def _require_models(models: tuple[str, ...]) -> None:
    """Raises AccessError if one is not among the models of params.yaml."""
    from ratchet.core.errors import AccessError
    from ratchet.core.text import did_you_mean
    from ratchet.project.run import Run

    known = [run.scope.namespace for run in Run.load_all()]
    for model in models:
        if model not in known:
            problem = f"is not a model of the service{did_you_mean(model, known)}"
            raise AccessError(problem, subject=model, remedy=f"Models are {', '.join(sorted(known))}")


@keys.command("list")
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")
def list_(is_json: bool) -> None:
    """List the keys: name, roles, models, rate, and when each was made."""
    from inference_pipeline.online.access.key_file import KeyFile

    found = KeyFile.open(current_run()).read()
    present = [key.model_dump(mode="json", exclude={"digest"}) for key in (found.by_id.values() if found else ())]
    if is_json:
        click.echo(as_json(present))
        return
    for key in present:
        models = f", only {', '.join(key['models'])}" if key["models"] else ""
        rate = f", at most {key['rate']}" if key["rate"] else ""
        click.echo(f"{key['name']}: {', '.join(key['roles'])}{models}{rate}, made at {key['made_at']}")
    if not present:
        click.echo(
            "there is no key" if found else "there is no key: only callers on the service's machine are answered"
        )


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke a key: a running service refuses it within seconds."""
    from inference_pipeline.online.access.key_file import KeyFile

    KeyFile.open(current_run()).revoke(name)
    click.echo(f"{name} is revoked")
