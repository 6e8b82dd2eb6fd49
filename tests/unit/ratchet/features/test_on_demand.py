"""A function's fingerprint changes with whatever may change its result, and with nothing else."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ratchet.core import clock
from ratchet.core.errors import SettingsError
from ratchet.features.on_demand import function_fingerprint
from ratchet.use_case import contract

ON_DEMAND = '''
"""Columns of a request."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import ratchet.core.clock
from own import numbers
from ratchet.use_case.contract import Columns

from .deep.places import *

if TYPE_CHECKING:
    import ibis

FARES = {"day": 2, "night": 3}
rounded = partial(round, ndigits=2)


def scaled(by):
    return lambda value: value * by


half = scaled(1 / 2)


@lru_cache(maxsize=4)
def cached(value: float) -> float:
    return value + 1


def on_demand(columns: Columns) -> Columns:
    """Numbers."""
    from .late import LATE
    unused = LATE if columns else 1  # a comment
    inside = [half(zone) for zone in ZONES if (last := zone + 1) not in {1, 2}]
    named = {key: f"{fare:>{unused}}{{}}" for key, fare in FARES.items()}
    return inside, last, named, rounded(cached(numbers.LIMIT)), math.pi, defaultdict(list)


def postprocess(columns, predictions):
    return predictions
'''
FILES = {
    "__init__.py": "from .use_case import on_demand",
    "use_case.py": "import logging\nfrom .on_demand import on_demand\nRULE = 1",
    "on_demand.py": ON_DEMAND,
    "numbers.py": "import own.more as more\nLIMIT = more.MOST + 10",
    "more.py": "from own import numbers\nMOST = 5",
    "late.py": "LATE = 13",
    "deep/__init__.py": "import logging\nBESIDE = 1",
    "deep/places.py": "ZONES = [1, 2]",
    "views.py": "import ibis\nWINDOW = 28",
}
Take = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place of the package `own`, one for all tests: where a package lies does not change while Python runs."""
    return tmp_path_factory.mktemp("code")


@pytest.fixture
def take(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Take]:
    """Of a package `own` of some files, the fingerprint of a name in its module `on_demand`."""

    def taken(files: Mapping[str, str], name: str = "on_demand") -> str:
        forget()
        shutil.rmtree(folder / "own", ignore_errors=True)
        for file, text in files.items():
            (folder / "own" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "own" / file).write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return function_fingerprint("on_demand", vars(importlib.import_module("own.on_demand"))[name])

    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield taken
    forget()


def forget() -> None:
    """Let the next import of the package read its files."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "own"]:
        del sys.modules[name]


def edited(before: str, after: str) -> dict[str, str]:
    """FILES with one of them changed."""
    assert 1 == sum(text.count(before) for text in FILES.values())
    return {name: text.replace(before, after) for name, text in FILES.items()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("columns else 1", "columns else 2"),
        ('"night": 3', '"night": 4'),
        ("ndigits=2", "ndigits=3"),
        ("scaled(1 / 2)", "scaled(1 / 3)"),
        ("value * by", "value / by"),
        ("value + 1\n", "value + 1.5\n"),
        ("    import ibis\n\n", "    import ibis\nelse:\n    ibis = 1\n\n"),
        ("return predictions", "return predictions * 2"),
        ("MOST + 10", "MOST + 12"),
        ("MOST = 5", "MOST = 6"),
        ("LATE = 13", "LATE = 14"),
        ("[1, 2]", "[2, 1]"),
        ("import math\n", "import math\nimport enum\n"),
    ],
)
def test_it_changes_with_every_module_that_the_function_follows_from(take: Take, before: str, after: str) -> None:
    """Whether it is imported by its name, relatively, late, as a star, or by another."""
    assert take(FILES) != take(edited(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  # a comment", ""),
        ('"""Numbers."""', '"""Something else."""'),
        ('"""Columns of a request."""', ""),
        ("cached(value: float) -> float", "cached(value: int) -> int"),
        ("return value + 1\n", "return (\n        value + 1\n    )\n"),
        ("    import ibis\n\n", "    import pyarrow\n\n    from .views import WINDOW\n\n"),
        ("if TYPE_CHECKING:\n    import ibis\n\n", ""),
        ("WINDOW = 28", "WINDOW = 29"),
        ("RULE = 1", "RULE = 2"),
        ("BESIDE = 1", "BESIDE = 2"),
        ("from .use_case import on_demand", ""),
    ],
)
def test_it_does_not_change_with_the_rest(take: Take, before: str, after: str) -> None:
    """Prose, layout, annotations, and modules beside those or on the way to them demand no new model."""
    assert take(FILES) == take(edited(before, after))


def test_functions_of_one_module_are_told_apart(take: Take) -> None:
    """By their names, for they share all else."""
    assert take(FILES) != take(FILES, "postprocess")


def test_it_is_the_same_in_every_version_of_python_and_on_every_machine(take: Take) -> None:
    """Versions print trees differently, and folders have other names; a model outlives them."""
    files = edited("import ratchet.core.clock\n", "")
    assert "e1b70e6fdcb83ba62ba43eed40b7adf70974fa86dcc584398e23cac1b7513180" == take(files)


def test_the_clock_counts(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model learnt what `ratchet.core.clock` made of an instant: code that makes something else of it needs another one."""
    before = take(FILES)
    other = tmp_path / "clock.py"
    other.write_text(Path(str(clock.__file__)).read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")
    monkeypatch.setattr(clock, "__file__", str(other))
    assert before != take(FILES)


def test_the_contract_counts_by_name(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has types, and the functions of a use case that declares none; an edit of it asks for no new model."""

    def fingerprints() -> list[str]:
        return [take(FILES), *(function_fingerprint("postprocess", one) for one in defaults)]

    defaults = contract.as_it_is, contract.UseCase.on_demand
    before, other = fingerprints(), tmp_path / "contract.py"
    other.write_text("import ibis\n", encoding="utf-8")
    monkeypatch.setattr(contract, "__file__", str(other))
    assert before == fingerprints()
    assert 3 == len(set(before))


@pytest.mark.parametrize(
    ("file", "added", "named"),
    [
        ("on_demand.py", "import ibis", "own.on_demand imports ibis,"),
        ("on_demand.py", "from pathlib import Path", "own.on_demand imports pathlib,"),
        ("on_demand.py", "import os, math, sys", "own.on_demand imports os, sys,"),
        ("on_demand.py", "def late():\n    import importlib", "own.on_demand imports importlib,"),
        ("on_demand.py", "try:\n    import pandas as pd\nexcept ImportError:\n    pd = None", "imports pandas,"),
        ("on_demand.py", "from ratchet.use_case.windows import trailing", "imports ratchet.use_case.windows,"),
        ("on_demand.py", "from tests.support import noshow", "own.on_demand imports tests.support.noshow,"),
        ("on_demand.py", "from .views import WINDOW", "own.views imports ibis,"),
        ("on_demand.py", "from own import RULE", "own.use_case imports logging,"),
        ("more.py", "import logging.handlers", "own.more imports logging,"),
        ("late.py", "import random", "own.late imports random,"),
    ],
)
def test_another_import_is_refused(take: Take, file: str, added: str, named: str) -> None:
    """The error names the function, the module and what it imports, however far from the function, and where to move it."""
    # the package is whole before it imports the module, so that this can import from it
    beside = "RULE = 1\nfrom .use_case import on_demand"
    files = {**FILES, "__init__.py": beside, file: f"{FILES[file]}\n{added}\n"}
    with pytest.raises(SettingsError) as refused:
        take(files)
    assert "on_demand, on_demand of own.on_demand" == refused.value.subject
    assert named in refused.value.problem
    assert "use_cases/NAME/on_demand.py" in refused.value.remedy


PLAIN = """
from functools import lru_cache, partial, wraps

def doubled(function):
    @wraps(function)
    def twice(value):
        return function(value) * 2
    return twice

def numbered(function):
    return 1 if function.__name__ == "numbered" else function

def made():
    def inside(value):
        return value
    return inside

def given(value):
    return value

class Kept:
    def method(self, value):
        return value
    def __call__(self, value):
        return value

again = given
replaced = given

@numbered
def marked(value):
    return value

@doubled
def decorated(value):
    return value

@lru_cache
def cached(value):
    return value

old = marked
def marked(value):
    return value * 2

bound, unbound, instance, part = Kept().method, Kept.method, Kept(), partial(given, value=1)
from_lambda, from_call, builtin = lambda value: value, made(), abs
"""


@pytest.mark.parametrize("name", ["given", "again", "marked"])
def test_a_function_is_known_by_its_name(take: Take, name: str) -> None:
    """Whatever else it is called, and by whatever decorator that leaves it as it is."""
    assert take({"on_demand.py": PLAIN}, "given" if name == "again" else name) == take({"on_demand.py": PLAIN}, name)


@pytest.mark.parametrize(
    "name",
    [
        "decorated",
        "cached",
        "old",
        "bound",
        "unbound",
        "instance",
        "part",
        "from_lambda",
        "from_call",
        "builtin",
        "Kept",
    ],
)
def test_what_no_name_leads_to_is_refused(take: Take, name: str) -> None:
    """What a call made depends on the call, which may be anywhere; a function that calls it is told by its text."""
    with pytest.raises(SettingsError, match=r"^on_demand: .*lambda"):
        take({"on_demand.py": PLAIN}, name)


@pytest.mark.parametrize("module", ["own.nowhere", "numpy.nowhere", "math", "__main__"])
def test_a_function_without_a_file_is_refused(module: str) -> None:
    """What was compiled from no file cannot be compared."""
    names = {"__name__": module}
    exec("def on_demand(columns): return columns", names)  # noqa: S102 # as an interactive session does
    with pytest.raises(SettingsError, match=rf"no file .*\b{module}\b"):
        function_fingerprint("on_demand", names["on_demand"])  # type: ignore[arg-type]


COMPILED = """
import sys, types
fast = sys.modules["own.fast"] = types.ModuleType("own.fast")
fast.__file__ = "own/fast.so"
"""


def test_a_module_of_another_language_is_refused(take: Take) -> None:
    """It has no syntax that could count."""
    files = {"__init__.py": COMPILED, "on_demand.py": "from own import fast\ndef on_demand(columns): return fast"}
    with pytest.raises(SettingsError, match=r"\bown\.fast\b"):
        take(files)


def test_a_file_that_was_broken_since_is_named(take: Take, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The code that runs can then not be told."""
    broken = tmp_path / "broken.py"
    for spoil in (lambda: broken.write_text("def on_demand(", encoding="utf-8"), broken.unlink):
        spoil()
        monkeypatch.setattr(clock, "__file__", str(broken))
        with pytest.raises(SettingsError, match=r"ratchet\.core\.clock cannot be read"):
            take(FILES)
