"""How much better one arm of a rollout predicts than the other, with an interval, from answers whose outcomes are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from ratchet.gate.evidence import Gain
from ratchet.use_case.contract import Task

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
CLUSTERS = 1000
"""Entities are put together into so many clusters, so that the cost does not grow with their number."""
LEAST = 20
"""Clusters with rows of both arms, or of either arm if they are not paired, from which there is an interval."""


@dataclass(frozen=True)
class ArmLosses:
    """The losses of an arm's rows, shape (n,), and the cluster of each row's entity, from 0 up to CLUSTERS."""

    losses: Floats
    clusters: Codes

    @property
    def mean(self) -> float:
        return float(self.losses.mean())

    def deviations(self) -> Floats:
        """For each cluster, by how much its losses differ from what its rows would have on average, relative to all losses."""
        sums = np.bincount(self.clusters, self.losses, CLUSTERS)
        rows = np.bincount(self.clusters, minlength=CLUSTERS)
        return np.asarray((sums - self.mean * rows) / self.losses.sum())

    def present(self) -> npt.NDArray[np.bool_]:
        """Which clusters have rows."""
        return np.asarray(np.bincount(self.clusters, minlength=CLUSTERS) > 0)


def arm_gain(task: Task, challenger: ArmLosses, champion: ArmLosses, confidence: float) -> Gain:
    """1 − error(challenger) / error(champion), with one-sided bounds; None where there are too few clusters, or no losses.

    The error is the mean loss or, for a regression, its root. Rows of one entity are alike, so clusters of entities count as
    independent, not rows. The interval is that of the log of the ratio of two means by the delta method (Deng, Knoblich & Lu
    2018, doi:10.1145/3219819.3219919), with Student's t. If both arms have the same rows, what makes an entity hard cancels.
    """
    if not (len(challenger.losses) and len(champion.losses) and challenger.losses.sum() and champion.losses.sum()):
        return Gain(value=None, lower=None, upper=None)
    log_ratio = np.log(challenger.mean / champion.mean)
    used = challenger.present() | champion.present()
    count = int(used.sum())
    if min(int(challenger.present().sum()), int(champion.present().sum())) < LEAST:
        return Gain(value=_gain(task, log_ratio), lower=None, upper=None)
    differences = (challenger.deviations() - champion.deviations())[used]
    error = np.sqrt(np.sum(differences**2) * count / (count - 1))
    reach = t.ppf(confidence, count - 1) * error
    return Gain(
        value=_gain(task, log_ratio), lower=_gain(task, log_ratio + reach), upper=_gain(task, log_ratio - reach)
    )


def _gain(task: Task, log_ratio: float) -> float:
    """The gain of a ratio of mean losses: of squared errors, the root is taken."""
    return float(1 - np.exp(log_ratio / 2 if task == "regression" else log_ratio))
