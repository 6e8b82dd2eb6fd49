"""What `ratchet init` reads off a CSV file by itself: names of columns, and the kinds of their values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from authoring.init.profile import profile_columns
from ratchet.core.errors import SourceError
from tests.support.messages import missing


class TestHeaders:
    @pytest.mark.parametrize(
        ("headers", "named"),
        [
            pytest.param(["a;b;c"], ["'a;b;c'", "commas"], id="one column of all"),
            pytest.param(["a", "日付"], ["'日付'", "a to z"], id="no letter of a name"),
            pytest.param(["Day 1", "day_1", "x"], ["'Day 1', 'day_1'", "called day_1"], id="two of one name"),
            pytest.param(["a", "b" * 61], [f"'{'b' * 61}'", "60 letters"], id="long"),
        ],
    )
    def test_must_make_names(self, headers: list[str], named: Sequence[str]) -> None:
        """Or are refused, each by name."""
        with pytest.raises(SourceError) as raised:
            profile_columns(pa.table([pa.array(["1"])] * len(headers), names=headers), Path("trips.csv"))
        assert "trips.csv" == raised.value.subject
        assert [] == missing(raised.value, *named)

    def test_without_a_name_is_no_column(self) -> None:
        """As the one that pandas writes its row numbers in."""
        assert ["a"] == [
            column.name for column in profile_columns(pa.table({"": ["0"], "a": ["1"]}), Path("x")).columns
        ]


class TestKinds:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (["1", "2", None], "whole"),
            (["1.0", "2.0", "NA"], "whole"),
            (["1.5", "2"], "number"),
            (["True", "false"], "boolean"),
            (["2024-01-31", "2024-01-31T10:00:00+02:00"], "time"),
            (["01", "12"], "text"),
            (["123456789012345", "1"], "whole"),
            (["76561198000000001", "1"], "text"),
            (["a", "1"], "text"),
            ([None, "NaN"], "empty"),
        ],
    )
    def test_are_those_of_all_values(self, values: list[str | None], kind: str) -> None:
        """One that does not fit makes it text, as do leading zeros and numbers too long to be exact."""
        text = pa.table({"x": pa.array(values, pa.string()), "y": pa.array(["1"] * len(values))})
        assert kind == profile_columns(text, Path("x")).column("x").kind
