"""What scores a request in a batch: a model, and the code that scores by it."""

from __future__ import annotations

from ratchet.code.code_digest import code_digest
from ratchet.model_registry.champion import Champion
from ratchet.storage.digests import digest

CODE = code_digest("inference_pipeline.batch.predict")


def scorer(champion: Champion) -> str:
    """A name that changes with the model, and with the code that the predictions depend on."""
    return digest(champion.model.digest, CODE)[:12]
