"""A challenger beside the champion, from the registry to answers, log and figures: by a loader and serving processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from inference_pipeline.online.arm_figures import RolloutFigures, arm_figures
from inference_pipeline.online.loader import Loader
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.release import CHALLENGER
from inference_pipeline.online.release_folder import ReleaseFolder
from ratchet.core.clock import Period
from ratchet.gate.rollout import Plan, Rollout
from ratchet.model_registry import rollout
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.shadow import ShadowLog
from ratchet.project.run import Run
from ratchet.use_case.contract import Columns
from tests.support.registry import client, copied
from tests.support.releases import client_of

CHAMPION, OTHER = 2, 1
"""The versions: a tree model serves, and the baseline, which served before it, is rolled out beside it."""
PATIENTS = [f"p{number}" for number in range(60)]
ANN: dict[str, Any] = {"by": "ann", "reason": "a try"}


def instance(patient: str = "p3", clinic: str = "north", days: int = 12) -> dict[str, Any]:
    at = "2024-08-01T00:00:00Z"
    return {"patient": patient, "clinic": clinic, "booked_days_ahead": days, "reminder_at": at}


@dataclass
class Service:
    """The service with its loader, in this process, and two serving processes."""

    run: Run
    loader: Loader
    slots: list[ModelSlot]
    clients: list[TestClient]

    @property
    def store(self) -> ModelRegistry:
        return ModelRegistry.open(self.run)

    def follow(self) -> None:
        self.loader.refresh()
        for slot in self.slots:
            slot.refresh()

    def start(self, *steps: Any, version: int = OTHER) -> Rollout:
        begun = rollout.start(self.store, version, Plan(steps=steps), **ANN)
        self.follow()
        return begun

    def advance(self) -> None:
        rollout.advance(self.store, **ANN)
        self.follow()

    def ask(self, *instances: dict[str, Any], process: int = 0, version: int | None = None) -> dict[str, Any]:
        name = self.run.scope.namespace
        if version is None:
            answer = self.clients[process].post(f"/v1/models/{name}:predict", json={"instances": [*instances]})
        else:
            inputs = [
                {"name": key, "shape": [1], "datatype": "INT64" if isinstance(value, int) else "BYTES", "data": [value]}
                for key, value in instances[0].items()
            ]
            path = f"/v2/models/{name}/versions/{version}/infer"
            answer = self.clients[process].post(path, json={"inputs": inputs})
        assert 200 == answer.status_code, answer.text
        return dict(answer.json())

    def arms(self, patients: list[str], process: int = 0) -> list[str]:
        return [self.ask(instance(each), process=process)["details"][0]["arm"] for each in patients]

    def report(self, ids: list[str], outcome: float) -> None:
        path = f"/v1/models/{self.run.scope.namespace}:feedback"
        rows = [{"prediction_id": each, "outcome": outcome} for each in ids]
        answer = self.clients[0].post(path, json={"feedback": rows})
        assert 200 == answer.status_code, answer.text

    def figures(self) -> RolloutFigures:
        going_on = rollout.running(self.store)
        assert going_on
        for slot in self.slots:
            slot.shared.shadow.close()
        return arm_figures(self.run, going_on, self.run.clock.now() + timedelta(seconds=1), 0.95)

    @property
    def problems(self) -> list[dict[str, str]]:
        return [dict(slot.problems) for slot in self.slots]


@pytest.fixture
def service(serving_project: Run, tmp_path: Path) -> Iterator[Service]:
    run = copied(serving_project, tmp_path / "project")
    slots = [ModelSlot(run), ModelSlot(run)]
    with client_of(slots[0]) as first, client_of(slots[1]) as second:  # each in an event loop of its own
        made = Service(run, Loader(run), slots, [first, second])
        made.follow()
        yield made
    for slot in slots:
        slot.close()


def shadows(run: Run) -> list[dict[str, Any]]:
    blocks = ShadowLog(run.paths.online_log).read([run.clock.now().date()])
    return [row for block in blocks for row in block.to_pylist()]


def logged(run: Run) -> list[dict[str, Any]]:
    now = run.clock.now()
    return list(PredictionLog.open(run).read(Period(now - timedelta(days=1), now + timedelta(days=1))).to_pylist())


def test_a_shadow_predicts_what_the_champion_answers(service: Service) -> None:
    """To the bit what it would have answered itself; nobody gets it, and it is logged beside what was answered."""
    service.start("shadow")
    answered = {each: service.ask(instance(each)) for each in PATIENTS[:10]}
    assert {"champion"} == {answer["details"][0]["arm"] for answer in answered.values()}
    figures = service.figures()
    own = {
        answer["prediction_ids"][0]: service.ask(instance(patient), version=OTHER)
        for patient, answer in answered.items()
    }
    shadow = shadows(service.run)
    assert {row["prediction_id"]: row["prediction"] for row in shadow} == {
        name: answer["outputs"][0]["data"][0] for name, answer in own.items()
    }
    assert (10, 10, True) == (figures.champion.predictions, figures.challenger.predictions, figures.is_paired)
    assert {OTHER} == {row["model_version"] for row in shadow}
    assert figures.different
    assert figures.difference


def test_a_canary_keeps_its_callers(service: Service) -> None:
    """The same patient gets the same arm from every process; a larger share only adds patients; each row names who answered."""
    service.start("shadow", 20, 60)
    before: set[str] = set()
    for share in (20, 60):
        service.advance()
        arms = service.arms(PATIENTS)
        assert arms == service.arms(PATIENTS, process=1)
        challenged = {each for each, arm in zip(PATIENTS, arms, strict=True) if arm == "challenger"}
        assert before < challenged < {*PATIENTS}
        assert abs(len(challenged) - share * 0.6) < 15
        before = challenged
    rows = logged(service.run)
    assert {"champion": {CHAMPION}, "challenger": {OTHER}} == {
        arm: {row["model_version"] for row in rows if row["arm"] == arm} for arm in ("champion", "challenger")
    }
    service.advance()
    assert OTHER == service.ask(instance())["details"][0]["model_version"]
    assert {"champion"} == {*service.arms(PATIENTS[:5])}


def test_an_answer_comes_from_one_model(service: Service) -> None:
    """However many patients it is about."""
    service.start(50)
    for first in range(0, 60, 6):
        answer = service.ask(*map(instance, PATIENTS[first : first + 6]))
        assert 1 == len({(row["arm"], row["model_version"]) for row in answer["details"]})


def test_blue_and_green_switch_at_once(service: Service) -> None:
    service.start("standby", 100)
    assert {"champion"} == {*service.arms(PATIENTS[:5])}
    service.advance()
    assert {"challenger"} == {*service.arms(PATIENTS[:5])}
    rollout.abort(service.store, **ANN)
    service.follow()
    assert {"champion"} == {*service.arms(PATIENTS[:5])}
    assert [{}, {}] == service.problems


def test_a_version_may_be_asked_for(service: Service) -> None:
    """Either of both; who asks for one takes part in no comparison."""
    service.start(50)
    for version in (CHAMPION, OTHER):
        answer = service.ask(instance(), version=version)
        outputs = {each["name"]: each["data"][0] for each in answer["outputs"]}
        assert (str(version), "asked") == (answer["model_version"], outputs["arm"])
    metadata = service.clients[0].get(f"/v2/models/{service.run.scope.namespace}").json()
    assert [str(CHAMPION), str(OTHER)] == metadata["versions"]
    assert 0 == service.figures().champion.predictions


def broken(slot: ModelSlot, spoil: Any) -> None:
    """Let the challenger of a process do something else."""
    predictor = slot.predictor
    challenger = predictor.arms.challenger
    assert challenger
    arms = replace(predictor.arms, challenger=replace(challenger, model=Spoilt(challenger.model, spoil)))
    slot._predictor = replace(predictor, arms=arms)


@dataclass(frozen=True)
class Spoilt:
    """A model to which something happens whenever it is asked, in whatever way."""

    model: Any
    spoil: Any

    def numbers(self, columns: Columns) -> Any:
        self.spoil()
        return self.model.numbers(columns)

    def number(self, row: Mapping[str, Any]) -> Any:
        self.spoil()
        return self.model.number(row)

    def contributions(self, columns: Columns) -> Any:
        return self.model.contributions(columns)


def fail() -> None:
    raise ZeroDivisionError("the sky fell")


def test_a_challenger_that_fails_is_taken_back(service: Service) -> None:
    """No caller notices: the champion answers instead. Then no process lets it answer, and the registry says why."""
    service.start(100)
    broken(service.slots[0], fail)
    needed = service.run.settings.serving.rollout.min_answers
    assert {"champion"} == {*service.arms(["p1"] * needed)}
    assert {"challenger"} == {*service.arms(["p1"], process=1)}
    for slot in service.slots:
        slot.refresh()
    assert {"champion"} == {*service.arms(["p1"], process=1)}
    assert all("the sky fell" in problems["rollout"] for problems in service.problems)
    service.follow()
    going_on, history = rollout.changes(service.store)
    assert going_on is None
    assert ("abort", "policy") == (history[-1].kind, history[-1].by)
    assert "the sky fell" in history[-1].reason
    service.follow()
    assert [{}, {}] == service.problems
    service.start(100)
    assert {"challenger"} == {*service.arms(["p1"])}


def test_a_shadow_that_fails_is_taken_back(service: Service) -> None:
    """And each failure is in its log."""
    service.start("shadow")
    broken(service.slots[0], fail)
    service.arms(["p1"] * service.run.settings.serving.rollout.min_answers)
    assert service.run.settings.serving.rollout.min_answers == service.figures().challenger.failures
    service.follow()
    service.follow()
    assert rollout.running(service.store) is None


def test_while_the_registry_is_away_a_challenger_stays_taken_back(service: Service) -> None:
    service.start(100)
    broken(service.slots[0], fail)
    service.arms(["p1"] * service.run.settings.serving.rollout.min_answers)
    database = service.run.paths.shared_state / "mlflow.db"
    database.rename(away := database.with_name("away"))
    service.follow()
    service.follow()
    assert {"champion"} == {*service.arms(["p1"], process=1)}
    away.rename(database)
    service.follow()
    assert rollout.running(service.store) is None


def _predicted(answer: dict[str, Any]) -> Iterator[tuple[str, float]]:
    return zip(answer["prediction_ids"], answer["predictions"], strict=True)


def test_outcomes_take_a_worse_challenger_back(service: Service) -> None:
    """As soon as they show it; outcomes that say nothing do not."""
    service.start("shadow")
    answers = {each: service.ask(*[instance(each, days=days) for days in range(8)]) for each in PATIENTS}
    figures = service.figures()
    assert figures.gain.upper is None
    service.loader.judge()
    service.follow()
    assert rollout.running(service.store)
    champion = {name: value for each in answers.values() for name, value in _predicted(each)}
    shadow = shadows(service.run)
    for outcome in (0.0, 1.0):  # what the champion found more likely than the challenger did, happened
        ids = [
            row["prediction_id"] for row in shadow if (champion[row["prediction_id"]] > row["prediction"]) == outcome
        ]
        service.report(ids, outcome)
    found = service.figures()
    assert (found.gain.upper or 0) < 0
    assert found.challenger.metrics["log_loss"] > found.champion.metrics["log_loss"]  # type: ignore[operator]
    service.loader.judge()
    service.follow()
    going_on, history = rollout.changes(service.store)
    assert going_on is None
    assert "predicts worse" in history[-1].reason


def test_a_rollout_that_was_not_signed_is_not_followed(service: Service) -> None:
    """Whoever can write the loader's file cannot let a challenger answer."""
    service.start("standby", 100)
    path = service.run.paths.releases / "current.json"
    said = json.loads(path.read_text())
    said["rollout"]["at_step"] = 1
    path.write_text(json.dumps(said))
    service.slots[0].refresh()
    assert {"champion"} == {*service.arms(["p1"])}
    assert "signature" in service.slots[0].rollout_problem


def test_a_challenger_that_was_changed_answers_nobody(service: Service) -> None:
    """The champion goes on, and readiness says what is wrong."""
    promote(service.store, OTHER, **ANN)
    rollout.start(service.store, CHAMPION, Plan(steps=(100,)), **ANN)
    client(service.run).set_model_version_tag(service.run.scope.namespace, str(CHAMPION), "ratchet.digest", "0" * 64)
    service.follow()
    assert {OTHER} == {service.ask(instance())["details"][0]["model_version"]}
    assert all("may not answer" in problems["rollout"] for problems in service.problems)


def test_only_the_share_changes_without_loading(service: Service) -> None:
    service.start("shadow", 10)
    released = ReleaseFolder.of(service.run).current().release
    assert (service.run.paths.releases / str(released) / CHALLENGER).is_dir()
    loaded = service.slots[0].predictor.arms.challenger
    service.advance()
    assert released == ReleaseFolder.of(service.run).current().release
    assert loaded is service.slots[0].predictor.arms.challenger


def test_no_answer_mixes_two_models_while_they_change(service: Service) -> None:
    """Swaps of the champion and changes of a canary under load: every answer is what its version says, none fails."""
    rows = [instance(each, days=days) for each in PATIENTS[:5] for days in (1, 20)]
    expected = {}
    for version in (CHAMPION, OTHER):
        promote(service.store, version, **ANN)
        service.follow()
        expected[version] = service.ask(*rows)["predictions"]
    assert expected[CHAMPION] != expected[OTHER]
    promote(service.store, CHAMPION, **ANN)
    service.follow()
    done = threading.Event()

    def load() -> set[int]:
        seen = set()
        while not done.is_set():
            answer = service.ask(*rows)
            (version,) = {row["model_version"] for row in answer["details"]}
            assert expected[version] == answer["predictions"]
            seen.add(version)
        return seen

    with ThreadPoolExecutor(3) as clients:
        loads = [clients.submit(load) for _ in range(3)]
        try:
            for version in (OTHER, CHAMPION) * 2:
                service.start(50, 100, version=version)
                service.advance()
                service.advance()
        finally:
            done.set()
    assert all({CHAMPION, OTHER} == each.result() for each in loads)


def test_ready_vectors_have_an_arm_too(service: Service) -> None:
    """Their values decide."""
    service.start(50)
    slot = service.slots[0]
    kinds = slot.predictor.release.inputs
    path = f"/v1/models/{service.run.scope.namespace}.vectors:predict"
    arms = []
    for number in range(30):
        vector = {name: None if kind == "string" else float(number) for name, kind in kinds.items()}
        answers = [service.clients[0].post(path, json={"instances": [vector]}).json() for _ in range(2)]
        assert 1 == len({answer["details"][0]["arm"] for answer in answers})
        arms.append(answers[0]["details"][0]["arm"])
    assert {"champion", "challenger"} == {*arms}
    assert np.isfinite([answers[0]["predictions"][0]]).all()
