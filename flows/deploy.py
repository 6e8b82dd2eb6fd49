"""`python -m flows.deploy`: deploy the flows of prefect.yaml for the selected use case, for named ones, or for all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import click
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from flows.dead_runs import end_dead_runs, heartbeat_seconds, is_forgetful
from flows.notification import tell_of_failures
from ratchet.core.errors import RatchetError, SettingsError
from ratchet.core.settings import Settings
from ratchet.project.run import Run

COMMAND = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
POOL = "ratchet"
"""The work pool of prefect.yaml."""
_START = "Run `prefect server start`"


@click.command()
@click.argument("names", nargs=-1, metavar="[USE_CASE]...")
@click.option("--all", "is_all", is_flag=True, help="Every use case of params.yaml.")
def main(names: tuple[str, ...], is_all: bool) -> None:
    """Schedule the three flows of the use case that params.yaml selects, or of others, on the server of PREFECT_API_URL."""
    try:
        deploy_use_cases(names, is_all)
    except RatchetError as error:
        sys.exit(f"flows.deploy: {error}")
    except subprocess.CalledProcessError as error:
        click.echo(error.output, err=True)
        sys.exit(error.returncode)


def deploy_use_cases(names: Sequence[str], is_all: bool) -> None:
    """Deploy, and print the schedules. Raises SettingsError, and CalledProcessError with Prefect's own output."""
    server, known = _server(), Run.load_all()
    chosen = known if is_all else [Run.load(use_case=name) for name in names or (None,)]
    click.echo(f"On {server}, by cron in UTC:")
    for run in chosen:
        deploy(run.settings)
        schedules = "   ".join(f"{flow} {cron}" for flow, cron in run.settings.schedules.model_dump().items())
        click.echo(f"  {run.settings.use_case:<12} {schedules}")
    end_dead_runs()
    tell_of_failures(chosen[0].environment.notify_url)
    _say_what_is_left(chosen, known)


def _server() -> str:
    """The address of the Prefect server. Raises SettingsError if it does not answer, or has no work pool."""
    address = str(PREFECT_API_URL.value() or "")
    if not address:
        raise SettingsError("is not set", subject="PREFECT_API_URL", remedy=f"{_START}, and export its address")
    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
        if problem:
            raise SettingsError(f"does not answer ({problem})", subject=f"Prefect's server {address}", remedy=_START)
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound as error:
            raise SettingsError(
                "does not exist",
                subject=f"work pool {POOL}",
                remedy=f"Run `prefect work-pool create {POOL} --type process`",
            ) from error
    return str(address)


def deploy(settings: Settings) -> None:
    """Deploy the three flows of a use case. Raises CalledProcessError with Prefect's output."""
    environment = {**os.environ, **placeholders(settings)}
    subprocess.run(COMMAND, env=environment, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def placeholders(settings: Settings) -> dict[str, str]:
    """The environment variables that prefect.yaml refers to."""
    schedules = {f"{flow.upper()}_SCHEDULE": cron for flow, cron in settings.schedules.model_dump().items()}
    return {"USE_CASE": settings.use_case, "HEARTBEAT_SECONDS": str(heartbeat_seconds()), **schedules}


def _say_what_is_left(chosen: Sequence[Run], known: Sequence[Run]) -> None:
    names = {run.settings.use_case for run in chosen}
    others = [run.settings.use_case for run in known if run.settings.use_case not in names]
    if others:
        click.echo(f"Not deployed by this: {', '.join(others)} (name them, or use --all).")
    if not chosen[0].environment.notify_url:
        click.echo("Nobody is notified of failed runs: set RATCHET_NOTIFY_URL to a webhook and deploy again.")
    if is_forgetful():
        click.echo(
            "After a restart, this server forgets which runs died with it: start it here, where prefect.toml is."
        )
    click.echo(f"To run them, from here: prefect worker start --pool {POOL}")


if __name__ == "__main__":
    main()
