"""The gate of a scope: the key and the policy by which its models are judged and admitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.core.clock import Clock
from ratchet.core.scope import Scope
from ratchet.core.settings import GateSettings
from ratchet.gate.signing import SigningKey

if TYPE_CHECKING:
    from ratchet.project.run import Run

REASONS_FILE = "reasons.json"


@dataclass(frozen=True)
class Gate:
    """Everything that a decision about a model of `scope` needs, except its evidence.

    `reasons_file` holds the signed reasons of people for models that the gate would otherwise refuse.
    """

    scope: Scope
    policy: GateSettings
    key: SigningKey
    reasons_file: Path
    clock: Clock

    @classmethod
    def open(cls, run: Run) -> Gate:
        """The gate of a run's use case. Reasons lie in the use case's folder, so that git versions them."""
        name = run.scope.use_case
        parts = name.split(".") if "." in name else ["use_cases", name]
        reasons = run.root.joinpath(*parts, REASONS_FILE)
        return cls(run.scope, run.settings.gate, SigningKey.open(run), reasons, run.clock)
