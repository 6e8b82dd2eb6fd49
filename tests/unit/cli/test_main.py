"""The command line: what it loads, what it says, and how it fails."""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.commands.check import note_of
from cli.commands.quarantine import quarantine
from cli.main import main, ratchet
from cli.reference import reference
from ratchet.project.headlines import HEADLINES
from ratchet.project.steps import STEPS
from ratchet.use_case.batch import Unread
from tests.support.checkout import ROOT
from tests.support.messages import missing

HEAVY = {
    "bentoml",
    "dvc",
    "evidently",
    "feast",
    "great_expectations",
    "lightgbm",
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "prefect",
    "sklearn",
}


def ratchet_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this checkout's command line from another folder."""
    command = [sys.executable, "-m", "cli", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_help_loads_no_heavy_library() -> None:
    """Asking for help imports neither the nine parts nor a data frame."""
    script = "import sys, cli.main, ratchet.project.steps; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY & set(loaded.stdout.split()) == set()


def test_every_command_explains_itself() -> None:
    """Every command, option and argument-less switch has a help text."""
    commands = {**ratchet.commands, **quarantine.commands}
    silent = [
        f"{name} {parameter.name}"
        for name, command in commands.items()
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "help", None)
    ]
    assert silent == []
    assert [name for name, command in commands.items() if not command.help] == []


def test_the_reference_is_the_code_s() -> None:
    """docs/cli.md is what `python -m cli.reference` prints now."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("name", ratchet.commands)
def test_the_reference_is_what_the_command_line_says(name: str) -> None:
    """Every command's help stands there as it is printed, but for where lines end."""
    printed = CliRunner().invoke(ratchet, [name, "--help"], prog_name="ratchet").stdout
    assert " ".join(printed.split()) in " ".join(reference().split())


@pytest.mark.parametrize("name", STEPS)
def test_every_stage_has_its_function(name: str) -> None:
    """`ratchet stage NAME` finds a callable for every name it offers."""
    assert callable(STEPS[name].load())


def test_dvc_runs_every_stage() -> None:
    """dvc.yaml declares the stages that the command line offers, each by its name."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    sensors = yaml.safe_load((ROOT / "sensors" / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert ["python -m cli sensors"] == [stage["cmd"] for stage in sensors.values()]
    assert {name: f"python -m cli --use-case ${{key}} stage {name}" for name in STEPS} == {
        name: stage["do"]["cmd"] for name, stage in stages.items()
    }


def test_sensors_say_what_is_open_in_a_line() -> None:
    """Models of which nothing is requested or lost are counted, not listed."""
    quiet = {"requested": None, "champion": None, "history": None, "missing": []}
    assert [] == missing(HEADLINES["sensors"]({"taxi": quiet, "churn": quiet}), "nothing", "2 models")
    asked = HEADLINES["sensors"]({"taxi": quiet, "churn": {**quiet, "requested": 3, "missing": ["a" * 64]}})
    assert "churn: requested 3, 1 lost" == asked


@pytest.mark.parametrize(("names", "said"), [(["a.tsv"], "1 entry of"), (["a.tsv", ".b.csv"], "2 entries of")])
def test_ingest_says_that_something_was_not_read(names: list[str], said: str) -> None:
    """How much of the source, and where the reasons stand; nothing where all was."""
    report = {"rows": {"rides": 6100}, "gaps": {}, "rejected": {}, "unread": dict.fromkeys(names, "is hidden")}
    line = HEADLINES["ingest"](report)
    assert said in line
    assert "ingest.json" in line
    assert "6,100 rides" == HEADLINES["ingest"]({**report, "unread": {}})
    assert "rides 2024-02" in HEADLINES["ingest"]({**report, "gaps": {"rides": {"2024-02": "[…)"}}})
    assert "rejected: rides 7" in HEADLINES["ingest"]({**report, "rejected": {"rides": {"7": "holds no row"}}})


def test_featurize_names_what_is_not_complete() -> None:
    """Views, requests or labels that a missing batch would have rows for; nothing where none is missing."""
    report = {"views": {"rides_0a": 60}, "upstream": {}, "requests": 9, "labels": 8, "gaps": {}}
    assert "60 rows in 1 views" in HEADLINES["featurize"](report)
    gaps = {"rides_0a": {"rides/2024-02": "[…)"}}
    assert "not complete: rides_0a" in HEADLINES["featurize"]({**report, "gaps": gaps})
    assert "not complete" not in HEADLINES["featurize"](report)


def test_featurize_names_what_another_system_computed_and_restated() -> None:
    """The rows of each view; and a restatement in the run that found it."""
    scores = {"rows": 1200, "restated": []}
    report = {"views": {}, "upstream": {"scores": scores}, "requests": 9, "labels": 8, "gaps": {}}
    line = HEADLINES["featurize"](report)
    assert "1,200 of scores" in line
    assert "restated" not in line
    restated = {**report, "upstream": {"scores": {**scores, "restated": [{"rows_then": 9, "rows_now": 9}]}}}
    assert ["scores"] == HEADLINES["featurize"](restated).rpartition(": ")[2].split()


def test_materialize_names_the_views_that_are_too_old() -> None:
    """Beside what it wrote; nothing where all are fresh."""
    report = {"views": {"visits_0a": 60}, "changed": {"visits_0a": 2}, "freshness": {"visits": {"fresh": False}}}
    line = HEADLINES["materialize"](report)
    assert [] == missing(line, "60 keys", "2 changed", "too old", "visits")
    assert "too old" not in HEADLINES["materialize"]({**report, "freshness": {"visits": {"fresh": True}}})


def test_check_names_what_is_not_read() -> None:
    """The first few with their reasons, and how many there are beside."""
    unread = [Unread(f"{number}.tsv", "has another suffix") for number in range(5)]
    assert "'0.tsv' has another suffix" in note_of(unread, "reports/rides")
    assert re.search(r"2 more.* reports/rides/ingest\.json", note_of(unread, "reports/rides"))
    assert "more" not in note_of(unread[:3], "reports/rides")


def test_a_new_feature_service_is_applied() -> None:
    """Materialize runs again where an on-demand column makes another service of the same stored features."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    reported = next(
        path for out in stages["featurize"]["do"]["outs"] for path in out if path.endswith("featurize.json")
    )
    assert reported in stages["materialize"]["do"]["deps"]


def test_an_expected_failure_is_one_line(tmp_path: Path) -> None:
    """Without params.yaml a command says what is missing and what to do, without a traceback."""
    done = ratchet_in(tmp_path, "stage", "ingest")
    assert done.returncode == 1
    assert done.stderr == (
        f"ratchet: {tmp_path / 'params.yaml'}: is not there. Run from the root of the checkout, or restore the file.\n"
    )


def test_a_user_without_a_home_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the command: one line, before anything is imported that asks for the folder."""

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(sys, "argv", ["ratchet", "status"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert str(ended.value.code).startswith("ratchet: HOME: ")
    assert "LOGNAME" in str(ended.value.code)
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize("command", [["stage", "ingest"], ["sensors"]])
@pytest.mark.parametrize("target", ["/sys", "/sys/state"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, target: str, command: list[str]) -> None:
    """It is named, without a traceback."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "state").symlink_to(target)  # where even the superuser makes nothing
    done = ratchet_in(tmp_path, *command)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert str(tmp_path / "state") in done.stderr


def test_a_misspelt_key_names_its_neighbour(tmp_path: Path) -> None:
    """A typo in params.yaml is answered with the key that was probably meant."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("min_skill:", "min_skil:")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    done = ratchet_in(tmp_path, "--use-case", "nyc_taxi", "stage", "ingest")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ratchet: {tmp_path / 'params.yaml'}: use_cases.nyc_taxi.gate.min_skil: ")
    assert [] == missing(line, "'min_skill'")


@pytest.mark.parametrize(
    ("written", "wrong", "names"),
    [
        ("min_skill:", "min_skil:", ["use_cases.nyc_taxi.gate.min_skil", "'min_skill'"]),
        ("use_case: nyc_taxi", "use_case: nyc", ["'nyc'", "section"]),
        ("  churn:\n", "  chrun:\n", ["'chrun'", "use_cases.chrun"]),
        ("name: simulator # or", "name: simulater # or", ["'simulater'", "simulator, tlc"]),
    ],
)
def test_a_service_whose_settings_are_wrong_does_not_start(
    tmp_path: Path, written: str, wrong: str, names: list[str]
) -> None:
    """What is wrong in any section of params.yaml is told in one line before BentoML begins."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert written in text
    (tmp_path / "params.yaml").write_text(text.replace(written, wrong), encoding="utf-8")
    shutil.copy(ROOT / "as_of.yaml", tmp_path)
    done = ratchet_in(tmp_path, "serve")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert [] == missing(done.stderr, *names)
