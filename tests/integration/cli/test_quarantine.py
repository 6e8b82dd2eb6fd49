"""`ratchet quarantine`: a person looks at what was refused, and lets it in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import ratchet
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.errors import DataError
from ratchet.project.headlines import HEADLINES
from ratchet.project.locks import alone
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from tests.support.feed import deliver, deliver_shops, feed_project, payment
from tests.support.killing import contents
from tests.support.messages import missing
from tests.support.runs import write_settings

Command = Callable[..., Result]
GOOD = [payment(number, "2024-01-01T10:00") for number in range(60)]
BAD = [payment(100 + number, "2024-01-02T10:00", amount=-5.0 if number % 2 else 5.0) for number in range(60)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A checkout with a good batch, in which two rows are quarantined, and a batch that is refused."""
    run = feed_project(tmp_path)
    write_settings(tmp_path, run)
    deliver_shops(run)
    odd = [
        payment(70, "2024-01-01T11:00", amount=200.0, shop="z"),
        payment(71, "2024-01-01T12:00", amount=float("inf")),
    ]
    deliver(run, "one", [*GOOD, *odd])
    deliver(run, "two", BAD)
    ingest(run)
    run_step(run, "validate", validate)
    return run


@pytest.fixture
def command(run: Run, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`ratchet quarantine …` in the checkout."""
    monkeypatch.chdir(run.root)
    return lambda *arguments: CliRunner().invoke(ratchet, ["quarantine", *arguments])


def as_data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_list_names_batches_reasons_and_findings(command: Command) -> None:
    """By batch and reason, with the figures for which one was refused."""
    found = as_data(command("list", "--json"))
    assert ["payments/one", "payments/two"] == list(found)
    assert {"amount_out_of_range": 1, "unknown_shop": 1, "unreadable_amount": 1} == found["payments/one"]["reasons"]
    assert (True, {"refused_batch": 60, "amount_out_of_range": 30}) == (
        found["payments/two"]["refused"],
        found["payments/two"]["reasons"],
    )
    text = command("list").stdout
    assert [] == missing(
        text, "payments/two: refused, 60 rows", "60  refused_batch", "refused: quarantined: 30 of its 60"
    )


def test_list_of_a_table_without_any_says_so(command: Command) -> None:
    """An answer, not silence."""
    assert "nothing is in quarantine" in command("list", "--table", "shops").stdout


def test_list_of_no_table_is_an_error(command: Command) -> None:
    """A misspelt table is not one without quarantined rows."""
    result = command("list", "--table", "payment")
    assert isinstance(result.exception, DataError)
    assert [] == missing(str(result.exception), "'payment'", "'payments'")


def test_show_has_the_delivered_values_and_all_reasons(command: Command) -> None:
    """Also those that the column cannot hold; as many as asked for, of one reason if asked for."""
    rows = as_data(command("show", "payments/one", "--json"))
    assert ["payments/one:00000060", "payments/one:00000061"] == [row["row"] for row in rows]
    assert [["amount_out_of_range", "unknown_shop"], ["unreadable_amount"]] == [row["reasons"] for row in rows]
    assert (200.0, "inf") == tuple(row["values"]["amount"] for row in rows)
    assert "payments/one:00000060" not in command("show", "payments/one", "--reason", "unreadable_amount").stdout
    assert "… and 59 more rows" in command("show", "payments/two", "--limit", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["show", "payments/on"], ["payments/on", "'payments/one'"]),
        (["show", "payments/one", "--reason", "unknown_shops"], ["'unknown_shops'", "'unknown_shop'"]),
    ],
)
def test_show_of_nothing_is_an_error(command: Command, arguments: list[str], names: list[str]) -> None:
    """A misspelt batch or reason is named, with what it may have been."""
    result = command(*arguments)
    assert isinstance(result.exception, DataError)
    assert [] == missing(str(result.exception), *names)


def test_readmit_lets_a_batch_in_and_says_what_to_run(command: Command, run: Run) -> None:
    """And `list` shows from then on who did, and why."""
    done = command("readmit", "--batch", "payments/two", "--reason", "refunds of the new year", "--by", "anna")
    assert [] == missing(done.stdout, "payments/two: 30 rows came back", "dvc repro")
    assert (False, "refunds of the new year") == (
        as_data(command("list", "--json"))["payments/two"]["refused"],
        validate(run)["overruled"]["payments/two"],
    )
    assert "by anna: refunds of the new year" in command("list").stdout


def test_readmit_without_options_replays_the_rules(command: Command, run: Run) -> None:
    """With the same rules, nothing comes back, and nothing changes."""
    before = contents(run.paths.data)
    assert "no row came back" in command("readmit").stdout
    assert before == contents(run.paths.data)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--batch", "payments/two"], "--reason"),
        (["--row", "payments/one:00000060"], "--reason"),
        (["--rule", "unknown_shop", "--reason", "x"], "--batch"),
        (["--batch", "payments/two", "--row", "payments/one:00000060", "--reason", "x"], "--row"),
    ],
)
def test_readmit_asks_for_what_is_missing(command: Command, run: Run, arguments: list[str], word: str) -> None:
    """Nothing is decided by half a command."""
    before = contents(run.paths.data)
    result = command("readmit", *arguments)
    assert (2, True) == (result.exit_code, word in result.output)
    assert before == contents(run.paths.data)


def test_readmit_waits_for_a_run_that_changes_the_data(
    command: Command, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision is not made under a running feature pipeline."""
    monkeypatch.setattr("cli.commands.quarantine.STAGE_WAIT", 0.01)
    with alone(run, ("feature",), wait=1):
        result = command("readmit", "--batch", "payments/two", "--reason", "x")
    assert "feature.lock" in str(result.exception)


def test_the_line_of_validate_names_the_batch(run: Run) -> None:
    """Whoever runs the step sees that a batch was refused, and for what."""
    assert "batch payments/two refused (quarantined)" in HEADLINES["validate"](validate(run))
