"""Compute from a sample what a use case declares: views, requests, labels, and labelled requests with all their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from authoring.check.sample import Sample
from ratchet.feature_store.point_in_time_join import DatedRows, Join, point_in_time
from ratchet.features.expressions import CompiledExpression, compile_labels, compile_requests, compile_view
from ratchet.features.service import service_spec
from ratchet.features.upstream_rows import UpstreamRows, upstream_rows
from ratchet.storage.arrow import to_columns
from ratchet.storage.duckdb import Query
from ratchet.storage.partitions import write_table
from ratchet.use_case.columns import EVENT_TIMESTAMP, LABEL_COLUMNS, REQUEST_ID
from ratchet.use_case.contract import Columns, View

if TYPE_CHECKING:
    import ibis

ASKED = 10_000
"""The most requests that are joined with their features."""


@dataclass(frozen=True)
class Features:
    """The views and requests of a sample, each as a table of its database. `labelled` holds the requests with their labels."""

    sample: Sample
    views: Mapping[str, ibis.Table]
    requests: ibis.Table
    labelled: ibis.Table

    @cached_property
    def every(self) -> int:
        """One of this many labelled requests is in `rows`."""
        return max(1, -(-size(self.labelled) // ASKED))

    @cached_property
    def rows(self) -> Columns:
        """Labelled requests, spread evenly over time, with the features of their lookups; in order of time."""
        entities = self.labelled.order_by(EVENT_TIMESTAMP, REQUEST_ID).to_pyarrow()
        return to_columns(self._joined(entities.take(np.arange(0, entities.num_rows, self.every))))

    def _joined(self, entities: pa.Table) -> pa.Table:
        environment, timestamps = self.sample.run.environment, entities[EVENT_TIMESTAMP]
        if not entities.num_rows:
            return entities
        with TemporaryDirectory() as folder:
            query = point_in_time(
                Query("SELECT * FROM asked", {"asked": entities}),
                self._joins(Path(folder)),
                *(extreme.as_py() for extreme in (timestamps[0], timestamps[-1])),
            )
            found = query.run(environment.threads, environment.memory_limit)
        return found.sort_by([(EVENT_TIMESTAMP, "ascending"), (REQUEST_ID, "ascending")])

    def _joins(self, folder: Path) -> list[Join]:
        """Write the views to a folder, and return the use case's lookups as joins with them."""
        use_case = self.sample.run.use_case
        spec = service_spec(use_case)
        for name, view in self.views.items():
            write_table(folder / name / "part.parquet", view.to_pyarrow())
        return [
            Join(
                name=lookup.prefix,
                rows=DatedRows(folder / lookup.view, spec.schemas[lookup.view]),
                schema=spec.schemas[lookup.view],
                keys=lookup.keys,
                columns={name: f"{lookup.prefix}__{name}" for name in spec.features[lookup.view]},
                max_age=use_case.view(lookup.view).max_age,
            )
            for lookup in use_case.lookups
        ]


class FunctionError(Exception):
    """A function of the use case whose expression cannot be computed; the cause says why."""

    def __init__(self, subject: str, function: Callable[..., Any]) -> None:
        super().__init__(subject)
        self.subject, self.function = subject, function


def compute(sample: Sample) -> Features:
    """Everything that the use case derives from the whole sample. Raises FunctionError."""
    use_case = sample.run.use_case
    with _naming("`examples`", use_case.examples):
        requests, labels = (_whole(sample, derived(use_case)) for derived in (compile_requests, compile_labels))
    upstream, views = upstream_rows(sample.run), {}
    for view in use_case.views:
        with _naming(f"view {view.name!r}", view.compute):
            views[view.name] = (
                _written_elsewhere(sample, upstream[view.name], view, requests)
                if view.upstream
                else _whole(sample, compile_view(use_case, view), *view.keys)
            )
    labelled = requests.inner_join(labels.select(REQUEST_ID, *LABEL_COLUMNS), REQUEST_ID)
    return Features(sample, views, requests, labelled)


@contextmanager
def _naming(subject: str, function: Callable[..., Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise FunctionError(subject, function) from error


def _whole(sample: Sample, compiled: CompiledExpression, *keys: str) -> ibis.Table:
    source_rows = sample.opened(compiled)
    source_rows.bind(None, None)
    return present(source_rows.snapshot(compiled), *keys)


def _written_elsewhere(sample: Sample, upstream: UpstreamRows, view: View, requests: ibis.Table) -> ibis.Table:
    """The rows of a view that another system computes, as far as the requests of the sample can find them."""
    earliest = requests[EVENT_TIMESTAMP].min().to_pyarrow().as_py()
    first = earliest - view.max_age if earliest and view.max_age else None
    names, environment = service_spec(sample.run.use_case).schemas[view.name].names, sample.run.environment
    rows = upstream.between(names, first, sample.run.as_of("feature")).run(
        environment.threads, environment.memory_limit
    )
    return sample.stored(upstream.table, rows)


def present(rows: ibis.Table, *keys: str) -> ibis.Table:
    """The rows that have all keys and a timestamp: no other rows are stored."""
    return rows.filter([rows[name].notnull() for name in (*keys, EVENT_TIMESTAMP)])


def size(rows: ibis.Table) -> int:
    """How many rows there are."""
    return int(rows.count().to_pyarrow().as_py())
