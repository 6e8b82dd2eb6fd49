"""Which files of other systems a version of the features was registered with."""

from __future__ import annotations

import shutil
from pathlib import Path

from ratchet.feature_store.feature_store import FeatureStore
from ratchet.project.registered_files import registered_files
from ratchet.storage.files import write_json
from tests.support.recorded import record, recorded_project, write
from tests.support.runs import noshow_project


def test_a_version_names_its_files_also_when_later_ones_have_none(tmp_path: Path) -> None:
    """As long as DVC's cache holds it."""
    run, versions = recorded_project(tmp_path), []
    path, files = run.paths.features / "upstream.json", {"scores.parquet": "0" * 32}
    write_json(path, {"scores": {"files": files}})
    for name in ("with", "without"):
        write(run, a=name)
        record(run, name)
        versions.append(FeatureStore.open(run).version())
        path.unlink(missing_ok=True)
    assert [{"scores": {"files": files}}, None] == [registered_files(run, version) for version in versions]
    shutil.rmtree(run.root / ".dvc" / "cache")
    assert registered_files(run, versions[0]) is None


def test_a_checkout_without_dvc_has_none(tmp_path: Path) -> None:
    assert registered_files(noshow_project(tmp_path), "0" * 32 + ".dir") is None
