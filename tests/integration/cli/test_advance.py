"""`ratchet advance`: from which instant it goes on, and what it says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import ratchet
from ratchet.project.as_of import AsOf, read_as_of, write_as_of
from tests.support.feed import feed_project
from tests.support.runs import write_settings


def test_a_length_counts_from_where_the_named_pipeline_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is behind the features; they stay where they are."""
    run = feed_project(tmp_path)
    write_settings(tmp_path, run)
    features, name = run.as_of("feature"), run.settings.use_case
    training = features - timedelta(days=2)
    write_as_of(tmp_path, name, AsOf(feature=features, training=training, inference=features))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(ratchet, ["advance", "--by", "1d", "--pipeline", "training"])
    assert 0 == done.exit_code, done.output
    assert f"before: {training:%Y-%m-%d}" in done.output
    moved = read_as_of(tmp_path, name)
    assert moved is not None
    assert (features, training + timedelta(days=1)) == (moved.feature, moved.training)
