"""What we use of libraries without their promise: each is pinned, so that an upgrade is stopped here and told where to look."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.checkout import ROOT

PACKAGES = (
    "ratchet",
    "use_cases",
    "feature_repo",
    "feature_pipeline",
    "training_pipeline",
    "inference_pipeline",
    "flows",
)
PINNED = {
    "lightgbm": (
        "4.7.0",
        "training_pipeline/train.py takes the names of parameters and their aliases from a private class",
    ),
    "evidently": ("0.7.23", "inference_pipeline/monitor/drift_page.py registers our PSI through evidently.legacy"),
    "skops": ("0.16.0", "ratchet/models/model.py numbers the addresses in schema.json of an archive, for equal bytes"),
    "feast": ("0.67.0", "ratchet/feature_store/online_sqlite.py hands the SQLite store an open connection"),
    "uvicorn": (
        "0.54.0",
        "inference_pipeline/online/access/connection.py extends the connections of its protocol class, and registers them; "
        "draining.py adds to the shutdown of its servers",
    ),
    "prometheus-client": ("0.24.1", "inference_pipeline/online/histogram.py adds to the buckets of a histogram"),
    "dvc": ("3.67.1", "ratchet/project/restore.py fills stages from a lock of its own and checks out their outputs"),
}
USED = {("training_pipeline/train.py", "_ConfigAliases"), ("training_pipeline/train.py", "_get_all_param_aliases")} | {
    ("ratchet/feature_store/online_sqlite.py", "_conn")
}
"""File and name of a library; the others of PINNED are no private names, but promised by nobody."""


@pytest.mark.parametrize("library", PINNED)
def test_an_upgrade_is_looked_at(library: str) -> None:
    """Upgrade it, run the tests of the file that is named, see whether the library now offers the same openly, and pin anew."""
    version, where = PINNED[library]
    locked = re.search(rf"^{library}==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked
    assert version == locked[1], where


def test_no_other_private_name_is_used() -> None:
    """Names that begin with an underscore belong to the object itself, its class or its module."""
    assert USED == {
        (path.relative_to(ROOT).as_posix(), name)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in foreign(ast.parse(path.read_text(encoding="utf-8")))
    }


def foreign(tree: ast.Module) -> Iterator[str]:
    """Private attributes of what is not `self` or `cls`, and defined nowhere in the module."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") not in {"self", "cls"}:
            yield from {node.attr} - own if re.match("_(?!_)", node.attr) else ()
