"""The drift report says that a window drifted when it did, and only then."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference_pipeline.monitor.drift import drift_report
from ratchet.core.errors import DataError
from ratchet.model_registry.champion import Champion
from ratchet.models.model_files import REFERENCE
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.partitions import write_table
from ratchet.use_case.contract import Array
from tests.support.champions import noshow_champion
from tests.support.models import noshow_baseline, noshow_columns, save_noshow
from tests.support.runs import noshow_project


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return noshow_project(tmp_path_factory.mktemp("drift"))


@pytest.fixture(scope="module")
def champion(run: Run) -> Champion:
    """Trained on a thousand rows that it keeps for reference."""
    return noshow_champion(run, reference_rows=1000)


def window(champion: Champion, rows: int = 400, **changes: Array) -> dict[str, Array]:
    """Later rows of the same population, but for the columns given, with what the champion makes of them."""
    columns = {**noshow_columns(rows, seed=1), **changes}
    return {**columns, "prediction": champion.model.predict(columns)}


def report(run: Run, champion: Champion, rows: dict[str, Array], name: str = "report") -> Report:
    return drift_report(run, champion, rows, run.paths.reports / name)


def test_the_same_population_is_no_drift(run: Run, champion: Champion) -> None:
    """No column of an ordinary window drifted."""
    found = report(run, champion, window(champion))
    assert "no drift" == found["verdict"]
    assert {False} == {column["drift"] for column in found["columns"].values()}
    assert 0 == found["share"]
    assert {"from": "2024-01-01T00:00:00.000000+00:00", "to": "2024-01-06T13:00:00.000000+00:00", "n": 400} == found[
        "window"
    ]


def test_planted_drift_flips_the_verdict(run: Run, champion: Champion) -> None:
    """Three inputs that moved are drift, and are the ones that are named."""
    planted = {
        "clinic": np.full(400, "south", object),
        "booked_days_ahead": noshow_columns(400)["booked_days_ahead"] + 20,
        "hour": np.full(400, 3.0),
    }
    found = report(run, champion, window(champion, **planted))
    assert "drift" == found["verdict"]
    assert planted.keys() <= {name for name, column in found["columns"].items() if column["drift"]}


def test_the_bounds_are_those_of_the_settings(run: Run, champion: Champion) -> None:
    """A column drifted from its threshold on, and a window from a share of columns on, whatever the model makes of them."""
    rows = window(champion)
    late = {"booked_days_ahead": rows["booked_days_ahead"] + 2, "hour": rows["hour"] + 2}
    scores = {name: column["score"] for name, column in report(run, champion, {**rows, **late})["columns"].items()}
    threshold = 0.99 * min(scores[name] for name in late)
    assert late.keys() == {name for name, score in scores.items() if score >= threshold}
    verdicts = []
    for share in (2 / 7, 2 / 7 + 1e-9):
        settings = run.settings.drift.model_copy(update={"column_threshold": threshold, "share_threshold": share})
        found = report(run.with_settings(drift=settings), champion, {**rows, **late})
        assert late.keys() == {name for name, column in found["columns"].items() if column["drift"]}
        verdicts.append(found["verdict"])
    assert ["drift", "no drift"] == verdicts


def test_drift_of_the_prediction_alone_is_drift(run: Run, champion: Champion) -> None:
    """A model that answers differently is reported even where no input looks different."""
    rows = window(champion)
    found = report(run, champion, {**rows, "prediction": rows["prediction"] ** 3})
    assert "drift" == found["verdict"]
    assert ["prediction"] == [name for name, column in found["columns"].items() if column["drift"]]


def headline(run: Run, found: Report) -> dict[str, str]:
    """What stands above the columns of the report's page."""
    html = (run.root / found["html"]).read_text(encoding="utf-8")
    assert "Dataset Drift" not in html
    assert "Drift is detected for" not in html
    counters = re.findall(r'{"value": ("[^"]*"), "label": ("[^"]*")}', html)
    return {json.loads(label): json.loads(value) for value, label in counters}


def test_the_page_has_the_report_s_verdict(run: Run, champion: Champion) -> None:
    """Whether the prediction drifted or a share of columns, the page says what the report says, and counts what it counts."""
    rows = window(champion)
    prediction = report(run, champion, {**rows, "prediction": rows["prediction"] ** 3})
    assert {
        "verdict": "drift",
        "columns drifted (30% are drift)": "1 of 7",
        "prediction (alone is drift)": "drifted",
        "mean prediction, reference → window": "{reference:.4g} → {window:.4g}".format(**prediction["mean_prediction"]),
    } == headline(run, prediction)
    absent = {name: np.full(400, np.nan) for name in rows if name.startswith("patient_history")}
    vanished = report(run, champion, window(champion, **absent))
    assert "no drift" == vanished["verdict"] == headline(run, vanished)["verdict"]
    assert "2 of 7" == headline(run, vanished)["columns drifted (30% are drift)"]


def test_the_report_says_how_the_expected_rate_moved(run: Run, champion: Champion) -> None:
    """The mean probability that the champion gave to its own reference, and to all rows of the window."""
    rows = window(champion, 3000, booked_days_ahead=np.full(3000, 29.0))
    found = report(run, champion, rows)["mean_prediction"]
    reference = pq.read_table(champion.directory / REFERENCE)["prediction"].to_numpy()
    assert {"reference": reference.mean(), "window": rows["prediction"].mean()} == pytest.approx(found, abs=1e-6)
    assert found["window"] > found["reference"] + 0.05


def test_a_few_probabilities_are_judged_by_how_often_each_is_given(run: Run, champion: Champion) -> None:
    """A baseline that knows two rates drifted when it gives one of them to all, and not when it gives them as ever."""
    model = noshow_baseline()
    baseline = replace(champion, model=model, directory=save_noshow(model, run.root / "baseline", 1000))
    assert not report(run, baseline, window(baseline))["columns"]["prediction"]["drift"]
    south = window(baseline, clinic=np.full(400, "south", object))
    assert report(run, baseline, south)["columns"]["prediction"]["drift"]


def test_a_rare_outcome_twice_as_likely_is_drift(run: Run, champion: Champion) -> None:
    """Deciles follow the reference's probabilities, so that those of one in a hundred are told from two in a hundred."""
    reference = pq.read_table(champion.directory / REFERENCE)
    rare = replace(champion, directory=run.root / "rare")
    column = reference.schema.get_field_index("prediction")
    chances = pa.array(np.random.default_rng(4).beta(2, 198, 1000))
    write_table(rare.directory / REFERENCE, reference.set_column(column, "prediction", chances))
    same, twice = (np.random.default_rng(5).beta(2, odds, 400) for odds in (198, 98))
    verdicts = [report(run, rare, {**window(rare), "prediction": given})["verdict"] for given in (same, twice)]
    assert ["no drift", "drift"] == verdicts


def test_too_small_a_reference_is_an_error(run: Run, champion: Champion) -> None:
    """A champion of a handful of training rows gives no verdict either."""
    small = replace(champion, directory=save_noshow(champion.model, run.root / "small", 99))
    with pytest.raises(DataError, match="the reference has 99 rows"):
        report(run, small, window(small))


def test_a_column_that_vanished_drifted(run: Run, champion: Champion) -> None:
    """A feature without values is scored by its being missing, which is drift."""
    name = "patient_history__miss_rate_56d"
    found = report(run, champion, window(champion, **{name: np.full(400, np.nan)}))["columns"][name]
    assert found["drift"]
    assert 1 < found["score"] == found["missing"]
    assert "fewer than 100 values" in found["reason"]


def test_a_column_may_be_constant(run: Run, champion: Champion) -> None:
    """Three working days have no day off: that is compared like any other column, without a warning."""
    rows = window(champion)
    there = {name: np.nan_to_num(rows[name]) for name in rows if name.startswith("patient_history__")}
    found = report(run, champion, {**rows, **there, "hour": np.full(400, 3.0)})
    assert found["columns"]["hour"]["drift"]


def test_a_column_of_too_few_values_has_no_verdict(run: Run, champion: Champion) -> None:
    """What was as good as always missing, in training too, is never said not to have drifted."""
    name = "patient_history__miss_rate_56d"
    reference = pq.read_table(champion.directory / REFERENCE)
    seldom = replace(champion, directory=run.root / "seldom")
    values = pa.array(np.where(np.arange(1000) % 50 == 0, 0.5, np.nan))
    column = reference.schema.get_field_index(name)
    write_table(seldom.directory / REFERENCE, reference.set_column(column, name, values))
    rows = window(champion, **{name: np.where(np.arange(400) % 50 == 0, 0.5, np.nan)})
    found = report(run, seldom, rows)
    assert (None, None) == (found["columns"][name]["drift"], found["columns"][name]["score"])
    assert "no drift" == found["verdict"]


def test_too_small_a_window_is_an_error(run: Run, champion: Champion) -> None:
    """Fewer rows than the settings ask for give no verdict at all."""
    with pytest.raises(DataError, match="the window has 99 rows"):
        report(run, champion, window(champion, 99))


def test_a_large_window_is_sampled(run: Run, champion: Champion) -> None:
    """More rows than the reference may have do not change what is compared; all of them are counted."""
    found = report(run, champion, window(champion, 3000))
    assert ("no drift", 3000) == (found["verdict"], found["window"]["n"])


def test_equal_windows_are_equal_bytes(run: Run, champion: Champion) -> None:
    """Evidently's page and JSON hold no clock and no random name."""
    pages = []
    for name in ("first", "second"):
        found = report(run, champion, window(champion), name)
        pages.append([(run.root / found[kind]).read_bytes() for kind in ("html", "json")])
    assert pages[0] == pages[1]


def test_the_page_needs_no_network(run: Run, champion: Champion) -> None:
    """The HTML loads no script, style, font or image from anywhere; the JSON is Evidently's own, score by score."""
    found = report(run, champion, window(champion))
    html = (run.root / found["html"]).read_text(encoding="utf-8")
    assert [] == re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//", html)
    assert [] == re.findall(r"""@import\s+[u"']|url\(["']?(?:https?:)?//""", html)
    metrics = json.loads((run.root / found["json"]).read_text(encoding="utf-8"))["metrics"]
    scores = {metric["config"]["column"]: metric["value"] for metric in metrics if "column" in metric["config"]}
    for name, column in found["columns"].items():
        assert pytest.approx(max(scores[name], column.get("missing", 0)), abs=1e-6) == column["score"]
        assert pytest.approx(scores.get(f"{name} (missing)", 0), abs=1e-6) == column.get("missing", 0)
