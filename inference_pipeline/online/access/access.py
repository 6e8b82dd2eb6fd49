"""Who is let in: from credentials, what a path needs and where a request comes from, to a caller or the reason why not.

It knows neither HTTP nor gRPC: both ask it with plain values.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from inference_pipeline.online.access.key_file import Key, KeyFile, Keys
from inference_pipeline.online.access.needs import Need
from inference_pipeline.online.access.rates import Rate, TokenBucket
from inference_pipeline.online.access.roles import ROLES, Role
from ratchet.core.errors import AccessError

logger = logging.getLogger(__name__)
EVERYTHING: frozenset[Role] = frozenset(ROLES)
_SCHEME = 'Bearer realm="ratchet"'
RETRY_AFTER = "2"
"""Seconds until the keys are read again."""


class RefusedError(Exception):
    """A request is not answered. `status` is that of HTTP; `reason` is for the caller, and says what to do."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


@dataclass(frozen=True)
class Caller:
    """Who sent a request: the name of the key, or an empty one if none was needed."""

    name: str = ""
    roles: frozenset[Role] = EVERYTHING
    models: frozenset[str] = frozenset()
    """The models that the key is limited to; empty if it is not."""

    def require(self, role: Role) -> None:
        """Raises RefusedError if the caller may not do this."""
        self.check(Need(frozenset({role})))

    def check(self, need: Need) -> None:
        """Raises RefusedError if the caller may not do this, or not with this model."""
        if self.roles.isdisjoint(need.roles):
            role = " or ".join(sorted(need.roles))
            raise _forbidden(f"the key {self.name!r} does not have the role {role}: use a key that has it")
        if self.models and need.model and need.model not in self.models:
            raise _forbidden(f"the key {self.name!r} is limited to {', '.join(sorted(self.models))}: use another key")


NOBODY = Caller()
"""A caller who needs no key."""


@dataclass(frozen=True)
class _Entry:
    caller: Caller
    bucket: TokenBucket | None


class Access:
    """Decides by the keys in the file. `refresh` follows its changes; until the first one, nobody is let in.

    A rate of a key is divided by the number of workers, each of which counts by itself.
    """

    def __init__(self, file: KeyFile, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._workers = workers
        self._clock = clock
        self._stamp: object = None
        self._keys: Keys | None = None
        self._entries: dict[str, _Entry] = {}
        self.problem = "the API keys were not read yet"
        """Why nobody is let in; empty if all is well."""

    def refresh(self) -> None:
        """Read the keys again if their file changed. If they cannot be read, or the file has vanished, nobody is let in."""
        try:
            stamp = self._file.stamp()
            if stamp != self._stamp or self.problem:
                self._follow(self._file.read())
                self._stamp = stamp
        except (AccessError, OSError) as error:
            if str(error) != self.problem:
                logger.error("nobody is let in: %s", error)
            self.problem = str(error)

    def _follow(self, keys: Keys | None) -> None:
        if keys is None and self._keys is not None:
            raise AccessError("vanished", subject=str(self._file.path), remedy="Restore it, or start the service again")
        known = keys.by_id if keys else {}
        self._entries = {key_id: self._entry(key) for key_id, key in known.items()}
        self._keys = keys
        self.problem = ""

    def _entry(self, key: Key) -> _Entry:
        caller = Caller(key.name, EVERYTHING if "admin" in key.roles else frozenset(key.roles), frozenset(key.models))
        rate = Rate.parse(key.rate).shared_by(self._workers) if key.rate else None
        before = self._entries.get(key.id)
        if before and before.bucket and before.bucket.rate == rate:
            return _Entry(caller, before.bucket)
        return _Entry(caller, TokenBucket(rate) if rate else None)

    def admit(self, credentials: str | None, need: Need, is_local: bool) -> Caller:
        """The caller of a request with these credentials (`Bearer KEY`). Raises RefusedError.

        If no key was ever made, only requests from this machine are answered (`is_local`), and they need none.
        """
        if self.problem:
            if need.is_open:
                return NOBODY
            raise RefusedError(503, "the API keys cannot be read: see the service's log", {"Retry-After": RETRY_AFTER})
        keys = self._keys
        if keys is None and not is_local:
            raise RefusedError(
                403,
                "there are no API keys, so only this machine is answered, if it asks `localhost` or 127.0.0.1 directly:"
                " ask so, or make a key by `ratchet keys add`",
            )
        if keys is None or need.is_open or (need.is_open_locally and is_local):
            return NOBODY
        entry = self._entry_of(credentials, keys)
        wait = entry.bucket.take(self._clock()) if entry.bucket else 0.0
        if wait:
            reason = f"the key {entry.caller.name!r} sent more requests than its rate allows: send fewer"
            raise RefusedError(429, reason, {"Retry-After": str(math.ceil(wait))})
        entry.caller.check(need)
        return entry.caller

    def _entry_of(self, credentials: str | None, keys: Keys) -> _Entry:
        if credentials is None:
            raise RefusedError(401, "a key is needed: send `Authorization: Bearer KEY`", {"WWW-Authenticate": _SCHEME})
        scheme, _, text = credentials.partition(" ")
        key = keys.find(text.strip()) if scheme.lower() == "bearer" else None
        entry = self._entries.get(key.id) if key else None
        if entry is None:
            challenge = f'{_SCHEME}, error="invalid_token"'
            raise RefusedError(401, "the key is not known, or was revoked", {"WWW-Authenticate": challenge})
        return entry


def _forbidden(reason: str) -> RefusedError:
    return RefusedError(403, reason, {"WWW-Authenticate": f'{_SCHEME}, error="insufficient_scope"'})
