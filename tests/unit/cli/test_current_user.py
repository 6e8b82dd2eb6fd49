"""Who is said to have asked."""

from __future__ import annotations

import os
import pwd

import pytest

from cli.current_user import current_user

VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_user_with_an_entry_is_named_by_it() -> None:
    """Without any variable it is the name in the system's list of users."""
    assert pwd.getpwuid(os.getuid()).pw_name == current_user()


def test_a_variable_names_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the login says comes first."""
    monkeypatch.setenv("LOGNAME", "ann")
    assert "ann" == current_user()


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_an_entry_is_the_number(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """As in a container that runs under any number that it was given."""

    def nobody(_uid: int) -> None:
        raise error

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert f"uid {os.getuid()}" == current_user()
