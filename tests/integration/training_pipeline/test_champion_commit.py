"""A champion whose features this code does not compute is asked in a checkout of its own commit, or the record says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ratchet.core.clock import Period
from ratchet.core.errors import VersionError
from ratchet.model_registry.champion import Champion
from ratchet.models.contract import Contract
from ratchet.project.run import Run
from tests.support.champions import noshow_champion
from tests.support.checkout import commit, run_command
from tests.support.messages import missing
from tests.support.models import TRAINED_UNTIL, noshow_candidate, noshow_columns, noshow_contract, save_noshow
from tests.support.runs import NOSHOW_END, noshow_project, write_settings
from training_pipeline import score_holdout
from training_pipeline.champion_commit import predict_or_explain
from training_pipeline.frozen_set import Holdout

ROWS = 50
OLD_CODE = f"""
import os, sys
import pyarrow as pa, pyarrow.parquet as pq
rows = range({ROWS})
table = pa.table({{"request_id": [f"week-000:{{row:08d}}" for row in rows], "prediction": [row / {ROWS} for row in rows]}})
"""
ANSWER = "pq.write_table(table.take(list(reversed(rows))), sys.argv[5])"
Commit = Callable[[str], Champion]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A git repository that is not a project yet."""
    run_command(tmp_path, "git", "init", "--quiet")
    (tmp_path / ".gitignore").write_text("/state/\n/champion/\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        "use_case: another\nuse_cases: {tests.support.noshow: {seed_of_then: 5}}\n", encoding="utf-8"
    )
    (tmp_path / "training_pipeline").mkdir()
    return noshow_project(tmp_path)


@pytest.fixture
def made_by(run: Run) -> Commit:
    """Commits what its `score_holdout` does, changes it afterwards, and gives a champion of that commit."""
    module = run.root / "training_pipeline" / "score_holdout.py"

    def champion(code: str) -> Champion:
        module.write_text(OLD_CODE + code, encoding="utf-8")
        commit(run.root, "Begin")
        module.write_text("raise SystemExit('this is today')", encoding="utf-8")
        return with_contract(
            noshow_champion(run), commit=run_command(run.root, "git", "rev-parse", "HEAD").stdout.strip()
        )

    return champion


def with_contract(champion: Champion, **changes: object) -> Champion:
    contract: Contract = champion.model.contract.model_copy(update={"fingerprint": "9" * 64, **changes})
    return replace(champion, model=replace(champion.model, contract=contract))


def holdout(rows: int = ROWS) -> Holdout:
    columns = noshow_columns(rows, start=TRAINED_UNTIL)
    return Holdout(
        columns, columns["event_timestamp"], Period(TRAINED_UNTIL, NOSHOW_END), noshow_contract().fingerprint
    )


def test_the_code_of_its_own_commit_answers(run: Run, made_by: Commit) -> None:
    """Predictions come by request from the committed module, in whatever order, and afterwards nothing is left of it."""
    champion = made_by(ANSWER)
    answers = predict_or_explain(run, champion, holdout())
    assert answers.obstacle == ""
    expected = pd.Series([row / ROWS for row in range(ROWS)], index=holdout().rows["request_id"])
    pd.testing.assert_series_equal(expected, answers.predicted.sort_index(), check_names=False, check_index_type=False)
    assert 1 == len(run_command(run.root, "git", "worktree", "list").stdout.splitlines())
    assert [] == [*run.paths.state.glob("own_code*")]


def test_a_request_without_an_answer_is_an_obstacle(run: Run, made_by: Commit) -> None:
    """Old code that leaves requests out gives no evidence at all."""
    answers = predict_or_explain(run, made_by(ANSWER), holdout(ROWS + 2))
    assert [] == missing(answers.obstacle, "own code", "2 requests")
    assert answers.predicted.empty


def test_code_that_fails_is_an_obstacle(run: Run, made_by: Commit) -> None:
    """The record has the last line on stderr, without the paths of this machine, and the checkout is gone all the same."""
    champion = made_by("print('warning', file=sys.stderr); sys.exit(f'{os.getcwd()}/data: no rows')")
    answers = predict_or_explain(run, champion, holdout())
    assert [] == missing(answers.obstacle, f"{champion.model.contract.commit:.12}", "failed")
    assert answers.obstacle.endswith("(data: no rows)")
    assert not (run.paths.state / "own_code").exists()


def test_the_old_code_meets_no_store_of_today(run: Run, made_by: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the registries named in the environment nor today's modules are passed on; limits are."""
    monkeypatch.setenv("RATCHET_FEAST_REGISTRY", "postgresql://elsewhere")
    monkeypatch.setenv("PYTHONPATH", str(run.root))
    champion = made_by("sys.exit(str(sorted(n for n in os.environ if n.startswith(('RATCHET_', 'PYTHONPATH')))))")
    assert "(['RATCHET_MEMORY_LIMIT', 'RATCHET_THREADS'])" in predict_or_explain(run, champion, holdout()).obstacle


def test_its_settings_are_those_of_its_commit_with_the_source_and_windows_of_today(run: Run, made_by: Commit) -> None:
    """The same requests are judged, whatever params.yaml said when it was trained."""
    champion = made_by("import json, yaml; sys.exit(json.dumps(yaml.safe_load(open('params.yaml')), sort_keys=True))")
    today, name = run.settings.model_dump(mode="json", include={"source", "windows"}), run.settings.use_case
    expected = json.dumps({"use_case": name, "use_cases": {name: {**today, "seed_of_then": 5}}}, sort_keys=True)
    assert expected in predict_or_explain(run, champion, holdout()).obstacle


def test_it_reads_the_upstream_files_that_it_knows_where_they_lie_today(run: Run, made_by: Commit) -> None:
    """By whole paths, because its code runs in a folder of its own; and none that only today's code knows."""
    sections = "{tests.support.noshow: {upstream: {scores: before, gone: /elsewhere}}}"
    (run.root / "params.yaml").write_text(f"use_case: another\nuse_cases: {sections}\n", encoding="utf-8")
    champion = made_by("import json, yaml; sys.exit(json.dumps(yaml.safe_load(open('params.yaml')), sort_keys=True))")
    today = run.with_settings(upstream={"scores": "/now", "other": "new"})
    expected = json.dumps({"upstream": {"gone": "/elsewhere", "scores": "/now"}}, sort_keys=True).strip("{}")
    assert expected in predict_or_explain(today, champion, holdout()).obstacle


def test_code_that_computes_other_features_answers_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose features are not those of the model's contract refuses before it touches a table."""
    write_settings(run.root, run)
    monkeypatch.chdir(run.root)
    model = noshow_candidate(noshow_contract(run, fingerprint="f" * 64))
    directory, (start, end) = (
        save_noshow(model, run.root / "champion"),
        (TRAINED_UNTIL.isoformat(), NOSHOW_END.isoformat()),
    )
    with pytest.raises(VersionError, match=r"noshow_.*noshow_ffffffff"):
        score_holdout.main(str(directory), "accepted", start, end, "out.parquet")
    assert not run.paths.data.exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"dirty": True}, "never committed"),
        ({"commit": None, "dirty": True}, "never committed"),
        ({"commit": "e" * 40}, "commit eeeeeeeeeeee"),
    ],
)
def test_code_that_cannot_be_restored_is_an_obstacle(
    run: Run, made_by: Commit, changes: dict[str, object], word: str
) -> None:
    """Without a commit that this repository has, there are no predictions, and what to do is said."""
    answers = predict_or_explain(run, with_contract(made_by(ANSWER), **changes), holdout())
    assert [] == missing(answers.obstacle, word)
    assert answers.predicted.empty


def test_what_a_killed_run_left_is_no_hindrance(run: Run, made_by: Commit) -> None:
    """A checkout that was never removed, half there and still locked, makes way for the next."""
    champion, folder = made_by(ANSWER), run.paths.state / "own_code"
    run_command(run.root, "git", "worktree", "add", "--quiet", "--lock", "--detach", str(folder))
    (folder / ".git").unlink()
    (folder / "predictions.parquet").write_text("half", encoding="utf-8")
    assert predict_or_explain(run, champion, holdout()).obstacle == ""


def test_a_hook_of_the_user_s_does_not_run(run: Run, made_by: Commit) -> None:
    """`dvc install` hooks into every checkout; this one is none of its business."""
    champion, hook = made_by(ANSWER), run.root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    assert predict_or_explain(run, champion, holdout()).obstacle == ""
