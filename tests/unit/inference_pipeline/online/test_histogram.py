"""Many values at once are in the same buckets as one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from inference_pipeline.online.histogram import BulkHistogram

BOUNDS = (0.001, 0.01, 0.1)
SECONDS = st.one_of(st.sampled_from((*BOUNDS, 0.0)), st.floats(0, 100))


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_each_value_is_in_its_bucket(first: list[float], second: list[float]) -> None:
    """Also if more come later; a bound belongs to the bucket that ends there."""
    found, expected = CollectorRegistry(), CollectorRegistry()
    at_once = BulkHistogram("seconds", "Seconds", ["asked"], buckets=BOUNDS, registry=found)
    one_by_one = Histogram("seconds", "Seconds", ["asked"], buckets=BOUNDS, registry=expected)
    for values in (first, second):
        at_once.labels("predict").observe_all(values)
        child = one_by_one.labels("predict")
        for value in values:
            child.observe(value)
    for name in ("seconds_count", "seconds_sum"):
        assert pytest.approx(sample(expected, name)) == sample(found, name)
    for bound in (*map(str, BOUNDS), "+Inf"):
        assert sample(expected, "seconds_bucket", le=bound) == sample(found, "seconds_bucket", le=bound)


def sample(registry: CollectorRegistry, name: str, **more: str) -> float | None:
    return registry.get_sample_value(name, {"asked": "predict", **more})
