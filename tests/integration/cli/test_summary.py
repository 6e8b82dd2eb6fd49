"""`ratchet summary` of a binary use case, after every step has run on real stores."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import reduce
from operator import getitem

import pytest
from ibis import _
from pydantic import AwareDatetime, create_model

from cli.commands.demo import finish_story
from cli.render_status import render_status
from cli.summary import Summary, build, render, write
from ratchet.core.environment import Environment
from ratchet.core.errors import VersionError
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, release, rollback
from ratchet.model_registry.status import status
from ratchet.models.metrics import METRICS
from ratchet.project import step_reports as reports
from ratchet.project.headlines import HEADLINES
from ratchet.project.locks import alone
from ratchet.project.run import Run
from ratchet.project.steps import STEPS
from tests.support.killing import contents
from tests.support.messages import missing
from tests.support.registry import NO_GAIN, WORSE, baseline, candidate, client, copied, offer_model
from tests.support.runs import NOSHOW
from tests.support.variants import with_use_case

SHOWN = {"rows": "validate", "holdout": "evaluate", "gate": "evaluate", "drift": "monitor"}
"""What the summary takes from the report of which step."""


@pytest.fixture(scope="module")
def run(finished_project: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A checkout in which every step has run once."""
    return copied(finished_project, tmp_path_factory.mktemp("summary") / "project")


@pytest.fixture(scope="module")
def summary(run: Run) -> Summary:
    return build(run)


def section(summary: Summary, title: str) -> list[str]:
    """The lines below a title of the text."""
    blocks = [block.splitlines() for block in render(summary).split("\n\n")]
    return next(lines for head, *lines in blocks if title in head)


def test_every_model_has_every_figure_of_the_task(summary: Summary) -> None:
    """All are measured on the same rows. The champion is the one that the candidate was compared with; the candidate serves."""
    roles = summary["holdout"]
    assert ["baseline", "candidate", "champion", "serving"] == [*roles]
    for figures in roles.values():
        assert {"log_loss", "auc", "brier", "calibration_error", "n", "from", "to"} == figures.keys()
        assert all(0 <= figures[name] <= 1 for name in METRICS["binary"])
    assert 1 == len({(figures["n"], figures["from"], figures["to"]) for figures in roles.values()})
    assert (roles["champion"], roles["serving"]) == (roles["baseline"], roles["candidate"])
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
    heads = ("baseline", "candidate", "champion", "serves now")
    for head, role, line in zip(heads, summary["holdout"], lines, strict=True):
        figures = summary["holdout"][role]
        assert line.strip().startswith(head)
        assert [f"{figures[name]:.4f}" for name in METRICS["binary"]] == line.removeprefix(f"  {head}").split()
        assert ends == [found.end() for found in re.finditer(r"\d\.\d{4}", line)]


def test_days_are_those_of_params_yaml(run: Run, summary: Summary) -> None:
    """Local days of the use case, in which a day begins before that of UTC."""
    _, _, holdout, fresh, _ = NOSHOW
    what, *_ = section(summary, "Holdout")
    assert f"from {holdout} to {fresh}:" in what


def test_a_regression_has_its_own_columns(summary: Summary) -> None:
    """The text follows the task: errors in the label's unit under their names, and a dash where there is none."""
    figures = {**summary["holdout"]["candidate"], "rmse": 5.0, "mae": None}
    changes = {"task": "regression", "label": "minutes_late", "unit": "minutes", "holdout": {"candidate": figures}}
    what, heads, candidate = section({**summary, **changes}, "Holdout")
    assert what.endswith(": minutes_late (minutes)")
    assert ["RMSE", "↓", "MAE", "↓"] == heads.split()
    assert ["candidate", "5.0000", "-"] == candidate.split()


def test_entries_that_were_not_read_are_counted(summary: Summary) -> None:
    """Below the rows, with the report in which the reasons stand; nothing where all was read."""
    *_, line = section({**summary, "unread": {"a.tsv": "is hidden", "b": "is a folder"}}, "Rows")
    assert ": 2;" in line
    assert f"{summary['reports']}/ingest.json" in line
    assert {} == summary["unread"]
    assert "ingest.json" not in "".join(section(summary, "Rows"))


def test_rejected_batches_are_named(summary: Summary) -> None:
    """Below the rows, each with the reason; nothing where all could be read."""
    *_, line = section({**summary, "rejected": {"visits": {"one": "one.csv: is empty"}}}, "Rows")
    assert [] == missing(line, "visits/one", "one.csv: is empty")
    assert {} == summary["rejected"]


def test_names_batches_that_were_refused_or_warned_of(summary: Summary) -> None:
    """The first ones by name, with the checks, and how many more there are; nothing where none is."""
    finding = {"check": "volume", "detail": "has 4 rows"}
    refused = {"visits/one": [{"check": "quarantined", "detail": "9 of its 9"}, finding, finding]}
    warned = {f"visits/{number}": [finding] for number in range(5)}
    lines = section({**summary, "refused": refused, "warned": warned}, "Rows")[-6:]
    assert "batch visits/one refused (quarantined, volume)" == lines[0].strip()
    assert "batch visits/2 warned of (volume)" == lines[3].strip()
    assert [] == missing(lines[4], "2 more", "ratchet quarantine list")
    assert "quarantine list" in lines[5]
    assert not any("batch" in line for line in section(summary, "Rows"))


def test_the_expected_rate_is_told(summary: Summary) -> None:
    """Drift names the mean probability in training and now."""
    mean = summary["drift"]["mean_prediction"]
    told = f"  mean prediction {mean['reference']:.4f} in training, {mean['window']:.4f} now (probability)"
    assert told in section(summary, "Drift")


@pytest.mark.parametrize(
    ("step", "numbers"),
    {
        "ingest": ("rows.appointments",),
        "validate": ("rows.raw", "rows.accepted", "rows.quarantined", "rows.duplicates"),
        "featurize": ("requests", "labels"),
        "materialize": (),
        "train": ("best_iteration",),
        "evaluate": ("candidate.verdict", "candidate.metrics.n"),
        "register": ("baseline.version", "candidate.version", "candidate.status"),
        "reconcile": ("champion.version",),
        "predict": ("rows", "model_version"),
        "monitor": ("verdict", "window.n"),
    }.items(),
)
def test_a_step_is_told_in_a_line(run: Run, step: str, numbers: tuple[str, ...]) -> None:
    """Of each report the values that a person waits for stand in one line that a terminal holds."""
    report = reports.read(run, step)
    line = HEADLINES[step](report or {})
    values = (reduce(getitem, path.split("."), report) for path in numbers)
    assert [] == [value for value in values if (f"{value:,}" if isinstance(value, int) else str(value)) not in line]
    assert 10 < len(line) < 110
    assert "\n" not in line


def test_the_file_is_the_summary(run: Run, summary: Summary) -> None:
    """reports/summary.json holds what the text was made of."""
    write(run, summary)
    assert summary == json.loads((run.root / "reports" / "summary.json").read_text(encoding="utf-8"))


def test_a_request_that_the_use_case_no_longer_accepts_is_not_proposed(run: Run, summary: Summary) -> None:
    """After a field was added, what was scored before lacks it: there is no request to try, and no former one stays."""
    write(run, summary)
    body = json.loads((run.paths.reports / "request.json").read_text(encoding="utf-8"))
    assert summary["request"] == body
    examples, given = run.use_case.examples, run.use_case.request
    changed = with_use_case(
        run,
        request=create_model("More", __base__=given, called_at=(AwareDatetime, ...)),
        examples=lambda tables: examples(tables).mutate(called_at=_.event_timestamp),
    )
    found = build(changed)
    write(changed, found)
    assert found["request"] is None
    assert not (run.paths.reports / "request.json").exists()
    assert not [line for line in section(found, "What to type next") if "curl" in line]


def test_a_checkout_in_which_nothing_ran_has_a_summary(unserved: Run) -> None:
    """Every section that waits for a step names it, nothing serves, what to type is the run, and no file is made."""
    found = build(unserved)
    for title, step in {"Rows": "validate", "Holdout": "evaluate", "Gate": "evaluate", "Drift": "monitor"}.items():
        assert [[]] == [missing(line, f"`dvc repro {step}@tests.support.noshow`") for line in section(found, title)]
    assert ["  no version serves"] == section(found, "Serving")
    typed = section(found, "What to type next")
    assert "  dvc repro monitor@tests.support.noshow" in typed
    assert not any("serve" in line or "trace" in line for line in typed)
    write(unserved, found)
    assert not unserved.paths.shared_reports.exists()


@pytest.mark.parametrize("step", STEPS)
def test_a_report_that_is_away_leaves_the_others(run: Run, summary: Summary, step: str) -> None:
    """Whichever step has no report, the summary is written and read, and the step is named as missing."""
    path = run.paths.reports / f"{step}.json"
    content = path.read_bytes()
    path.unlink()
    try:
        found = build(run)
        text = render(found)
    finally:
        path.write_bytes(content)
    assert [step] == found["missing"]
    assert {name for name in ("rows", "holdout", "gate", "drift") if found[name] != summary[name]} <= {
        name for name, of in SHOWN.items() if of == step
    }
    assert (step in SHOWN.values()) == ("has not run yet" in text)


def test_a_gate_that_let_nothing_through_is_told(summary: Summary) -> None:
    """Where every model was refused, no run is advised that could not go further than the last one."""
    refused = {**summary, "serving": None, "drift": None, "missing": ["predict", "monitor"]}
    refused["predictions"] = {**summary["predictions"], "rows": None, "model_version": None}
    assert ["  no version serves"] == section(refused, "Serving")
    assert "no version serves" in section(refused, "Drift")[0]
    assert not any("dvc repro" in line for line in section(refused, "What to type next"))


def test_a_registry_that_does_not_answer_is_a_line(run: Run, summary: Summary) -> None:
    """Rows, figures and drift are shown all the same, and where the registry was looked for."""
    away = replace(run, environment=Environment(threads=1, tracking_uri="http://127.0.0.1:9"))
    found = build(away)
    assert {name: summary[name] for name in ("rows", "gate", "drift")} == {
        name: found[name] for name in ("rows", "gate", "drift")
    }
    assert "http://127.0.0.1:9" in section(found, "Serving")[0]


@pytest.fixture(scope="module")
def rolled_back(run: Run) -> Summary:
    """The summary when somebody has gone back to version 1, and nothing ran since."""
    rollback(ModelRegistry.open(run), by="ann", reason="a mistake")
    found = build(run)
    promote(ModelRegistry.open(run), 2, by="ann", reason="it was none")
    return found


def test_what_serves_now_is_named(summary: Summary, rolled_back: Summary) -> None:
    """After a rollback version, statuses and the champion's figures are those of the version that was returned to."""
    assert (2, 1) == (summary["serving"]["version"], rolled_back["serving"]["version"])
    assert "served" == rolled_back["versions"]["candidate"]["status"]
    assert rolled_back["holdout"]["baseline"] == rolled_back["holdout"]["serving"]


def test_the_champion_of_the_summary_is_that_of_dvc_metrics(run: Run, rolled_back: Summary) -> None:
    """The one that the candidate was compared with, whatever serves by now."""
    metrics = json.loads((run.paths.reports / "metrics" / "holdout.json").read_text(encoding="utf-8"))
    for role in ("baseline", "candidate", "champion"):
        assert metrics[role].items() <= rolled_back["holdout"][role].items()


def test_predictions_of_another_version_are_said_to_be(summary: Summary, rolled_back: Summary) -> None:
    """After a rollback nothing was scored yet, and the summary says what to run."""
    told = section(rolled_back, "Serving")
    assert "  version 1 serves" == told[0]
    assert [] == missing(told[-1], "predictions", "version 2", f"`dvc repro monitor@{rolled_back['use_case']}`")
    assert not any("predictions" in line for line in section(summary, "Serving"))


def test_a_rollback_is_proposed_where_there_is_a_version_to_return_to(summary: Summary, rolled_back: Summary) -> None:
    """Version 2 can give way to version 1, and that to none."""
    proposed = [
        any("ratchet rollback" in line for line in section(one, "What to type next")) for one in (summary, rolled_back)
    ]
    assert [True, False] == proposed


@pytest.mark.parametrize(("status", "told"), [("refused: no gain", "refused: no gain"), ("candidate", "next run")])
def test_a_request_is_reported_with_what_became_of_it(summary: Summary, status: str, told: str) -> None:
    """A version that is requested and does not serve stands below the one that does."""
    requested = {**summary, "requested": {"version": 3, "status": status}}
    assert [[]] == [missing(line, "version 3", told) for line in section(requested, "Serving") if "requested" in line]
    assert not any("requested" in line for line in section(summary, "Serving"))


@pytest.mark.parametrize("dirty", [True, False])
def test_uncommitted_code_is_told(summary: Summary, dirty: bool) -> None:
    """Whoever looks at the summary learns that the model which serves cannot be made again."""
    told = section({**summary, "serving": {**summary["serving"], "dirty": dirty}}, "Serving")
    assert dirty == any("never committed" in line for line in told)


def test_the_status_names_the_code_of_each_version(run: Run) -> None:
    """A commit, or that there is none."""
    found = status(ModelRegistry.open(run))
    first, second = found["versions"]
    assert not first["dirty"]
    versions = [{**first, "dirty": True}, {**second, "commit": "c" * 40}]
    assert ["uncommitted", "c" * 12] == [
        line.split()[3] for line in render_status({**found, "versions": versions}).splitlines()[5:7]
    ]


def test_the_status_tells_entries_of_the_history_apart(served: Run) -> None:
    """A release is none of the promotions."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    release(ModelRegistry.open(served), by="ann", reason="seen")
    history = render_status(status(ModelRegistry.open(served))).partition("\nhistory\n")[2].splitlines()
    assert ["promotion", "promotion", "rollback", "release"] == [line.split()[1] for line in history]


def test_the_status_says_why_a_version_does_not_serve_and_what_to_do(served: Run) -> None:
    """The checks that failed stand in its line; below are the commands, one line for all that the same helps."""
    for trees in (5, 7):
        offer_model(served, candidate(trees), candidate().digest, gain=WORSE)
    offer_model(served, candidate(9), candidate().digest, gain=NO_GAIN)
    text = render_status(status(ModelRegistry.open(served)))
    refused = [line for line in text.splitlines() if "failed ratchet:non-inferior, ratchet:superior" in line]
    assert ["3", "4"] == [line.split()[0] for line in refused]
    told = text.partition("\nwhat to do next\n")[2].partition("\n\n")[0].splitlines()
    assert 2 == len(told)
    assert told[0].strip().startswith("versions 3, 4: ")
    assert "dvc repro monitor@" in told[0]
    assert "`ratchet promote 5 --reason … --until YYYY-MM-DD`" in told[1]


def test_a_superior_version_that_was_refused_is_led_to_what_helps(served: Run) -> None:
    """Its evidence is about another champion."""
    offer_model(served, candidate(5), None)
    assert "`ratchet promote 3`" in status(ModelRegistry.open(served))["versions"][-1]["next"]


def test_a_version_that_waits_says_so_once(served: Run) -> None:
    """Its status has the commands already."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    offer_model(served, candidate(5), baseline().digest)
    assert status(ModelRegistry.open(served))["versions"][-1]["next"] is None


def test_a_champion_that_was_deleted_is_told(served: Run) -> None:
    """Status and summary say what is gone, and what to do."""
    client(served).delete_model_version(served.scope.namespace, "2")
    text = render_status(status(ModelRegistry.open(served)))
    told = next(line for line in text.splitlines() if "has been deleted" in line)
    assert "version 2" in told
    assert "`ratchet rollback" in told
    reports.run_step(served, "register", lambda _: {})
    assert [f"  {told}"] == section(build(served), "Serving")


def test_a_registered_model_that_was_deleted_is_told(served: Run) -> None:
    """An empty table says nothing: the command is named that brings it back."""
    client(served).delete_registered_model(served.scope.namespace)
    text = render_status(status(ModelRegistry.open(served)))
    assert "`dvc repro monitor@" in text
    assert "verdict" not in text
    reports.run_step(served, "register", lambda _: {})
    assert section(build(served), "Serving")[0].strip() in text


@pytest.mark.parametrize("failed", [[], ["ratchet:another-model", "ratchet:superior"]])
def test_the_model_that_serves_is_no_refused_candidate(summary: Summary, failed: list[str]) -> None:
    """Judged again it is compared with itself, and fails to be better: summary and step say what it is."""
    checks = [{**summary["gate"]["checks"][0], "name": name, "status": "failed"} for name in failed]
    judged = {"verdict": "refused", "undecided": None, "checks": checks, "skill": 0.1, "metrics": {"n": 9}}
    line = HEADLINES["evaluate"]({"candidate": judged, "confirmation": None})
    told = section({**summary, "gate": judged}, "Gate")[0]
    assert bool(failed) == ("is the model that serves" in line) == ("is the model that serves" in told)
    assert bool(failed) != ("refused" in line)


def test_a_baseline_that_was_not_offered_is_told_in_words() -> None:
    """It has no number, and needs none: a model serves already."""
    baseline = {"version": None, "digest": "a" * 64, "status": "not registered"}
    line = HEADLINES["register"]({"baseline": baseline, "candidate": {**baseline, "version": 3, "status": "serving"}})
    assert "baseline is not registered" in line
    assert "candidate is version 3, serving" in line
    assert "-" not in line


def test_the_demo_waits_for_a_run_that_is_at_work(run: Run) -> None:
    """Nothing is offered, and no report written, while a flow may change the data from which both are made."""
    before = status(ModelRegistry.open(run)), contents(run.paths.reports)
    with (
        alone(run, ["training"], wait=0),
        pytest.raises(VersionError, match=r"training\.lock: is held"),
    ):
        finish_story(run, wait=0)
    assert before == (status(ModelRegistry.open(run)), contents(run.paths.reports))
