"""params.yaml and the environment: frozen, strict, and helpful when wrong."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import strategies as st
from pydantic import ValidationError

from ratchet.core.environment import Environment
from ratchet.core.errors import SettingsError
from ratchet.core.settings import WATCHED, DriftSettings, GateSettings, Settings, Windows, parse
from tests.support.checkout import ROOT

DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))


def params(changes: dict[str, Any], *, without: str = "", **others: Any) -> dict[str, Any]:
    """Content of params.yaml, with changes in the section of the one use case, and others at the top."""
    section = {
        "source": {"name": "feed", "path": "feed.py"},
        "windows": {"start": "2024-01-01", "early_stopping": "28d", "holdout": "31d", "fresh": "30d"},
        "validation": {},
        "training": {},
        "gate": {},
        "drift": {},
        "schedules": {},
        "retention": {},
        **changes,
    }
    section.pop(without, None)
    return {"use_case": "city", "use_cases": {"city": section}, **others}


def load(folder: Path, content: Any) -> Settings:
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return Settings.load(folder / "params.yaml")


class TestParams:
    def test_the_shipped_file_is_right(self) -> None:
        """Every section of the repository's own params.yaml loads, and writes out every setting that it decides."""
        written = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["use_cases"]
        shipped = {name: Settings.load(ROOT / "params.yaml", name) for name in written}
        assert written == {
            name: one.model_dump(mode="json", exclude={"use_case"}, exclude_unset=True) for name, one in shipped.items()
        }

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"gate": {"min_row": 5}}, r"use_cases\.city\.gate\.min_row: .*'min_rows'"),
            ({"sauce": "x"}, r"use_cases\.city\.sauce: .*'source'"),
            ({"zebra": 1}, r"zebra: .*use_case, source, windows"),
            ({"gate": {"confidence": 1.5}}, r"gate\.confidence: .*less than 1"),
            ({"gate": {"min_gain": float("inf")}}, r"gate\.min_gain: .*finite"),
            ({"gate": {"min_gain": -0.01}}, r"gate\.min_gain: .*greater .*0"),
            ({"gate": {"min_skill": -0.01}}, r"gate\.min_skill: .*greater .*0"),
            ({"drift": {"min_rows": 0}}, r"drift\.min_rows"),
            ({"source": {"name": "feed"}}, r"source\.path: Field required"),
        ],
    )
    def test_a_wrong_key_names_its_neighbours(self, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        """The error names the file, the key, and the nearest key or the bound that was missed."""
        with pytest.raises(SettingsError, match=message) as caught:
            load(tmp_path, params(changes))
        assert str(tmp_path / "params.yaml") == caught.value.subject

    def test_every_wrong_key_is_named_at_once(self, tmp_path: Path) -> None:
        """A person fixes the file in one go."""
        with pytest.raises(SettingsError, match=r"a: unknown key.*b: unknown key"):
            load(tmp_path, params({"a": 1, "b": 2}))

    def test_a_key_at_the_top_belongs_in_a_section(self, tmp_path: Path) -> None:
        """What decides the results of one use case does not stand beside them."""
        with pytest.raises(SettingsError, match=r"windows: .*use_case, use_cases\b"):
            load(tmp_path, params({}, windows={}))

    @pytest.mark.parametrize("block", WATCHED)
    def test_a_block_that_dvc_watches_is_written_out(self, tmp_path: Path, block: str) -> None:
        """Without it DVC would fail later, and say less."""
        with pytest.raises(SettingsError, match=rf"use_cases\.city lacks {block}"):
            load(tmp_path, params({}, without=block))

    def test_any_section_can_be_asked_for(self, tmp_path: Path) -> None:
        """The selected one is only what is meant when nothing is said."""
        others = params({"gate": {"min_rows": 5}})["use_cases"] | {"town": params({})["use_cases"]["city"]}
        assert "city" == load(tmp_path, params({}, use_cases=others)).use_case
        town = Settings.load(tmp_path / "params.yaml", "town")
        assert ("town", 1000) == (town.use_case, town.gate.min_rows)

    @pytest.mark.parametrize("name", ["village", "cities"])
    def test_a_use_case_without_a_section_names_those_that_have_one(self, tmp_path: Path, name: str) -> None:
        """Selected or asked for."""
        load(tmp_path, params({}))
        with pytest.raises(SettingsError, match=rf"'{name}' .*section.*\bcity\b"):
            Settings.load(tmp_path / "params.yaml", name)

    def test_a_missing_file_says_where_to_run(self, tmp_path: Path) -> None:
        """Outside a checkout there is no params.yaml."""
        with pytest.raises(SettingsError, match="root of the checkout"):
            Settings.load(tmp_path / "params.yaml")

    @pytest.mark.parametrize("text", ["", "just words", "- a\n- list"])
    def test_a_file_without_keys_lacks_them(self, tmp_path: Path, text: str) -> None:
        """An empty file, a sentence or a list are no settings."""
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError, match="use_case: Field required"):
            Settings.load(tmp_path / "params.yaml")

    def test_a_file_that_is_not_yaml_names_the_line(self, tmp_path: Path) -> None:
        """The parser's own position is in the message, on one line."""
        (tmp_path / "params.yaml").write_text("a: [1\nb: 2", encoding="utf-8")
        with pytest.raises(SettingsError, match=r"is not YAML \(.*line 2") as caught:
            Settings.load(tmp_path / "params.yaml")
        assert "\n" not in str(caught.value)

    def test_settings_do_not_change(self) -> None:
        """A setting cannot be assigned to."""
        with pytest.raises(ValidationError, match="frozen"):
            GateSettings().min_rows = 1  # type: ignore[misc]


class TestWindows:
    LENGTHS: ClassVar = {"start": "2024-01-01", "early_stopping": "7d", "holdout": "14d", "fresh": "7d"}

    def test_lengths_are_days(self) -> None:
        """They are written back as they were given."""
        windows = parse(Windows, {**self.LENGTHS, "training": "365d"}, "windows")
        assert timedelta(days=14) == windows.holdout
        assert {**self.LENGTHS, "training": "365d", "label_maturity": "0d"} == windows.model_dump(mode="json")

    @pytest.mark.parametrize("text", ["7", "7h", "-7d", "1.5d", "", "week", 7, None])
    @pytest.mark.parametrize("name", ["early_stopping", "holdout", "fresh", "label_maturity"])
    def test_any_other_length_is_refused(self, name: str, text: object) -> None:
        """With its name, and with the form that it needs."""
        with pytest.raises(SettingsError, match=rf"{name}: .*31d"):
            parse(Windows, {**self.LENGTHS, name: text}, "windows")

    @pytest.mark.parametrize("name", ["early_stopping", "holdout", "fresh"])
    def test_a_window_has_a_day(self, name: str) -> None:
        """Nothing can be stopped, judged or monitored on no rows; labels may mature at once."""
        with pytest.raises(SettingsError, match=rf"{name}: .*1 day"):
            parse(Windows, {**self.LENGTHS, name: "0d"}, "windows")

    def test_training_is_longer_than_early_stopping(self) -> None:
        """Which is part of it."""
        with pytest.raises(SettingsError, match="training must be longer"):
            parse(Windows, {**self.LENGTHS, "training": "7d"}, "windows")


class TestDrift:
    def test_a_reference_too_small_to_compare_is_refused(self) -> None:
        """A reference of fewer rows than a comparison needs would leave every report without a verdict."""
        assert 500 == parse(DriftSettings, {"reference_rows": 500, "min_rows": 500}, "drift").min_rows
        with pytest.raises(SettingsError, match=r"reference_rows .*min_rows"):
            parse(DriftSettings, {"reference_rows": 499, "min_rows": 500}, "drift")


class TestStores:
    def test_the_embedded_default_needs_no_environment(self) -> None:
        """Other variables are none of its business."""
        assert Environment() == Environment.from_environment({"HOME": "/nowhere", "PATH": "/bin"})

    def test_reads_its_variables(self) -> None:
        """RATCHET_THREADS sets `threads`, as the number it stands for."""
        environment = {"RATCHET_THREADS": "4", "RATCHET_TRACKING_URI": "sqlite:///x.db"}
        assert Environment(threads=4, tracking_uri="sqlite:///x.db") == Environment.from_environment(environment)

    def test_an_unknown_variable_is_refused(self) -> None:
        """A typo in a variable's name does not silently mean the default."""
        with pytest.raises(SettingsError, match=r"RATCHET_THREAD: .*'RATCHET_THREADS'"):
            Environment.from_environment({"RATCHET_THREAD": "4"})
