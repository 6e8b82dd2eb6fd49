"""Settings from environment variables (RATCHET_*): where the stores are, and how much a step may use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ratchet.core.settings import Frozen, parse

ENVIRONMENT_PREFIX = "RATCHET_"


class Environment(Frozen):
    """Where the stores are, and how much a step may use. An empty address means the embedded default under state/.

    `workers` is the number of processes of the online service that answer. `notify_url` is a webhook to which failed flow runs
    are reported. If it is empty, they are reported nowhere.
    """

    tracking_uri: str = ""
    artifact_location: str = ""
    feast_registry: str = ""
    online_store: Literal["sqlite", "redis"] = "sqlite"
    redis: str = Field("redis://127.0.0.1:6379/0", pattern="^rediss?://[^/@]*(@[^/@]+)?[^/]*(/[0-9]*)?$")
    signing_key: str = ""
    threads: int = Field(2, ge=1)
    memory_limit: str = "4GB"
    workers: int = Field(1, ge=1)
    notify_url: str = Field("", pattern="^(https?://.+)?$")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Environment:
        """Read RATCHET_TRACKING_URI and the like. Raises SettingsError for an unknown name or a wrong value."""
        given = {
            name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(ENVIRONMENT_PREFIX)
        }
        return parse(cls, given, "the environment", spelled=lambda name: ENVIRONMENT_PREFIX + name.upper())
