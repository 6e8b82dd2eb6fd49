"""Use cases that `ratchet init` began in a temporary folder, and their projects."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import yaml

import use_cases
from authoring.init.answers import Answers
from authoring.init.write import Places
from cli.commands.init import begin
from ratchet.core.clock import FixedClock
from ratchet.core.environment import Environment
from ratchet.core.settings import Settings
from ratchet.project.run import Run


def begun(root: Path, name: str, csv: Path, answers: Answers) -> str:
    """Begin a use case in a folder, without asking; what the command says."""
    return begin(Places(root, name), csv, answers, ask=False)


@contextmanager
def project_of(root: Path, name: str) -> Iterator[Run]:
    """The project of a use case that was begun, as of a day after its data; its module can be imported meanwhile."""
    section = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["use_cases"][name]
    section = {block: settings for block, settings in section.items() if block in Settings.model_fields}
    settings = Settings.model_validate({**section, "use_case": name})
    clock = FixedClock(datetime.combine(settings.periods.end, datetime.min.time(), UTC).replace(hour=12))
    use_cases.__path__.append(str(root / "use_cases"))
    try:
        yield Run(root, settings, Environment(threads=1), clock)
    finally:
        use_cases.__path__.pop()
        for module in [one for one in sys.modules if f"{one}.".startswith(f"use_cases.{name}.")]:
            del sys.modules[module]
