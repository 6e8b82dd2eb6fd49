"""Find a label that the inputs together give away: too good to be true, unless a person signed a reason."""

from __future__ import annotations

from collections.abc import Iterator

from authoring.check.finding import Finding
from authoring.check.source_lines import Declaration
from ratchet.features.service import service_spec
from ratchet.gate.gate import Gate
from ratchet.gate.plausibility import MOST_EXPLAINED, linear_fit
from ratchet.gate.reasons import find_reason, how_to_accept
from ratchet.project.run import Run
from ratchet.use_case.contract import Columns


def is_accepted(run: Run) -> bool:
    """Whether a person's signed reason covers the present inputs and features."""
    return find_reason(Gate.open(run), service_spec(run.use_case).fingerprint)[0] is not None


def check_too_good(run: Run, columns: Columns, where: Declaration) -> Iterator[Finding]:
    """Check that the label is no sum, product or the like of the inputs. `columns` are labelled requests with all inputs."""
    use_case = run.use_case
    fit = linear_fit(use_case.task, columns, use_case.inputs, columns["label"])
    if not fit.is_too_good:
        return
    _, objection = find_reason(Gate.open(run), service_spec(use_case).fingerprint)
    named = ", ".join(fit.columns)
    yield Finding(
        "too-good",
        where.use_case("inputs"),
        f"the inputs give the label away: a linear fit on {named} explains {fit.explained:.2%} of it, and more than "
        f"{MOST_EXPLAINED:.0%} is too good to be true{f' ({objection})' if objection else ''}",
        f"Remove from `inputs` those of {named} that are not known before the outcome. If all are known, sign why: "
        f"{how_to_accept(run.scope)}",
    )
