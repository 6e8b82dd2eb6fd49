"""Gate evidence and signed records in which everything is well, to spoil one thing at a time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from ratchet.code.git import CodeVersion
from ratchet.features.leak_evidence import LeakComparison, LeakEvidence
from ratchet.gate.evidence import Evidence, FirstGains, Gain, Score, SliceScore
from ratchet.gate.plausibility import LinearFit
from ratchet.gate.record import GateRecord, build_record
from ratchet.gate.signing import SigningKey
from ratchet.models.model import Model
from ratchet.models.model_files import checksums
from ratchet.project.run import Run
from tests.support.models import TRAINED_UNTIL

NO_LEAK = LeakComparison(cut_offs=(TRAINED_UNTIL,), compared=500, later=60, hidden=50, changed=0)
NO_LEAKS = LeakEvidence(tables=dict.fromkeys(("requests", "labels", "routes"), NO_LEAK))


GAIN = Gain(value=0.05, lower=0.02, upper=0.08)


def good_score(digest: str, **changes: float | None) -> Score:
    """Figures of a good binary model, but for `changes`, whatever they are."""
    metrics = {"log_loss": 0.5, "auc": 0.8, "brier": 0.2, "calibration_error": 0.02, **changes}
    return Score(digest=digest, trained_until=TRAINED_UNTIL, invalid=0, metrics={}).model_copy(
        update={"metrics": metrics}
    )


def good_evidence(**changes: Any) -> Evidence:
    """Evidence of a candidate `aaa…` that is 5% better than the champion `bbb…`."""
    evidence = Evidence(
        task="binary",
        requests=1000,
        n=1000,
        blocks=8,
        start=TRAINED_UNTIL,
        end=TRAINED_UNTIL + timedelta(days=56),
        rolled_forward=False,
        split="time",
        candidate=good_score("a" * 64),
        reference=good_score("0" * 64),
        champion=good_score("b" * 64),
        skill=0.2,
        slice_columns=("clinic",),
        slices=(
            SliceScore(column="clinic", value="north", n=600, skill=0.25),
            SliceScore(column="clinic", value="south", n=400, skill=0.1),
        ),
        gain=GAIN,
        first=FirstGains(over_reference=GAIN, over_constant=GAIN),
        linear_fit=LinearFit(explained=0.4),
        reason=None,
        objection="",
        leaks=NO_LEAKS,
    )
    return evidence.model_copy(update=changes)


def noshow_record(
    run: Run, model: Model, champion: str | None = None, directory: Path | None = None, **changes: Any
) -> GateRecord:
    """A signed record of the model, judged from `directory`, superior unless `changes` to its evidence say otherwise."""
    evidence = good_evidence(
        **{"candidate": good_score(model.digest), "champion": good_score(champion) if champion else None, **changes}
    )
    contract = model.contract
    return SigningKey.open(run).sign(
        build_record(
            contract,
            evidence,
            run.settings.gate,
            files=checksums(directory) if directory else {},
            data_version=contract.data_version,
            code=CodeVersion(contract.commit, contract.dirty, contract.experiment),
        )
    )
