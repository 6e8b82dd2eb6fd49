"""Signed reasons of people for models that the gate would otherwise refuse, kept in git in the use case's folder.

A reason is about one model name and one feature service; other inputs or features need a new reason. It is signed with the key
of the gate records, so that nobody without the key can let a leak through by editing a file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from ratchet.core.errors import GateError
from ratchet.core.scope import Scope
from ratchet.gate.gate import REASONS_FILE, Gate
from ratchet.gate.signing import Signed
from ratchet.storage.files import write_text


class Reason(Signed):
    """Why a finding of the gate (`accepted`) about models of this feature service is no mistake, signed by a person."""

    model_name: str
    feature_service: str
    fingerprint: str
    accepted: Literal["too-good"] = "too-good"
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    at: AwareDatetime


_Reasons = TypeAdapter(tuple[Reason, ...])


def accept(gate: Gate, feature_service: str, fingerprint: str, *, by: str, reason: str) -> Reason:
    """Sign a reason and store it; it replaces a reason for the same model. Raises GateError if `by` or `reason` is empty."""
    if not (by.strip() and reason.strip()):
        raise GateError(
            "an empty reason answers for nothing",
            subject=str(gate.reasons_file),
            remedy="Give --reason and --by, each with at least one word",
        )
    document = Reason(
        model_name=gate.scope.namespace,
        feature_service=feature_service,
        fingerprint=fingerprint,
        by=by.strip(),
        reason=" ".join(reason.split()),
        at=gate.clock.now(),
    )
    signed = gate.key.sign(document)
    others = [other for other in _read(gate) if other.model_name != signed.model_name]
    _write(gate, sorted([*others, signed], key=lambda each: each.model_name))
    return signed


def find_reason(gate: Gate, fingerprint: str) -> tuple[Reason | None, str]:
    """The reason that covers a model of this feature service. If the one in the file does not count: None, and why."""
    try:
        own = [reason for reason in _read(gate) if reason.model_name == gate.scope.namespace]
        for reason in own:
            check_reason(reason, fingerprint, gate)
    except GateError as error:
        return None, f"the reason in {gate.reasons_file.parent.name}/{REASONS_FILE} does not count: {error.problem}"
    return (own[0] if own else None), ""


def check_reason(reason: Reason, fingerprint: str, gate: Gate) -> None:
    """Raises GateError unless a person signed it, with this checkout's key, for this model and feature service."""
    gate.key.verify(reason, f"Sign a new one by {how_to_accept(gate.scope)}")
    if reason.model_name != gate.scope.namespace:
        raise _refusal(f"it was signed for {reason.model_name}", gate)
    if reason.fingerprint != fingerprint:
        raise _refusal(f"it was signed for other inputs or features ({reason.feature_service})", gate)
    if not reason.reason.strip():
        raise _refusal("it is empty", gate)


def how_to_accept(scope: Scope) -> str:
    """The command that signs a reason."""
    return f'`ratchet --use-case {scope.use_case} accept too-good --reason "…"`'


def _read(gate: Gate) -> tuple[Reason, ...]:
    path = gate.reasons_file
    try:
        return _Reasons.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise GateError(
            f"is no list of signed reasons ({' '.join(str(error).split())[:200]})",
            subject=str(path),
            remedy="Restore it from git, or delete it and sign again",
        ) from error


def _write(gate: Gate, reasons: Sequence[Reason]) -> None:
    content = [reason.model_dump(mode="json") for reason in reasons]
    write_text(gate.reasons_file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _refusal(problem: str, gate: Gate) -> GateError:
    return GateError(problem, subject=str(gate.reasons_file), remedy=f"Sign a new one by {how_to_accept(gate.scope)}")
