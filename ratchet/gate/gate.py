"""The gate: under which key and by which policy the models of a scope are judged and let through."""

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
    """What a decision about a model of `scope` needs beside its evidence.

    `reasons_file` is where people sign what the gate would otherwise refuse.
    """

    scope: Scope
    policy: GateSettings
    key: SigningKey
    reasons_file: Path
    clock: Clock

    @classmethod
    def open(cls, run: Run) -> Gate:
        """The gate of the use case that a run is for; reasons lie in the folder of the use case, for git."""
        name = run.scope.use_case
        parts = name.split(".") if "." in name else ["use_cases", name]
        reasons = run.root.joinpath(*parts, REASONS_FILE)
        return cls(run.scope, run.settings.gate, SigningKey.open(run), reasons, run.clock)
