"""The least that a server of `grpc.aio` can do: tensors in, the same model, a tensor out.

`python -m benchmarks.online.bare_grpc PORT`, where the variable MODEL names the folder of a compiled model.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np

from inference_pipeline.online.protocols.grpc_messages import message
from ratchet.models.compiled.compiled_model import load_compiled

REQUEST, RESPONSE = message("ModelInferRequest"), message("ModelInferResponse")
OUTPUT = {"name": "prediction", "datatype": "FP64", "shape": [1]}


async def main(port: str) -> None:
    model = load_compiled(Path(os.environ["MODEL"]))

    async def infer(request: Any, _context: Any) -> Any:
        columns = {
            tensor.name: np.array([raw[4:].decode() if tensor.datatype == "BYTES" else struct.unpack("<d", raw)[0]])
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        number = model.numbers(columns)[0]
        return RESPONSE(
            model_name=request.model_name, outputs=[OUTPUT], raw_output_contents=[struct.pack("<d", number)]
        )

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(
        infer, request_deserializer=REQUEST.FromString, response_serializer=lambda answer: answer.SerializeToString()
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": method})]
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
