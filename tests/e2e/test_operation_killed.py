"""Half a year of operation, killed at random moments and run again: it ends where an undisturbed one ends.

Each attempt is a child of a server that has imported the libraries, so that a kill hits work and no import. It goes on with the
step at which the one before it was killed, as DVC and Prefect do.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import psutil
import pytest

from ratchet.core.errors import RatchetError
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.status import status
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.project.steps import STEPS
from ratchet.storage.files import read_json, write_json
from tests.support.killing import contents
from tests.support.killing_sql import online_rows
from tests.support.operation import Operation, real_months, simulated_year
from tests.support.taxi import real_months as folder_of_months

KILLS = 50
LEFTOVER = re.compile(r"(^|/)\.[^/]+\.(tmp|old)(/|$)")
TREES = 20
LIBRARIES = ("duckdb", "evidently", "feast", "great_expectations", "ibis", "lightgbm", "mlflow.pyfunc", "skops.io")
Script = Callable[[Path], Operation]


def half_a_year(checkout: Path) -> Operation:
    """Of real months."""
    months = folder_of_months()
    assert months
    return real_months(checkout, months)


def a_year(checkout: Path) -> Operation:
    """Of a small simulated city."""
    return simulated_year(checkout, trips_per_day=400)


def operate(script: Script, checkout: Path) -> None:
    """Run every step after every event, from the one on that a file beside the checkout names; sign with the key beside it."""
    os.environ["RATCHET_SIGNING_KEY"] = os.fspath(checkout.with_name("gate.key"))
    operation, steps, place = script(checkout), list(STEPS), checkout.with_suffix(".json")
    event, step = read_json(place) if place.exists() else (0, 0)
    while event < len(operation.events):
        try:
            run = operation.after(operation.events[event])
            for number in range(step, len(steps)):
                run_step(run, steps[number], STEPS[steps[number]].load())
                write_json(place, (event, number + 1))
        except RatchetError as error:
            print(f"{operation.events[event].what}: {error}")  # noqa: T201 - shown where the test fails
        event, step = event + 1, 0
        write_json(place, (event, step))


def attempt(
    context: ForkServerContext, script: Script, checkout: Path, most: float = float("inf")
) -> tuple[bool, float]:
    """Operate, and kill it after some seconds of CPU time, which other work on the machine does not shorten. Returns whether it
    was killed, and how many seconds it took."""
    process = context.Process(target=operate, args=(script, checkout))
    process.start()
    watched, taken = psutil.Process(process.pid), 0.0
    while process.is_alive() and taken < most:
        process.join(0.02)
        with suppress(psutil.Error):  # it has ended
            taken = sum(watched.cpu_times()[:2])
    if was_killed := process.is_alive():
        process.kill()
    process.join()
    assert was_killed or process.exitcode == 0
    return was_killed, taken


def kept(folder: Path) -> dict[str, str]:
    """The contents but for what was being written by a process that was killed: `ratchet gc` removes that after a day."""
    return {name: of for name, of in contents(folder).items() if not LEFTOVER.search(name)}


def facts(checkout: Path) -> dict[str, Any]:
    """All that must not depend on how it came about: every byte of data and reports, online values, and what serves."""
    run = Run.load(checkout, "nyc_taxi")
    found = status(ModelRegistry.open(run))
    return {
        **{name: kept(checkout / name) for name in ("data", "reports")},
        "online": online_rows(run),
        "registry": {**found, "history": [{**entry, "at": None} for entry in found["history"]]},
    }


@pytest.mark.soak
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            half_a_year,
            marks=pytest.mark.skipif(
                folder_of_months() is None, reason="needs real months: set TLC_DATA to their folder"
            ),
        ),
        a_year,
    ],
)
def test_killed_at_fifty_moments_it_ends_in_the_same_bytes(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data, reports, online values and the registry are those of an operation that nobody disturbed."""
    monkeypatch.setenv("RATCHET_SIGNING_KEY", os.fspath(tmp_path / "gate.key"))
    script(tmp_path / "begun").begin(TREES)
    undisturbed, disturbed = (shutil.copytree(tmp_path / "begun", tmp_path / name) for name in ("one", "other"))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES, __name__])
    _, taken = attempt(context, script, undisturbed)
    chance, longest = random.Random(10), 2 * taken / KILLS
    for _ in range(KILLS):
        was_killed, _ = attempt(context, script, disturbed, chance.uniform(0, longest))
        assert was_killed
    attempt(context, script, disturbed)
    assert facts(undisturbed) == facts(disturbed)
