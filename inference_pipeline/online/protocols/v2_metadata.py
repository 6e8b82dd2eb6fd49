"""What the Open Inference Protocol tells of the service and its models, over REST and gRPC."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

from inference_pipeline.online.protocols.port import Models
from inference_pipeline.online.protocols.tensors import AGE, FLOAT, OF_KIND, OUTPUTS

SERVER, PLATFORM, EXTENSIONS = "ratchet", "ratchet", ("binary_tensor_data",)


def server_metadata() -> dict[str, Any]:
    return {"name": SERVER, "version": version_of("ratchet-mlops"), "extensions": list(EXTENSIONS)}


def model_metadata(models: Models, name: str, version: str | None) -> dict[str, Any]:
    """What may be sent to a model, and what it answers."""
    release, instances = models.metadata(name, version)
    inputs = {field: OF_KIND[kind] for field, kind in instances.kinds.items()}
    ages = {AGE + lookup: FLOAT for lookup in instances.lookups}
    return {
        "name": name,
        "versions": release.versions,
        "platform": PLATFORM,
        "inputs": [{"name": each, "datatype": datatype, "shape": [-1]} for each, datatype in inputs.items()],
        "outputs": [
            {"name": each, "datatype": datatype, "shape": [-1]} for each, datatype in {**OUTPUTS, **ages}.items()
        ],
    }


def repository_index(models: Models) -> list[dict[str, str]]:
    """Every model, with its state, and what is not as it should be."""
    return [_indexed(models, name, models.problem(name)) for name in models.names()]


def _indexed(models: Models, name: str, problem: str) -> dict[str, str]:
    if problem:
        return {"name": name, "version": "", "state": "UNAVAILABLE", "reason": problem}
    reason = "; ".join(models.problems(name).values())
    release, _ = models.metadata(name)
    return {"name": name, "version": str(release.champion.version), "state": "READY", "reason": reason}
