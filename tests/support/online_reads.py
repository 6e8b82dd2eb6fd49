"""Read the online store as the service does, in the same event loop, and hold it equal to what Feast itself reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import uvloop

from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_features import Found, OnlineFeatures
from ratchet.feature_store.stored_views import stored_lookups, stored_views
from ratchet.features.service import request_schema
from ratchet.project.run import Run
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import Array, Columns
from tests.support.feast_reads import FeastFeatures


def read_online(run: Run, requests: Columns) -> dict[str, Array]:
    """The features of requests, whose columns include the constants. Every value, and every reason for none, is Feast's."""
    expected, found = FeastFeatures(FeatureStore.open(run)).read(requests), read_without_feast(run, requests)
    assert {*expected.columns} == {*found.columns}
    for name, column in expected.columns.items():
        np.testing.assert_array_equal(column, found.columns[name], name, strict=True)
    assert {name: [*column] for name, column in expected.absences.items()} == absences(found)
    return dict(found.columns)


def absences(found: Found) -> dict[str, list[str | None]]:
    """Lookup → why each request has no features."""
    return {name: [*column] for name, column in zip(found.lookups, zip(*found.absences, strict=True), strict=True)}


def read_without_feast(run: Run, requests: Columns, tolerance: timedelta = timedelta(0)) -> Found:
    features = FeatureStore.open(run)
    views = stored_views(run.use_case)
    reader = features.online.reader(views)
    online = OnlineFeatures(views, stored_lookups(run.use_case), reader, tolerance)
    times = requests[EVENT_TIMESTAMP].astype("datetime64[us]").astype(np.int64).tolist()

    async def read() -> Found:
        try:
            return await online.read(plain(run, requests), times)
        finally:
            reader.close()

    return uvloop.run(read())


def plain(run: Run, requests: Columns) -> dict[str, list[Any]]:
    """Requests as a caller sends them: whole numbers as such, and None for what is missing."""
    schema = request_schema(run.use_case)
    return {name: _plain(column, schema.field(name).type) for name, column in requests.items() if name in schema.names}


def _plain(column: Array, kind: pa.DataType) -> list[Any]:
    values = [None if value is None or value != value else value for value in column.tolist()]
    return [value if value is None or not pa.types.is_integer(kind) else int(value) for value in values]
