"""Great Expectations' Data Docs: a page for each batch, one for the suite of each table, and an index, all readable offline.

The library's own pages load styles and scripts from servers on the internet, and cannot be read without them. Here each page is
the library's, with a short style sheet of our own in it and without anything that is loaded. Suites and results are also kept
as JSON. These files follow from the data, so DVC does not keep them; a page is written when its batch is validated.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from feature_pipeline.batch_records import BatchRecord
from feature_pipeline.expectations import Results
from ratchet.storage.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.render import RenderedDocumentContent

INDEX = "index.html"
_OF_SINGLE_ROWS = (
    "unexpected_index_list",
    "unexpected_list",
    "partial_unexpected_index_list",
    "unexpected_index_query",
)
"""What a result lists of rows, which is as long as the batch. `ratchet quarantine show` has them all."""
_COUNTS = ("evaluated_expectations", "successful_expectations", "unsuccessful_expectations", "success_percent")
_LOADED = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<footer\b.*?</footer>|<nav\b.*?</nav>", re.DOTALL
)
_TO_SUITE = re.compile(r'href="[./]*expectations/[^"]*"')
_UUID = re.compile(r"-?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: .5em 0; width: 100%; }
th, td { border: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top; }
th { background: #f2f2f2; }
ul { margin: 0; padding-left: 1.2em; }
.badge, code { background: #eee; border-radius: 3px; padding: 0 .3em; }
.refused, .text-danger, .fa-times { color: #b00020; }
.warned { color: #8a5a00; }
.fa-check-circle::before { content: "passed"; color: #1b7a2f; }
.fa-times::before { content: "failed"; }
.fa-exclamation-triangle::before { content: "raised"; }
.col-lg-2, .popover, .tooltip, .modal, .d-none, a[data-toggle] { display: none; }
</style>"""


def write_page(folder: Path, unit: str, results: Results, record: BatchRecord, reasons: Mapping[str, int]) -> None:
    """Write the page of a batch, and the results as JSON. `reasons` counts the quarantined rows."""
    table, _, batch = unit.partition("/")
    parts = [_heading(unit, record, reasons)]
    if results:
        result = _suite_result(table, batch, results)
        write_json(folder / table / "results" / f"{batch}.json", result.to_json_dict())
        parts.append(_body(_validation_page(result)))
    write_text(folder / table / "batches" / f"{batch}.html", _page(unit, "".join(parts)))


def write_index(folder: Path, records: Mapping[str, BatchRecord], rows: Mapping[str, int]) -> None:
    """Write the suites and the list of all batches, and delete pages of others. `rows` counts each batch's quarantined rows."""
    for table, batch in dict(unit.split("/", 1) for unit in records).items():
        _write_suite(folder / table, table, folder / table / "results" / f"{batch}.json")
    lines = "".join(_line(unit, record, rows[unit]) for unit, record in records.items())
    head = "<tr><th>batch</th><th>quarantined rows</th><th>as a whole</th></tr>"
    tables = dict.fromkeys(unit.partition("/")[0] for unit in records)
    suites = [table for table in tables if (folder / table / "suite.html").exists()]
    links = ", ".join(f'<a href="{quote(table)}/suite.html">{html.escape(table)}</a>' for table in suites)
    text = _page("Data Docs", f"<h1>Data Docs</h1><p>Suites: {links}</p><table>{head}{lines}</table>")
    index, kept = folder / INDEX, {folder / INDEX, *(path for unit in records for path in _files(folder, unit))}
    kept |= {folder / table / f"suite.{kind}" for table in tables for kind in ("html", "json")}
    for path in (path for path in folder.rglob("*") if path.is_file() and path not in kept):
        path.unlink()
    if not index.exists() or index.read_text(encoding="utf-8") != text:
        write_text(index, text)


def _files(folder: Path, unit: str) -> list[Path]:
    table, _, batch = unit.partition("/")
    return [folder / table / "batches" / f"{batch}.html", folder / table / "results" / f"{batch}.json"]


def _line(unit: str, record: BatchRecord, rows: int) -> str:
    table, _, batch = unit.partition("/")
    link = f"{quote(table)}/batches/{quote(batch)}.html"
    state = "refused" if record.is_refused else "warned" if record.findings else ""
    checks = ", ".join(dict.fromkeys(finding.check for finding in record.findings))
    said = f"{state}: {checks}" if state else "nothing found"
    return f'<tr><td><a href="{link}">{html.escape(unit)}</a></td><td>{rows:,}</td><td class="{state}">{said}</td></tr>'


def _heading(unit: str, record: BatchRecord, reasons: Mapping[str, int]) -> str:
    state = "refused" if record.is_refused else "warned"
    findings = "".join(f"<li>{html.escape(f'{each.check}: {each.detail}')}</li>" for each in record.findings)
    counts = "".join(f"<tr><td>{html.escape(name)}</td><td>{count:,}</td></tr>" for name, count in reasons.items())
    overruled = f"<p>Readmitted: {html.escape(record.overruled)}</p>" if record.overruled else ""
    return (
        f'<p><a href="../../{INDEX}">all batches</a></p><h1>{html.escape(unit)}</h1>'
        f'<p>{record.statistics.rows:,} rows break no rule.</p><ul class="{state}">{findings}</ul>{overruled}'
        + (f"<table><tr><th>quarantined for</th><th>rows</th></tr>{counts}</table>" if counts else "")
    )


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>\n{_STYLE}'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _body(page: str) -> str:
    """The content of a page of the library, without anything that it loads, runs or makes up."""
    body = re.search(r"<body[^>]*>(.*)</body>", page, re.DOTALL)
    text = _LOADED.sub("", body[1] if body else page)
    return _TO_SUITE.sub('href="../suite.html"', _UUID.sub("", text))


def _suite_result(table: str, batch: str, results: Results) -> ExpectationSuiteValidationResult:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.util import convert_to_json_serializable
    from great_expectations.validator.validator import calc_validation_statistics

    for result in results.values():
        of = {name: value for name, value in result.result.items() if name not in _OF_SINGLE_ROWS}
        result.result = json.loads(json.dumps(convert_to_json_serializable(of)), parse_constant=str)
    statistics = calc_validation_statistics(list(results.values()))
    return ExpectationSuiteValidationResult(
        results=list(results.values()),
        success=statistics.success,
        suite_name=table,
        statistics={name: getattr(statistics, name) for name in _COUNTS},
        meta={"great_expectations_version": version("great_expectations"), "batch": batch},
    )


def _write_suite(folder: Path, table: str, results: Path) -> None:
    """Write the suite by which the newest batch of a table was judged, unless it is there already."""
    if not results.exists():
        return
    configurations = [each["expectation_config"] for each in read_json(results)["results"]]
    suite = {"name": table, "expectations": configurations}
    if (folder / "suite.json").exists() and read_json(folder / "suite.json") == suite:
        return
    link = f'<p><a href="../{INDEX}">all batches</a></p><h1>{html.escape(table)}</h1>'
    write_text(folder / "suite.html", _page(table, link + _body(_suite_page(suite))))
    write_json(folder / "suite.json", suite)


@cache
def _renderers() -> tuple[Any, Any, Any]:
    from great_expectations.render.renderer import ExpectationSuitePageRenderer, ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    return ValidationResultsPageRenderer(), ExpectationSuitePageRenderer(), DefaultJinjaPageView()


def _validation_page(result: ExpectationSuiteValidationResult) -> str:
    renderer, _, view = _renderers()
    document: RenderedDocumentContent = renderer.render(result)
    return str(view.render(document))


def _suite_page(suite: Mapping[str, Any]) -> str:
    from great_expectations.core import ExpectationSuite

    _, renderer, view = _renderers()
    return str(view.render(renderer.render(ExpectationSuite(**suite))))
