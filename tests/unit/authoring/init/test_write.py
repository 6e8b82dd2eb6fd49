"""`ratchet init` writes all of a use case or nothing, and never over what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.core.errors import SettingsError, StoreError
from tests.support.begun import RIDES, begin_known, begun
from tests.support.csv_files import PARAMS, checkout, rides


@pytest.mark.parametrize("name", ["Rides", "2rides", "ri-des", "class", "a__b", ""])
def test_a_name_is_that_of_a_module(name: str, tmp_path: Path) -> None:
    """Lower case, so that folders, tables and models can be called by it."""
    with pytest.raises(SettingsError, match="lower-case") as raised:
        begun(checkout(tmp_path), name, rides(tmp_path / "rides.csv"), RIDES)
    assert repr(name) == raised.value.subject


@pytest.mark.parametrize("path", ["use_cases/rides", "tests/use_cases/test_rides.py"])
def test_nothing_is_overwritten(path: str, tmp_path: Path) -> None:
    """A folder or a test of that name stays."""
    (checkout(tmp_path) / path).mkdir(parents=True)
    with pytest.raises(SettingsError, match="overwritten") as raised:
        begin_known(tmp_path, "rides")
    assert path == raised.value.subject
    assert PARAMS == (tmp_path / "params.yaml").read_text()


def test_all_of_it_or_nothing(tmp_path: Path) -> None:
    """Where the test cannot be written, the use case is taken back."""
    (checkout(tmp_path) / "tests").write_text("in the way")
    with pytest.raises(StoreError, match="written") as raised:
        begin_known(tmp_path, "rides")
    assert raised.value.subject.startswith(str(tmp_path / "tests"))
    assert {"params.yaml", "data", "tests", "use_cases"} == {path.name for path in tmp_path.iterdir()}
    assert [] == [*(tmp_path / "use_cases").iterdir()]
    assert PARAMS == (tmp_path / "params.yaml").read_text()
