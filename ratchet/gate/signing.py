"""Ed25519 signatures over canonical JSON, with a key that lives outside the model registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ratchet.core.errors import GateError
from ratchet.core.frozen import Frozen
from ratchet.core.scope import Scope
from ratchet.storage.files import atomic

if TYPE_CHECKING:
    from ratchet.project.run import Run


class Signed(Frozen):
    """A document whose `signature` (hexadecimal) covers everything else in it."""

    signature: str = ""


KEY = "gate.key"
Document = TypeVar("Document", bound=Signed)
Key = TypeVar("Key")


class SigningKey:
    """The key pair of a checkout. The private key signs; the public key, in a file with the suffix .pub beside it, verifies.

    `scope` is named in the remedy of the error for a lost key.
    """

    def __init__(self, path: Path, scope: Scope) -> None:
        self.path = path
        self._scope = scope

    @classmethod
    def open(cls, run: Run) -> SigningKey:
        """The key of a run's checkout, which need not exist yet. In a Bento it is the public half alone."""
        named, packaged = run.environment.signing_key, run.paths.packaged
        kept = packaged if packaged.is_dir() else run.paths.shared_state / "keys"
        return cls(Path(named) if named else kept / KEY, run.scope)

    def sign(self, document: Document) -> Document:
        """The document with its signature. Makes the pair on first use. Raises GateError if the private key is lost."""
        return document.model_copy(update={"signature": self._private().sign(_payload(document)).hex()})

    def verify(self, document: Signed, remedy: str = "Have it signed again on this checkout") -> None:
        """Raises GateError, with this remedy, unless exactly this document was signed with this key."""
        try:
            self._public().verify(bytes.fromhex(document.signature), _payload(document))
        except (InvalidSignature, ValueError) as error:
            raise GateError(
                "the signature does not fit: it was edited, or signed with another key",
                subject=type(document).__name__,
                remedy=remedy,
            ) from error

    def _private(self) -> Ed25519PrivateKey:
        if not self.path.exists():
            self._make()
        key = _parsed(self.path, lambda pem: load_pem_private_key(pem, None))
        if not isinstance(key, Ed25519PrivateKey):
            raise _no_key(self.path)
        _pair(self.public_path, key.public_key())
        return key

    @property
    def public_path(self) -> Path:
        return self.path.with_suffix(".pub")

    def _make(self) -> None:
        """Make a private key that only its owner can read. If two processes make one at the same time, the first wins."""
        if self.public_path.exists():
            raise GateError(
                "the private key is gone, and records are checked with its public half",
                subject=str(self.path),
                remedy=f"Restore it; if it is lost for good, remove the .pub file too, {begin_anew(self._scope)}. Reasons and "
                "waivers have to be signed again",
            )
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with atomic(self.path, replace=False) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(pem)

    def _public(self) -> Ed25519PublicKey:
        path = self.public_path
        if not path.exists():
            raise GateError(
                "there is no public key to check records with",
                subject=str(path),
                remedy=f"Restore it, or make it from the private half by `ratchet --use-case {self._scope.use_case} stage "
                f"evaluate`; if both are lost for good, {begin_anew(self._scope)}",
            )
        key = _parsed(path, load_pem_public_key)
        if not isinstance(key, Ed25519PublicKey):
            raise _no_key(path)
        return key


def begin_anew(scope: Scope) -> str:
    """The remedy if a key, or a document that it signed, is lost for good."""
    stage = f"evaluate@{scope.use_case}"
    return f"delete the registered model {scope.namespace} in MLflow and run `dvc repro --force --downstream {stage}`"


def _payload(document: Signed) -> bytes:
    content = document.model_dump(mode="json", exclude={"signature"})
    return json.dumps(
        [type(document).__name__, content], sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def _pair(path: Path, public: Ed25519PublicKey) -> None:
    """Write the public key if there is none. Raises GateError if the existing one belongs to another pair."""
    if not path.exists():
        with atomic(path, replace=False) as temporary:
            temporary.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    if _parsed(path, load_pem_public_key) != public:
        raise GateError(
            "is no half of the same pair as the private key: nothing that is signed now could be verified",
            subject=str(path),
            remedy="Restore the half that was replaced",
        )


def _parsed(path: Path, parse: Callable[[bytes], Key]) -> Key:
    try:
        return parse(path.read_bytes())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: the key has a password
        raise _no_key(path) from error


def _no_key(path: Path) -> GateError:
    return GateError("is no Ed25519 key in PEM, without a password", subject=str(path), remedy="Restore it")
