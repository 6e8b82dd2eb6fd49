"""Every expected failure, in one tree.

RatchetError
├── SettingsError      params.yaml, an environment variable or a use case's declaration is wrong
├── SourceError        a delivered file or feed cannot be read as its table
├── DataError          rows or tables break a rule that no quarantine can fix
├── StoreError         the feature store or the prediction log is absent, or does not hold what was asked for
├── RegistryError      the model registry is absent, or holds no model that may be used
├── UnavailableError   a database, a disk or a server does not answer, or changed meanwhile; another attempt may succeed
│   ├── SourceUnavailableError    (a SourceError, too)
│   ├── StoreUnavailableError     (a StoreError, too)
│   ├── RegistryUnavailableError  (a RegistryError, too)
│   └── ReplacedError             (a RegistryError, too) a model gave way to another one while a step used it
├── GateError          evidence or a gate record is missing, edited, or about something else
│   └── OtherFeaturesError        a model was trained on features that this code does not compute
├── UnknownModelError  a caller asks for a model, or a version of it, that is not served
├── RequestError       the use case cannot answer a caller's request
│   └── ReusedKeyError            a caller's key was sent before, with a different request
├── AccessError        the API keys of the online service cannot be read, or there is none with the given name
└── VersionError       git or DVC cannot name or restore a version
"""

from __future__ import annotations


class RatchetError(Exception):
    """An expected failure: what happened, to which input, and what to do about it."""

    def __init__(self, problem: str, *, subject: str, remedy: str) -> None:
        super().__init__(problem, subject, remedy)
        self.problem = problem
        self.subject = subject
        self.remedy = remedy

    def __str__(self) -> str:
        end = "" if self.remedy.endswith("?") else "."
        return f"{self.subject}: {self.problem}. {self.remedy.rstrip('.')}{end}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.subject, self.remedy)


def _rebuild(kind: type[RatchetError], problem: str, subject: str, remedy: str) -> RatchetError:
    return kind(problem, subject=subject, remedy=remedy)


class SettingsError(RatchetError):
    """params.yaml, an environment variable or a use case's declaration is wrong."""


class SourceError(RatchetError):
    """A delivered file or feed cannot be read as its table."""


class DataError(RatchetError):
    """Rows or tables break a rule that no quarantine can fix."""


class StoreError(RatchetError):
    """The feature store or the prediction log is absent, or does not hold what was asked for."""


class RegistryError(RatchetError):
    """The model registry is absent, or holds no model that may be used."""


class GateError(RatchetError):
    """Evidence or a gate record is missing, edited, or about something else."""


class OtherFeaturesError(GateError):
    """A model was trained on features that this code does not compute."""


class UnavailableError(RatchetError):
    """A database, a disk or a server does not answer, or its content changed while it was read. Another attempt may succeed."""


class SourceUnavailableError(SourceError, UnavailableError):
    """A source on another machine cannot be reached, or is too busy to answer."""


class StoreUnavailableError(StoreError, UnavailableError):
    """The feature store or the prediction log cannot be reached, read or written."""


class RegistryUnavailableError(RegistryError, UnavailableError):
    """The model registry, or the folder with its artifacts, cannot be reached, read or written."""


class ReplacedError(RegistryError, UnavailableError):
    """A model gave way to another one while a step used it. Another attempt uses the one that serves then."""


class VersionError(RatchetError):
    """Git or DVC cannot name or restore a version."""


class UnknownModelError(RatchetError):
    """A caller asks for a model, or a version of it, that is not served."""


class RequestError(RatchetError):
    """The use case cannot answer a caller's request; `subject` names the field."""


class ReusedKeyError(RequestError):
    """A caller's key was sent before, with a different request."""


class AccessError(RatchetError):
    """The API keys of the online service cannot be read, or there is none with the given name."""
