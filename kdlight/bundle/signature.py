"""Who vouches for a bundle: a detached Ed25519 signature over SHA256SUMS, hence over every file of it.

Keys are the user's own, in PEM or OpenSSH form (`ssh-keygen -t ed25519`). Whose key it is says the user's own folder of
public keys, by the names of its files.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Base64Bytes, Field

from kdlight import storage
from kdlight.bundle.artifact import SIGNATURE, SUMS, Bundle, BundleError
from kdlight.bundle.part import Part

PURPOSE = b"kdlight.bundle/1\n"
"""Stands before what is signed, so that no signature made for something else is one of a bundle."""
State = Literal["unsigned", "trusted", "unknown"]
"""Unknown: signed, by a key that is not in the folder of trusted ones."""


class SignatureError(ValueError):
    """A key that cannot be used; the message says what was expected."""


class Signed(Part):
    """SHA256SUMS.sig: the public key and the signature."""

    key: Base64Bytes = Field(max_length=200)
    signature: Base64Bytes = Field(max_length=200)


class Signature(Part):
    """What is known of a bundle's signature. by: the name of the trusted key; None unless it is trusted."""

    state: State
    by: str | None = None
    key: str | None = None
    """The public key in hexadecimal."""

    @property
    def words(self) -> str:
        """For people."""
        if self.state == "trusted":
            return f"signed by {self.by}"
        return "unsigned" if self.state == "unsigned" else f"signed by a key that you do not trust ({self.key})"


def sign(bundle: Bundle, key: Path, password: Callable[[], bytes]) -> Signature:
    """Sign a bundle with a private key's file; `password` is asked where the key has one. Raises SignatureError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = _key(key, ("load_pem_private_key", "load_ssh_private_key"), Ed25519PrivateKey, password)
    public = private.public_key().public_bytes_raw()
    signature = private.sign(PURPOSE + (bundle.path / SUMS).read_bytes())
    lines = {"key": base64.b64encode(public).decode(), "signature": base64.b64encode(signature).decode()}
    storage.write_json(bundle.path / SIGNATURE, lines)
    return look(bundle)


def look(bundle: Bundle) -> Signature:
    """Who signed a bundle. Raises as `signing_key` does."""
    key = signing_key(bundle)
    if key is None:
        return Signature(state="unsigned")
    name = next((name for name, known in trusted().items() if known == key), None)
    return Signature(state="trusted" if name else "unknown", by=name, key=key.hex())


def signing_key(bundle: Bundle) -> bytes | None:
    """The public key whose owner signed a bundle; None where nobody did.

    Raises BundleError with the reason "signature" where the signature is not one of these files.
    """
    if not (bundle.path / SIGNATURE).exists():
        return None
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signed = Signed.model_validate(storage.read_json(bundle.path / SIGNATURE))
        public = Ed25519PublicKey.from_public_bytes(signed.key)
        public.verify(signed.signature, PURPOSE + (bundle.path / SUMS).read_bytes())
    except (InvalidSignature, ValueError) as error:
        raise BundleError.of(bundle.path, "its signature does not match its files", "signature") from error
    return signed.key


def trusted_folder() -> Path:
    """The user's folder of public keys: $KDLIGHT_TRUSTED, else ~/.kdlight/trusted."""
    return Path(os.environ.get("KDLIGHT_TRUSTED") or Path.home() / ".kdlight" / "trusted")


def trusted() -> dict[str, bytes]:
    """The public keys there (*.pub) by the names of their files; what is none is left out, and the log says so."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    loaders = ("load_pem_public_key", "load_ssh_public_key")
    keys = {}
    for file in sorted(trusted_folder().glob("*.pub")):
        try:
            keys[file.stem] = _key(file, loaders, Ed25519PublicKey).public_bytes_raw()
        except SignatureError as error:
            logging.getLogger(__name__).warning("%s is left out: %s", file, error)
    return keys


def _key(file: Path, loaders: tuple[str, str], kind: type, password: Callable[[], bytes] | None = None) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        content = file.read_bytes()
        load = getattr(serialization, loaders[content.lstrip().startswith((b"ssh-", b"-----BEGIN OPENSSH"))])
        try:
            key = load(content) if password is None else load(content, None)
        except TypeError:  # the key has a password
            key = load(content, password() if password else None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{file.name} cannot be read as a key, or its password is another one.") from error
    if not isinstance(key, kind):
        raise SignatureError(f"{file.name} is no Ed25519 key; make one with: ssh-keygen -t ed25519.")
    return key
