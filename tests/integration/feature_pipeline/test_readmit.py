"""Readmission: what a person may let in, the record of it, and what it changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.quarantine_contents import quarantine_contents, quarantined_rows
from feature_pipeline.readmissions import Readmission, read_readmissions
from feature_pipeline.readmit import Decision, Person, readmit, withdraw
from feature_pipeline.validate import validate
from ratchet.core.errors import DataError
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.partitions import unit_digests
from ratchet.use_case.contract import expect
from tests.support.feed import RULES, deliver, deliver_shops, feed_project, payment
from tests.support.killing import contents
from tests.support.messages import missing
from tests.support.monthly import changed, deliver_good, later, monthly_project, name, payments
from tests.support.rows import accepted_places, raw_places
from tests.support.variants import with_table

ANNA = Person("anna", "the till was checked by hand")
MORNING = "2024-01-01T10:00"
ONE = "payments/one"


def ingest_and_validate(run: Run) -> Report:
    ingest(run)
    return validate(run)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A batch with a good row and one of each kind that is quarantined."""
    run = feed_project(tmp_path)
    deliver_shops(run)
    rows = [
        payment(0, MORNING),
        payment(1, MORNING, amount=500.0),
        payment(2, MORNING, amount=600.0, shop="z"),
        payment(3, "2024-01-02T10:00", shop="z"),
        payment(None, MORNING, shop="z"),
        payment(0, MORNING),
        payment(6, MORNING, amount=float("inf")),
    ]
    deliver(run, "one", rows)
    ingest_and_validate(run)
    return run


def quarantined(run: Run) -> dict[int, list[str]]:
    """Number of a row → its reasons."""
    return {int(row["row"].rpartition(":")[2]): row["reasons"] for row in quarantined_rows(run, ONE)}


def row(number: int) -> str:
    return f"{ONE}:{number:08d}"


class TestRows:
    def test_come_back_although_they_break_rules(self, run: Run) -> None:
        """Only the named ones do, whatever number of rules they break; the sum of rows still holds."""
        assert {ONE: 2} == readmit(run, ANNA, Decision(rows=(row(1), row(2))))
        assert {3, 4, 5, 6} == set(quarantined(run))
        assert raw_places(run.paths.raw) == sorted(
            [*accepted_places(run.paths.data, run.use_case.tables), *raw_places(run.paths.quarantine)]
        )
        assert {"raw": 9, "accepted": 5, "quarantined": 3, "duplicates": 1} == validate(run)["rows"]

    def test_leave_a_record(self, run: Run) -> None:
        """Who, when, why and which rows, of which content."""
        readmit(run, ANNA, Decision(rows=(row(1),)))
        (record,) = read_readmissions(run.paths.readmissions)
        assert (ONE, "rows", ("one:00000001",), 1) == (record.batch, record.kind, record.rows, record.count)
        assert ("anna", ANNA.reason, run.clock.now()) == (record.by, record.reason, record.at)
        assert unit_digests(run.paths.raw)[ONE] == record.content
        listed = quarantine_contents(run)[ONE]["readmissions"]
        assert [("anna", True)] == [(each["by"], each["counts"]) for each in listed]

    def test_break_no_other_rule_than_they_did(self, run: Run) -> None:
        """What a person did not see, nobody answers for: a rule that is new since then quarantines them."""
        readmit(run, ANNA, Decision(rows=(row(1),)))
        rules = {**RULES, "too_much": expect("column_values_to_be_between", column="amount", max_value=400)}
        validate(with_table(run, "payments", rules=rules))
        assert ["too_much"] == quarantined(run)[1]

    @pytest.mark.parametrize("decision", [Decision(ONE, rule="unknown_shop"), Decision(rows=(row(3),))])
    def test_go_back_when_that_is_withdrawn(self, run: Run, decision: Decision) -> None:
        """All is as before, and both decisions stay on record; a later one counts again."""
        before = contents(run.paths.quarantine)
        readmit(run, ANNA, Decision(rows=(row(1),)))
        readmit(run, ANNA, decision)
        assert 2 == withdraw(run, Person("bob", "it was another till"), ONE)
        assert before == contents(run.paths.quarantine)
        listed = quarantine_contents(run)[ONE]["readmissions"]
        expected = [("anna", False), ("anna", False), ("bob", True)]
        assert expected == [(each["by"], each["counts"]) for each in listed]
        with pytest.raises(DataError, match="no decision"):
            withdraw(run, ANNA, ONE)
        assert {ONE: 1} == readmit(run, ANNA, decision)

    def test_of_one_rule_come_back_by_its_name(self, run: Run) -> None:
        """A row that breaks another rule, too, stays for that."""
        assert {ONE: 1} == readmit(run, ANNA, Decision(ONE, rule="unknown_shop"))
        assert ["amount_out_of_range"] == quarantined(run)[2]
        assert ["null_key"] == quarantined(run)[4]

    def test_that_repeat_a_key_stay(self, run: Run) -> None:
        """Of two readmitted rows with one key, the first is accepted."""
        deliver(run, "one", [payment(1, MORNING, amount=500.0), payment(1, MORNING, amount=600.0)])
        ingest_and_validate(run)
        assert {ONE: 1} == readmit(run, ANNA, Decision(rows=(row(0), row(1))))
        assert {1: ["duplicate_key"]} == quarantined(run)

    @pytest.mark.parametrize(
        ("decision", "names"),
        [
            (Decision(rows=(row(4),)), ["one:00000004", "null_key"]),
            (Decision(rows=(row(5),)), ["one:00000005", "duplicate_key"]),
            (Decision(rows=(row(1), row(6))), ["one:00000006", "unreadable_amount"]),
            (Decision(rows=(row(0),)), ["one:00000000", "not in quarantine"]),
            (Decision(rows=("payments/two:00000000",)), ["payments/two"]),
            (Decision(rows=("nonsense",)), ["nonsense"]),
            (Decision("payments/on"), ["payments/on", ONE]),
            (Decision(ONE), [ONE, "not refused"]),
            (Decision(ONE, rule="null_key"), ["null_key", "no rule"]),
            (Decision(ONE, rule="unknown_shops"), ["unknown_shops", "'unknown_shop'"]),
            (Decision("shops/all", rule="unknown_shop"), ["unknown_shop", "shops"]),
        ],
    )
    def test_that_nobody_may_readmit_are_refused_by_name(self, run: Run, decision: Decision, names: list[str]) -> None:
        """The error says which and why, and nothing was decided."""
        before = contents(run.paths.data)
        with pytest.raises(DataError) as raised:
            readmit(run, ANNA, decision)
        assert [] == missing(str(raised.value), *names)
        assert before == contents(run.paths.data)

    @pytest.mark.parametrize("person", [Person("anna", " "), Person("", "because")])
    def test_need_a_person_and_a_reason(self, run: Run, person: Person) -> None:
        """Nobody decides without a word."""
        with pytest.raises(DataError, match="reason"):
            readmit(run, person, Decision(rows=(row(1),)))


class TestReplay:
    def test_rows_come_back_by_changed_rules(self, run: Run) -> None:
        """The record says how many, and that nobody decided about single rows."""
        rules = {**RULES, "amount_out_of_range": expect("column_values_to_be_between", column="amount", max_value=550)}
        changed_rules = with_table(run, "payments", rules=rules)
        assert {ONE: 1} == readmit(changed_rules, ANNA)
        (record,) = read_readmissions(run.paths.readmissions)
        assert ("replay", 1, ()) == (record.kind, record.count, record.rows)
        assert {2, 3, 4, 5, 6} == set(quarantined(run))

    def test_without_a_change_nothing_comes_back_or_is_written(self, run: Run) -> None:
        """It may be asked at any time."""
        before = contents(run.paths.data)
        assert {} == readmit(run, ANNA)
        assert before == contents(run.paths.data)

    def test_only_dates_of_readmitted_rows_are_computed_again(self, run: Run) -> None:
        """The row of the second day changes requests and labels of that day."""
        featurize(run)
        before = unit_digests(run.paths.features / "requests")
        readmit(run, ANNA, Decision(rows=(row(3),)))
        featurize(run)
        after = unit_digests(run.paths.features / "requests")
        assert ["2024-01-02"] == [unit for unit in after if before.get(unit) != after[unit]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four good months, and a fifth in which every third amount is wrong."""
    run = monthly_project(tmp_path_factory.mktemp("refused"))
    deliver_good(run)
    deliver(run, name(5), changed(1 / 3, amount=-5.0)(payments(5)))
    ingest_and_validate(run)
    return run.root


class TestRefusedBatch:
    @pytest.fixture
    def run(self, prepared: Path, tmp_path: Path) -> Run:
        return monthly_project(Path(shutil.copytree(prepared, tmp_path / "checkout")))

    def test_comes_back_without_the_rows_that_break_rules(self, run: Run) -> None:
        """A person overrules the refusal, not the rules; the batch stays named with that person's reason."""
        assert {"payments/2024-05": 533} == readmit(run, ANNA, Decision("payments/2024-05"))
        report = validate(run)
        assert ({}, {"payments/2024-05": ANNA.reason}) == (report["refused"], report["overruled"])
        assert ["payments/2024-05"] == list(report["warned"])
        assert {"amount_out_of_range": 267} == report["reasons"]

    def test_single_rows_of_it_wait_for_the_batch(self, run: Run) -> None:
        """A row cannot come back from a batch that is refused."""
        with pytest.raises(DataError, match=r"refused_batch.*batch first"):
            readmit(run, ANNA, Decision(rows=("payments/2024-05:00000000",)))

    def test_the_decision_holds_for_the_same_content_only(self, run: Run) -> None:
        """It survives a rerun, a lost quarantine and the same file again; another file is judged anew."""
        readmit(run, ANNA, Decision("payments/2024-05"))
        before = {name: content for name, content in contents(run.paths.data).items() if "deliveries" not in name}
        (run.paths.quarantine / "payments" / "2024-05.parquet").unlink()
        deliver(run, name(5), payments(5))
        ingest(run)
        deliver(run, name(5), changed(1 / 3, amount=-5.0)(payments(5)))
        ingest_and_validate(run)
        assert before.items() <= contents(run.paths.data).items()
        deliver(run, name(5), changed(1 / 3, amount=-6.0)(payments(5)))
        assert ["payments/2024-05"] == list(ingest_and_validate(run)["refused"])
        assert [False] == [each["counts"] for each in quarantine_contents(run)["payments/2024-05"]["readmissions"]]

    def test_later_batches_are_judged_with_it(self, run: Run) -> None:
        """Its keys are taken and its statistics count, as of any accepted batch."""
        deliver(run, name(5), later(5)(payments(5)))
        deliver(run, name(6), payments(5))
        ingest_and_validate(run)
        readmit(run, ANNA, Decision("payments/2024-05"))
        found = validate(run)
        assert {"repeated"} == {each["check"] for each in found["refused"].get("payments/2024-06", ())} | {
            each["check"] for each in found["warned"]["payments/2024-06"]
        }


def test_a_file_of_decisions_that_cannot_be_read_stops_the_step(run: Run) -> None:
    """Decisions are not forgotten in silence."""
    run.paths.readmissions.write_text(json.dumps([{"batch": ONE}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"readmissions\.json: .*dvc checkout"):
        validate(run)


def test_decisions_differ_by_what_they_do(run: Run) -> None:
    """Not by when they were made."""
    readmit(run, ANNA, Decision(rows=(row(1),)))
    (record,) = read_readmissions(run.paths.readmissions)
    later_on = record.model_copy(update={"at": record.at.replace(year=2030)})
    other: Readmission = record.model_copy(update={"rows": ("one:00000002",)})
    assert record.effect == later_on.effect
    assert record.effect != other.effect
