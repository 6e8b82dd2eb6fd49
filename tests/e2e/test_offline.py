"""The whole loop on a machine without a network, in whose environment nothing was switched off beforehand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ratchet.core.telemetry import QUIET
from tests.support.checkout import environment, noshow_checkout

WITHOUT_NETWORK = ("unshare", "--map-root-user", "--net")


def can_unshare() -> bool:
    try:
        return not subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False


@pytest.mark.soak
@pytest.mark.skipif(not can_unshare(), reason="this machine lets nobody make a network namespace (`unshare -rn true`)")
def test_the_loop_needs_no_network(tmp_path: Path) -> None:
    """`dvc repro` ends with a model that won its place and serves, in a home that holds no settings of anybody's."""
    home, checkout = tmp_path / "home", noshow_checkout(tmp_path / "checkout")
    home.mkdir()
    bare = {name: value for name, value in environment().items() if name not in QUIET} | {"HOME": os.fspath(home)}
    done = subprocess.run(
        [*WITHOUT_NETWORK, "dvc", "repro"], cwd=checkout, env=bare, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, f"{done.stdout}\n{done.stderr}"
    serving = checkout / "state" / "noshow" / "clinic" / "serving.json"
    assert 2 == json.loads(serving.read_text(encoding="utf-8"))["version"]
