"""`ratchet init`: parse the options, read the file, ask the open questions, write the use case."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.current_user import current_user

if TYPE_CHECKING:
    from authoring.init.answers import Answers, UnansweredError
    from authoring.init.plan import Plan
    from authoring.init.profile import Profile
    from authoring.init.questions import Decided
    from authoring.init.write import Places


MOST_NAMES = 8
SEVERAL = ("key", "entity")


@click.command()
@click.argument("name")
@click.option("--csv", "path", required=True, type=click.Path(path_type=Path), help="The file with the data.")
@click.option("--label", default="", help="The column to predict; COLUMN=VALUE predicts whether it has that value.")
@click.option(
    "--task", type=click.Choice(["regression", "binary"]), help="A number, or a yes or no; inferred by default."
)
@click.option("--time", default="", help="The column that says when a prediction would have been requested.")
@click.option("--known-at", default="", help="The column that says when the label was known.")
@click.option("--known-after", default="", help="How long after --time the label is known, such as 12h or 30d.")
@click.option("--timezone", default="", help="The time zone of the file's times, such as Europe/Berlin.")
@click.option(
    "--snapshot", type=click.DateTime(["%Y-%m-%d"]), help="If rows have no time: the day on which the file was made."
)
@click.option("--key", multiple=True, help="A column of the key that identifies a row; inferred by default.")
@click.option(
    "--entity", multiple=True, help="A column that says whom or what a row is about, to use its history; or none."
)
@click.option("--late", multiple=True, help="A column that is known only when the label is known.")
@click.option(
    "--too-good", default="", help="The reason, to be signed, why inputs that give the label away are known before it."
)
@click.option("--by", default=current_user, show_default="you", help="Who signs that reason.")
def init(name: str, path: Path, snapshot: datetime | None, by: str, **given: Any) -> None:
    """Begin the use case NAME from a CSV file.

    It writes the use case's folder, a test, and a section of params.yaml. At a terminal, it asks for what the file does not
    say. Without a terminal, it stops and names the option to give.
    """
    from authoring.init.answers import Answers
    from authoring.init.write import Places

    answers = Answers(**given, snapshot=snapshot and snapshot.date())
    click.echo(begin(Places(Path.cwd(), name), path, answers, ask=is_terminal(), by=by))


def is_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def begin(places: Places, path: Path, answers: Answers, *, ask: bool, by: str = "") -> str:
    """Write the use case, and return a text with the decisions and the next commands. Raises RatchetError."""
    from authoring.init import params, write
    from authoring.init.plan import plan
    from authoring.init.profile import profile_columns
    from authoring.init.render_on_demand import on_demand_text
    from authoring.init.render_test import text_of_test
    from authoring.init.render_use_case import use_case_text
    from authoring.init.too_good import sign_reason
    from ratchet.core.clock import local_midnight
    from ratchet.project.as_of import AsOf, changed
    from ratchet.sources.csv_parsing import read_text

    write.check_free(places)
    _check_file(path)
    profile = profile_columns(read_text(path), path)
    answers, decided = _decided(profile, answers, ask=ask)
    found = plan(places.name, profile, decided, answers.snapshot)
    source = _source(path, places.root)
    settings = params.added(places.params, found, source)
    as_of = changed(places.root, places.name, AsOf.at(local_midnight(found.chosen.end, decided.timezone)))
    write.write(places, use_case_text(found), on_demand_text(found), text_of_test(places.name), settings, as_of)
    outcome = _outcome(found, places)
    if not answers.too_good.strip():
        return outcome
    reason = sign_reason(places.root, places.name, answers.too_good, by or current_user())
    return f"{outcome}\nsigned by {reason.by}, beside the use case: {reason.reason}"


def _check_file(path: Path) -> None:
    """Raises SourceError if the path is not a file."""
    from ratchet.core.errors import SourceError

    if path.is_dir():
        remedy = "Name one of its files; then set source.path in params.yaml to the folder"
        raise SourceError("is a folder", subject=str(path), remedy=remedy)
    if not path.is_file():
        raise SourceError("is not there", subject=str(path), remedy="Give --csv the path of a CSV file")


def _decided(profile: Profile, answers: Answers, *, ask: bool) -> tuple[Answers, Decided]:
    """Decide everything. At a terminal, ask until no question is open."""
    from authoring.init.answers import UnansweredError
    from authoring.init.questions import decide
    from authoring.init.too_good import ask_if_too_good

    while True:
        try:
            decided = decide(profile, answers)
            ask_if_too_good(profile, decided, answers)
            return answers, decided
        except UnansweredError as open_question:
            if not ask:
                raise
            answers = _asked(open_question, profile, answers)


def _asked(open_question: UnansweredError, profile: Profile, answers: Answers) -> Answers:
    """The answers, with a person's answer to one more question."""
    field = open_question.field
    if field == "snapshot":
        return replace(answers, snapshot=click.prompt(open_question.question, type=click.DateTime(["%Y-%m-%d"])).date())
    answer = click.prompt(open_question.question).strip()
    if field == "known_after" and not answer[:1].isdigit():
        return replace(answers, known_at=answer, known_after="")
    if field == "late":
        return _late(answer, profile, answers)
    changes: dict[str, Any] = {field: tuple(answer.replace(",", " ").split()) if field in SEVERAL else answer}
    return replace(answers, **changes)


def _late(answer: str, profile: Profile, answers: Answers) -> Answers:
    """Add the columns that the answer names to the late columns. An answer `because …` is the reason why there are none."""
    if answer.lower().startswith("because "):
        return replace(answers, too_good=answer)
    names = {name for column in profile.columns for name in (column.name, column.header)}
    before = [name for name in answers.late if name in names]
    return replace(answers, late=(*before, *answer.replace(",", " ").split()))


def _source(path: Path, root: Path) -> str:
    """The path of the source, relative to the root if it lies inside."""
    whole = path.resolve()
    return str(whole.relative_to(root.resolve())) if whole.is_relative_to(root.resolve()) else str(whole)


def _outcome(plan: Plan, places: Places) -> str:
    """The decisions, the notes, and the next commands."""
    decided, chosen = plan.decided, plan.chosen
    facts = {
        "predicts": f"{decided.label.name} ({decided.task}), known {_when(plan)}",
        "asked": f"at {decided.time}, with {_some(column.name for column in plan.fields)}",
        "key": ", ".join(decided.key),
        "history of": ", ".join(decided.entities) or "nothing",
        "baseline": " by ".join(plan.baseline) or "one value for all",
        "trains": f"from {chosen.start} on, stops early from {chosen.early_stopping}",
        "judges": f"from {chosen.holdout} to {chosen.fresh}: about {chosen.holdout_rows} rows",
    }
    paths = (places.use_case, places.on_demand, places.test, places.params, places.as_of)
    written = [path for path in paths if path.exists()]
    return "\n".join(
        [
            f"wrote {', '.join(str(path.relative_to(places.root)) for path in written)}; {plan.name} is selected now",
            *(f"  {name:<11}{fact}" for name, fact in facts.items()),
            *(f"note: {note}" for note in plan.notes),
            "next:",
            "  ratchet check",
            f"  dvc repro monitor@{plan.name}",
            "  make serve",
            "  ratchet summary    # what came of it, and how to ask the model by curl",
        ]
    )


def _some(names: Iterable[str]) -> str:
    given = list(names)
    return ", ".join(given[:MOST_NAMES]) + (f" and {len(given) - MOST_NAMES} more" if len(given) > MOST_NAMES else "")


def _when(plan: Plan) -> str:
    decided = plan.decided
    if decided.scattered_by:
        return "with its row: rows are split by entity, and the gate record will carry 'no time evidence'"
    return (
        f"{plan.delay} later at most" if decided.known_after else f"at {decided.known_at}, {plan.delay} later at most"
    )
