"""The protocols of online inference. The service offers all of them at once, each on its own paths.

port → what a protocol is · v1 → KServe's V1
"""

from __future__ import annotations

from collections.abc import Mapping

from inference_pipeline.online.protocols.port import Protocol
from inference_pipeline.online.protocols.v1 import V1

PROTOCOLS: Mapping[str, Protocol] = {"v1": V1()}
"""Name → protocol."""
