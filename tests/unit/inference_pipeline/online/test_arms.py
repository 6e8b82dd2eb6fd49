"""Who gets which arm: always the same, whatever else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.online.arms import Arms, place
from inference_pipeline.online.protocols.port import Inputs
from inference_pipeline.online.requests import Requests
from inference_pipeline.online.scorer import Scorer
from inference_pipeline.online.vectors import Vectors
from ratchet.gate.rollout import Rollout
from tests.unit.ratchet.gate.test_rollout import change

ENTITIES = st.sets(st.text(max_size=5), min_size=1, max_size=4)


def scorer() -> Scorer:
    return object.__new__(Scorer)


CHAMPION, CHALLENGER = scorer(), scorer()


def requests(*patients: str, clinic: str = "north") -> Requests:
    return Requests({"patient": patients, "clinic": [clinic] * len(patients)}, {}, [0] * len(patients))


def arm(rollout: Rollout | None, inputs: Inputs, *sticky_by: str) -> str:
    return Arms(CHAMPION, CHALLENGER, rollout, sticky_by).of(inputs).name


def at(share: int, started: int = 1) -> Rollout:
    return change(share).model_copy(update={"started": started})


@given(ENTITIES, st.integers(1, 99))
def test_a_larger_share_takes_nobody_away(patients: set[str], share: int) -> None:
    """And the order of a request's instances, or an instance that is repeated, changes nothing."""
    asked = requests(*sorted(patients), min(patients))
    before, after = (arm(at(each), asked, "patient") for each in (share, share + 1))
    assert before == "champion" or after == "challenger"
    assert before == arm(at(share), requests(*sorted(patients, reverse=True)), "patient")


@given(st.text())
def test_all_is_all_and_nothing_is_nothing(patient: str) -> None:
    assert "challenger" == arm(at(100), requests(patient), "patient")
    for rollout in (None, change("shadow"), change("standby")):
        assert "champion" == arm(rollout, requests(patient), "patient")


def test_what_is_not_named_decides_nothing() -> None:
    """The same patient at another clinic is the same patient. Without a named column, the whole request decides."""
    patients = [f"p{number}" for number in range(200)]
    arms = {clinic: [arm(at(50), requests(each, clinic=clinic), "patient") for each in patients] for clinic in "ab"}
    assert arms["a"] == arms["b"]
    assert arms["a"] != [arm(at(50), requests(each, clinic="b")) for each in patients]


@pytest.mark.parametrize("share", [1, 10, 50, 90])
def test_a_share_is_a_share(share: int) -> None:
    """Of 20,000 callers, give or take five standard errors."""
    challenged = sum(place(at(share), {f"p{number}"}) < share for number in range(20_000)) / 20_000
    assert abs(challenged - share / 100) < 5 * (share / 100 * (1 - share / 100) / 20_000) ** 0.5


def test_another_rollout_divides_anew() -> None:
    """So that the same callers do not get every challenger."""
    patients = [f"p{number}" for number in range(10_000)]
    both = sum(all(place(at(50, started), {each}) < 50 for started in (1, 2)) for each in patients)
    assert abs(both / 10_000 - 0.25) < 0.025


def test_a_vector_is_its_values() -> None:
    vectors = [Vectors([{"x": float(number), "y": None}], [], ["x", "y"]) for number in range(100)]
    arms = [arm(at(50), each, "patient") for each in vectors]
    assert {"champion", "challenger"} == {*arms}
    assert arms == [arm(at(50), each, "patient") for each in vectors]
