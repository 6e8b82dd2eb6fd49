"""Requests that are predicted together get what each would get alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from inference_pipeline.online.batches import Batches
from ratchet.use_case.contract import Columns

MOST = 8


@dataclass
class Model:
    """Doubles what it gets, and fails on 13; it can be made to wait."""

    factor: float = 2.0
    may_go: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)

    def predict(self, columns: Columns) -> Any:
        assert self.may_go.wait(30)
        self.sizes.append(len(columns["x"]))
        if 13 in columns["x"]:
            raise ValueError("13")
        return self.factor * columns["x"]


def ask(batches: Batches, model: Model, *values: float) -> Coroutine[Any, Any, Any]:
    return batches.predict(model, {"x": np.array(values)}, len(values))  # type: ignore[arg-type]


def answers(*asked: tuple[Model, tuple[float, ...]]) -> list[Any]:
    """What requests get that all come while the first of them is predicted."""
    batches = Batches(MOST)

    async def all_at_once() -> list[Any]:
        waiting = [asyncio.ensure_future(ask(batches, model, *values)) for model, values in asked]
        await asyncio.sleep(0)
        for model, _ in asked:
            model.may_go.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    found = asyncio.run(all_at_once())
    batches.close()
    return [each if isinstance(each, Exception) else each.tolist() for each in found]


def test_who_comes_meanwhile_is_predicted_together() -> None:
    """In order, in batches of at most so many rows; the first one alone."""
    model = Model()
    asked = [(model, (float(number),)) for number in range(10)]
    assert [[2.0 * number] for number in range(10)] == answers(*asked)
    assert [1, MOST, 1] == model.sizes


def test_a_large_request_is_predicted_at_once() -> None:
    """Also if it has more rows than a batch; it is not divided, and not mixed with others."""
    model = Model()
    many = tuple(float(number) for number in range(20, 32))
    assert [[0.0], [2 * each for each in many], [2.0]] == answers((model, (0.0,)), (model, many), (model, (1.0,)))
    assert [1, 12, 1] == model.sizes


def test_two_models_are_not_mixed() -> None:
    first, second = Model(2.0), Model(3.0)
    asked = [((first, second)[number % 2], (1.0,)) for number in range(6)]
    assert [[2.0], [3.0]] * 3 == answers(*asked)


def test_one_that_fails_fails_alone() -> None:
    """The others of its batch are answered."""
    model = Model()
    found = answers(*((model, (value,)) for value in (0.0, 1.0, 13.0, 3.0)))
    assert [[0.0], [2.0], [6.0]] == [found[place] for place in (0, 1, 3)]
    assert isinstance(found[2], ValueError)


def test_a_caller_that_has_gone_holds_up_nobody() -> None:
    model, batches = Model(), Batches(MOST)

    async def one_goes() -> Any:
        going, staying = (asyncio.ensure_future(ask(batches, model, value)) for value in (1.0, 2.0))
        await asyncio.sleep(0)
        going.cancel()
        model.may_go.set()
        with pytest.raises(asyncio.CancelledError):
            await going
        return await staying

    assert [4.0] == asyncio.run(one_goes()).tolist()
    batches.close()
