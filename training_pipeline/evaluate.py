"""Evaluate the models of a training run on the holdout, and sign the evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from ratchet.code.git import code_version
from ratchet.core.settings import BLOCKS, PARAMS_FILE, GateSettings
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.gate.evidence import Score
from ratchet.gate.gate import Gate
from ratchet.gate.reasons import find_reason
from ratchet.gate.record import GateRecord, build_record, undecided
from ratchet.model_registry.champion import champion_version, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.metrics import METRICS
from ratchet.models.model import Model, load
from ratchet.models.model_files import checksums
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.files import write_json
from ratchet.use_case.columns import require_columns
from training_pipeline.confirm import confirm_refit
from training_pipeline.evidence import collect
from training_pipeline.frozen_set import Answers, Holdout, data_version, read_findings, read_holdout


@dataclass(frozen=True)
class Trial:
    """What all models of one evaluation are judged on."""

    holdout: Holdout
    leaks: LeakEvidence


def evaluate(run: Run) -> Report:
    """Write gate/baseline.json and gate/candidate.json, and their numbers for `dvc metrics` to metrics/holdout.json. While a
    refit serves, write gate/confirmation.json, too: what later rows say about it.

    The candidate is compared with the champion. If no model serves, it is compared with the baseline, which will serve first.
    If the gate refuses the baseline, the candidate may serve first, if it beats the baseline and a constant.
    """
    baseline = load(run.paths.models / "baseline", run.use_case)
    registry = ModelRegistry.open(run)
    serving = resolve_champion(registry) if champion_version(registry) is not None else None
    trial = read_trial(run, serving.model if serving else None)
    first = evaluate_model(run, trial, run.paths.models / "baseline", constant(baseline), None)
    champion = serving.model if serving else None if first.verdict == "refused" else baseline
    candidate = evaluate_model(run, trial, run.paths.models / "candidate", baseline, champion)
    records = {"baseline": first, "candidate": candidate}
    for name, record in records.items():
        record.write(run.paths.gate / f"{name}.json")
    confirmation = confirm_refit(run, trial.holdout, serving)
    compared = candidate.evidence.champion
    report = {
        **{name: _summary(record) for name, record in records.items()},
        "champion": {"digest": compared.digest, "metrics": _metrics(candidate, compared)} if compared else None,
        "confirmation": confirmation and {"outcome": confirmation.outcome, "reason": confirmation.reason},
    }
    write_json(run.paths.reports / "metrics" / "holdout.json", _figures(candidate, report))
    return report


def read_trial(run: Run, serving: Model | None = None) -> Trial:
    """The frozen holdout and leak evidence, with the champion's answers if the champion reads different features."""
    findings, answers = read_findings(run)
    holdout = replace(read_holdout(run), answers=answers)
    _require_columns(run.settings.gate, holdout)
    if serving and serving.contract.fingerprint != holdout.fingerprint and serving.digest not in answers:
        unasked = Answers.none(
            "another model served when the holdout was frozen: run `ratchet stage dataset`, then evaluate again"
        )
        holdout = replace(holdout, answers={serving.digest: unasked})
    return Trial(holdout, findings.leaks)


def _require_columns(gate: GateSettings, holdout: Holdout) -> None:
    """Raises SettingsError where the settings of the gate name a column that the holdout's rows lack."""
    require_columns("gate.slices", gate.slices, holdout.rows, subject=PARAMS_FILE)
    require_columns("gate.block", [gate.block], {*BLOCKS, *holdout.rows}, subject=PARAMS_FILE)


def evaluate_model(run: Run, trial: Trial, directory: Path, reference: Model, champion: Model | None) -> GateRecord:
    """The signed record of the model in a directory, compared with the champion on rows that neither was trained on.

    The reference is a baseline. Without a champion, the model is compared with the reference and with its constant.
    """
    files, model = checksums(directory), load(directory, run.use_case)
    other = {"champion": champion} if champion else {"constant": constant(reference)}
    models = {"candidate": model, "reference": reference, **other}
    holdout = trial.holdout.after(champion.contract.trained_until) if champion else trial.holdout
    policy, code = run.settings.gate, code_version(run.root)
    evidence = collect(run.use_case, holdout, models, policy, run.settings.training.seed, trial.leaks)
    gate = Gate.open(run)
    reason, objection = find_reason(gate, model.contract.fingerprint)
    evidence = evidence.model_copy(update={"reason": reason, "objection": objection})
    data = data_version(run)
    record = build_record(model.contract, evidence, policy, files=files, data_version=data, code=code)
    return gate.key.sign(record)


def constant(baseline: Model) -> Model:
    """The model that a baseline is compared with: its last level, which predicts the same value for every row."""
    return replace(baseline, pipeline=Pipeline([("estimator", baseline.pipeline[-1].constant())]))


def _summary(record: GateRecord) -> dict[str, Any]:
    evidence = record.evidence
    return {
        "digest": record.candidate,
        "verdict": record.verdict,
        "undecided": undecided(record) if record.verdict == "undecided" else None,
        "metrics": _metrics(record, evidence.candidate),
        "skill": evidence.skill,
        "gain": evidence.gain.model_dump(mode="json") if evidence.gain else None,
        "checks": [check.model_dump(mode="json") for check in record.checks],
    }


def _figures(record: GateRecord, report: Report) -> dict[str, Any]:
    """The numbers with which people compare runs, and the candidate's verdict."""
    task, evidence = record.evidence.task, record.evidence
    roles = [role for role in ("candidate", "baseline", "champion") if report[role]]
    return {
        **{role: {name: report[role]["metrics"][name] for name in METRICS[task]} for role in roles},
        "skill": evidence.skill,
        "gain": evidence.gain.value if evidence.gain else None,
        "n": evidence.n,
        "verdict": record.verdict,
    }


def _metrics(record: GateRecord, score: Score) -> dict[str, Any]:
    evidence = record.evidence
    start, end = (instant.isoformat() for instant in (evidence.start, evidence.end))
    return {**score.metrics, "n": evidence.n, "from": start, "to": end}
