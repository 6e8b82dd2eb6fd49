"""Small projects for tests: the second use case in a temporary folder, and params.yaml as they would have it."""

from __future__ import annotations

import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import yaml

from ratchet.core.clock import Clock, FixedClock
from ratchet.core.environment import Environment
from ratchet.core.settings import DriftSettings, GateSettings, Settings, SourceSettings, TrainingSettings
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
from ratchet.project.steps import STEPS
from tests.support.noshow_on_demand import TIMEZONE
from tests.support.windows import as_of, windows

NOSHOW = (date(2024, 1, 1), date(2024, 5, 1), date(2024, 5, 15), date(2024, 7, 15), date(2024, 8, 1))
NOSHOW_END = datetime(2024, 8, 1, tzinfo=UTC)


def noshow_project(root: Path, clock: Clock | None = None, **options: int) -> Run:
    """Half a year of reminders in two clinics; the clock stands at the end of it."""
    settings = Settings(
        use_case="tests.support.noshow",
        source=SourceSettings(name="clinic", path="clinic", options=options),
        windows=windows(NOSHOW),
        training=TrainingSettings(
            early_stopping_rounds=20,
            lightgbm={"n_estimators": 60, "learning_rate": 0.1, "num_leaves": 7, "min_child_samples": 10},
        ),
        gate=GateSettings(slices=("clinic",), block="week", min_rows=200, min_slice_rows=50, resamples=500),
        drift=DriftSettings(min_rows=100, reference_rows=1000),
    )
    return Run(root, settings, as_of(NOSHOW[-1], TIMEZONE), Environment(threads=1), clock or FixedClock(NOSHOW_END))


def params(*settings: Settings) -> str:
    """params.yaml with a section for each; the first is selected."""
    sections = {one.use_case: one.model_dump(mode="json", exclude={"use_case"}) for one in settings}
    return yaml.safe_dump({"use_case": settings[0].use_case, "use_cases": sections}, sort_keys=False)


def committed(root: Path) -> Path:
    """The folder as a clean commit, whatever steps write there: the policy promotes nothing else."""
    root.mkdir(parents=True, exist_ok=True)
    (root / ".gitignore").write_text("*\n", encoding="utf-8")
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    for command in (["init", "--quiet"], [*author, "commit", "--quiet", "--allow-empty", "--message", "Begin"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def run_through(run: Run) -> Run:
    """The project, every step of which has run once and reported, from a clean commit."""
    committed(run.root)
    run_steps(run)
    return run


def run_steps(run: Run) -> None:
    """Every step, in order."""
    for name, step in STEPS.items():
        reports.run_step(run, name, step.load())
