"""The feature service: names and a fingerprint that change when features would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import ibis
import pyarrow as pa
import pytest
from ibis import _

from ratchet.core.errors import SettingsError
from ratchet.features.service import label_schema, request_schema, service_spec
from ratchet.use_case.contract import Lookup, Tables
from tests.support import noshow, parcels
from use_cases.demand.on_demand import never_negative

VIEW = noshow.use_case.views[0]
INSTANT = pa.timestamp("us", "UTC")


def other_history(tables: Tables) -> ibis.Table:
    return noshow.patient_history(tables).mutate(appointments_56d=_.appointments_56d + 1)


def rate_as_list(tables: Tables) -> ibis.Table:
    return noshow.patient_history(tables).mutate(rates=ibis.array([1.0]))


def instant_as_feature(tables: Tables) -> ibis.Table:
    return noshow.patient_history(tables).mutate(last=_.event_timestamp)


def upcoming_as_feature(tables: Tables) -> ibis.Table:
    return noshow.patient_history(tables).mutate(upcoming_rows=_.appointments_56d)


def without_patient(tables: Tables) -> ibis.Table:
    return noshow.patient_history(tables).drop("patient")


def fractional_key(tables: Tables) -> ibis.Table:
    return noshow.patient_history(tables).mutate(patient=ibis.literal(0.5))


def request_without_clinic(tables: Tables) -> ibis.Table:
    return noshow.examples(tables).drop("clinic")


def by_name(tables: Tables) -> ibis.Table:
    return parcels.position(tables).mutate(depot=_.depot.cast("string"))


def test_view_is_named_after_its_expression() -> None:
    """Another expression, lookback or age makes another version; the same declaration makes the same one."""
    variants = [
        VIEW,
        replace(VIEW, compute=other_history),
        replace(VIEW, lookback=timedelta(days=61)),
        replace(VIEW, max_age=timedelta(days=61)),
    ]
    names = [service_spec(replace(noshow.use_case, views=(view,))).views["patient_history"] for view in variants]
    assert 4 == len(set(names))
    assert service_spec(noshow.use_case).views["patient_history"] == names[0]
    assert all(name.startswith("patient_history_") and len(name) == len("patient_history_") + 8 for name in names)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": dict(reversed(noshow.use_case.inputs.items()))},
        {"constants": {"country": "AU"}},
        {"views": (replace(VIEW, compute=other_history),)},
        {"lookups": (Lookup("patient_history", {"patient": "patient"}, name="history"),)},
        {"on_demand": parcels.use_case.on_demand},
        {"postprocess": never_negative},
    ],
    ids=lambda change: next(iter(change)),
)
def test_fingerprint_changes_with_what_decides_the_features(change: Mapping[str, Any]) -> None:
    """Whatever may change a model's columns changes the service's fingerprint and name."""
    before, after = service_spec(noshow.use_case), service_spec(replace(noshow.use_case, **change))
    assert before.fingerprint != after.fingerprint
    assert before.name != after.name


def test_fingerprint_is_the_same_in_every_process() -> None:
    """Neither the order of hashes nor the time decides it."""
    code = "from tests.support import noshow; from ratchet.features.service import service_spec as s; print(s(noshow.use_case))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{service_spec(noshow.use_case)}\n" == found.stdout


def test_spec_lists_keys_and_features_of_each_view() -> None:
    """Keys, event_timestamp and features come in that order, in the types that the store keeps."""
    spec = service_spec(parcels.use_case)
    assert ("parcels", "grams") == spec.features["route"]
    expected = {
        "depot": pa.int64(),
        "event_timestamp": INSTANT,
        "north": pa.float64(),
        "is_north": pa.bool_(),
        "name": pa.string(),
    }
    assert pa.schema(expected) == spec.schemas["position"]


def test_request_has_its_fields_the_constants_and_no_label() -> None:
    """What is stored of a request is what its caller knows, and what is the same for all."""
    expected = {
        "request_id": pa.string(),
        "sender": pa.int64(),
        "receiver": pa.int64(),
        "network": pa.string(),
        "event_timestamp": INSTANT,
    }
    assert pa.schema(expected) == request_schema(parcels.use_case)
    assert ["request_id", "event_timestamp", "label", "label_known_at"] == label_schema(parcels.use_case).names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lookups": (Lookup("nothing", {}),)}, "no view 'nothing'"),
        ({"lookups": (Lookup("patient_history", {"clinic": "clinic"}),)}, "keys of patient_history are patient"),
        ({"lookups": (Lookup("patient_history", {"patient": "missed"}),)}, "no column missed"),
        ({"views": (replace(VIEW, compute=without_patient),)}, "lacks patient"),
        ({"views": (replace(VIEW, compute=rate_as_list),)}, "type array<float64>"),
        ({"views": (replace(VIEW, compute=instant_as_feature),)}, "column 'last': is a timestamp"),
        ({"views": (replace(VIEW, compute=upcoming_as_feature),)}, "column upcoming_rows"),
        ({"views": (replace(VIEW, compute=fractional_key),)}, "column 'patient': is a float64"),
        ({"examples": request_without_clinic}, "examples: lacks clinic"),
        ({"on_demand": noshow.clinic_feed}, r"on_demand, clinic_feed of tests\.support\.noshow: .*\bibis"),
        ({"postprocess": lambda _columns, numbers: numbers}, "postprocess: .*<lambda> is a lambda"),
    ],
)
def test_contradictory_declaration_is_refused(change: Mapping[str, Any], message: str) -> None:
    """What cannot be stored or looked up is named before anything is computed."""
    with pytest.raises(SettingsError, match=message):
        service_spec(replace(noshow.use_case, **change))


def test_key_has_one_type() -> None:
    """Two views that call different things by one name are refused."""
    views = tuple(
        replace(view, compute=by_name) if view.name == "position" else view for view in parcels.use_case.views
    )
    with pytest.raises(SettingsError, match=r"view 'position', key 'depot'.*string.*int64"):
        service_spec(replace(parcels.use_case, views=views))


def test_role_does_not_hide_another_request_column() -> None:
    """Feast would read `sender` where a role maps the view's `sender` to `receiver`, so that is refused."""
    swapped = Lookup("route", {"sender": "receiver", "receiver": "sender"}, name="way_back")
    with pytest.raises(SettingsError, match=r"way_back.*name of its own"):
        service_spec(replace(parcels.use_case, lookups=(*parcels.use_case.lookups, swapped)))
