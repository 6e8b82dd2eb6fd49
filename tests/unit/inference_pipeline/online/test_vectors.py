"""Ready feature vectors: predicted as they are, repeated by their key, and monitored as what the model got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inference_pipeline.monitor.drift import scored_window
from inference_pipeline.online.instances import REQUESTS, VECTORS
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import Predictions
from ratchet.core.clock import FixedClock
from ratchet.core.errors import ReusedKeyError
from ratchet.project.run import Run
from tests.support.champions import fixed_predictor, noshow_champion
from tests.support.runs import noshow_project

INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}
NOW = datetime(2024, 7, 24, 12, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(noshow_project(tmp_path), clock=FixedClock(NOW))


@pytest.fixture
def predictor(run: Run) -> Iterator[Predictor]:
    predictor = fixed_predictor(run)
    yield predictor
    predictor.shared.log.close()


@pytest.fixture
def vector(predictor: Predictor) -> dict[str, Any]:
    return {name: "south" if kind == "string" else 0.25 for name, kind in predictor.release.inputs.items()}


def ask(predictor: Predictor, *vectors: dict[str, Any], key: str | None = None) -> Predictions:
    return asyncio.run(predictor.predict(predictor.instances[VECTORS].read_rows([*vectors]), key))


def test_what_the_model_got_is_monitored(run: Run, predictor: Predictor, vector: dict[str, Any]) -> None:
    """Vectors beside requests whose features were looked up, each with its own prediction."""
    ask(predictor, vector, dict.fromkeys(vector))
    body = json.dumps({"instances": [INSTANCE] * 2}).encode()
    asyncio.run(predictor.predict(predictor.instances[REQUESTS].read_json(body)))
    champion = noshow_champion(run)
    window = scored_window(run, champion)
    assert 4 == len(window["prediction"])
    given = [{name: window[name][row] for name in vector} for row in (2, 3)]
    assert vector in given
    assert NOW.replace(tzinfo=None) in window["event_timestamp"].tolist()
    assert champion.model.predict({name: window[name] for name in vector}).tolist() == window["prediction"].tolist()


def test_a_key_gives_the_same_answer_again(run: Run, predictor: Predictor, vector: dict[str, Any]) -> None:
    """Also later. Another vector with the key is refused, and so is a request."""
    first = ask(predictor, vector, key="visit-1")
    later = replace(predictor, clock=FixedClock(NOW.replace(hour=13)))
    again = ask(later, vector, key="visit-1")
    assert ([row.id for row in first.rows], True) == ([row.id for row in again.rows], again.is_repeated)
    assert first.rows[0].value == again.rows[0].value
    with pytest.raises(ReusedKeyError):
        ask(predictor, dict.fromkeys(vector), key="visit-1")
    request = predictor.instances[REQUESTS].read_json(json.dumps({"instances": [INSTANCE]}).encode())
    with pytest.raises(ReusedKeyError):
        asyncio.run(predictor.predict(request, "visit-1"))


def test_a_vector_needs_no_store(predictor: Predictor, vector: dict[str, Any]) -> None:
    """Nothing is looked up."""

    class Untouched:
        async def read(self, _wanted: object) -> Any:
            raise AssertionError

        def close(self) -> None:
            pass

    predictor.features._reader = Untouched()
    (row,) = ask(predictor, vector).rows
    assert ("given", {}) == (row.rung, row.feature_ages)
