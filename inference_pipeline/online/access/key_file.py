"""API keys: who may call the online service, for what, and how often.

A key is random, with 256 bits. The file holds only its hash, keyed with a secret that lies beside the file or comes from the
environment; with that secret the file is sealed, too. A key that is lost cannot be shown again.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, ValidationError

from inference_pipeline.online.access.rates import Rate
from inference_pipeline.online.access.roles import Role
from ratchet.core.environment import MIN_SECRET
from ratchet.core.errors import AccessError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import parse
from ratchet.core.text import did_you_mean
from ratchet.project.locks import held
from ratchet.storage.files import atomic

if TYPE_CHECKING:
    from ratchet.project.run import Run

PREFIX = "ratchet"
"""The first part of every key, for scanners that look for secrets in code: `ratchet_[0-9a-f]{12}_[0-9a-f]{64}`."""
LOCK_SECONDS = 10.0


def _rate(text: str) -> str:
    if text:
        Rate.parse(text)
    return text


class Key(Frozen):
    """What is known of a key. `models` are those that it is limited to; if empty, it is for all. `rate` may be empty, too."""

    id: str = Field(pattern="^[0-9a-f]{12}$")
    name: str = Field(pattern="^[A-Za-z0-9._-]{1,64}$")
    roles: tuple[Role, ...] = Field(min_length=1)
    models: tuple[str, ...] = ()
    rate: Annotated[str, AfterValidator(_rate)] = ""
    made_at: datetime
    digest: str = Field(pattern="^[0-9a-f]{64}$")


class _Content(Frozen):
    keys: tuple[Key, ...]
    seal: str


class Keys:
    """The keys of the file, by id."""

    def __init__(self, keys: Iterable[Key], secret: bytes) -> None:
        self.by_id: Mapping[str, Key] = {key.id: key for key in keys}
        self._hash = _hash(secret)

    def find(self, text: str) -> Key | None:
        """The key with this text; None if there is none."""
        prefix, _, rest = text.partition("_")
        key = self.by_id.get(rest.partition("_")[0]) if prefix == PREFIX else None
        if key is None:
            return None
        computed = self._hash.copy()  # cheaper than to begin anew for each request
        computed.update(text.encode())
        return key if hmac.compare_digest(computed.hexdigest(), key.digest) else None


class KeyFile:
    """The file of API keys. It is made with the first key. `given_secret` is used in place of a file beside it."""

    def __init__(self, path: Path, given_secret: str = "") -> None:
        self.path = path
        self._given = given_secret
        self._secret_path = path.with_suffix(".secret")
        self._lock_path = path.with_suffix(".lock")

    @classmethod
    def open(cls, run: Run) -> KeyFile:
        """The file of a run's checkout; it need not exist."""
        named = run.environment.api_keys
        path = Path(named) if named else run.paths.shared_state / "keys" / "api_keys.json"
        return cls(path, run.environment.api_key_secret.get_secret_value())

    def stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Something that changes whenever the keys may have changed. Raises OSError."""
        return tuple(_stamp(path) for path in (self.path, self._secret_path))

    def read(self) -> Keys | None:
        """The keys; None if there never was one. Raises AccessError if they are lost, edited or unreadable."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            if self._secret_path.exists():
                raise _unusable(self.path, "is gone, and its secret is still there") from None
            return None
        except OSError as error:
            raise _unusable(self.path, f"cannot be read ({error.strerror})") from error
        try:
            content = _Content.model_validate_json(text)
        except ValidationError as error:
            raise _unusable(self.path, "is damaged") from error
        secret = self._secret()
        if not hmac.compare_digest(content.seal.encode(), _seal(secret, content.keys).encode()):
            raise _unusable(self.path, "was edited, or sealed with another secret")
        return Keys(content.keys, secret)

    def add(self, name: str, roles: Iterable[Role], models: Iterable[str], rate: str, now: datetime) -> str:
        """Make a key, and return its text, which is stored nowhere. Raises AccessError, and SettingsError for a wrong value."""
        with held(self._lock_path, LOCK_SECONDS):
            present = self._present()
            if any(key.name == name for key in present):
                remedy = f"Take another name, or run `ratchet keys revoke {name}`"
                raise AccessError("is the name of a key already", subject=name, remedy=remedy)
            secret = self._secret() if self._has_secret() else secrets.token_hex(32).encode()
            key_id = secrets.token_hex(6)
            text = f"{PREFIX}_{key_id}_{secrets.token_hex(32)}"
            given = {"roles": sorted({*roles}), "models": sorted({*models}), "rate": rate, "made_at": now}
            made = parse(
                Key, {"id": key_id, "name": name, "digest": _hash(secret, text).hexdigest(), **given}, f"key {name}"
            )
            if not self._has_secret():
                _write_private(self._secret_path, secret.decode() + "\n")
            self._write((*present, made), secret)
        return text

    def revoke(self, name: str) -> None:
        """Remove a key. Raises AccessError."""
        with held(self._lock_path, LOCK_SECONDS):
            present = self._present()
            names = [key.name for key in present]
            if name not in names:
                raise AccessError(
                    f"is not the name of a key{did_you_mean(name, names)}",
                    subject=name,
                    remedy="See `ratchet keys list`",
                )
            self._write(tuple(key for key in present if key.name != name), self._secret())

    def _present(self) -> tuple[Key, ...]:
        keys = self.read() if self.path.exists() else None
        return tuple(keys.by_id.values()) if keys else ()

    def _write(self, keys: tuple[Key, ...], secret: bytes) -> None:
        content = _Content(keys=keys, seal=_seal(secret, keys))
        _write_private(self.path, content.model_dump_json(indent=2) + "\n")

    def _secret(self) -> bytes:
        try:
            secret = self._given or self._secret_path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable(self._secret_path, "cannot be read") from error
        if len(secret) < MIN_SECRET:
            raise _unusable(self._secret_path, "is damaged")
        return secret.encode()

    def _has_secret(self) -> bool:
        return bool(self._given) or self._secret_path.exists()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_ctime_ns


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically."""
    with atomic(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")


def _hash(secret: bytes, text: str = "") -> hmac.HMAC:
    """The keyed hash of a key's text, or of its beginning."""
    return hmac.new(secret, b"key " + text.encode(), "sha256")


def _seal(secret: bytes, keys: Sequence[Key]) -> str:
    content = json.dumps([key.model_dump(mode="json") for key in keys], sort_keys=True)
    return hmac.digest(secret, b"file " + content.encode(), "sha256").hex()


def _unusable(path: Path, problem: str) -> AccessError:
    return AccessError(
        problem,
        subject=str(path),
        remedy="Restore it. If it is lost for good, remove what is left, and make every key again by `ratchet keys add`",
    )
