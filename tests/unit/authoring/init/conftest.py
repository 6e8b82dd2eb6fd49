"""The use cases that `ratchet init` begins from files of every shape, begun once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.project.run import Run
from tests.support.begun import BEGUN, begin_known, project_of
from tests.support.csv_files import checkout


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all of BEGUN were begun, to be read only."""
    folder = checkout(tmp_path_factory.mktemp("checkout"))
    for name in BEGUN:
        begin_known(folder, name)
    return folder


@pytest.fixture(params=BEGUN)
def run(request: pytest.FixtureRequest, root: Path) -> Iterator[Run]:
    """The project of each."""
    with project_of(root, request.param) as run:
        yield run
