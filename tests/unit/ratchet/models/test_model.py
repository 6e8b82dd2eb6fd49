"""Models: their digest, their directory, and what may be loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ratchet.core.errors import DataError, RegistryError
from ratchet.models.model import Model, load, save
from ratchet.models.model_files import ARCHIVE, CONTRACT
from tests.support.models import (
    noshow_baseline,
    noshow_candidate,
    noshow_columns,
    noshow_contract,
    rewrite_schema,
    save_noshow,
)
from tests.support.noshow import use_case
from tests.support.planted_functions import never_in_the_north

MAKERS = {"baseline": noshow_baseline, "candidate": noshow_candidate}


@pytest.fixture(params=["baseline", "candidate"])
def trained(request: pytest.FixtureRequest) -> Model:
    return MAKERS[request.param]()


def test_loaded_model_is_the_saved_one(trained: Model, tmp_path: Path) -> None:
    """Contract, digest and every predicted bit survive the archive."""
    loaded = load(save_noshow(trained, tmp_path / "model"), use_case)
    columns = noshow_columns(300, seed=5)
    assert (trained.contract, trained.digest) == (loaded.contract, loaded.digest)
    assert trained.predict(columns).tobytes() == loaded.predict(columns).tobytes()
    assert list(trained.contract.inputs) == list(loaded.contract.inputs)


def test_training_again_gives_the_same_model_and_bytes(trained: Model, tmp_path: Path) -> None:
    """The same rows and settings are the same digest, and the same archive to the byte."""
    again = MAKERS["baseline" if trained.contract.kind == "baseline" else "candidate"]()
    archives = [
        (save_noshow(model, tmp_path / name) / ARCHIVE).read_bytes()
        for name, model in (("once", trained), ("twice", again))
    ]
    assert trained.digest == again.digest
    assert archives[0] == archives[1]


def test_digest_tells_models_apart() -> None:
    """Other trees, another feature service or another kind are another model; another commit is not."""
    contract = noshow_contract()
    models = [
        noshow_baseline(),
        noshow_candidate(),
        noshow_candidate(trees=2),
        noshow_candidate(noshow_contract(fingerprint="0" * 64)),
    ]
    assert len({model.digest for model in models}) == 4
    assert noshow_candidate().digest == noshow_candidate(contract.model_copy(update={"commit": None})).digest


def test_digest_sees_a_changed_attribute(trained: Model) -> None:
    """Whatever decides a prediction is part of the digest, down to one step that was slipped in."""
    tampered = Pipeline([("slipped", FunctionTransformer()), *trained.pipeline.steps])
    assert trained.digest != Model(trained.contract, tampered).digest


def test_missing_and_unseen_categories_are_predicted() -> None:
    """A clinic that training never saw, and one that is missing, get the same finite answer."""
    columns = {name: column[:2] for name, column in noshow_columns().items()}
    for column in columns.values():
        column[1] = column[0]
    columns["clinic"] = np.array(["nowhere", None], dtype=object)
    predicted = noshow_candidate().predict(columns)
    assert predicted[0] == predicted[1]
    assert 0 < predicted[0] < 1


def test_use_case_has_the_last_word_on_a_prediction(trained: Model, tmp_path: Path) -> None:
    """Post-processing sees the request's columns, and a loaded model has it too."""
    columns = noshow_columns(300, seed=5)
    loaded = load(save_noshow(trained, tmp_path / "model"), replace(use_case, postprocess=never_in_the_north))
    expected = never_in_the_north(columns, trained.predict(columns))
    assert expected.tolist() == loaded.predict(columns).tolist()


def test_post_processing_that_loses_rows_is_refused(trained: Model) -> None:
    """One number for each row, or an error that names the use case."""
    with pytest.raises(DataError, match="made shape"):
        replace(trained, postprocess=lambda _columns, predictions: predictions[1:]).predict(noshow_columns(3))


def test_missing_input_is_named(trained: Model) -> None:
    """A column that the caller forgot is an error, not a default."""
    columns = noshow_columns(3)
    del columns["hour"]
    with pytest.raises(DataError, match="there is no column hour"):
        trained.predict(columns)


def test_type_that_is_not_on_our_list_is_refused(tmp_path: Path) -> None:
    """An archive that vouches for a type of its own is not loaded."""
    directory = save_noshow(noshow_baseline(), tmp_path / "model")
    rewrite_schema(
        directory,
        lambda schema: schema.replace("ratchet.models", "subprocess").replace("BackoffBaseline", "Popen"),
    )
    with pytest.raises(RegistryError, match=r"subprocess\.Popen"):
        load(directory, use_case)


def test_booster_that_is_no_booster_is_refused(tmp_path: Path) -> None:
    """An error deep inside a library is the same clear error."""
    directory = save_noshow(noshow_candidate(), tmp_path / "model")
    rewrite_schema(directory, lambda schema: schema.replace("objective=binary", "objective=bushy"))
    with pytest.raises(RegistryError, match="not a model"):
        load(directory, use_case)


@pytest.mark.parametrize("name", [ARCHIVE, CONTRACT])
def test_truncated_or_absent_files_are_one_clear_error(name: str, tmp_path: Path) -> None:
    """Half an archive, half a contract, or none, is no model."""
    directory = save_noshow(noshow_candidate(), tmp_path / "model")
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RegistryError, match="not a model"):
        load(directory, use_case)
    (directory / name).unlink()
    with pytest.raises(RegistryError, match="not a model"):
        load(directory, use_case)


def test_failed_save_leaves_what_stood(tmp_path: Path) -> None:
    """A save that fails half-way changes nothing and leaves nothing behind."""
    directory = save_noshow(noshow_baseline(), tmp_path / "model")
    before = _content(directory)
    with pytest.raises(TypeError):
        save(Model(noshow_contract(), (step for step in "ab")), directory, pa.table({"label": [1.0]}))
    assert before == _content(directory)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def _content(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_contract_keeps_the_order_of_inputs(tmp_path: Path) -> None:
    """The file lists inputs in the order in which the model takes them."""
    directory = save_noshow(noshow_baseline(), tmp_path / "model")
    assert list(noshow_contract().inputs) == list(json.loads((directory / CONTRACT).read_text())["inputs"])
