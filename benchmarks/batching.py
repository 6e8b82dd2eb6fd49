"""When it pays to predict requests together (`serving.batch_rows`): `python -m benchmarks.batching`.

16 callers, each of whom asks again when it has its answer, and a model of scikit-learn: each request at once, as is the
default, or together with those that come while the model is busy.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from inference_pipeline.online.batches import Batches
from ratchet.use_case.contract import Columns

CALLERS, SECONDS, INPUTS = 16, 4.0, 36
Predict = Callable[[Columns], Awaitable[Any]]


@dataclass
class Scored:
    """A model as a scorer has it: columns to numbers."""

    model: Any

    def predict(self, columns: Columns) -> Any:
        return self.model.predict(np.column_stack([*columns.values()]))


def columns_of(rows: int, seed: int) -> dict[str, Any]:
    drawn = np.random.default_rng(seed).normal(size=(INPUTS, rows))
    return {f"x{number}": column for number, column in enumerate(drawn)}


async def load(predict: Predict, callers: int) -> list[float]:
    """The seconds of each answer."""
    times: list[float] = []
    ends = time.perf_counter() + SECONDS

    async def ask(number: int) -> None:
        columns = columns_of(1, number)
        while time.perf_counter() < ends:
            began = time.perf_counter()
            await asyncio.sleep(0)  # the others come before this one
            await predict(columns)
            times.append(time.perf_counter() - began)

    await asyncio.gather(*map(ask, range(callers)))
    return times


def measured(scorer: Scored, most: int, callers: int) -> tuple[float, float, float]:
    """Requests a second, and the median and 99th percentile of milliseconds."""
    batches = Batches(most)

    async def at_once(columns: Columns) -> Any:
        return scorer.predict(columns)

    async def together(columns: Columns) -> Any:
        return await batches.predict(scorer, columns, 1)  # type: ignore[arg-type]

    times = asyncio.run(load(together if most > 1 else at_once, callers))
    batches.close()
    return len(times) / SECONDS, *(float(np.quantile(times, share)) * 1000 for share in (0.5, 0.99))


def main() -> None:
    rows = np.column_stack([*columns_of(5000, 99).values()])
    target = rows[:, 0] + np.sin(rows[:, 1])
    models = {
        "linear model": Ridge().fit(rows, target),
        "forest of 20 trees": RandomForestRegressor(20, random_state=1).fit(rows, target),
        "forest of 300 trees": RandomForestRegressor(300, random_state=1).fit(rows, target),
    }
    write("| model | callers | batch_rows | requests/s | p50 ms | p99 ms |\n| --- | --- | --- | --- | --- | --- |")
    for name, model in models.items():
        for callers in (1, CALLERS):
            for most in (1, 64):
                found = " | ".join(f"{each:,.1f}" for each in measured(Scored(model), most, callers))
                write(f"| {name} | {callers} | {most} | {found} |")


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
