"""Batches as a whole: what is warned of or refused, by name, and what a refused batch leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from feature_pipeline.batch_records import read_records
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.settings import ValidationSettings
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.partitions import unit_digests
from ratchet.use_case.contract import expect
from tests.support.feed import deliver
from tests.support.killing import contents
from tests.support.monthly import (
    GOOD,
    ROWS,
    Spoil,
    changed,
    deliver_good,
    later,
    monthly_project,
    name,
    payments,
    utc_for_local,
)
from tests.support.rows import accepted_places, raw_places
from tests.support.variants import with_table
from tests.support.windows import with_end


def ingest_and_validate(run: Run) -> Report:
    ingest(run)
    return validate(run)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four validated months."""
    run = monthly_project(tmp_path_factory.mktemp("good"))
    deliver_good(run)
    report = ingest_and_validate(run)
    assert ({}, {}) == (report["refused"], report["warned"])
    return run.root


@pytest.fixture
def run(prepared: Path, tmp_path: Path) -> Run:
    """A copy of the four validated months, to which the next may be delivered."""
    return monthly_project(Path(shutil.copytree(prepared, tmp_path / "checkout")))


def found(report: Report) -> dict[str, tuple[str, set[str]]]:
    """Batch → whether it was refused or warned of, and by which checks."""
    return {
        unit: (kind, {each["check"] for each in findings})
        for kind in ("refused", "warned")
        for unit, findings in report[kind].items()
    }


def details(report: Report) -> str:
    return " ".join(each["detail"] for kind in ("refused", "warned") for of in report[kind].values() for each in of)


class TestFindings:
    @pytest.mark.parametrize(
        ("spoil", "kind", "check", "words"),
        [
            (changed(1 / 3, amount=-5.0), "refused", "quarantined", ["267", "800"]),
            (changed(1, shop="z"), "refused", "quarantined", ["800"]),
            (changed(1 / 3, amount=float("inf")), "refused", "quarantined", ["267"]),
            (lambda rows: rows[::2], "warned", "volume", ["400 rows", "31.4 days"]),
            (lambda rows: rows[: len(rows) // 2], "warned", "days", ["14.7 days", "30.8"]),
            (lambda rows: rows + payments(6) + payments(7), "warned", "days", ["92.6 days", "30.8"]),
            (changed(1 / 3, shop=None), "warned", "nulls", ["shop: 66.6%", "100%"]),
            (changed(1 / 3, amount=99.0), "warned", "range", ["amount: 34.9%", "1.59 to 49.49"]),
            (changed(1 / 3, shop="c"), "warned", "range", ["shop: 33.4%", "a, b"]),
            (utc_for_local, "refused", "shifted", ["4 h too late"]),
            (later(5), "refused", "shifted", ["5 h too late"]),
            (later(-2), "refused", "shifted", ["2 h too early"]),
            (later(1), "warned", "shifted", ["1 h too late"]),
            (later(-1), "warned", "shifted", ["1 h too early"]),
        ],
    )
    def test_a_spoilt_month_is_named_with_what_is_wrong(
        self, run: Run, spoil: Spoil, kind: str, check: str, words: list[str]
    ) -> None:
        """The report says by which check, and with which figures; no other batch is named."""
        deliver(run, name(5), spoil(payments(5)))
        report = ingest_and_validate(run)
        assert {"payments/2024-05": (kind, {check})} == found(report)
        assert [] == [word for word in words if word not in details(report)]

    def test_the_last_month_under_a_new_name_repeats_it(self, run: Run) -> None:
        """No row is used twice, and the report says of which month the rows are."""
        deliver(run, name(5), payments(4))
        report = ingest_and_validate(run)
        assert {"payments/2024-05": ("warned", {"repeated"})} == found(report)
        assert "repeats payments/2024-04" in details(report)
        assert ROWS == report["rows"]["duplicates"]

    def test_a_second_version_says_how_many_rows_it_would_change(self, run: Run) -> None:
        """A corrected month under another name is not used, which must not go unnoticed."""
        deliver(run, f"{name(3)}_v2", changed(1 / 100, amount=7.0)(payments(3)))
        report = ingest_and_validate(run)
        assert {"payments/2024-03_v2": ("warned", {"repeated"})} == found(report)
        assert "repeats payments/2024-03: 800 of its 800 rows" in details(report)
        assert "8 of them with other values" in details(report)

    def test_a_quarantined_row_that_is_delivered_corrected_is_used(self, run: Run) -> None:
        """So it is not among those that are not used."""
        deliver(run, name(4), changed(1 / 100, amount=-5.0)(payments(4)))
        fixed = changed(1 / 200, amount=7.0)(payments(4)[1:])
        deliver(run, f"{name(4)}_v2", payments(4)[:1] + fixed)
        report = ingest_and_validate(run)
        assert "repeats payments/2024-04: 792 of its 800 rows" in details(report)
        assert "4 of them with other values" in details(report)

    def test_a_row_that_was_there_twice_is_counted_once(self, run: Run) -> None:
        """As itself, if one of them is the same."""
        deliver(run, name(4), payments(4) + changed(1, amount=7.0)(payments(4)[:300]))
        deliver(run, f"{name(4)}_v2", changed(1 / 100, amount=9.0)(payments(4)))
        assert "8 of them with other values" in details(ingest_and_validate(run))

    def test_a_good_month_is_not_named(self, run: Run) -> None:
        """Other days, amounts and running numbers are no findings; nor are rows that are few, or a few that are bad."""
        deliver(run, name(5), changed(1 / 8, amount=-5.0)(payments(5)))
        deliver(run, name(6), [{**row, "amount": -5.0} for row in payments(6)[:40]])
        assert "payments/2024-05" not in found(ingest_and_validate(run))

    def test_a_month_that_goes_on_is_not_short(self, run: Run) -> None:
        """A batch that ends where the data end has fewer days, but not fewer rows a day."""
        deliver(run, name(6), payments(6)[:300])
        assert {"payments/2024-06": ("warned", {"days"})} == found(ingest_and_validate(run))
        until = max(row["at"] for row in payments(6)[:300]).date()
        assert {} == found(ingest_and_validate(with_end(run, until.replace(day=until.day + 1))))

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda rows: rows[::2],
            changed(1 / 3, shop=None),
            changed(1 / 3, amount=99.0),
            changed(1 / 3, shop="c"),
        ],
    )
    def test_a_second_bad_month_is_named_like_the_first(self, run: Run, spoil: Spoil) -> None:
        """What was only warned of counts in later comparisons, but does not become usual by that."""
        for month in (5, 6):
            deliver(run, name(month), spoil(payments(month)))
        warned = found(ingest_and_validate(run))
        assert {"payments/2024-05", "payments/2024-06"} == set(warned)
        assert warned["payments/2024-05"] == warned["payments/2024-06"]

    def test_settings_say_what_refuses(self, run: Run) -> None:
        """A check in `refuse` refuses, one that is not warns."""
        deliver(run, name(5), changed(1 / 3, amount=-5.0)(payments(5)[::2]))
        settings = ValidationSettings(refuse=("volume",), max_quarantined=0.5)
        ingest(run)
        assert {"payments/2024-05": ("refused", {"volume"})} == found(validate(run.with_settings(validation=settings)))
        settings = ValidationSettings(refuse=())
        expected = {"payments/2024-05": ("warned", {"volume", "quarantined"})}
        assert expected == found(validate(run.with_settings(validation=settings)))


class TestRefused:
    def test_by_a_rule_about_the_whole_batch(self, run: Run) -> None:
        """A rule of the use case that names no rows refuses the batch that breaks it, and no other."""
        rules = {"low_mean": expect("column_mean_to_be_between", column="amount", min_value=5)}
        ruled = with_table(run, "payments", rules=rules)
        deliver(ruled, name(5), changed(1, amount=4.0)(payments(5)[:20]))
        report = ingest_and_validate(ruled)
        assert ("refused", {"rule"}) == found(report)["payments/2024-05"]
        assert [] == [word for word in ("low_mean", "4.0") if word not in details(report)]
        assert {"refused_batch": 20} == report["reasons"]

    def test_all_of_its_rows_are_in_quarantine_and_no_other(self, run: Run) -> None:
        """Raw rows are accepted, quarantined or duplicates; those of other batches and tables stay accepted."""
        before = unit_digests(run.paths.accepted)
        deliver(run, name(5), changed(1 / 3, amount=-5.0)(payments(5)[:-1] + payments(5)[:1]))
        deliver(run, name(6), payments(6))
        report = ingest_and_validate(run)
        assert {"raw": 2 + 6 * ROWS, "accepted": 2 + 5 * ROWS, "quarantined": ROWS, "duplicates": 0} == report["rows"]
        assert raw_places(run.paths.raw) == sorted(
            [*accepted_places(run.paths.data, run.use_case.tables), *raw_places(run.paths.quarantine)]
        )
        assert before == {unit: of for unit, of in unit_digests(run.paths.accepted).items() if unit in before}
        rows = pq.read_table(run.paths.quarantine / "payments" / "2024-05.parquet", partitioning=None)
        assert [["refused_batch", "amount_out_of_range"], ["refused_batch"]] == rows["reasons"].to_pylist()[:2]
        assert {"refused_batch": ROWS, "amount_out_of_range": 267} == report["reasons"]

    def test_it_takes_no_key_and_counts_in_no_comparison(self, run: Run) -> None:
        """The same rows are accepted from a later batch that is good, and a second bad batch is found like the first."""
        deliver(run, name(5), later(5)(payments(5)))
        deliver(run, "2024-05-again", payments(5))
        deliver(run, name(6), later(5)(payments(6)))
        refused = {f"payments/2024-0{month}": ("refused", {"shifted"}) for month in (5, 6)}
        assert refused == found(ingest_and_validate(run))

    def test_one_by_one_or_together_gives_the_same_bytes(self, run: Run, tmp_path: Path) -> None:
        """What is found depends only on the batches before, of a source of history."""
        history = {"source": run.settings.source.model_copy(update={"history": True})}
        run, together = (each.with_settings(**history) for each in (run, monthly_project(tmp_path / "together")))
        deliver_good(together)
        for month, spoil in ((5, later(5)), (6, changed(1 / 3, shop="c"))):
            for each in (run, together):
                deliver(each, name(month), spoil(payments(month)))
            ingest_and_validate(run)
        ingest_and_validate(together)
        assert contents(run.paths.data) == contents(together.paths.data)

    def test_with_nothing_to_do_the_findings_are_reported_again(self, run: Run) -> None:
        """They are kept with the batches."""
        deliver(run, name(5), later(5)(payments(5)))
        report = ingest_and_validate(run)
        assert report == validate(run)
        assert {"payments/2024-05"} == set(report["refused"])
        assert [*GOOD, 5] == [int(unit[-2:]) for unit in read_records(run) if unit.startswith("payments/")]
