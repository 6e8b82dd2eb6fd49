"""The declaration of a view that another system computes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from ratchet.core.errors import SettingsError
from ratchet.features.service import service_spec
from ratchet.use_case.contract import View
from ratchet.use_case.upstream import upstream
from tests.support.scored import SCORES, VIEW, use_case


def declared(schema: pa.Schema = SCORES, **changes: Any) -> View:
    arguments = {"keys": ("patient",), "event_time": "event_timestamp", "available_at": "written_at"}
    return upstream("scores", schema, **{**arguments, "max_age": timedelta(days=30), **changes})


def with_column(name: str, kind: pa.DataType) -> pa.Schema:
    place = SCORES.get_field_index(name)
    return SCORES.append(pa.field(name, kind)) if place < 0 else SCORES.set(place, pa.field(name, kind))


def test_features_are_the_other_columns() -> None:
    """In the order of the schema, in the types in which features are kept."""
    spec = service_spec(use_case)
    assert ("risk", "visits", "tier", "is_new") == spec.features["scores"]
    assert ["patient", "event_timestamp", "risk", "visits", "tier", "is_new"] == spec.schemas["scores"].names


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"keys": ("patients",)}, "patients"),
        ({"event_time": "at"}, "at"),
        ({"available_at": "loaded_at"}, "loaded_at"),
        ({"keys": ("risk",)}, "risk"),
        ({"keys": ()}, "key"),
        ({"event_time": "tier"}, "tier"),
        ({"event_time": "written_at"}, "event_timestamp"),
        ({"schema": with_column("risk", pa.float32())}, "risk"),
        ({"schema": with_column("written_at", pa.timestamp("us"))}, "written_at"),
        ({"schema": with_column("row_available_at", pa.int64())}, "row_available_at"),
        ({"schema": SCORES.remove(1).remove(1).remove(1).remove(1)}, "feature"),
    ],
)
def test_what_cannot_be_kept_is_refused(change: dict[str, Any], named: str) -> None:
    """With the column that is wrong, before anything runs."""
    with pytest.raises(SettingsError, match=named) as error:
        declared(**change)
    assert "view 'scores'" == error.value.subject


def test_a_model_is_bound_to_how_rows_are_read() -> None:
    """Other columns, other times or another age are another view; where the files lie, and how late they are, is none."""
    changes: list[dict[str, Any]] = [
        {"schema": SCORES.remove(SCORES.get_field_index("tier"))},
        {"event_time": "written_at", "schema": SCORES.remove(SCORES.get_field_index("event_timestamp"))},
        {"max_age": None},
    ]
    others = [versioned(declared(**change)) for change in changes]
    assert len(changes) + 1 == len({*others, versioned(VIEW)})
    assert versioned(VIEW) == versioned(declared(lag=timedelta(hours=9)))


def versioned(view: View) -> str:
    return service_spec(replace(use_case, views=(*use_case.views[:-1], view))).views["scores"]
