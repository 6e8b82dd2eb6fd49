"""Settings of the environment, and what is not said of them."""

from __future__ import annotations

import traceback

import pytest

from ratchet.core.environment import Environment
from ratchet.core.errors import SettingsError


def test_a_secret_is_never_shown() -> None:
    """Neither a good one nor one that is refused, with all that led to the error."""
    good, short = "s" * 32, "s" * 9
    assert good not in repr(Environment.from_environment({"RATCHET_API_KEY_SECRET": good}))
    with pytest.raises(SettingsError, match="RATCHET_API_KEY_SECRET") as refused:
        Environment.from_environment({"RATCHET_API_KEY_SECRET": short})
    assert short not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("half", ["RATCHET_TLS_CERTIFICATE", "RATCHET_TLS_KEY"])
def test_half_of_a_certificate_is_refused(half: str) -> None:
    with pytest.raises(SettingsError, match="RATCHET_TLS_KEY"):
        Environment.from_environment({half: "server.pem"})
    both = {"RATCHET_TLS_CERTIFICATE": "server.pem", "RATCHET_TLS_KEY": "server.key"}
    assert "server.key" == Environment.from_environment(both).tls_key
