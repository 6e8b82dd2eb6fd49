"""The ratchet after a change of features: the champion is judged by its own code, on the same rows as the candidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import commit, noshow_checkout, run, write_params

pytestmark = pytest.mark.xdist_group("changed_features")
STAGES = ("ingest", "validate", "featurize", "materialize", "train", "evaluate", "register", "reconcile")
LOOP = f"""
from ratchet.quiet import quieten
quieten()
from cli.stages import load_stage
from ratchet.project import Project
from ratchet.reports import run
for name in {STAGES}:
    run(Project.load(), name, load_stage(name))
"""


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A checkout, and what evaluate reported before and after a window of 56 days became one of 28, names and all."""
    checkout = noshow_checkout(tmp_path_factory.mktemp("changed"))
    write_params(checkout, rows_per_week=120)
    commit(checkout, "Have fewer rows")
    before = _evaluated(checkout)
    features = checkout / "use_cases" / "noshow" / "__init__.py"
    features.write_text(features.read_text(encoding="utf-8").replace("56", "28"), encoding="utf-8")
    commit(checkout, "Look back half as far")
    return checkout, before, _evaluated(checkout)


def _evaluated(checkout: Path) -> dict[str, Any]:
    run(checkout, "python", "-c", LOOP)
    report = checkout / "reports" / "noshow" / "clinic" / "evaluate.json"
    found = json.loads(report.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_champion_is_scored_as_when_it_was_the_candidate(evaluations: Any) -> None:
    """Its features are computed as they were: every metric on the same rows is the one that it was let in with."""
    _, before, after = evaluations
    assert before["candidate"]["digest"] == after["champion"]["digest"]
    assert before["candidate"]["metrics"] == pytest.approx(after["champion"]["metrics"], abs=1e-12)


def test_the_candidate_on_new_features_has_a_gain(evaluations: Any) -> None:
    """The comparison is complete: a gain within its bounds, every model with all its predictions, none with an obstacle."""
    _, _, after = evaluations
    gain = after["candidate"]["gain"]
    assert gain["lower"] <= gain["value"] <= gain["upper"]
    checks = {check["name"]: check for check in after["candidate"]["checks"]}
    for role in ("candidate", "reference", "champion"):
        assert (checks[f"predictions:{role}"]["value"], checks[f"predictions:{role}"]["detail"]) == (0, "invalid ones")
    assert checks["metrics:champion"]["status"] == "passed"


def test_nothing_of_the_old_code_stays(evaluations: Any) -> None:
    """The checkout of the champion's commit is gone, from the disk and from git's list."""
    checkout, _, _ = evaluations
    assert 1 == len(run(checkout, "git", "worktree", "list").stdout.splitlines())
    assert not (checkout / "state" / "noshow" / "clinic" / "own_code").exists()


def test_code_that_computes_other_features_answers_nothing(evaluations: Any, tmp_path: Path) -> None:
    """A commit whose features are not those of the model's contract refuses before it reads a row."""
    checkout, _, after = evaluations
    champion = checkout / "state" / "noshow" / "clinic" / "models" / after["champion"]["digest"]
    arguments = (
        str(champion),
        "accepted",
        "2024-05-15T00:00:00+00:00",
        "2024-07-15T00:00:00+00:00",
        str(tmp_path / "out"),
    )
    done = run(checkout, "python", "-m", "training_pipeline.score_holdout", *arguments, check=False)
    assert "with the libraries that are installed, and not noshow_" in done.stderr
    assert (1, False) == (done.returncode, (tmp_path / "out").exists())
