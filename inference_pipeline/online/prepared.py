"""What a model gets for each row, and what is logged of how it came about: features that were looked up, or a ready vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Protocol

import numpy as np

from inference_pipeline.online.metrics import GIVEN, RUNGS
from inference_pipeline.online.requests import Requests
from inference_pipeline.online.vectors import Vectors
from ratchet.feature_store.online_features import SECOND, UNUSABLE, Found
from ratchet.prediction_log.online_lines import OnlineLines, Row
from ratchet.use_case.columns import EVENT_TIMESTAMP, REQUEST_ID
from ratchet.use_case.contract import Array, Columns, UseCase


class Prepared(Protocol):
    """Rows that can be predicted."""

    @property
    def unusable(self) -> Sequence[bool]:
        """Which of them have no features that may be used."""

    @property
    def columns(self) -> Columns:
        """What the model gets. Computing it, once, may take long for many rows."""

    @property
    def row(self) -> Row:
        """The same of the first row as plain values: that takes less time than columns. Computed once."""

    def rung(self, row: int) -> str:
        """How a prediction was made, in a word."""

    def ages(self, row: int) -> Mapping[str, float | None]:
        """Lookup → for how many seconds its row had held at the request's time. Below 0, it is newer than the request."""

    def known(self, row: int) -> Row:
        """The fields of the log about a request and its features."""


@dataclass(frozen=True)
class LookedUp:
    """Requests with the features that the online store had for them."""

    use_case: UseCase
    lines: OnlineLines
    requests: Requests
    found: Found

    @cached_property
    def unusable(self) -> Sequence[bool]:
        return [rung == UNUSABLE for rung in self.found.rungs]

    @cached_property
    def columns(self) -> Columns:
        return self.use_case.complete({**self.requests.columns, **self.found.columns})

    @cached_property
    def row(self) -> Row:
        one = OneRow(self.requests, self.found)
        computed = self.use_case.on_demand(one)
        return {**one.plain, **{name: column.item() for name, column in computed.items()}}

    def rung(self, row: int) -> str:
        return RUNGS[self.found.rungs[row]]

    def ages(self, row: int) -> Mapping[str, float | None]:
        time, held = self.requests.times[row], zip(self.found.lookups, self.found.since[row], strict=True)
        return {name: None if since is None else (time - since) / SECOND for name, since in held}

    def known(self, row: int) -> Row:
        return self.lines.known(self.requests.values, self.requests.times, self.found, row)


class OneRow(Mapping[str, Array]):
    """The columns of one request with its features. Each is made when it is asked for: `on_demand` reads a few of them.

    `plain` are the values of its fields and features.
    """

    def __init__(self, requests: Requests, found: Found) -> None:
        self._requests, self._found = requests, found
        self.plain = {name: values[0] for name, values in requests.values.items()}
        self.plain.update(zip(found.features, found.rows[0], strict=True))

    def __getitem__(self, name: str) -> Array:
        if name in self._requests.kinds or name in (EVENT_TIMESTAMP, REQUEST_ID):
            return self._requests.column(name)
        if name not in self.plain:
            return self._found.columns[name]
        is_text = self._found.features.index(name) in self._found.texts
        return np.array([self.plain[name]], object if is_text else np.float64)

    def __iter__(self) -> Iterator[str]:
        return chain(self._requests.columns, self._found.columns)

    def __len__(self) -> int:
        return len(self._requests.columns) + len(self._found.columns)


@dataclass(frozen=True)
class Given:
    """Ready vectors, predicted as of `time`, in microseconds since 1970."""

    lines: OnlineLines
    vectors: Vectors
    time: int

    @cached_property
    def unusable(self) -> Sequence[bool]:
        return [False] * len(self.vectors.rows)

    @property
    def columns(self) -> Columns:
        return self.vectors.columns

    @property
    def row(self) -> Row:
        return self.vectors.rows[0]

    def rung(self, _row: int) -> str:
        return GIVEN

    def ages(self, _row: int) -> Mapping[str, float | None]:
        return {}

    def known(self, row: int) -> Row:
        return self.lines.given(self.vectors.rows[row], self.time)
