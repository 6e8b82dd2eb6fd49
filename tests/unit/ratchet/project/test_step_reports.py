"""Reports of steps, and how long they took."""

from __future__ import annotations

from pathlib import Path

from feature_pipeline.ingest import ingest
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
from tests.support.feed import deliver, deliver_shops, feed_project, payment
from tests.support.runs import noshow_project


def test_a_report_is_kept_with_its_seconds(tmp_path: Path) -> None:
    """What a step returned can be read again, and its time is known."""
    run = noshow_project(tmp_path)
    assert {"rows": 3} == reports.run_step(run, "ingest", lambda _: {"rows": 3})
    assert {"rows": 3} == reports.read(run, "ingest")
    assert ["ingest"] == list(reports.seconds(run))


def test_a_step_that_has_not_run_has_no_report(tmp_path: Path) -> None:
    """None, not an empty report that could be taken for one."""
    assert reports.read(noshow_project(tmp_path), "ingest") is None


def test_a_run_with_nothing_to_do_changes_nothing(tmp_path: Path) -> None:
    """The seconds stay those of the run that did the work; a new report brings its own."""
    run = noshow_project(tmp_path)
    reports.run_step(run, "ingest", lambda _: {"rows": 3})
    path = run.paths.state / "seconds" / "ingest.json"
    path.write_text("1234.5", encoding="utf-8")
    reports.run_step(run, "ingest", lambda _: {"rows": 3})
    assert {"ingest": 1234.5} == reports.seconds(run)
    reports.run_step(run, "ingest", lambda _: {"rows": 4})
    assert reports.seconds(run)["ingest"] < 1234.5


def test_what_a_run_changed_is_kept(tmp_path: Path) -> None:
    """By table, as batches or spans of dates; a run with nothing to do changed nothing. The report has none of it."""
    run = feed_project(tmp_path)
    deliver_shops(run)
    gone = deliver(run, "one", [payment(1, "2024-01-01T10:00")])
    deliver(run, "two", [payment(2, "2024-01-02T10:00")])
    report = reports.run_step(run, "ingest", ingest)
    assert {"raw": ("payments/one", "payments/two", "shops/all")} == changed(run, "computed")
    gone.unlink()
    assert {*report} == {*reports.run_step(run, "ingest", ingest)}
    assert ({}, {"raw": ("payments/one",)}) == (changed(run, "computed"), changed(run, "removed"))
    reports.run_step(run, "ingest", ingest)
    assert ({}, {}) == (changed(run, "computed"), changed(run, "removed"))


def changed(run: Run, how: str) -> dict[str, tuple[str, ...]]:
    last = reports.last_run(run, "ingest")
    assert last is not None
    found: dict[str, tuple[str, ...]] = getattr(last, how)
    return found
