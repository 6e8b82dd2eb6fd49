"""The use case that `ratchet init` writes: it compiles, is short, and is in the house's form."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import authoring.init
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from tests.support.begun import project_of
from tests.support.checkout import ROOT


def test_compiles(run: Run) -> None:
    """Its views are those of the feature service, and the baseline and slices are columns that there are."""
    use_case = run.use_case
    assert [view.name for view in use_case.views] == list(service_spec(use_case).views)
    assert {column for level in use_case.baseline for column in level} <= set(use_case.inputs)
    assert set(run.settings.gate.slices) <= set(use_case.request.model_fields)


def test_has_fewer_than_80_lines(root: Path, run: Run) -> None:
    """However many columns the file has."""
    assert len((root / "use_cases" / run.use_case.name / "__init__.py").read_text().splitlines()) < 80


def test_takes_requests_of_what_is_known_then(root: Path) -> None:
    """Neither label nor what is late, nor the key; the timestamp is a field of it."""
    with project_of(root, "rides") as run:
        assert ["zone", "distance_km", "class_", "bike", "asked_at"] == list(run.use_case.request.model_fields)
    with project_of(root, "subscribers") as run:
        fields = ["customer_id", "senior", "tenure", "contract", "monthly_charges", "as_of"]
        assert fields == list(run.use_case.request.model_fields)
        assert "customer_id" not in run.use_case.inputs


def test_splits_by_entity_where_there_is_no_time(root: Path) -> None:
    """And says so, so that the gate does."""
    with project_of(root, "subscribers") as run:
        assert ("entity", "customer_id") == (run.use_case.split, run.settings.gate.block)
    with project_of(root, "rides") as run:
        assert ("time", "day") == (run.use_case.split, run.settings.gate.block)


def test_is_formatted_and_passes_the_linter(root: Path) -> None:
    """By the house's own settings, as is its test."""
    settings = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    lint = ["--config", "lint.isort.known-first-party = ['ratchet', 'use_cases']", "--ignore", "SIM300"]
    for command in (["format", "--check", *settings], ["check", *settings, *lint]):
        done = subprocess.run(["ruff", *command, str(root)], capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr


def test_the_package_names_its_modules() -> None:
    """Whoever opens it finds what each module is for, and none that is not there."""
    modules = {path.stem for path in (ROOT / "authoring" / "init").glob("*.py")} - {"__init__"}
    words = set(re.findall(r"[a-z_]+", str(authoring.init.__doc__)))
    assert modules == words & modules | {word for word in words if "_" in word}
