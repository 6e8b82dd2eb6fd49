"""`make demo`: run all steps by `dvc repro`, then two attempts that the checks must catch, print the summary, and advance by a
day."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import click
import numpy as np
from ruamel.yaml import YAML

from cli import summary
from cli.current_user import current_user
from cli.run_and_report import run_and_report
from ratchet.code.git import code_version
from ratchet.core.clock import later
from ratchet.core.errors import GateError, RatchetError
from ratchet.core.settings import PARAMS_FILE
from ratchet.core.telemetry import disable_telemetry
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.project import step_reports as reports
from ratchet.project.advance import advance
from ratchet.project.as_of import as_text
from ratchet.project.locks import alone
from ratchet.project.run import Run
from ratchet.project.steps import STEPS
from ratchet.storage.files import atomic, write_json

WORSE_TREES = 5
WAIT = 600.0
"""Seconds to wait for a flow that began after `dvc repro`."""


@click.command()
@click.option("--use-case", help="A section of params.yaml, instead of the one that it selects.")
@click.option("--source", help="The source to read instead of the one that params.yaml names.")
@click.option("--path", help="Where that source reads.")
def demo(use_case: str | None, source: str | None, path: str | None) -> None:
    """Run the whole loop, offer a worse candidate and a drifted window, print what happened, and advance by a day."""
    run = Run.load(use_case=use_case)
    if source and path:
        select_source(run, source, path)
        run = Run.load(use_case=use_case)
    click.echo(f"{run.settings.use_case} from {run.settings.source.name}, step by step:")
    ran = run_all(run)
    idle = [step for step in STEPS if step not in ran]
    if idle:
        click.echo(f"Nothing to do in {', '.join(idle)}: up to date.")
    click.echo("\n" + summary.render(finish_story(run)))
    advance_a_day(run)


def advance_a_day(run: Run) -> None:
    """Once in a checkout: let features and predictions go a day further, and print what that cost."""
    marker = run.paths.state / "demo" / "advanced.json"
    if marker.exists():
        click.echo("\nIt was advanced by a day before: not repeated. `ratchet advance` goes on.")
        return
    first = reports.seconds(run)
    instant = later(run.as_of("feature"), timedelta(days=1), run.use_case.timezone)
    write_json(marker, instant.isoformat())
    run = advance(run, instant, ("feature", "inference"))
    click.echo(
        f"\nA day later, as of {as_text(instant)} (`ratchet advance --by 1d --pipeline feature --pipeline inference`):"
    )
    ran = bring_up_to_date(run, "monitor")
    summary.write(run, summary.build(run))
    now = {step: last.seconds for step in ran if (last := reports.last_run(run, step))}
    click.echo("\n".join(cost_of(first, now, ran)))


def cost_of(first: Mapping[str, float], now: Mapping[str, float], ran: Collection[str]) -> Iterator[str]:
    """The seconds of each step that ran: for everything at first, and for the day that was added."""
    yield "what it cost     all     a day   (seconds)"
    for step in STEPS:
        if step in ran and step in first:
            yield f"  {step:<12}{first[step]:>6.1f}{now[step]:>10.1f}"


def run_all(run: Run) -> set[str]:
    """Run all steps, and return those that ran.

    The policy does not promote uncommitted work, such as a source that was just selected. Then the person who runs the demo
    requests the promotion."""
    if not code_version(run.root).dirty:
        return bring_up_to_date(run, "monitor")
    ran = bring_up_to_date(run, "reconcile")
    ask_in_person(run)
    return ran | bring_up_to_date(run, "monitor")


def bring_up_to_date(run: Run, step: str) -> set[str]:
    """Run `dvc repro`, and return the steps that ran. Only the steps' own lines and the errors (on stderr) are printed."""
    command = [sys.executable, "-m", "dvc", "repro", f"{step}@{run.settings.use_case}"]
    with subprocess.Popen(command, cwd=run.root, stdout=subprocess.PIPE, text=True) as dvc:
        assert dvc.stdout is not None
        ran = set(_print_steps(dvc.stdout))
    if dvc.returncode:
        click.echo(
            "make demo: the step above failed; fix the problem that it names and run `make demo` again", err=True
        )
        click.echo("make demo: `ratchet summary` shows how far it got", err=True)
        sys.exit(dvc.returncode)
    return ran


def ask_in_person(run: Run) -> None:
    """Promote the versions that `register` reported as waiting for a person, the baseline first. A hold is respected."""
    from ratchet.model_registry.promotion import WAITS, promote
    from ratchet.model_registry.status import status

    registry = ModelRegistry.open(run)
    found = status(registry)
    registered = [model["version"] for model in (reports.read(run, "register") or {}).values()]
    waiting = [each for each in found["versions"] if each["version"] in registered and WAITS in str(each["status"])]
    for version in waiting if found["hold"] is None else ():
        reason = "make demo, on uncommitted code or settings"
        promote(registry, version["version"], by=current_user(), reason=reason)
        click.echo(
            f"uncommitted, so no policy promotes it: version {version['version']} serves because you requested it"
        )


def _print_steps(lines: Iterable[str]) -> Iterator[str]:
    """Print the lines that begin with a step's name, and yield these names."""
    for line in lines:
        name = line.partition(" ")[0]
        if name in STEPS:
            click.echo(line, nl=False)
            yield name


def finish_story(run: Run, wait: float = WAIT) -> summary.Summary:
    """Make both attempts and build the summary, while no other run may change the data. Raises VersionError."""
    with alone(run, ("training", "inference"), wait) as run:
        print_story(run)
        found = summary.build(run)
        summary.write(run, found)
    return found


def select_source(run: Run, source: str, path: str) -> None:
    """Select a source in params.yaml, and keep its comments. The file is a tracked input of the first stage."""
    yaml, params = YAML(), run.root / PARAMS_FILE
    yaml.preserve_quotes, yaml.width = True, 128
    content = yaml.load(params)
    section = content["use_cases"][run.settings.use_case]
    if (section["source"]["name"], section["source"]["path"]) == (source, path):
        return
    section["source"].update(name=source, path=path, options={})
    with atomic(params) as temporary:
        yaml.dump(content, temporary)
    click.echo(f"params.yaml now reads {source} from {path}; `git checkout params.yaml` undoes that")


def print_story(run: Run) -> None:
    """Offer a worse candidate and a drifted window, unless this was done with this champion before."""
    from ratchet.model_registry.champion import resolve_champion

    champion = resolve_champion(ModelRegistry.open(run))
    story = reports.read(run, summary.STORY)
    if story and story["champion"] == champion.model.digest:
        click.echo("A worse candidate and a drifted window were offered before with this champion: not repeated.")
        return
    reports.run_step(
        run,
        summary.STORY,
        lambda run: {
            "champion": champion.model.digest,
            "worse_candidate": run_and_report("worse", lambda: offer_worse(run), _refusal),
            "planted_drift": run_and_report("drifted", lambda: plant_drift(run), _drift),
        },
    )


def _refusal(worse: reports.Report) -> str:
    return f"a candidate of {WORSE_TREES} trees, version {worse['version']}: {worse['verdict']}"


def _drift(planted: reports.Report) -> str:
    return f"{planted['what']}: {planted['verdict']}"


def offer_worse(run: Run) -> dict[str, Any]:
    """Train a candidate with far too few trees, request it in spite of its verdict, and take the request back."""
    from ratchet.gate.refit import RefitRecord
    from ratchet.model_registry.champion import resolve_champion
    from ratchet.model_registry.promotion import promote
    from ratchet.model_registry.refits import judged_model
    from ratchet.models.model import load, save
    from training_pipeline import evaluate, train
    from training_pipeline.frozen_set import read_training_set
    from training_pipeline.register import offer

    registry, directory = ModelRegistry.open(run), run.paths.state / "demo" / "worse"
    champion = resolve_champion(registry)
    training, settings = read_training_set(run), run.settings
    worse = train.fit_candidate(training, WORSE_TREES, settings.training, run.environment.threads)
    save(worse, directory, train.reference_rows(worse, training.rows, settings.drift.reference_rows), {})
    baseline = load(run.paths.models / "baseline", run.use_case)
    # A refit was fitted on the holdout: on these rows the candidate competes with the model that was judged on them.
    rival = judged_model(registry, champion) if isinstance(champion.record, RefitRecord) else champion.model
    record = evaluate.evaluate_model(run, evaluate.read_trial(run), directory, baseline, rival)
    version = offer(registry, directory, record)
    try:
        promote(registry, version, by="make demo", reason="to see what happens")
    except GateError as refusal:
        promote(registry, champion.version, by="make demo", reason="the request is taken back")
        return {"version": version, "verdict": record.verdict, "reason": refusal.problem}
    raise AssertionError("a worse candidate was promoted: the gate is broken")


def plant_drift(run: Run) -> dict[str, Any]:
    """Write a drift report on the newest window as if it had only the rows with the highest predictions."""
    from inference_pipeline.monitor.drift import drift_report, scored_window
    from ratchet.model_registry.champion import resolve_champion
    from ratchet.prediction_log.schema import PREDICTION

    champion = resolve_champion(ModelRegistry.open(run))
    window = scored_window(run, champion)
    rows = max(len(window[PREDICTION]) // 3, run.settings.drift.min_rows)
    highest = np.argsort(-window[PREDICTION], kind="stable")[:rows]
    planted = {name: values[np.sort(highest)] for name, values in window.items()}
    report = drift_report(run, champion, planted, run.paths.reports / "planted_drift")
    return {
        "what": f"the {rows:,} rows with the highest predictions",
        "verdict": report["verdict"],
        "html": report["html"],
    }


def main() -> None:
    """Run the demo. An expected error is printed as one line."""
    disable_telemetry()
    try:
        demo()
    except RatchetError as error:
        sys.exit(f"make demo: {error}")


if __name__ == "__main__":
    main()
