"""Compare the refit that serves with its judged model, on rows that became mature after both were fitted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ratchet.core.errors import GateError
from ratchet.core.settings import GateSettings
from ratchet.gate.confirmation import Comparison, Confirmation, confirm
from ratchet.gate.evidence import Gain
from ratchet.gate.gate import Gate
from ratchet.gate.refit import RefitRecord
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.refits import answered, judged_model
from ratchet.models.metrics import row_losses
from ratchet.models.model import Model
from ratchet.storage.files import write_text
from ratchet.use_case.contract import UseCase
from training_pipeline.evidence import block_codes, paired_gain, predict_or_explain, score
from training_pipeline.frozen_set import Holdout

if TYPE_CHECKING:
    from ratchet.model_registry.champion import Champion
    from ratchet.project.run import Run


def confirm_refit(run: Run, holdout: Holdout, serving: Champion | None) -> Confirmation | None:
    """Write gate/confirmation.json about the refit that serves, and return it. If no refit serves, there is none.

    An answer is final: a refit is not asked about again, because each further question would be one more chance to be unlucky.
    """
    path = run.paths.confirmation
    if serving is None or not isinstance(serving.record, RefitRecord):
        path.unlink(missing_ok=True)
        return None
    store = ModelRegistry.open(run)
    found = answered(store, serving)
    if found is None:
        gate = Gate.open(run)
        comparison = _comparison(run, holdout, serving, serving.record)
        found = gate.key.sign(confirm(gate.scope.namespace, comparison, gate.policy))
    write_text(path, found.model_dump_json(indent=2) + "\n")
    return found


def _comparison(run: Run, holdout: Holdout, serving: Champion, record: RefitRecord) -> Comparison:
    """The comparison of the refit that serves; without an answer if the registry holds no valid judged model."""
    compared = partial(compare, run.use_case, holdout, serving.model)
    policy, seed = run.settings.gate, run.settings.training.seed
    try:
        return compared(judged_model(ModelRegistry.open(run), serving), policy, seed)
    except GateError as error:
        unknown: dict[str, object] = {"invalid": None, "metrics": {}, "obstacle": error.problem}
        judged = record.judged.evidence.candidate.model_copy(update=unknown)
        nothing = Gain(value=None, lower=None, upper=None)
        return compared(serving.model, policy, seed).model_copy(update={"judged": judged, "gain": nothing})


def compare(
    use_case: UseCase, holdout: Holdout, refit: Model, judged: Model, policy: GateSettings, seed: int
) -> Comparison:
    """Score both models on the holdout's rows from the end of the refit's training rows on."""
    later, task = holdout.after(refit.contract.trained_until), use_case.task
    labels, answers = later.rows["label"], [predict_or_explain(model, later) for model in (refit, judged)]
    own, others = (row_losses(task, labels, predicted) for predicted, _ in answers)
    blocks = block_codes(later.rows, policy.block, use_case.timezone)
    return Comparison(
        start=later.period.start,
        end=later.period.end,
        requests=len(later.request_times),
        n=len(labels),
        blocks=len(np.unique(blocks)),
        refit=score(refit, labels, *answers[0]),
        judged=score(judged, labels, *answers[1]),
        gain=paired_gain(task, own, others, blocks, policy, seed),
    )
