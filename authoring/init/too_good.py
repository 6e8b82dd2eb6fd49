"""Ask a person if the file's inputs give its label away: which columns are known only with the label, or why none is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from types import ModuleType

from authoring.init.answers import Answers, UnansweredError
from authoring.init.plan import label_values, request_columns
from authoring.init.profile import Column, Profile
from authoring.init.questions import Decided
from ratchet.gate.gate import Gate
from ratchet.gate.plausibility import linear_fit
from ratchet.gate.reasons import Reason
from ratchet.use_case.contract import Array


def ask_if_too_good(profile: Profile, decided: Decided, answers: Answers) -> None:
    """Raises UnansweredError if a linear fit on the inputs is too good to be true, and no person has given a reason."""
    fields, not_inputs = request_columns(profile, decided)
    inputs = [column for column in fields if column.name not in not_inputs]
    fit = linear_fit(
        decided.task,
        {column.name: _values(profile, column) for column in inputs},
        {column.name: "category" if column.is_category else "number" for column in inputs},
        label_values(profile, decided),
    )
    if fit.is_too_good and not answers.too_good.strip():
        flags = " ".join(f"--late {name}" for name in fit.columns).removeprefix("--late ")
        given = f"{fit.columns[0]} gives" if len(fit.columns) == 1 else f"{', '.join(fit.columns)} together give"
        raise UnansweredError(
            f"{given} {decided.label.name} away: a linear fit explains {fit.explained:.2%} of it",
            subject=profile.subject,
            field="late",
            form=f'{flags} for what is known only when {decided.label.name} is, or --too-good "REASON" if all is known before',
            words=f"Which columns are known only when {decided.label.name} is? If none: because …, and you sign that",
        )


def sign_reason(root: Path, name: str, reason: str, by: str) -> Reason:
    """Sign a person's reason why the new use case is not too good to be true. Raises GateError."""
    from ratchet.features.service import service_spec
    from ratchet.gate.reasons import accept
    from ratchet.project.run import Run

    with _imported(root, name) as module:
        service = service_spec(module.use_case)
    return accept(Gate.open(Run.load(root, name)), service.name, service.fingerprint, by=by, reason=reason)


@contextmanager
def _imported(root: Path, name: str) -> Iterator[ModuleType]:
    """The module of a use case in this folder, imported only for the duration of the `with` block."""
    spec = util.spec_from_file_location(f"use_cases.{name}", root / "use_cases" / name / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{spec.name}.")]:
            del sys.modules[name]


def _values(profile: Profile, column: Column) -> Array:
    return profile.text[column.name].to_numpy() if column.is_category else profile.numbers(column.name)
