"""Data Docs: pages that can be read offline, of the batches that there are."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.feed import deliver
from tests.support.killing import contents
from tests.support.messages import missing
from tests.support.monthly import changed, deliver_good, monthly_project, name, payments

WEIRD = "<b>&'é #1?"


def prepare(root: Path) -> Run:
    """Four good months, one that is warned of and has an odd name, and one that is refused."""
    run = monthly_project(root)
    deliver_good(run)
    deliver(run, name(5), changed(1 / 3, amount=-5.0)(payments(5)))
    deliver(run, WEIRD, changed(1 / 3, shop=None)(payments(6)))
    ingest(run)
    validate(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return prepare(tmp_path_factory.mktemp("docs"))


def pages(run: Run) -> dict[str, str]:
    found = run.paths.data_docs.rglob("*.html")
    return {path.relative_to(run.paths.data_docs).as_posix(): path.read_text(encoding="utf-8") for path in found}


def test_load_nothing(run: Run) -> None:
    """No page needs a network, a script or a file beside it."""
    for page in pages(run).values():
        assert [] == re.findall(r"<(?:script|link|img|iframe)\b|\bsrc=|url\(|@import|https?://", page)


def test_every_link_leads_to_a_page(run: Run) -> None:
    """From the index to each batch and suite, and back."""
    folder, found = run.paths.data_docs, 0
    for name_, page in pages(run).items():
        for link in re.findall(r'href="([^"#]*)"', page):
            assert ((folder / name_).parent / unquote(unescape(link))).resolve().is_file()
            found += 1
    assert found > 2 * len(read_json(run.paths.raw / "_manifest.json"))


def test_a_page_says_what_was_expected_and_found(run: Run) -> None:
    """The library's expectations with their bounds, and what Ratchet adds: findings and reasons."""
    found = pages(run)
    assert [] == missing(found["payments/batches/2024-05.html"], "refused_batch", "quarantined: 267 of its 800", "800")
    assert [] == missing(found["payments/batches/2024-04.html"], "proportion of non-null values", "rows break no rule")
    assert [] == missing(found["payments/suite.html"], "values must belong to this set", "Must have")
    assert [] == missing(found["index.html"], "refused: quarantined", "payments/2024-05", "&lt;b&gt;&amp;")
    assert "<b>&" not in found["index.html"]


def test_results_are_kept_as_data(run: Run) -> None:
    """With every expectation, and without the ids of single rows."""
    result = read_json(run.paths.data_docs / "payments" / "results" / "2024-05.json")
    assert not result["success"]
    kinds = {each["expectation_config"]["type"] for each in result["results"]}
    assert {"expect_table_row_count_to_be_between", "expect_column_values_to_be_in_set"} < kinds
    assert "2024-05:0000" not in (run.paths.data_docs / "payments" / "results" / "2024-05.json").read_text()
    suite = read_json(run.paths.data_docs / "payments" / "suite.json")
    assert kinds >= {each["type"] for each in suite["expectations"]}


def test_the_same_batches_give_the_same_pages(run: Run, tmp_path: Path) -> None:
    """No time, random id or folder is in them."""
    assert contents(run.paths.data_docs) == contents(prepare(tmp_path).paths.data_docs)


def test_pages_of_a_batch_that_is_gone_go(run: Run, tmp_path: Path) -> None:
    """And with nothing to do, no page is written."""
    run = monthly_project(Path(shutil.copytree(run.root, tmp_path / "checkout")))
    (run.root / "batches" / "payments" / f"{WEIRD}.parquet").unlink()
    ingest(run)
    validate(run)
    assert [] == [page for page in pages(run) if "1?" in page]
    written = {path: path.stat().st_mtime_ns for path in run.paths.data_docs.rglob("*")}
    validate(run)
    assert written == {path: path.stat().st_mtime_ns for path in run.paths.data_docs.rglob("*")}
