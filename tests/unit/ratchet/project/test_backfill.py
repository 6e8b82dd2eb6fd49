"""Working through a past interval."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from ratchet.core.errors import SettingsError, VersionError
from ratchet.project.as_of import AsOf, write_as_of
from ratchet.project.backfill import backfill, remaining
from ratchet.project.run import PIPELINES, Pipeline
from tests.support.checkout import run_command
from tests.support.feed import feed_project


def test_another_run_that_was_faster_is_named(tmp_path: Path) -> None:
    """It has computed this interval meanwhile, and nothing is computed twice: the command goes on from there."""
    run = feed_project(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}", encoding="utf-8")
    run_command(tmp_path, "git", "init", "--quiet")
    first = run.as_of("feature")
    write_as_of(tmp_path, run.settings.use_case, AsOf.at(first + timedelta(days=2)))
    with pytest.raises(VersionError, match="another run has gone on to 2024-01-07") as caught:
        next(backfill(run, [first + timedelta(days=1)]))
    assert "again" in caught.value.remedy


def test_a_pipeline_that_is_behind_misses_no_instant(tmp_path: Path) -> None:
    """It is named, and nothing runs; alone it goes through all of them, and those that stand together go on."""
    run = feed_project(tmp_path)
    last = run.as_of("feature")
    first = last - timedelta(days=2)
    assert run.instants is not None
    behind = run.as_of_instants(run.instants.model_copy(update={"inference": first}))
    with pytest.raises(SettingsError, match=r"inference is behind 2024-01-05") as caught:
        remaining(behind, first, last, timedelta(days=1))
    assert "--pipeline" in caught.value.remedy
    assert 3 == len(remaining(behind, first, last, timedelta(days=1), ["inference"]))
    assert [last] == remaining(behind, first, last, timedelta(days=1), ["feature", "training"])
    assert [last] == remaining(behind, last, last, timedelta(days=1))


@pytest.mark.parametrize(
    ("pipelines", "command"), [(PIPELINES, "--to …`"), (("inference",), "--to … --pipeline inference`")]
)
def test_an_interval_that_was_passed_needs_a_step_back(
    tmp_path: Path, pipelines: Sequence[Pipeline], command: str
) -> None:
    """Of no other pipeline: features that went back would be computed again."""
    run = feed_project(tmp_path)
    first = run.as_of("feature") - timedelta(days=2)
    with pytest.raises(SettingsError, match="nothing is left") as caught:
        remaining(run, first, first + timedelta(days=1), timedelta(days=1), pipelines)
    assert command in caught.value.remedy
