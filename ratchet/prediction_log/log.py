"""Read the prediction log: requests, the features that were used, the model that answered, and its predictions.

The log has one schema and two halves. Batch predictions are Parquet partitions by UTC date, a deterministic output of their
step. Each serving process appends its online predictions before it answers.

Whether an answer reached its caller is known only later, and is no column of the halves: readers add it as `undelivered`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ratchet.core.clock import Period
from ratchet.core.errors import StoreError
from ratchet.prediction_log.dropped import dropped_before
from ratchet.prediction_log.json_blocks import json_blocks
from ratchet.prediction_log.online_log import line_of, parsed, segments, undelivered, unreadable, whole_lines
from ratchet.prediction_log.schema import conformed, log_schema
from ratchet.storage.partitions import files

if TYPE_CHECKING:
    from ratchet.project.run import Run

_ID = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})-[bo][0-9a-f]+")


class PredictionLog:
    """Both halves of the log, in the folders `batch` and `online`. `schema` is called only when a period is read."""

    def __init__(self, batch: Path, online: Path, schema: Callable[[], pa.Schema]) -> None:
        self._batch = batch
        self._online = online
        self._ask_schema = schema

    @classmethod
    def open(cls, run: Run) -> PredictionLog:
        """The log of a run's use case."""
        return cls(run.paths.predictions, run.paths.online_log, lambda: log_schema(run.use_case))

    @cached_property
    def _schema(self) -> pa.Schema:
        return self._ask_schema()

    def read(self, period: Period) -> pa.Table:
        """The predictions whose `time` is in the period, ordered by time and id, with the column `undelivered`.

        Raises StoreError for an unreadable file.
        """
        dates = [*period.dates()]
        table = pa.concat_tables([self._schema.empty_table(), *self._batch_parts(dates), *self._online_parts(dates)])
        within = (pc.field("time") >= period.start) & (pc.field("time") < period.end)
        found = table.filter(within).sort_by([("time", "ascending"), ("prediction_id", "ascending")])
        lost = pa.array(sorted(undelivered(self._online, dates)), pa.string())
        return found.append_column("undelivered", pc.is_in(found["prediction_id"], value_set=lost))

    def online_blocks(self, period: Period, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of the online predictions whose `time` is in the period, in no order, a block at a time, without those
        that their callers never got. Raises StoreError for an unreadable file."""
        dates = [*period.dates()]
        lost = pa.array(sorted(undelivered(self._online, dates)), pa.string())
        within = (pc.field("time") >= period.start) & (pc.field("time") < period.end)
        names = {"prediction_id", "time", *columns}
        schema = pa.schema([field for field in self._schema if field.name in names])
        for block in json_blocks(segments(self._online, dates), schema):
            yield block.filter(within & ~pc.field("prediction_id").isin(lost))

    def find(self, prediction_id: str) -> dict[str, Any]:
        """The row of one prediction as it was written, with instants as ISO text, and whether it is `undelivered`.

        Raises StoreError if there is none.
        """
        found = next(self._find(prediction_id), None)
        if found is None:
            raise self._unknown(prediction_id)
        return {**found, "undelivered": prediction_id in undelivered(self._online, [_date_of(prediction_id)])}

    def _unknown(self, prediction_id: str) -> StoreError:
        subject = f"prediction {prediction_id!r}"
        if self.dropped(prediction_id):
            kept = dropped_before(self._online)
            remedy = (
                f"Ask for one of {kept} or later. `retention.predictions` of params.yaml says how long they are kept"
            )
            return StoreError("is older than the predictions that are kept", subject=subject, remedy=remedy)
        remedy = "Give the id of an answer or of a row of the log"
        return StoreError("is not in the prediction log", subject=subject, remedy=remedy)

    def dropped(self, prediction_id: str) -> bool:
        """Whether predictions of its date are not kept any more. Raises StoreError if the id has another form."""
        return _date_of(prediction_id) < dropped_before(self._online)

    def holds(self, prediction_id: str) -> bool:
        """Whether a prediction is in this log. Raises StoreError if the id has another form."""
        return next(self._find(prediction_id), None) is not None

    def _batch_parts(self, dates: Sequence[date]) -> Iterator[pa.Table]:
        for path in files(self._batch, dates[0], dates[-1]):
            try:
                yield conformed(pq.read_table(path, partitioning=None), self._schema)
            except (pa.ArrowInvalid, ValueError) as error:
                raise unreadable(path, error, "Run the stage `predict` again") from error

    def _online_parts(self, dates: Sequence[date]) -> Iterator[pa.Table]:
        return json_blocks(segments(self._online, dates), self._schema)

    def _find(self, prediction_id: str) -> Iterator[dict[str, Any]]:
        day = _date_of(prediction_id)
        yield from self._find_batch(day, prediction_id)
        yield from self._find_online(day, prediction_id)

    def _find_batch(self, day: date, prediction_id: str) -> Iterator[dict[str, Any]]:
        wanted = pc.field("prediction_id") == prediction_id
        for path in files(self._batch, day, day):
            for row in pq.read_table(path, partitioning=None, filters=wanted).to_pylist():
                yield json.loads(line_of(row))

    def _find_online(self, day: date, prediction_id: str) -> Iterator[dict[str, Any]]:
        for path in segments(self._online, [day]):
            candidates = (line for line in whole_lines(path).splitlines() if prediction_id.encode() in line)
            rows = (parsed(path, line) for line in candidates)
            yield from (row for row in rows if row["prediction_id"] == prediction_id)


def _date_of(prediction_id: str) -> date:
    match = _ID.fullmatch(prediction_id)
    try:
        return date.fromisoformat(match["date"] if match else "")
    except ValueError as error:
        raise StoreError(
            "is not an id of a prediction",
            subject=f"prediction {prediction_id!r}",
            remedy="Give one from an answer or from the prediction log: a date, b or o, and hexadecimal digits",
        ) from error
