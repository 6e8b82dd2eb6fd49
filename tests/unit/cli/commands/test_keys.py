"""The commands about keys, in a checkout with two models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import ratchet
from inference_pipeline.online.access.key_file import KeyFile
from ratchet.core.errors import AccessError
from ratchet.project.run import Run
from tests.support.runs import noshow_project, write_settings


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    run = noshow_project(tmp_path)
    write_settings(run.root, run)
    monkeypatch.chdir(run.root)
    return run


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(ratchet, ["keys", *arguments])


def test_a_key_is_shown_once(run: Run) -> None:
    """Alone on standard output, so that a script can keep it. The list has all but that."""
    made = keys("add", "app", "--role", "predict", "--role", "explain", "--rate", "600/m", "--model", "noshow-clinic")
    found = KeyFile.open(run).read()
    assert found
    assert "app" == getattr(found.find(made.stdout.strip()), "name", None)
    text, listed = keys("list").stdout, json.loads(keys("list", "--json").stdout)
    assert all(word in text for word in ("app", "predict", "explain", "600/m", "noshow-clinic"))
    assert [("app", ["explain", "predict"], "600/m")] == [
        (each["name"], each["roles"], each["rate"]) for each in listed
    ]
    secret = made.stdout.strip().rpartition("_")[2]
    assert not any(part in text + str(listed) for part in (secret, next(iter(found.by_id.values())).digest))


def test_revoked_and_none(run: Run) -> None:
    """No key any more is not the same as never a key."""
    before = keys("list").stdout
    keys("add", "app", "--role", "admin")
    assert 0 == keys("revoke", "app").exit_code
    assert before != keys("list").stdout
    assert "app" not in keys("list").stdout


@pytest.mark.parametrize("wrong", [["--rate", "5"], ["--role", "king"], []])
def test_wrong_options_are_refused(run: Run, wrong: list[str]) -> None:
    assert 2 == keys("add", "app", *(["--role", "predict"] if "--rate" in wrong else []), *wrong).exit_code
    assert KeyFile.open(run).read() is None


def test_an_unknown_model_is_named(run: Run) -> None:
    refused = keys("add", "app", "--role", "predict", "--model", "noshow-clinik").exception
    assert isinstance(refused, AccessError)
    assert ("noshow-clinik", True) == (refused.subject, "noshow-clinic" in refused.problem)
