"""What a challenger in the shadow does when much is asked of it, or when it or the disk fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference_pipeline.online.release import ReleasedModel
from inference_pipeline.online.rollout_watch import RolloutWatch
from inference_pipeline.online.shadow import AT_ONCE, MOST_WAITING, Mirrored, Shadow
from ratchet.core.serving_settings import RolloutSettings
from ratchet.prediction_log.shadow import ShadowLog
from ratchet.use_case.contract import Columns

DAY = date(2024, 8, 1)


@dataclass
class Rows:
    """Prepared rows: a number each, or none that can be used."""

    values: Sequence[float]

    @property
    def unusable(self) -> Sequence[bool]:
        return [value < 0 for value in self.values]

    @property
    def columns(self) -> Columns:
        return {"x": np.array(self.values)}


@dataclass
class Challenger:
    """Doubles what it gets, and fails on 13. It may be made to wait."""

    version: int = 7
    may_go: threading.Event = field(default_factory=threading.Event)
    is_asked: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_go.set()

    @property
    def released(self) -> ReleasedModel:
        return ReleasedModel(version=self.version, digest="0" * 64, feature_service="s")

    def predict(self, columns: Columns) -> Any:
        self.is_asked.set()
        self.may_go.wait()
        self.sizes.append(len(columns["x"]))
        if 13 in columns["x"]:
            raise ValueError("13")
        return 2 * columns["x"]


@pytest.fixture
def shadow(tmp_path: Path) -> Shadow:
    return Shadow(tmp_path)


WATCH = RolloutWatch(RolloutSettings())


def mirrored(challenger: Challenger, *values: float, watch: RolloutWatch = WATCH) -> Mirrored:
    rows = [
        {"prediction_id": f"{DAY}-o{value:g}", "time": "2024-08-01T09:00:00+00:00", "prediction": -value}
        for value in values
    ]
    return Mirrored(challenger, watch, Rows(values), rows)  # type: ignore[arg-type]


def shadows(folder: Path) -> list[dict[str, Any]]:
    return [row for block in ShadowLog(folder).read([DAY]) for row in block.to_pylist()]


def logged(folder: Path) -> dict[str, float | None]:
    rows = shadows(folder)
    assert all(-row["answered"] == float(row["prediction_id"].partition("-o")[2]) for row in rows)
    return {row["prediction_id"].partition("-o")[2]: row["prediction"] for row in rows}


def test_what_waits_is_predicted_together(shadow: Shadow, tmp_path: Path) -> None:
    """In a few calls, and all before it is closed. Rows without usable features are left out."""
    slow = Challenger()
    slow.may_go.clear()
    shadow.mirror(mirrored(slow, 0, -1))
    assert slow.is_asked.wait(30)
    for number in range(1, 300):
        shadow.mirror(mirrored(slow, number, -1))
    slow.may_go.set()
    shadow.close()
    assert {f"{number}": 2.0 * number for number in range(300) if number != 13} | {"13": None} == logged(tmp_path)
    assert max(slow.sizes) == AT_ONCE
    assert (299, 1, 0) == (shadow.predicted, shadow.failed, shadow.dropped)


def test_too_much_is_dropped_and_counted(shadow: Shadow, tmp_path: Path) -> None:
    """The caller waits for nothing."""
    slow = Challenger()
    slow.may_go.clear()
    for number in range(MOST_WAITING + AT_ONCE + 100):
        shadow.mirror(mirrored(slow, number + 100))
    assert shadow.dropped >= 100
    slow.may_go.set()
    shadow.close()
    assert MOST_WAITING + AT_ONCE + 100 == shadow.predicted + shadow.dropped == len(logged(tmp_path)) + shadow.dropped


def test_two_challengers_are_told_apart(shadow: Shadow, tmp_path: Path) -> None:
    """A swap while something waits: each predicts what was asked of it."""
    first, second = Challenger(7), Challenger(8)
    first.may_go.clear()
    for number in range(20):
        shadow.mirror(
            mirrored((first, second)[number % 2], number, watch=(WATCH, RolloutWatch(RolloutSettings()))[number % 2])
        )
    first.may_go.set()
    shadow.close()
    rows = shadows(tmp_path)
    versions = {int(row["prediction_id"].partition("-o")[2]) % 2: row["model_version"] for row in rows}
    assert ({0: 7, 1: 8}, 20) == (versions, len(rows))


def test_a_full_disk_is_counted(shadow: Shadow, tmp_path: Path) -> None:
    """And when there is room again, it goes on."""
    (blocked := tmp_path / f"date={DAY}").write_text("in the way")
    shadow.mirror(mirrored(Challenger(), 1, 2))
    shadow.close()
    assert (0, 2) == (shadow.predicted, shadow.dropped)
    blocked.unlink()
    shadow.mirror(mirrored(Challenger(), 3))
    shadow.close()
    assert {"3": 6.0} == logged(tmp_path)


def test_nothing_is_logged_of_nothing(shadow: Shadow, tmp_path: Path) -> None:
    shadow.mirror(mirrored(Challenger(), -1))
    shadow.close()
    assert not [*tmp_path.iterdir()]
