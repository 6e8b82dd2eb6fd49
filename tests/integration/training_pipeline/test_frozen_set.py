"""What a training run fits and judges on stays as it was frozen, or is refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_pipeline.featurize import featurize
from ratchet.core.errors import StoreError
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.project.run import Run
from ratchet.storage.digests import directory_md5
from tests.support.accepted import accept_all
from tests.support.models import noshow_candidate
from tests.support.planted_functions import whether_labelled
from tests.support.registry import copied
from tests.support.runs import noshow_project
from tests.support.variants import with_use_case
from training_pipeline.dataset import dataset
from training_pipeline.evaluate import read_trial
from training_pipeline.frozen_set import (
    ANSWERS,
    FINDINGS,
    HOLDOUT,
    ORIGIN,
    data_version,
    read_findings,
    read_holdout,
    read_training_set,
)

Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def frozen_once(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = noshow_project(tmp_path_factory.mktemp("frozen"), rows_per_week=30)
    accept_all(run)
    featurize(run)
    apply(FeatureStore.open(run))
    dataset(run)
    return run


@pytest.fixture
def frozen(frozen_once: Run, tmp_path: Path) -> Run:
    return copied(frozen_once, tmp_path / "copy")


def test_it_needs_no_features_once_it_is_frozen(frozen: Run) -> None:
    """They may change, or go, while models are fitted and judged."""
    before, version = read_training_set(frozen), data_version(frozen)
    for folder in (frozen.paths.features, frozen.paths.accepted, frozen.paths.state):
        shutil.rmtree(folder)
    after = read_training_set(frozen)
    assert (before.contract, version) == (after.contract, data_version(frozen))
    for name, column in before.rows.items():
        np.testing.assert_array_equal(column, after.rows[name])
    assert len(read_trial(frozen).holdout.rows["label"])


def test_its_version_is_dvc_s_name_of_it_and_it_says_which_features_it_came_from(frozen: Run) -> None:
    """By the two, data can be had again, and held against what they were made of."""
    contract = read_training_set(frozen).contract
    assert contract.data_version == directory_md5(frozen.paths.dataset)
    assert contract.features_version == directory_md5(frozen.paths.features)


def test_the_same_features_freeze_to_the_same_bytes(frozen: Run) -> None:
    """No clock and no run is in it."""
    before = directory_md5(frozen.paths.dataset), directory_md5(frozen.paths.evaluation)
    dataset(frozen)
    assert before == (directory_md5(frozen.paths.dataset), directory_md5(frozen.paths.evaluation))


def test_on_demand_columns_see_no_label(frozen: Run) -> None:
    """A use case whose function would take the outcome for an input gets what it will get online: nothing."""
    peeping = with_use_case(frozen, on_demand=whether_labelled)
    apply(FeatureStore.open(peeping))
    dataset(peeping)
    assert {0.0} == {*read_training_set(peeping).rows["seen"], *read_holdout(peeping).rows["seen"]}


@pytest.mark.parametrize("name", [ORIGIN, HOLDOUT])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"half")])
def test_what_cannot_be_read_is_no_dataset(frozen: Run, name: str, spoil: Spoil) -> None:
    """The error names the step that makes it."""
    spoil(frozen.paths.dataset / name)
    with pytest.raises(StoreError, match="stage dataset"):
        read_holdout(frozen)


@pytest.mark.parametrize("name", [FINDINGS, ANSWERS])
def test_findings_that_cannot_be_read_are_none(frozen: Run, name: str) -> None:
    """Without a leak check nothing is judged."""
    (frozen.paths.evaluation / name).unlink()
    with pytest.raises(StoreError, match="stage dataset"):
        read_trial(frozen)


def test_findings_beside_another_frozen_set_are_none(frozen: Run) -> None:
    """A run that was killed between the two leaves nothing that could be taken for a pair."""
    origin = frozen.paths.dataset / ORIGIN
    origin.write_text(origin.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match="stage dataset"):
        read_findings(frozen)


def test_features_of_other_code_are_not_fitted_on(frozen: Run) -> None:
    """A use case that was edited since has to be frozen anew."""
    other = with_use_case(frozen, inputs={**frozen.use_case.inputs, "seen": "number"})
    with pytest.raises(StoreError, match=r"does not compute.*`ratchet .*stage dataset`"):
        read_training_set(other)


def test_a_champion_on_other_features_that_was_not_asked_gives_no_evidence(frozen: Run) -> None:
    """It began to serve after the set was frozen: the gate will refuse, and the reason names the step."""
    candidate = noshow_candidate()
    serving = replace(candidate, contract=candidate.contract.model_copy(update={"fingerprint": "9" * 64}))
    answers = read_trial(frozen, serving).holdout.answers[serving.digest]
    assert answers.predicted.empty
    assert "stage dataset" in answers.obstacle
