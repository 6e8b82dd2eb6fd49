"""The protocols of online inference, all of which the service speaks at once, each on paths of its own.

port → what a protocol is · v1 → KServe's V1
"""

from __future__ import annotations

from collections.abc import Mapping

from inference_pipeline.online.protocols.port import Protocol
from inference_pipeline.online.protocols.v1 import V1

PROTOCOLS: Mapping[str, Protocol] = {"v1": V1()}
"""Name → protocol."""
