"""The text of the test that comes with a use case."""

from __future__ import annotations

TEXT = '''"""The use case {name}: what it declares holds together, and in its data nothing is amiss."""

from __future__ import annotations

from pathlib import Path

import pytest

from authoring.check import check
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from use_cases.{name} import use_case

ROOT = Path(__file__).parents[2]


def test_the_declaration_compiles() -> None:
    """Every view is one of the feature service, and every input keeps its place."""
    spec = service_spec(use_case)
    assert [view.name for view in use_case.views] == list(spec.views)
    assert list(use_case.inputs.items()) == list(spec.inputs.items())


def test_nothing_is_amiss() -> None:
    """`ratchet check` finds no mistake in the declaration, nor in a sample of the data: no key twice, no leak."""
    run = Run.load(ROOT, "{name}")
    if not (ROOT / run.settings.source.path).exists():
        pytest.skip("needs the data that params.yaml names")
    assert [] == check(run)
'''


def text_of_test(name: str) -> str:
    """`tests/use_cases/test_NAME.py`."""
    return TEXT.format(name=name)
