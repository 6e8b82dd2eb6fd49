"""A load of calls over gRPC, each client over a connection of its own."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import grpc
import grpc.aio

from benchmarks.online.load import BASELINE, Load

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def grpc_load(port: int, messages: Sequence[bytes], clients: int, seconds: float, key: str = "") -> Load:
    """Send the messages in turn, over so many connections, for so long."""
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    return asyncio.run(_load(port, messages, clients, seconds, metadata))


async def _load(
    port: int, messages: Sequence[bytes], clients: int, seconds: float, metadata: tuple[tuple[str, str], ...]
) -> Load:
    times: list[float] = []
    seen: Counter[str] = Counter()
    began = time.perf_counter()

    async def call(start: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]  # else all clients share a connection
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            method, number = channel.unary_unary(METHOD), start
            while time.perf_counter() < began + seconds:
                asked = time.perf_counter()
                try:
                    answer = await method(messages[number % len(messages)], metadata=metadata)
                    seen["baseline"] += BASELINE in answer
                except grpc.aio.AioRpcError:
                    seen["errors"] += 1
                times.append((time.perf_counter() - asked) * 1000)
                number += 1

    await asyncio.gather(*map(call, range(clients)))
    return Load(time.perf_counter() - began, times, seen["errors"], seen["baseline"])
