"""How often does the gate call one of two equally good models superior? `python -m benchmarks.false_promotions`."""

from __future__ import annotations

import sys

import numpy as np

from ratchet.core.settings import GateSettings
from training_pipeline.evidence import paired_gain

TRIALS, ROWS = 2000, 20
"""The number of pairs of models, and of rows in each block."""


def share(blocks: int) -> float:
    """The share of trials that call the candidate superior.

    Losses vary by block for both models together, by block for each model, and by row.
    """
    rng, wrong = np.random.default_rng(2), 0
    codes = np.repeat(np.arange(blocks), ROWS)
    for _ in range(TRIALS):
        both, either = (np.repeat(rng.gamma(2.0, size=(k, blocks)), ROWS, axis=1) for k in (1, 2))
        candidate, champion = both * either * rng.gamma(2.0, size=(2, len(codes)))
        gain = paired_gain("regression", candidate, champion, codes, GateSettings(), seed=7)
        wrong += gain.lower is not None and gain.lower > 0
    return wrong / TRIALS


if __name__ == "__main__":
    for blocks in (7, 10, 14, 31, 100):
        sys.stdout.write(f"{blocks:4} blocks: {share(blocks):.1%}\n")
