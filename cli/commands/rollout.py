"""`ratchet rollout`: let a version answer beside the one that serves, step by step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cli.context import as_json, current_registry, current_run
from cli.current_user import current_user

if TYPE_CHECKING:
    from inference_pipeline.online.arm_figures import ArmFigures, RolloutFigures
    from ratchet.gate.rollout import Plan, Rollout

by = click.option("--by", default=current_user, show_default="you", help="Who decides it.")
reason = click.option("--reason", default="none given", show_default=True, help="Why, for the history.")


@click.group()
def rollout() -> None:
    """Let a version answer beside the champion, step by step.

    A running service follows within seconds, without a restart. It takes a challenger back by itself that fails, answers too
    slowly, or predicts worse."""


@rollout.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option(
    "--strategy",
    type=click.Choice(["canary", "shadow", "ab", "blue-green"]),
    default="canary",
    show_default=True,
    help="canary: shadow, 10, 50. shadow: only that. ab: 50. blue-green: standby, 100.",
)
@click.option(
    "--steps", metavar="STEP,…", help="Other steps: shadow, standby, or percent of the callers, as shadow,5,25."
)
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d"]), help="The day (UTC) on which a waiver with that reason expires."
)
@reason
@by
def start(version: int, strategy: str, steps: str | None, until: datetime | None, reason: str, by: str) -> None:
    """Begin to roll VERSION out.

    In the shadow, it predicts what the champion answers, and nobody gets its predictions: any valid version may do so. To
    answer, it must be admitted by its gate record, as for `ratchet promote`."""
    from ratchet.model_registry.rollout import start as begin

    plan = _plan(strategy, steps)
    day = until and until.replace(tzinfo=UTC)
    _say(begin(current_registry(), version, plan, by=by, reason=reason, until=day))


@rollout.command()
@reason
@by
def advance(reason: str, by: str) -> None:
    """Go to the next step. After the last one, the challenger is promoted."""
    from ratchet.model_registry.rollout import advance as go_on
    from ratchet.model_registry.rollout import running

    store = current_registry()
    before = running(store)
    if changed := go_on(store, by=by, reason=reason):
        _say(changed)
    elif before:
        click.echo(f"version {before.version} serves: it is the champion now")


@rollout.command()
@reason
@by
def abort(reason: str, by: str) -> None:
    """Take the challenger back: the champion answers everybody."""
    from ratchet.model_registry.rollout import abort as end

    if ended := end(current_registry(), by=by, reason=reason):
        click.echo(f"version {ended.version} was taken back: the champion answers everybody")


@rollout.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")
def status(is_json: bool) -> None:
    """Show what is rolled out, and how both arms do.

    The figures are about the time since the last step began; metrics, about predictions whose outcome was reported."""
    from inference_pipeline.online.arm_figures import arm_figures
    from ratchet.model_registry.rollout import changes

    run = current_run()
    going_on, history = changes(current_registry())
    confidence = run.settings.gate.confidence
    figures = arm_figures(run, going_on, run.clock.now(), confidence) if going_on else None
    if is_json:
        click.echo(as_json(_as_json(going_on, history, figures)))
        return
    for change in history:
        click.echo(_line(change))
    if going_on is None:
        click.echo("No version is being rolled out")
    if figures:
        click.echo("\n".join(["", *_table(figures, confidence)]))


def _plan(strategy: str, steps: str | None) -> Plan:
    """Raises click's BadParameter for steps that no rollout may take."""
    from pydantic import ValidationError

    from ratchet.gate.rollout import STRATEGIES, Plan, parsed_step

    if steps is None:
        return STRATEGIES[strategy]
    try:
        return Plan(steps=tuple(map(parsed_step, steps.split(","))))
    except ValidationError as error:
        told = "name shadow or standby first if at all, and then growing percentages from 1 to 100, as shadow,5,25"
        raise click.BadParameter(told, param_hint="--steps") from error


def _say(change: Rollout) -> None:
    from ratchet.gate.rollout import says

    following = says(change.next_step) if change.next_step is not None else "is the champion"
    click.echo(f"version {change.version} {says(change.step)}. After `ratchet rollout advance` it {following}")


def _line(change: Rollout) -> str:
    from ratchet.gate.rollout import says

    what = "was taken back" if change.kind == "abort" else says(change.step)
    return f"{change.at:%Y-%m-%d %H:%M} UTC  version {change.version} {what}  ({change.by}: {change.reason})"


def _as_json(going_on: Rollout | None, history: list[Rollout], figures: RolloutFigures | None) -> dict[str, Any]:
    hidden = {"signature", "model_name"}
    return {
        "rollout": going_on and going_on.model_dump(mode="json", exclude=hidden),
        "history": [change.model_dump(mode="json", exclude=hidden) for change in history],
        "figures": figures and figures.model_dump(mode="json"),
    }


def _table(figures: RolloutFigures, confidence: float) -> list[str]:
    arms = {"champion": figures.champion, "challenger": figures.challenger}
    names = sorted({name for arm in arms.values() for name in arm.metrics})
    head = ["", "predictions", "failures", "mean", "outcomes", *names]
    rows = [head, *([name, *_cells(arm, names)] for name, arm in arms.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if figures.difference is not None:
        lines.append(f"On the same requests, {figures.different:.1%} differ, by {figures.difference:+.4g} on average")
    gain = figures.gain
    if gain.lower is None or gain.upper is None or gain.value is None:
        return [*lines, "Gain of the challenger: not known. It needs outcomes of at least 20 entities in each arm"]
    interval = f"{gain.lower:.2%} to {gain.upper:.2%}, each bound at {confidence:.0%} confidence"
    return [*lines, f"Gain of the challenger: {gain.value:.2%} ({interval})"]


def _cells(arm: ArmFigures, names: list[str]) -> list[str]:
    numbers = [arm.mean_prediction, *(arm.metrics.get(name) for name in names)]
    mean, *metrics = ["-" if number is None else f"{number:.4g}" for number in numbers]
    return [f"{arm.predictions:,}", f"{arm.failures:,}", mean, f"{arm.outcomes:,}", *metrics]
