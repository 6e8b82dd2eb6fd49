"""`ratchet quarantine`: see quarantined rows and refused batches, and readmit them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from cli.commands.stage import STAGE_WAIT
from cli.context import as_json, current_run
from cli.current_user import current_user
from ratchet.core.text import count_of


@click.group()
def quarantine() -> None:
    """See quarantined rows and refused batches, and readmit them."""


@quarantine.command("list")
@click.option("--table", metavar="NAME", help="Only the batches of this table.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")
def list_(table: str | None, is_json: bool) -> None:
    """List what is in quarantine, by batch and reason.

    It also lists the batches that were refused, warned of or readmitted, and why."""
    from feature_pipeline.quarantine_contents import quarantine_contents

    found = quarantine_contents(current_run(), table)
    if is_json:
        click.echo(as_json(found))
    else:
        click.echo("\n".join(line for unit, contents in found.items() for line in _batch(unit, contents)) or _NOTHING)


_NOTHING = "nothing is in quarantine, and no batch is warned of"


def _batch(unit: str, contents: Mapping[str, Any]) -> Iterator[str]:
    state = "refused, " if contents["refused"] else ""
    yield f"{unit}: {state}{count_of(contents['rows'], 'row')}"
    for reason, count in contents["reasons"].items():
        yield f"  {count:>8,}  {reason}"
    for finding in contents["findings"]:
        refuses = finding["refuses"] and contents["overruled"] is None
        yield f"  {'refused' if refuses else 'warning'}: {finding['check']}: {finding['detail']}"
    for each in contents["readmissions"]:
        void = "" if each["counts"] else " (no longer counts: withdrawn, or delivered again with other content)"
        what = " ".join([each["kind"], *each["rules"]])
        said = "withdrawn" if each["kind"] == "withdrawal" else f"readmitted ({what}, {count_of(each['count'], 'row')})"
        yield f"  {said} by {each['by']}: {each['reason']}{void}"


@quarantine.command()
@click.argument("batch", metavar="TABLE/BATCH")
@click.option("--reason", metavar="NAME", help="Only the rows with this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many rows.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")
def show(batch: str, reason: str | None, limit: int, is_json: bool) -> None:
    """Show the quarantined rows of a batch.

    Each row is printed with its name for `readmit`, all its reasons, and the delivered values."""
    from feature_pipeline.quarantine_contents import quarantined_rows

    rows = quarantined_rows(current_run(), batch, reason)
    if is_json:
        click.echo(as_json(rows[:limit]))
        return
    for row in rows[:limit]:
        click.echo(f"{row['row']}  {', '.join(row['reasons'])}")
        click.echo(f"  {', '.join(f'{name}={value}' for name, value in row['values'].items())}")
    if len(rows) > limit:
        click.echo(f"… and {count_of(len(rows) - limit, 'more row')}: see --limit")


@quarantine.command()
@click.option("--batch", metavar="TABLE/BATCH", help="A refused batch; with --rule, a batch with rows that break it.")
@click.option("--rule", metavar="NAME", help="Readmit the rows of the batch that break this rule.")
@click.option("--row", "rows", multiple=True, metavar="TABLE/BATCH:ROW", help="A row, as `show` names it; repeatable.")
@click.option("--reason", help="Why; needed for a batch, a rule or a row.")
@click.option("--by", default=current_user, show_default="you", help="Who decides it.")
def readmit(batch: str | None, rule: str | None, rows: tuple[str, ...], reason: str | None, by: str) -> None:
    """Validate again, and readmit what you decide.

    Without options, rows are judged by today's rules, and those that no longer break one come back; the step `validate` does
    the same. A decision readmits a refused batch (its rows that break no rule), or rows that break a rule. It is kept with the
    data, and holds until it is withdrawn, or the batch is delivered again with other content. Rows without key or event time,
    unreadable and duplicate rows cannot be readmitted."""
    from feature_pipeline.readmit import Decision, Person, readmit
    from ratchet.project.locks import alone

    if (batch is not None) == bool(rows) and (batch or rows):
        raise click.UsageError("give either --batch or --row")
    if rule and not batch:
        raise click.UsageError("--rule needs --batch")
    decision = Decision(batch, rule, rows) if batch or rows else None
    if decision and reason is None:
        raise click.UsageError("a decision needs --reason")
    run = current_run()
    with alone(run, ("feature",), wait=STAGE_WAIT) as run:
        found = readmit(run, Person(by, "judged by today's rules" if reason is None else reason), decision)
    for unit, count in found.items():
        click.echo(f"{unit}: {count_of(count, 'row')} came back")
    click.echo(f"next: `dvc repro monitor@{run.settings.use_case}`" if found else "no row came back")


@quarantine.command()
@click.argument("batch", metavar="TABLE/BATCH")
@click.option("--reason", required=True, help="Why.")
@click.option("--by", default=current_user, show_default="you", help="Who decides it.")
def withdraw(batch: str, reason: str, by: str) -> None:
    """Withdraw what was decided about a batch, and validate again.

    The rules alone judge its rows then. The decisions stay on record, as withdrawn."""
    from feature_pipeline.readmit import Person, withdraw
    from ratchet.project.locks import alone

    run = current_run()
    with alone(run, ("feature",), wait=STAGE_WAIT) as run:
        count = withdraw(run, Person(by, reason), batch)
    click.echo(f"{batch}: {count_of(count, 'row')} went back into quarantine")
    click.echo(f"next: `dvc repro monitor@{run.settings.use_case}`")
