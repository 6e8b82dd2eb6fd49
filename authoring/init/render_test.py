"""The text of the test that comes with a use case."""

from __future__ import annotations

TEXT = '''"""Tests of the use case {name}: its declaration compiles, and `ratchet check` finds no problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from authoring.check import check
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from use_cases.{name} import use_case

ROOT = Path(__file__).parents[2]


def test_the_declaration_compiles() -> None:
    """The feature service has every view and every input, in the declared order."""
    spec = service_spec(use_case)
    assert [view.name for view in use_case.views] == list(spec.views)
    assert list(use_case.inputs.items()) == list(spec.inputs.items())


def test_check_finds_nothing() -> None:
    """`ratchet check` finds no mistake in the declaration, and no repeated key or leak in a sample of the data."""
    run = Run.load(ROOT, "{name}")
    if not (ROOT / run.settings.source.path).exists():
        pytest.skip("the data file that params.yaml names does not exist")
    assert [] == check(run)
'''


def text_of_test(name: str) -> str:
    """The text of `tests/use_cases/test_NAME.py`."""
    return TEXT.format(name=name)
