"""The protocols of online inference. The service offers all of them at once, each on its own paths.

port → what a protocol is · v1 → KServe's V1 · v2 → the Open Inference Protocol over REST · grpc → the same over gRPC
tensors → what a V2 request and its answer hold, however it was sent
"""

from __future__ import annotations

from collections.abc import Mapping

from inference_pipeline.online.protocols.port import Protocol
from inference_pipeline.online.protocols.v1 import V1
from inference_pipeline.online.protocols.v2 import V2

PROTOCOLS: Mapping[str, Protocol] = {"v1": V1(), "v2": V2()}
"""Name → protocol over HTTP."""
