"""Settings from environment variables (RATCHET_*): where the stores are, and how much a step may use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from ratchet.core.frozen import Frozen
from ratchet.core.settings import parse

ENVIRONMENT_PREFIX = "RATCHET_"
MIN_SECRET = 32
"""The least number of characters of a secret."""
PORTS = 1 << 16
"""The number of a port is below this."""


class Environment(Frozen):
    """Where the stores are, and how much a step may use. An empty address means the embedded default under state/.

    `workers` is the number of processes of the online service that answer, and `grpc` the address at which it answers gRPC,
    too, if it is not empty. `notify_url` is a webhook to which failed flow runs are reported. If it is empty, they are reported
    nowhere. `api_keys` is the file with the API keys of the online service; `api_key_secret` is the secret of their hashes, in
    place of a file beside them. `tls_certificate` and `tls_key` are files with which the online service encrypts. It writes its
    log as `log_lines` says, and with `request_lines` a line for each request. `traces` is the address of a collector of
    OpenTelemetry (OTLP over HTTP) to which it sends spans, if it is not empty: of `trace_share` of the requests, and of those
    whose caller traces them.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    tracking_uri: str = ""
    artifact_location: str = ""
    feast_registry: str = ""
    online_store: Literal["sqlite", "redis"] = "sqlite"
    redis: str = Field("redis://127.0.0.1:6379/0", pattern="^rediss?://[^/@]*(@[^/@]+)?[^/]*(/[0-9]*)?$")
    signing_key: str = ""
    threads: int = Field(2, ge=1)
    memory_limit: str = "4GB"
    workers: int = Field(1, ge=1)
    grpc: str = ""
    notify_url: str = Field("", pattern="^(https?://.+)?$")
    api_keys: str = ""
    api_key_secret: SecretStr = SecretStr("")
    tls_certificate: str = ""
    tls_key: str = Field("", validate_default=True)
    log_lines: Literal["text", "json"] = "text"
    request_lines: bool = False
    traces: str = Field("", pattern="^(https?://.+)?$")
    trace_share: float = Field(1.0, gt=0, le=1)

    @field_validator("api_key_secret")
    @classmethod
    def _is_long(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < MIN_SECRET:
            raise ValueError(f"needs {MIN_SECRET} characters or more, such as those of `openssl rand -hex 32`")
        return secret

    @field_validator("grpc")
    @classmethod
    def _has_port(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if address and not (host and port.isdecimal() and 0 < int(port) < PORTS):
            raise ValueError("is no address with a port, such as 127.0.0.1:3001")
        return address

    @field_validator("tls_key")
    @classmethod
    def _has_certificate(cls, key: str, others: ValidationInfo) -> str:
        if bool(key) != bool(others.data.get("tls_certificate", key)):
            raise ValueError("is the private key of RATCHET_TLS_CERTIFICATE: set both or neither")
        return key

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Environment:
        """Read RATCHET_TRACKING_URI and the like. Raises SettingsError for an unknown name or a wrong value."""
        given = {
            name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(ENVIRONMENT_PREFIX)
        }
        return parse(cls, given, "the environment", spelled=lambda name: ENVIRONMENT_PREFIX + name.upper())
