"""A challenger in the shadow: it predicts what the champion answered, in a thread of its own. No answer waits for it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference_pipeline.online.prepared import Prepared
from inference_pipeline.online.rollout_watch import RolloutWatch
from inference_pipeline.online.scorer import Scorer, only
from ratchet.core.errors import StoreUnavailableError
from ratchet.prediction_log.shadow import ShadowLog
from ratchet.prediction_log.side_lines import Row

logger = logging.getLogger(__name__)
MOST_WAITING = 1000
"""Answers that may wait to be predicted. Of further ones, the challenger predicts nothing, and that is counted."""
AT_ONCE = 256
"""Answers that are predicted together: that costs far less than one by one."""


@dataclass(frozen=True)
class Mirrored:
    """An answer of the champion, as it was logged, that a challenger is to predict, too."""

    challenger: Scorer
    watch: RolloutWatch
    prepared: Prepared
    rows: Sequence[Row]


class Shadow:
    """Predicts and logs what is mirrored, in the order in which it came."""

    def __init__(self, folder: Path) -> None:
        self._log = ShadowLog(folder)
        self._waiting: queue.Queue[Mirrored | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self.predicted = 0
        self.failed = 0
        self.dropped = 0
        """Answers of the champion that were not predicted, or whose predictions could not be logged."""

    def mirror(self, mirrored: Mirrored) -> None:
        """Let the challenger predict an answer, unless too many wait already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(mirrored)
        except queue.Full:
            self.dropped += len(mirrored.rows)

    def close(self) -> None:
        """Predict what still waits."""
        if self._thread:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch: list[Mirrored] = [first]
            is_last = False
            with suppress(queue.Empty):
                while len(batch) < AT_ONCE and not is_last:
                    following = self._waiting.get_nowait()
                    is_last = following is None
                    batch += [following] if following else []
            for of_one in _by_challenger(batch):
                self._predict(of_one)
            if is_last:
                return

    def _predict(self, batch: Sequence[Mirrored]) -> None:
        try:
            rows = list(_rows(batch))
            self._log.append(rows)
            failed = sum(row["failure"] is not None for row in rows)
            self.predicted += len(rows) - failed
            self.failed += failed
        except StoreUnavailableError as error:
            self.dropped += sum(len(each.rows) for each in batch)
            logger.warning("predictions in the shadow cannot be logged: %s", error)


def _by_challenger(batch: Sequence[Mirrored]) -> Iterator[list[Mirrored]]:
    """Split what different challengers predict."""
    for watch in {id(each.watch): each.watch for each in batch}.values():
        yield [each for each in batch if each.watch is watch]


def _rows(batch: Sequence[Mirrored]) -> Iterator[Row]:
    """What the challenger says: of all together or, if that fails, of each alone. Rows without usable features are left out."""
    challenger, watch = batch[0].challenger, batch[0].watch
    usable = [~np.array(each.prepared.unusable) for each in batch]
    head = {"model_version": challenger.released.version, "model_digest": challenger.released.digest}
    lines = [
        {"prediction_id": row["prediction_id"], "time": row["time"], **head, "answered": row["prediction"]}
        for each, rows in zip(batch, usable, strict=True)
        for row, is_usable in zip(each.rows, rows.tolist(), strict=True)
        if is_usable
    ]
    if not lines:
        return
    try:
        parts = [only(each.prepared.columns, rows) for each, rows in zip(batch, usable, strict=True)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        values = challenger.predict(columns).tolist()
    except Exception as error:  # noqa: BLE001 - whatever a challenger does, it must not end the thread
        if len(batch) > 1:
            for each in batch:
                yield from _rows([each])
            return
        watch.failed(error)
        failure = f"{type(error).__name__}: {error}"[:300]
        yield from ({**line, "prediction": None, "failure": failure} for line in lines)
        return
    watch.mirrored(len(lines))
    for line, value in zip(lines, values, strict=True):
        yield {**line, "prediction": value, "failure": None}
