"""The baseline that everything else is measured over."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from ratchet.models.baseline import BackoffBaseline

LEVELS = (("origin", "to"), ("origin",), ())
ROUTES = pd.DataFrame({"origin": [1.0] * 4 + [2.0, 2.0], "to": [5.0, 5.0, 5.0, 6.0, 5.0, 6.0]})
MINUTES = np.array([10.0, 12.0, 50.0, 20.0, 3.0, 5.0])


def _predict(baseline: BackoffBaseline, *routes: tuple[float, float]) -> list[float]:
    return [float(value) for value in baseline.predict(pd.DataFrame(routes, columns=["origin", "to"]))]


def test_group_with_enough_rows_gives_its_median() -> None:
    """The finest group that has enough rows is what counts."""
    assert _predict(BackoffBaseline(LEVELS, "regression", min_rows=3).fit(ROUTES, MINUTES), (1.0, 5.0)) == [12.0]


def test_thin_unseen_and_missing_groups_back_off() -> None:
    """A thin group, an unseen one and a missing value are answered by a coarser group, at last by all rows."""
    baseline = BackoffBaseline(LEVELS, "regression", min_rows=3).fit(ROUTES, MINUTES)
    assert _predict(baseline, (1.0, 6.0), (1.0, 9.0), (1.0, np.nan), (2.0, 5.0), (9.0, 5.0), (np.nan, 5.0)) == [
        16.0,
        16.0,
        16.0,
        11.0,
        11.0,
        11.0,
    ]


def test_rates_are_never_certain() -> None:
    """A group in which it never happened still gives it some chance, by the rule of succession."""
    frame = pd.DataFrame({"clinic": np.array(["a"] * 8 + ["b"] * 8, dtype=object)})
    baseline = BackoffBaseline((("clinic",), ()), "binary", min_rows=8).fit(frame, np.repeat([0.0, 1.0], 8))
    assert baseline.predict_proba(frame.iloc[[0, 8]]).round(12).tolist() == [[0.9, 0.1], [0.1, 0.9]]


def test_text_that_says_nan_is_no_missing_value() -> None:
    """A category called "nan" is a group of its own; a missing one is not."""
    frame = pd.DataFrame({"name": np.array(["nan", "nan", None, None], dtype=object)})
    baseline = BackoffBaseline((("name",), ()), "regression", min_rows=2).fit(frame, np.array([1.0, 1.0, 9.0, 9.0]))
    assert baseline.predict(frame).tolist() == [1.0, 1.0, 5.0, 5.0]


def test_constant_is_the_last_rung() -> None:
    """The reference of the baseline itself predicts what all training rows together say."""
    constant = BackoffBaseline(LEVELS, "regression", min_rows=1).fit(ROUTES, MINUTES).constant()
    assert _predict(constant, (1.0, 5.0), (2.0, 6.0)) == [11.0, 11.0]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e6, 1e6)), min_size=1, max_size=40), st.randoms())
def test_order_of_training_rows_does_not_matter(rows: list[tuple[str, float]], random: object) -> None:
    """The same rows in another order fit the same baseline."""
    shuffled = sorted(rows, key=lambda _: random.random())  # type: ignore[attr-defined]
    fitted = [
        BackoffBaseline((("x",), ()), "regression", min_rows=2).fit(
            pd.DataFrame({"x": np.array([name for name, _ in order], dtype=object)}),
            np.array([value for _, value in order]),
        )
        for order in (rows, shuffled)
    ]
    asked = pd.DataFrame({"x": np.array(list("abcd"), dtype=object)})
    assert fitted[0].predict(asked).tolist() == fitted[1].predict(asked).tolist()
