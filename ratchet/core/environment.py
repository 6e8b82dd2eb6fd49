"""What the process's environment says (RATCHET_*): where things are kept, and what a step may use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ratchet.core.settings import Frozen, parse

ENVIRONMENT_PREFIX = "RATCHET_"


class Environment(Frozen):
    """Where things are kept: an empty value means the embedded default under state/.

    `notify_url` is a webhook that is told of failed flow runs; without one nobody is.
    """

    tracking_uri: str = ""
    artifact_location: str = ""
    feast_registry: str = ""
    online_store: Literal["sqlite"] = "sqlite"
    signing_key: str = ""
    threads: int = Field(2, ge=1)
    memory_limit: str = "4GB"
    notify_url: str = Field("", pattern="^(https?://.+)?$")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Environment:
        """RATCHET_TRACKING_URI and the like. Raises SettingsError for a name that is no setting."""
        given = {
            name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(ENVIRONMENT_PREFIX)
        }
        return parse(cls, given, "the environment", spelled=lambda name: ENVIRONMENT_PREFIX + name.upper())
