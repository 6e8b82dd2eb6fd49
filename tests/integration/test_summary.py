"""`ratchet summary` of a binary use case, after every step has run on real stores."""

from __future__ import annotations

import json
import re

import pytest

from cli.stages import STAGES, load_stage
from cli.summary import Summary, build, render, write
from ratchet import reports
from ratchet.errors import StoreError
from ratchet.metrics import METRICS
from ratchet.project import Project
from tests.support.projects import noshow_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout in which every step has run once."""
    project = noshow_project(tmp_path_factory.mktemp("summary"), rows_per_week=150)
    for name in STAGES:
        reports.run(project, name, load_stage(name))
    return project


@pytest.fixture(scope="module")
def summary(project: Project) -> Summary:
    return build(project)


def section(summary: Summary, title: str) -> list[str]:
    """The lines below a title of the text."""
    blocks = [block.splitlines() for block in render(summary).split("\n\n")]
    return next(lines for head, *lines in blocks if title in head)


def test_every_model_has_every_figure_of_the_task(summary: Summary) -> None:
    """Baseline, candidate and champion are measured on the same rows, by log loss, AUC, Brier score and calibration."""
    roles = summary["holdout"]
    assert {"baseline", "candidate", "champion"} == roles.keys()
    for figures in roles.values():
        assert {"log_loss", "auc", "brier", "calibration_error", "n", "from", "to"} == figures.keys()
        assert all(0 <= figures[name] <= 1 for name in METRICS["binary"])
    assert 1 == len({(figures["n"], figures["from"], figures["to"]) for figures in roles.values()})
    assert roles["candidate"] == roles["champion"]
    assert roles["candidate"]["auc"] > roles["baseline"]["auc"]


def test_the_gate_judged_probabilities(summary: Summary) -> None:
    """Calibration and ranking are among the checks of the model that serves."""
    found = {check["name"]: check for check in summary["gate"]["checks"]}
    candidate, baseline = summary["holdout"]["candidate"], summary["holdout"]["baseline"]
    assert candidate["calibration_error"] == found["calibration"]["value"]
    assert candidate["auc"] - baseline["auc"] == found["ranking"]["value"]
    assert {"passed"} == {found[name]["status"] for name in ("calibration", "ranking")}


def test_columns_have_names_and_directions_and_stand_below_them(summary: Summary) -> None:
    """Heads are words, with an arrow to where a metric is better; every figure ends where its head ends."""
    what, heads, *lines = section(summary, "Holdout")
    assert what.endswith(": missed (probability)")
    assert ["log loss ↓", "AUC ↑", "Brier score ↓", "calibration error ↓"] == re.split(r"\s{2,}", heads.strip())
    ends = [found.end() for found in re.finditer("[↓↑]", heads)]
    for role, line in zip(("baseline", "candidate", "champion"), lines, strict=True):
        figures = summary["holdout"][role]
        assert [role, *(f"{figures[name]:.4f}" for name in METRICS["binary"])] == line.split()
        assert ends == [found.end() for found in re.finditer(r"\d\.\d{4}", line)]


def test_a_regression_has_its_own_columns(summary: Summary) -> None:
    """The text follows the task: errors in the label's unit under their names, and a dash where there is none."""
    figures = {**summary["holdout"]["candidate"], "rmse": 5.0, "mae": None}
    changes = {"task": "regression", "label": "minutes_late", "unit": "minutes", "holdout": {"candidate": figures}}
    what, heads, candidate = section({**summary, **changes}, "Holdout")
    assert what.endswith(": minutes_late (minutes)")
    assert ["RMSE", "↓", "MAE", "↓"] == heads.split()
    assert ["candidate", "5.0000", "-"] == candidate.split()


def test_the_expected_rate_is_told(summary: Summary) -> None:
    """Drift names the mean probability in training and now."""
    mean = summary["drift"]["mean_prediction"]
    told = f"  mean prediction {mean['reference']:.4f} in training, {mean['window']:.4f} now (probability)"
    assert told in section(summary, "Drift")


def test_the_file_is_the_summary(project: Project, summary: Summary) -> None:
    """reports/summary.json holds what the text was made of."""
    write(project, summary)
    assert summary == json.loads((project.root / "reports" / "summary.json").read_text(encoding="utf-8"))


def test_a_step_that_has_not_run_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Before the first run there is nothing to tell, and it says what to run."""
    with pytest.raises(StoreError, match="the step validate has not run yet"):
        build(noshow_project(tmp_path_factory.mktemp("empty")))
