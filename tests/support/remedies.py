"""Follow what an error tells its reader to do: run the commands in its text, as the command line would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from cli.summary import build
from ratchet.core.errors import RatchetError
from ratchet.features.service import service_spec
from ratchet.gate.gate import Gate
from ratchet.gate.reasons import accept
from ratchet.model_registry.champion import champion_version
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, release, rollback
from ratchet.model_registry.status import status
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
from ratchet.project.steps import STEPS

Words = list[str]


def follow(run: Run, remedy: str) -> RatchetError | None:
    """Run each command of the text in order, up to one that fails; what it fails with.

    A command that this does not know is a test's failure: no message may name one that there is not.
    """
    for command in re.findall(r"`((?:ratchet|dvc) [^`]+)`", remedy):
        words = [word for word in shlex.split(command) if word not in ("--use-case", run.settings.use_case)]
        try:
            _COMMANDS[" ".join(words[:2])](run, words[2:])
        except RatchetError as error:
            return error
    return None


def _stage(run: Run, words: Words) -> None:
    (name,) = words
    reports.run_step(run, name, STEPS[name].load())


def _accept(run: Run, words: Words) -> None:
    spec = service_spec(run.use_case)
    accept(Gate.open(run), spec.name, spec.fingerprint, by="ann", reason=words[-1])


def _repro(run: Run, words: Words) -> None:
    """The stages up to the one that is named or, where it says so, from that one on."""
    step, _, name = words[-1].partition("@")
    assert run.settings.use_case == name
    place = [*STEPS].index(step)
    for stage in [*STEPS][place:] if "--downstream" in words else [*STEPS][: place + 1]:
        _stage(run, [stage])


def _status(run: Run, _words: Words) -> None:
    status(ModelRegistry.open(run))


def _summary(run: Run, _words: Words) -> None:
    build(run)


def _promote(run: Run, words: Words) -> None:
    """The version that is named or, for `VERSION`, the first one that is listed and does not serve."""
    serves, listed = (
        champion_version(ModelRegistry.open(run)),
        [version["version"] for version in status(ModelRegistry.open(run))["versions"]],
    )
    named = words[0].isdigit()
    promote(ModelRegistry.open(run), int(words[0]) if named else next(one for one in listed if one != serves), by="ann")


def _rollback(run: Run, words: Words) -> None:
    rollback(ModelRegistry.open(run), by="ann", reason=words[-1])


def _release(run: Run, words: Words) -> None:
    release(ModelRegistry.open(run), by="ann", reason=words[-1])


_COMMANDS: Mapping[str, Callable[[Run, Words], None]] = {
    "ratchet stage": _stage,
    "ratchet accept": _accept,
    "ratchet promote": _promote,
    "ratchet rollback": _rollback,
    "ratchet release": _release,
    "ratchet status": _status,
    "ratchet summary": _summary,
    "dvc repro": _repro,
}
