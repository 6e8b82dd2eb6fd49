"""Use cases that `ratchet init` began in a temporary folder, and their projects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

import use_cases
from authoring.init.answers import Answers
from authoring.init.write import Places
from cli.commands.init import begin
from ratchet.core.clock import FixedClock
from ratchet.core.environment import Environment
from ratchet.core.settings import Settings
from ratchet.project.as_of import read_as_of
from ratchet.project.run import Run
from tests.support.csv_files import odd, rides, subscribers, survey, visits, wide

RIDES = Answers(label="minutes", known_at="ended_at", timezone="Europe/Berlin", entity=("zone",), late=("fare",))
TIMED_RIDES = replace(RIDES, time="asked_at")
VISITS = Answers(label="missed", known_after="3d", timezone="Europe/Berlin", entity=("patient", "clinic"))
SUBSCRIBERS = Answers(label="Churn", snapshot=date(2024, 6, 30))
WIDE = Answers(label="y", snapshot=date(2024, 6, 30))
ODD = Answers(label="minutes", time="from", known_after="1d", timezone="UTC", entity=("class",), key=("Nr.",))
SURVEY = Answers(
    label="satisfaction_on_a_scale",
    time=f"asked_{'x' * 20}",
    known_at=f"answered_{'x' * 20}",
    timezone="UTC",
    entity=("customer_number",),
)
BEGUN: Mapping[str, tuple[Callable[[Path], Path], Answers]] = {
    "rides": (rides, RIDES),
    "visits": (visits, VISITS),
    "subscribers": (subscribers, SUBSCRIBERS),
    "wide": (wide, WIDE),
    "odd": (odd, ODD),
    "survey": (survey, SURVEY),
}
"""Name → what makes its file, and what is answered."""


def begun(root: Path, name: str, csv: Path, answers: Answers) -> str:
    """Begin a use case in a folder, without asking; what the command says."""
    return begin(Places(root, name), csv, answers, ask=False)


def begin_known(root: Path, name: str) -> str:
    """Begin one of BEGUN; what the command says."""
    make, answers = BEGUN[name]
    return begun(root, name, make(root / "data" / f"{name}.csv"), answers)


def notes_of(said: str) -> list[str]:
    """What the command notes, without `note: `."""
    return [line.removeprefix("note: ") for line in said.splitlines() if line.startswith("note: ")]


def facts_of(said: str) -> dict[str, str]:
    """What the command says that it decided: `predicts`, `asked`, `key` and so on."""
    lines = [line for line in said.partition("\nnext:")[0].splitlines() if line.startswith("  ")]
    return {line[2:13].strip(): line[13:] for line in lines}


def section_of(root: Path, name: str) -> dict[str, Any]:
    """The section of a use case in params.yaml."""
    section: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["use_cases"][name]
    return section


@contextmanager
def project_of(root: Path, name: str) -> Iterator[Run]:
    """The project of a use case that was begun, as of a day after its data; its module can be imported meanwhile."""
    section = {block: held for block, held in section_of(root, name).items() if block in Settings.model_fields}
    settings = Settings.model_validate({**section, "use_case": name})
    instants = read_as_of(root, name)
    assert instants
    clock = FixedClock(instants.feature + timedelta(hours=12))
    use_cases.__path__.append(str(root / "use_cases"))
    try:
        yield Run(root, settings, instants, Environment(threads=1), clock)
    finally:
        use_cases.__path__.pop()
        for module in [one for one in sys.modules if f"{one}.".startswith(f"use_cases.{name}.")]:
            del sys.modules[module]
