"""Compiled models: the same numbers as the models themselves, bit for bit, or none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ratchet.core.errors import DataError
from ratchet.models.compiled.compiled_model import BOOSTER, PARTS, CompiledModel, load_compiled, write_compiled
from ratchet.models.compiled.contributions import Contributions
from ratchet.models.compiled.golden import golden_rows
from ratchet.models.compiled.trees import CompiledTrees
from ratchet.models.model import Model
from tests.support.models import noshow_baseline, noshow_candidate, noshow_columns

MAKERS = {"baseline": noshow_baseline, "candidate": noshow_candidate}
TEXTS = st.one_of(st.none(), st.sampled_from(["north", "south", "", "\x1f", "p1", "p29"]), st.text(max_size=3))
NUMBERS = st.one_of(st.none(), st.integers(0, 30).map(float), st.floats())


def compiled(model: Model, directory: Path) -> Path:
    golden = golden_rows(pa.table(dict(noshow_columns(500))), model.contract.inputs)
    directory.mkdir()
    write_compiled(directory, model.pipeline, golden, model.numbers(golden))
    return directory


@pytest.fixture(scope="module", params=["baseline", "candidate"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, CompiledModel]:
    model = MAKERS[request.param]()
    return model, load_compiled(compiled(model, tmp_path_factory.mktemp("compiled") / "model"))


def rows_of(model: Model) -> st.SearchStrategy[list[dict[str, Any]]]:
    values = {"category": TEXTS, "number": NUMBERS}
    row = st.fixed_dictionaries({name: values[kind] for name, kind in model.contract.inputs.items()})
    return st.lists(row, min_size=1, max_size=20)


@given(data=st.data())
def test_gives_the_same_numbers(both: tuple[Model, CompiledModel], data: st.DataObject) -> None:
    """For any row, whatever is missing, unseen, huge or infinite, and however many rows come with it."""
    model, other = both
    rows = data.draw(rows_of(model))
    kinds = {"category": object, "number": np.float64}
    columns = {name: np.array([row[name] for row in rows], kinds[kind]) for name, kind in model.contract.inputs.items()}
    numbers = model.numbers(columns)
    assert numbers.tobytes() == other.numbers(columns).tobytes()
    assert numbers.tobytes() == np.array([other.number(row) for row in rows]).tobytes()


def test_ten_thousand_rows(both: tuple[Model, CompiledModel]) -> None:
    model, other = both
    columns = noshow_columns(10_000, seed=3)
    assert model.numbers(columns).tobytes() == other.numbers(columns).tobytes()
    assert 1 < len(np.unique(other.numbers(columns)))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_is_refused_if_one_golden_row_differs(make: Any, tmp_path: Path) -> None:
    """By one bit of one number."""
    model = make()
    golden = golden_rows(pa.table(dict(noshow_columns(500))), model.contract.inputs)
    numbers = model.numbers(golden)
    numbers[7] = np.nextafter(numbers[7], np.inf)
    write_compiled(tmp_path, model.pipeline, golden, numbers)
    with pytest.raises(DataError, match="golden"):
        load_compiled(tmp_path)


def test_categories_in_another_order_are_refused(tmp_path: Path) -> None:
    directory = compiled(noshow_candidate(), tmp_path / "model")
    parts = json.loads((directory / PARTS).read_bytes())
    categories = next(categories for _, categories in parts["columns"] if categories)
    categories.reverse()
    (directory / PARTS).write_text(json.dumps(parts))
    with pytest.raises(DataError, match="golden"):
        load_compiled(directory)


@pytest.mark.parametrize("text", [b"", b"trees\n", None], ids=["empty", "other", "cut short"])
def test_a_broken_booster_is_refused(text: bytes | None, tmp_path: Path) -> None:
    path = compiled(noshow_candidate(), tmp_path / "model") / BOOSTER
    path.write_bytes(path.read_bytes()[:2000] if text is None else text)
    with pytest.raises(DataError):
        load_compiled(path.parent)


def test_another_form_has_none(tmp_path: Path) -> None:
    """A step more may do anything to the rows."""
    model = noshow_candidate()
    longer = Pipeline([("slipped", FunctionTransformer()), *model.pipeline.steps])
    with pytest.raises(DataError, match="form"):
        write_compiled(tmp_path, longer, {}, np.empty(0))


def test_needs_no_library_of_training(tmp_path: Path) -> None:
    """Neither scikit-learn nor pandas nor the package of LightGBM is imported to load and use one."""
    directory = compiled(noshow_candidate(), tmp_path / "model")
    code = (
        "import sys; from pathlib import Path\n"
        "from ratchet.models.compiled.compiled_model import load_compiled\n"
        f"load_compiled(Path({str(directory)!r}))\n"
        "print(*sorted({'sklearn', 'pandas', 'lightgbm', 'scipy', 'skops'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "" == found.stdout.strip()


def test_contributions_add_up_to_the_number(both: tuple[Model, CompiledModel]) -> None:
    """With the base value, for any row; those of a baseline are the base value alone."""
    model, other = both
    columns = golden_rows(pa.table(dict(noshow_columns(500))), model.contract.inputs)
    found, numbers = other.contributions(columns), other.numbers(columns)
    sums = found.base + found.added.sum(axis=1)
    expected = {"log-odds": 1 / (1 + np.exp(-sums)), "prediction": sums}
    np.testing.assert_allclose(expected[found.scale], numbers, rtol=1e-12)
    if isinstance(other, CompiledTrees):
        assert ("log-odds", [*model.contract.inputs]) == (
            found.scale,
            sorted(found.names, key=[*model.contract.inputs].index),
        )
        assert 1 < len(np.unique(found.added.round(6)))


def test_contributions_that_do_not_add_up_are_refused() -> None:
    found = Contributions(["a"], np.array([1.0]), np.array([[2.0]]), "prediction")
    found.require_sums(np.array([3.0 + 1e-12]))
    with pytest.raises(DataError, match="add up"):
        found.require_sums(np.array([3.0 + 1e-6]))
