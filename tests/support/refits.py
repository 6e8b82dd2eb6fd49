"""Refits of the made-up candidate, with signed records in which everything is well, to spoil one thing at a time."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from ratchet.code.git import CodeVersion
from ratchet.gate.confirmation import Comparison, Confirmation, confirm
from ratchet.gate.evidence import Gain, Score
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import RefitEvidence, RefitRecord, build_refit_record
from ratchet.gate.signing import SigningKey
from ratchet.models.model import Model
from ratchet.models.model_files import checksums
from ratchet.project.run import Run
from tests.support.models import TRAINED_UNTIL, noshow_candidate, noshow_contract, save_noshow
from tests.support.records import good_score

REFITTED_UNTIL = TRAINED_UNTIL + timedelta(days=61)
CONFIRMED = Gain(value=0.01, lower=-0.01, upper=0.03)
WORSE = Gain(value=-0.05, lower=-0.08, upper=-0.02)


@cache
def judged_candidate(trees: int = 3) -> Model:
    """The model that was judged: as `tests.support.registry.candidate`, without importing MLflow."""
    return noshow_candidate(rows=600, trees=trees)


@cache
def refitted(rows: int = 900) -> Model:
    """The recipe of the judged candidate on more rows."""
    contract = noshow_contract().model_copy(update={"trained_until": REFITTED_UNTIL})
    return noshow_candidate(contract, rows=rows, trees=3)


def good_refit_evidence(**changes: Any) -> RefitEvidence:
    """Evidence of a binary refit `fff…` that is a little better on rows that it was fitted on, but for `changes`."""
    evidence = RefitEvidence(
        task="binary",
        rows=1500,
        added=300,
        refit=later(good_score("f" * 64, log_loss=0.49, auc=0.81, brier=0.19)),
        judged=good_score("a" * 64),
        golden=1000,
        invalid=0,
        change=0.1,
        recipe="r" * 64,
        judged_recipe="r" * 64,
        different=(),
    )
    return evidence.model_copy(update=changes)


def later(score: Score) -> Score:
    """The score of a model that was trained on later rows, too."""
    return score.model_copy(update={"trained_until": REFITTED_UNTIL})


def refit_record(
    run: Run, model: Model, judged: GateRecord, directory: Path | None = None, **changes: Any
) -> RefitRecord:
    """A signed record of the refit of a judged model; it passed unless `changes` to its evidence say otherwise."""
    refit = later(good_score(model.digest, log_loss=0.49, auc=0.81, brier=0.19))
    evidence = good_refit_evidence(**{"refit": refit, "judged": good_score(judged.candidate), **changes})
    contract = model.contract
    record = build_refit_record(
        contract,
        judged,
        evidence,
        files=checksums(directory) if directory else {},
        code=CodeVersion(contract.commit, contract.dirty, contract.experiment),
    )
    return SigningKey.open(run).sign(record)


def write_refit(run: Run, judged: GateRecord, model: Model | None = None, **changes: Any) -> RefitRecord:
    """What the step refit leaves for a judged model."""
    model = model or refitted()
    directory = save_noshow(model, run.paths.refit_model)
    record = refit_record(run, model, judged, directory, **changes)
    record.write(run.paths.refit_record)
    return record


def comparison(record: RefitRecord, gain: Gain = CONFIRMED, **changes: Any) -> Comparison:
    """A refit and its judged model on 500 rows of ten blocks after both, but for `changes`."""
    found = Comparison(
        start=REFITTED_UNTIL,
        end=REFITTED_UNTIL + timedelta(days=70),
        requests=500,
        n=500,
        blocks=10,
        refit=later(good_score(record.candidate)),
        judged=good_score(record.judged.candidate),
        gain=gain,
    )
    return found.model_copy(update=changes)


def write_confirmation(run: Run, record: RefitRecord, gain: Gain = CONFIRMED, **changes: Any) -> Confirmation:
    """What `evaluate` leaves while the refit serves."""
    found = confirm(run.scope.namespace, comparison(record, gain, **changes), run.settings.gate)
    signed = SigningKey.open(run).sign(found)
    run.paths.confirmation.write_text(signed.model_dump_json(), encoding="utf-8")
    return signed
