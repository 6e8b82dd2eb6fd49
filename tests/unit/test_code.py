"""Units are computed again by changed code: their digests hold what stands in the files that compute them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

EDIT = """
import importlib, pathlib, sys
module, *files = sys.argv[1:]
found = [importlib.import_module(module).CODE]
for file in map(pathlib.Path, files):
    file.write_bytes(file.read_bytes() + b"\\n")
    found.append(importlib.reload(sys.modules[module]).CODE)
print(len(set(found)))
"""


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("feature_pipeline.ingest", ["feature_pipeline/ingest.py", "ratchet/clock.py", "ratchet/deliveries.py"]),
        (
            "feature_pipeline.featurize",
            ["feature_pipeline/featurize.py", "ratchet/accepted.py", "ratchet/derivation.py"],
        ),
        (
            "inference_pipeline.batch",
            [
                "inference_pipeline/batch.py",
                "ratchet/asof_join.py",
                "ratchet/asof_store.py",
                "ratchet/feature_store.py",
                "ratchet/model.py",
                "ratchet/prediction_log.py",
            ],
        ),
    ],
)
def test_every_file_that_computes_units_counts(tmp_path: Path, module: str, files: list[str]) -> None:
    """An edit of any of them is other code."""
    for room in ("ratchet", "feature_pipeline", "inference_pipeline"):
        shutil.copytree(ROOT / room, tmp_path / room)
    command = [sys.executable, "-B", "-c", EDIT, module, *files]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert f"{len(files) + 1}\n" == done.stdout
