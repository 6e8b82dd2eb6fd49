"""The `ratchet` command: parse, call, map errors. What a command needs is imported when it runs."""

from __future__ import annotations

import errno
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.commands.accept import accept
from cli.commands.check import check
from cli.commands.init import init
from cli.commands.serve import serve
from cli.commands.ui import ui
from cli.headlines import HEADLINES, run_and_report
from cli.person import current_user
from ratchet.core.errors import GateError, RatchetError, SettingsError
from ratchet.core.telemetry import disable_telemetry
from ratchet.project.steps import STEPS

if TYPE_CHECKING:
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.project.run import Run
    from ratchet.project.step_reports import Report


REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it readable and writable"),
}
"""What to do about a disk that fails a step, by the error's number."""

STAGE_WAIT = 5.0
"""Seconds. Short, because DVC lets no flow record its data while a stage waits, and a flow tries again after ten."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ratchet-mlops")
@click.option("--use-case", metavar="NAME", help="A section of params.yaml, instead of the one that it selects.")
@click.pass_context
def ratchet(context: click.Context, use_case: str | None) -> None:
    """Pipelines that let a model into production only on evidence."""
    context.obj = use_case


ratchet.add_command(accept)
ratchet.add_command(check)


@ratchet.command()
@click.option("--json", "as_json", is_flag=True, help="Print reports/summary.json instead of text.")
def summary(as_json: bool) -> None:
    """What the last run did, from rows in to drift, and what to type next."""
    from cli.commands.summary import build, render, write

    run = _project()
    found = build(run)
    write(run, found)
    click.echo(_json(found) if as_json else render(found))


@ratchet.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def status(as_json: bool) -> None:
    """Which model serves, which is requested, and why a request was refused."""
    from cli.commands.status import render_status
    from ratchet.model_registry.status import status as registry_status

    found = registry_status(_model_registry())
    click.echo(_json(found) if as_json else render_status(found))


@ratchet.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", help="Why a model that is no better, but not worse either, may serve.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The day (UTC) on which that reason expires.")
@click.option("--by", default=current_user, show_default="you", help="Who asks.")
def promote(version: int, reason: str | None, until: datetime | None, by: str) -> None:
    """Request VERSION; it serves if its gate record holds."""
    from ratchet.model_registry.promotion import promote as request

    day = until and until.replace(tzinfo=UTC)
    report = request(_model_registry(), version, by=by, reason=reason, until=day)
    click.echo(f"version {report['champion']['version']} serves")


@ratchet.command()
@click.option("--reason", required=True, help="Why, for the promotion history.")
@click.option("--by", default=current_user, show_default="you", help="Who asks.")
def rollback(reason: str, by: str) -> None:
    """Return to the version that served before, and keep the policy from promoting until somebody releases it."""
    from ratchet.model_registry.promotion import rollback as return_to_previous

    report = return_to_previous(_model_registry(), by=by, reason=reason)
    click.echo(f"version {report['champion']['version']} serves again")
    click.echo("No other version takes its place by policy until `ratchet release` or `ratchet promote VERSION`")


@ratchet.command()
@click.option("--reason", required=True, help="Why, for the promotion history.")
@click.option("--by", default=current_user, show_default="you", help="Who releases it.")
def release(reason: str, by: str) -> None:
    """End the hold of a rollback: superior candidates of later training runs are promoted again."""
    from ratchet.model_registry.promotion import release as end_hold

    report = end_hold(_model_registry(), by=by, reason=reason)
    click.echo(f"version {report['champion']['version']} serves, and gives way to a better one")


@ratchet.command()
@click.argument("prediction_id")
def trace(prediction_id: str) -> None:
    """The way from a prediction of any use case back to its features, model, gate record, data version and commit.

    It is shown also where the gate record cannot be verified, and fails then."""
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.prediction_log.log import PredictionLog
    from ratchet.prediction_log.trace import trace as way_back

    run = _predictor(prediction_id)
    found = way_back(PredictionLog.open(run), ModelRegistry.open(run), prediction_id)
    click.echo(_json(found))
    if not found["gate_record"]["verified"]:
        raise GateError(
            "cannot be verified, and nothing else vouches for training period, feature service, data version and commit",
            subject=f"gate record of {found['model']['name']} version {found['model']['version']}",
            remedy=f"Do not rely on them as they are shown: {found['gate_record']['objection']}",
        )


@ratchet.command(help=f"Run one step by itself: {', '.join(list(STEPS)[:-1])} or {list(STEPS)[-1]}.")
@click.argument("name", type=click.Choice(list(STEPS)), metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="Print the step's report as JSON instead of a line about it.")
def stage(name: str, as_json: bool) -> None:
    run = _project()
    if as_json:
        click.echo(_json(_run_stage(run, name)))
    else:
        run_and_report(name, lambda: _run_stage(run, name), HEADLINES[name])


@ratchet.command()
@click.argument("lock", type=click.Path(path_type=Path))
def restore(lock: Path) -> None:
    """Put the data of a use case back as LOCK has them, the dvc.lock that a flow kept with its run."""
    from ratchet.project.dvc import restore as put_back

    put_back(_project(), lock)


@ratchet.command()
def sensors() -> None:
    """Read which versions are requested and which the registry has lost, and write it where DVC looks."""
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.model_registry.sensors import sense
    from ratchet.project.run import Run

    stores = [ModelRegistry.open(run) for run in Run.load_all()]
    run_and_report("sensors", lambda: sense(stores), HEADLINES["sensors"])


ratchet.add_command(init)
ratchet.add_command(serve)
ratchet.add_command(ui)


def _project() -> Run:
    from ratchet.project.run import Run

    return Run.load(use_case=click.get_current_context().obj)


def _model_registry() -> ModelRegistry:
    from ratchet.model_registry.model_registry import ModelRegistry

    return ModelRegistry.open(_project())


def _run_stage(run: Run, name: str) -> Report:
    from ratchet.project.locks import alone
    from ratchet.project.step_reports import run_step

    with alone(run, STEPS[name].keeps_out, wait=STAGE_WAIT):
        return run_step(run, name, lambda run: STEPS[name].load()(run))


def _predictor(prediction_id: str) -> Run:
    """A run for the use case that made a prediction: one service answers for all of them, and an id names none."""
    from ratchet.prediction_log.log import PredictionLog
    from ratchet.project.run import Run

    selected = _project()
    if PredictionLog.open(selected).holds(prediction_id):
        return selected
    return next((other for other in Run.load_all() if PredictionLog.open(other).holds(prediction_id)), selected)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str)


def _require_home() -> None:
    """Raises SettingsError where this user has no home folder: MLflow cannot be imported without one."""
    try:
        Path.home()
    except RuntimeError as error:
        raise SettingsError(
            f"is not set, and user {os.getuid()} has no home folder otherwise",
            subject="HOME",
            remedy="Set it to a folder that this user may write, and LOGNAME to a name, which DVC needs",
        ) from error


def main() -> None:
    """Run the command; an expected failure is one line on stderr and exit code 1."""
    disable_telemetry()
    try:
        _require_home()
        ratchet()
    except RatchetError as error:
        sys.exit(f"ratchet: {error}")
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        subject, remedy = error.filename or "the disk", REMEDIES[error.errno]
        sys.exit(f"ratchet: {subject}: {error.strerror}. Nothing was half-written: {remedy} and run again.")
