"""The names in what is kept for years: models, gate records, the history of promotions, raw tables and the prediction log.

Names in the code may change freely; these may not. Give a field that is renamed an alias, or let readers take the former name,
too, and say so in the CHANGELOG: otherwise what a team has stored cannot be read any more.
"""

from __future__ import annotations

import pytest
from pydantic import BaseModel

import ratchet.models
from ratchet.core.settings import GateSettings
from ratchet.features.leak_evidence import LeakComparison, LeakEvidence
from ratchet.gate.checks import Check, run_checks
from ratchet.gate.evidence import Evidence, FirstGains, Gain, Score, SliceScore
from ratchet.gate.plausibility import LinearFit
from ratchet.gate.reasons import Reason
from ratchet.gate.record import GateRecord, Waiver
from ratchet.gate.rollout import Plan, Rollout
from ratchet.model_registry import tags
from ratchet.model_registry.promotion_history import HISTORY, REQUEST, ROLLOUTS, Entry, PromotionRequest
from ratchet.models.archive import TRUSTED
from ratchet.models.baseline import BackoffBaseline
from ratchet.models.contract import Contract
from ratchet.models.model_files import FILES
from ratchet.prediction_log.schema import log_schema
from ratchet.use_case.contract import ROW_ID, ROW_KEY, UNREADABLE
from tests.support.noshow import use_case
from tests.support.records import good_evidence

FIELDS: dict[type[BaseModel], str] = {
    Contract: """model_name use_case source task kind feature_service fingerprint inputs trained_from trained_until data_version
        features_version commit dirty experiment params""",
    GateRecord: """signature model_name kind data_version feature_service fingerprint commit dirty experiment files evidence
        policy checks verdict""",
    Evidence: """task requests n blocks start end rolled_forward split candidate reference champion skill slice_columns slices
        gain first linear_fit reason objection leaks""",
    Score: "digest trained_until invalid metrics obstacle",
    SliceScore: "column value n skill",
    Gain: "value lower upper",
    FirstGains: "over_reference over_constant",
    LinearFit: "explained columns",
    LeakEvidence: "tables upstream",
    LeakComparison: "cut_offs compared later hidden changed",
    GateSettings: """slices block min_rows min_blocks min_label_coverage min_skill min_slice_rows min_slice_skill
        max_calibration_error max_auc_loss confidence min_gain non_inferiority_margin resamples leak_cut_offs
        max_refit_change""",
    Check: "name value direction bound status detail",
    Reason: "signature model_name feature_service fingerprint accepted by reason at",
    Waiver: "signature model_name candidate by reason expires",
    Entry: "signature model_name number kind version previous digest by reason waiver at",
    PromotionRequest: "signature model_name version by by_policy reason after",
    Rollout: "signature model_name number started kind version digest champion promotion plan at_step by reason at",
    Plan: "steps",
}


CHECKS_OF_ROWS, CHECKED_OF = "rows blocks label_coverage", ("candidate", "reference", "champion")
CHECKS = """leaks plausible:linear-fit plausible:error skill calibration ranking slices:clinic slice:clinic=north
    slice:clinic=south ratchet:another-model ratchet:non-inferior ratchet:superior"""


@pytest.mark.parametrize("document", FIELDS)
def test_a_document_has_its_fields(document: type[BaseModel]) -> None:
    """As they are written."""
    assert {*FIELDS[document].split()} == document.model_json_schema(by_alias=True)["properties"].keys()


@pytest.mark.parametrize("document", FIELDS)
def test_the_parts_of_a_document_are_documents(document: type[BaseModel]) -> None:
    """None is forgotten above."""
    parts = {name for name, part in document.model_json_schema().get("$defs", {}).items() if "properties" in part}
    assert parts <= {known.__name__ for known in FIELDS}


def test_a_check_keeps_its_name() -> None:
    """Whoever uses a record derives its checks again, by their names."""
    policy = GateSettings(slices=("clinic",))
    found = [check.name for check in run_checks(good_evidence(), policy)]
    roles = [f"{about}:{role}" for role in CHECKED_OF for about in ("predictions", "metrics", "trained_before")]
    assert [*CHECKS_OF_ROWS.split(), *roles, *CHECKS.split()] == found


def test_a_model_names_one_class_of_ours() -> None:
    """By the name of the room, wherever in it the class is."""
    assert ("model.skops", "contract.json", "reference.parquet") == FILES
    assert ["ratchet.models.BackoffBaseline"] == [name for name in TRUSTED if name.startswith("ratchet.")]
    assert ratchet.models.BackoffBaseline is BackoffBaseline
    assert "ratchet.models.BackoffBaseline" == f"{BackoffBaseline.__module__}.{BackoffBaseline.__qualname__}"


def test_the_registry_has_its_aliases_and_tags() -> None:
    """All that begin with `ratchet.`, and the aliases that people know."""
    aliases = {"requested", "champion", "previous", "challenger"}
    kept = {value for name, value in vars(tags).items() if name.isupper()} | {REQUEST, HISTORY, ROLLOUTS}
    known = """digest kind status logged gate.record verdict failed fingerprint commit dirty experiment waiver request history.
    rollout. data_version features_version refit_of confirmation"""
    assert aliases | {f"ratchet.{name}" for name in known.split()} == kept - {"candidate"}


def test_tables_have_their_columns() -> None:
    """Those of every use case: of raw rows, and of the prediction log."""
    assert ("row_id", "row_key", "unreadable") == (ROW_ID, ROW_KEY, UNREADABLE.name)
    columns = """prediction_id time request_id model_name model_version model_digest feature_service scorer keys request
        features feature_timestamps absences prediction arm rung vector"""
    assert columns.split() == log_schema(use_case).names
