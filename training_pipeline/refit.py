"""Fit the recipe of a superior candidate again, on all mature rows: also on the holdout that it was judged on."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from ratchet.code.code_digest import code_digest
from ratchet.code.git import code_version
from ratchet.core.errors import GateError, StoreError
from ratchet.gate import record as gate_record
from ratchet.gate import refit as refit_record
from ratchet.gate.gate import Gate
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import RefitEvidence, RefitRecord, build_refit_record, differences, recipe_of
from ratchet.models.contract import Contract
from ratchet.models.metrics import Floats, finite
from ratchet.models.model import Model, load, save
from ratchet.models.model_files import checksums
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.digests import digest
from ratchet.storage.files import read_json, replacing, write_json
from training_pipeline import train
from training_pipeline.evidence import score
from training_pipeline.frozen_set import RefitSet, frozen_contract, read_refit_set, select

CODE = code_digest(__name__)
MADE_FROM = "made_from.json"
"""The file in refit/ that says from what the refit was made."""
GOLDEN = 2000
"""The most training rows on which the predictions of both models are compared."""


def refit(run: Run) -> Report:
    """Write refit/model/ and refit/record.json for a candidate that the gate found superior; empty refit/ for any other.

    Nothing is fitted again if the refit was made before from the same rows, code and settings. A refit stays while the same
    candidate is judged again: it may serve by then, and the registry may need its files. Raises StoreError or GateError if
    models or gate records are not those of the frozen set.
    """
    judged = GateRecord.read(run.paths.gate / "candidate.json")
    if run.settings.training.refit == "never":
        return _empty(run, "training.refit is never")
    if judged.verdict != "superior":
        kept = _made_from(run)
        if kept and kept["judged"] == judged.candidate and _is_signed(run):
            return dict(kept["report"])
        return _empty(run, f"the candidate is {judged.verdict}, not superior")
    return _refit(run, judged)


def _refit(run: Run, judged: GateRecord) -> Report:
    candidate = _judged_model(run, judged)
    inputs, held = _inputs(run, judged), _made_from(run)
    if held and held["inputs"] == inputs and held["files"] == checksums(run.paths.refit_model):
        return dict(held["report"])
    rows = read_refit_set(run)
    if not rows.is_added.any():
        return _empty(run, "no label has become known since the candidate's training rows end")
    with replacing(run.paths.refit) as folder:
        record = _fit(run, folder, candidate, judged, rows)
        report = _report(run, record, rows.contract)
        made_from = {"inputs": inputs, "judged": judged.candidate, "files": record.files, "report": report}
        write_json(folder / MADE_FROM, made_from)
    return report


def _fit(run: Run, folder: Path, candidate: Model, judged: GateRecord, rows: RefitSet) -> RefitRecord:
    """Fit the refit, and write it and its signed record to the folder."""
    before, gate = candidate.contract, Gate.open(run)
    made_by = {
        "kind": before.kind,
        "params": before.params,
        "dirty": rows.contract.dirty or before.dirty,
        "experiment": rows.contract.experiment or before.experiment,
    }
    contract = rows.contract.model_copy(update=made_by)
    model = train.fit_recipe(contract, rows.rows, run.use_case.postprocess, run.environment.threads)
    reference = train.reference_rows(model, rows.rows, run.settings.drift.reference_rows)
    save(model, folder / run.paths.refit_model.name, reference)
    evidence, files = collect(model, candidate, rows), checksums(folder / run.paths.refit_model.name)
    code = code_version(run.root)
    record = gate.key.sign(build_refit_record(contract, judged, evidence, files=files, code=code))
    record.write(folder / run.paths.refit_record.name)
    return record


def collect(refit: Model, judged: Model, rows: RefitSet) -> RefitEvidence:
    """How the refit compares with its judged model, on rows that it was fitted on."""
    added, earlier = select(rows.rows, rows.is_added), select(rows.rows, ~rows.is_added)
    golden = select(earlier, np.unique(np.linspace(0, len(earlier["label"]) - 1, GOLDEN).astype(np.int64)))
    predicted = {model.digest: (model.predict(added), model.predict(golden)) for model in (refit, judged)}
    on_golden = predicted[refit.digest][1]
    error = _rms(added["label"] - predicted[judged.digest][0])
    change = _rms(on_golden - predicted[judged.digest][1])
    return RefitEvidence(
        task=refit.contract.task,
        rows=len(rows.is_added),
        added=int(rows.is_added.sum()),
        refit=score(refit, added["label"], predicted[refit.digest][0], ""),
        judged=score(judged, added["label"], predicted[judged.digest][0], ""),
        golden=len(on_golden),
        invalid=score(refit, golden["label"], on_golden, "").invalid or 0,
        change=finite(np.divide(change, error)) if error else None,
        recipe=recipe_of(refit.contract, train.CODE),
        judged_recipe=recipe_of(judged.contract, train.CODE),
        different=differences(refit.contract, judged.contract),
    )


def _rms(differences: Floats) -> float:
    return float(np.sqrt(np.mean(differences**2)))


def _judged_model(run: Run, judged: GateRecord) -> Model:
    """The candidate, if it is the one that was judged, and was fitted on the frozen rows by this code."""
    folder, stage = run.paths.models / "candidate", f"`ratchet --use-case {run.settings.use_case} stage"
    if not train.is_fit(run, frozen_contract(run)):
        raise StoreError(
            "was fitted by other code or settings, or on other rows than the frozen ones",
            subject=str(folder),
            remedy=f"Run {stage} train` and {stage} evaluate`",
        )
    model = load(folder, run.use_case)
    gate_record.verify(judged, model.digest, Gate.open(run))
    if (checksums(folder), model.contract.data_version) != (judged.files, judged.data_version):
        raise GateError("is not what was judged", subject=str(folder), remedy=f"Run {stage} evaluate`")
    return model


def _inputs(run: Run, judged: GateRecord) -> str:
    """A digest of all that the refit and its record are made from, and of what decides whether a policy may promote it."""
    code, settings = code_version(run.root), run.settings
    made_by = (CODE, code.dirty, code.experiment)
    return digest(made_by, judged.model_dump_json(), settings.drift.reference_rows)


def _made_from(run: Run) -> dict[str, Any]:
    """From what the existing refit was made; empty if there is none."""
    path = run.paths.refit / MADE_FROM
    return dict(read_json(path)) if path.exists() else {}


def _is_signed(run: Run) -> bool:
    """Whether the existing refit's record is valid."""
    try:
        record = RefitRecord.read(run.paths.refit_record)
        refit_record.verify(record, record.candidate, Gate.open(run))
    except GateError:
        return False
    return True


def _empty(run: Run, reason: str) -> Report:
    with replacing(run.paths.refit):
        pass
    return {"refit": None, "reason": reason}


def _report(run: Run, record: RefitRecord, contract: Contract) -> Report:
    """`until` is the local day before which the training rows end."""
    evidence = record.evidence
    local = contract.trained_until.astimezone(ZoneInfo(run.use_case.timezone))
    return {
        "refit": {
            "digest": record.candidate,
            "judged": record.judged.candidate,
            "verdict": record.verdict,
            "rows": {"all": evidence.rows, "added": evidence.added},
            "trained_from": contract.trained_from.isoformat(),
            "trained_until": contract.trained_until.isoformat(),
            "until": local.date().isoformat(),
            "checks": [check.model_dump(mode="json") for check in record.checks],
        },
        "reason": "",
    }
