"""Score models on rows that none of them was trained on. The numbers are the gate's evidence.

Every comparison is paired: all models are scored on the same rows, and bootstrap resamples draw whole blocks of these rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from ratchet.core.clock import local_time
from ratchet.core.settings import BLOCKS, GateSettings
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.gate.evidence import Evidence, FirstGains, Gain, Score, SliceScore
from ratchet.gate.plausibility import LinearFit, linear_fit
from ratchet.models.metrics import METRICS, Codes, Floats, finite, metrics, row_losses
from ratchet.models.model import Model
from ratchet.use_case.contract import Array, Columns, Kind, Task, UseCase
from training_pipeline.frozen_set import Answers, Holdout

MOST_DRAWN = 1 << 22
"""The most block counts that a resampling holds in memory at once: 32 MiB, for any number of blocks."""


def collect(
    use_case: UseCase,
    holdout: Holdout,
    models: Mapping[str, Model],
    policy: GateSettings,
    seed: int,
    leaks: LeakEvidence | None,
) -> Evidence:
    """Score `models` on the holdout's rows: candidate, reference and champion, or a constant where there is no champion."""
    rows, task = holdout.rows, use_case.task
    answers = {role: predict_or_explain(model, holdout) for role, model in models.items()}
    losses = {role: row_losses(task, rows["label"], predicted) for role, (predicted, _) in answers.items()}
    scores = {role: score(model, rows["label"], *answers[role]) for role, model in models.items()}
    blocks = block_codes(rows, policy.block, use_case.timezone)
    others = [role for role in (("champion",) if "champion" in models else ("reference", "constant")) if role in losses]
    gains = {role: paired_gain(task, losses["candidate"], losses[role], blocks, policy, seed) for role in others}
    return Evidence(
        task=task,
        requests=len(holdout.request_times),
        n=len(rows["label"]),
        blocks=len(np.unique(blocks)),
        start=holdout.period.start,
        end=holdout.period.end,
        rolled_forward=holdout.rolled_forward,
        split=use_case.split,
        candidate=scores["candidate"],
        reference=scores["reference"],
        champion=scores.get("champion"),
        skill=finite(relative_gain(task, losses["candidate"].sum(), losses["reference"].sum())),
        slice_columns=policy.slices,
        slices=tuple(slice_scores(task, rows, policy.slices, losses["candidate"], losses["reference"])),
        gain=gains.get("champion"),
        first=_first_gains(gains),
        linear_fit=_linear_fit(models["candidate"], holdout),
        reason=None,
        objection="",
        leaks=leaks,
    )


def _first_gains(gains: Mapping[str, Gain]) -> FirstGains | None:
    """The gains of a model that would be the first to serve; None if there is a champion."""
    if "champion" in gains:
        return None
    return FirstGains(over_reference=gains["reference"], over_constant=gains.get("constant"))


def predict_or_explain(model: Model, holdout: Holdout) -> tuple[Floats, str]:
    """A prediction for each row (NaN if there is none), and the reason for missing ones.

    A model of another feature service is not run here: its answers were frozen with the holdout.
    """
    contract = model.contract
    if contract.fingerprint == holdout.fingerprint:
        return model.predict(holdout.rows), ""
    unasked = Answers.none(f"it reads {contract.feature_service}, which this code does not compute")
    answers = holdout.answers.get(model.digest, unasked)
    predicted = answers.predicted.reindex(holdout.rows["request_id"])
    return np.asarray(predicted, dtype=np.float64), answers.obstacle


def _linear_fit(model: Model, holdout: Holdout) -> LinearFit:
    """The linear fit of the labels on the inputs that the model uses; unknown for a model of other features."""
    if model.contract.fingerprint != holdout.fingerprint:
        return LinearFit(explained=None)
    return linear_fit(model.contract.task, holdout.rows, _used(model), holdout.rows["label"])


def _used(model: Model) -> dict[str, Kind]:
    """The inputs that a model uses. A baseline uses the columns that it groups by."""
    contract = model.contract
    if contract.kind != "baseline":
        return contract.inputs
    grouped = {name for level in contract.params["levels"] for name in level}
    return {name: kind for name, kind in contract.inputs.items() if name in grouped}


def score(model: Model, labels: Floats, predicted: Floats, obstacle: str) -> Score:
    """A model's own metrics; they are None if any prediction is invalid."""
    contract = model.contract
    invalid = ~np.isfinite(predicted)
    if contract.task == "binary":
        invalid |= (predicted < 0) | (predicted > 1)
    usable = not invalid.any() and len(labels) > 0
    return Score(
        digest=model.digest,
        trained_until=contract.trained_until,
        invalid=int(invalid.sum()),
        metrics=metrics(contract.task, labels, predicted) if usable else dict.fromkeys(METRICS[contract.task]),
        obstacle=obstacle,
    )


def relative_gain(task: Task, losses: Array, others: Array) -> Floats:
    """1 − error / error of the other, from summed losses over the same rows, elementwise; NaN where it is undefined.

    The error is the root mean square error for regression and the mean log loss for binary tasks. Over a reference this is
    the skill score of forecast verification (Murphy 1988, doi:10.1175/1520-0493(1988)116<2417:SSBOTM>2.0.CO;2).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(losses / others, dtype=np.float64)
        ratio = np.where(np.isfinite(ratio), ratio, np.nan)
        return 1.0 - (np.sqrt(ratio) if task == "regression" else ratio)


def paired_gain(
    task: Task, candidate: Floats, champion: Floats, blocks: Codes, policy: GateSettings, seed: int
) -> Gain:
    """The candidate's gain over the champion, with one-sided percentile bounds from resampling whole blocks.

    Rows of a block (a day, a week) share its weather and its traffic, so whole blocks are drawn with replacement, not rows: the
    cluster bootstrap (Davison & Hinkley 1997, Bootstrap Methods, §3.8; blocks in time: Carlstein 1986). The bounds are
    percentiles, which are wider for few blocks. Both models' losses are summed over the same draw: what makes a day hard for
    both models cancels. From a single block no bounds can be computed.
    """
    sums = np.stack([np.bincount(blocks, losses, minlength=1).astype(np.float64) for losses in (candidate, champion)])
    size = sums.shape[1]
    gains, tail = relative_gain(task, *_resample(sums, policy.resamples, seed)), _tail(policy.confidence, size)
    lower, upper = np.quantile(gains, [tail, 1 - tail]) if size > 1 else (np.nan, np.nan)
    return Gain(value=finite(relative_gain(task, *sums.sum(axis=1))), lower=finite(lower), upper=finite(upper))


def _resample(sums: Floats, resamples: int, seed: int) -> Floats:
    """Sums over blocks drawn with replacement: shape (models, blocks) to (models, resamples), some draws at a time."""
    rng, size = np.random.default_rng(seed), sums.shape[1]
    most = max(1, MOST_DRAWN // size)
    parts = [min(most, resamples - done) for done in range(0, resamples, most)]
    draws = (rng.multinomial(size, np.full(size, 1 / size), part) for part in parts)
    return np.concatenate(
        [np.einsum("rb,mb->mr", draw, sums) for draw in draws], axis=1
    )  # the sums of `@` depend on the number of threads


def _tail(confidence: float, blocks: int) -> float:
    """The share of resamples outside a one-sided bound. It is less than 1 − confidence, because few blocks vary too little.

    This is the expanded percentile interval of Hesterberg 2015, doi:10.1080/00031305.2015.1089789. It takes Student's t in
    place of the normal distribution, and the spread of a sample in place of the spread of its resamples.
    """
    return float(norm.cdf(t.ppf(1 - confidence, blocks - 1) * np.sqrt(blocks / max(blocks - 1, 1))))


def block_codes(rows: Columns, block: str, timezone: str) -> Codes:
    """The block of each row, numbered from 0: its local day, its local week (from Monday), or its value of a column."""
    if block not in BLOCKS:
        return _factorize(rows[block])[0]
    local = local_time(rows["event_timestamp"], timezone)
    days = local.astype("datetime64[D]").astype(np.int64)
    return _factorize(days if block == "day" else (days + 3) // 7)[0]  # 1970-01-01 was a Thursday


def slice_scores(
    task: Task, rows: Columns, columns: Sequence[str], candidate: Floats, reference: Floats
) -> Iterator[SliceScore]:
    """Skill for each value of each column, in the order of values. Rows without a value are a slice of their own."""
    for column in columns:
        codes, values = _factorize(rows[column])
        sizes = np.bincount(codes)
        skills = relative_gain(task, np.bincount(codes, candidate), np.bincount(codes, reference))
        for value, n, skill in zip(values, sizes, skills, strict=True):
            yield SliceScore(column=column, value=_text(value), n=int(n), skill=finite(skill))


def _factorize(values: Array) -> tuple[Codes, Array]:
    """Codes from 0 in the order of values, independent of the order of rows. A missing value has the last code."""
    codes, found = pd.factorize(values, sort=True, use_na_sentinel=False)
    return codes.astype(np.int64), np.asarray(found)


def _text(value: object) -> str:
    if value is None or value != value:
        return "missing"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
