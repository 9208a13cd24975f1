"""A signature says whose bundle it is, and nothing that was made for something else counts as one."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from kdlight import bundle as bundles
from kdlight.bundle import BundleError, load, signature
from kdlight.bundle.signature import Signature, SignatureError
from kdlight.cli import main
from kdlight.ui.library import store

PRIVATE = {"pem": serialization.PrivateFormat.PKCS8, "openssh": serialization.PrivateFormat.OpenSSH}


def write_keys(folder: Path, name: str, form: str = "pem", password: bytes = b"") -> Path:
    """A new key pair as files; the public one is trusted under `name`."""
    key = Ed25519PrivateKey.generate()
    encoding, lock = serialization.Encoding, serialization.NoEncryption()
    if password:
        lock = serialization.BestAvailableEncryption(password)  # type: ignore[assignment]
    (folder / "trusted").mkdir(exist_ok=True)
    public = (encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    if form == "pem":
        public = (encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "trusted" / f"{name}.pub").write_bytes(key.public_key().public_bytes(*public))
    (folder / name).write_bytes(key.private_bytes(encoding.PEM, PRIVATE[form], lock))
    return folder / name


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDLIGHT_TRUSTED", str(tmp_path / "trusted"))
    monkeypatch.setenv("KDLIGHT_LIBRARY", str(tmp_path / "library"))
    return tmp_path


def nothing() -> bytes:
    raise AssertionError("no password was to be asked")


@pytest.mark.parametrize("form", PRIVATE)
@pytest.mark.parametrize("password", [b"", b"secret"])
def test_signed_by_whom_the_user_trusts(bundle_copy: Path, home: Path, form: str, password: bytes) -> None:
    key = write_keys(home, "ward_7", form, password)
    assert signature.look(load(bundle_copy)) == Signature(state="unsigned")
    signed = signature.sign(load(bundle_copy), key, (lambda: password) if password else nothing)
    assert (signed.state, signed.by) == ("trusted", "ward_7")
    (home / "trusted" / "ward_7.pub").unlink()
    unknown = signature.look(load(bundle_copy))
    assert (unknown.state, unknown.by, unknown.key) == ("unknown", None, signed.key)


def test_a_signature_of_other_files_is_refused_wherever_a_bundle_is_opened(bundle_copy: Path, home: Path) -> None:
    signature.sign(load(bundle_copy), write_keys(home, "a"), nothing)
    kept = (bundle_copy / bundles.SIGNATURE).read_bytes()
    card = (bundle_copy / "card.json").read_text()
    (bundle_copy / "card.json").write_text(card.replace('"must_not_miss": true', '"must_not_miss": false'))
    bundles.seal(bundle_copy)
    assert signature.look(load(bundle_copy)).state == "unsigned"  # sealing takes the signature away
    (bundle_copy / bundles.SIGNATURE).write_bytes(kept)
    with pytest.raises(BundleError, match="its signature does not match its files") as caught:
        load(bundle_copy)
    assert caught.value.reason == "signature"


def test_nobody_can_sign_for_another(bundle_copy: Path, home: Path) -> None:
    trusted, own = write_keys(home, "ward_7"), write_keys(home, "mallory")
    (home / "trusted" / "mallory.pub").unlink()
    signature.sign(load(bundle_copy), own, nothing)
    file = bundle_copy / bundles.SIGNATURE
    lines = json.loads(file.read_text())
    public = signature.trusted()[trusted.name]
    file.write_text(json.dumps({**lines, "key": base64.b64encode(public).decode()}))
    with pytest.raises(BundleError, match="does not match"):
        load(bundle_copy)


def test_a_signature_without_its_purpose_is_none(bundle_copy: Path, home: Path) -> None:
    key = write_keys(home, "a")
    signature.sign(load(bundle_copy), key, nothing)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    bare = private.sign((bundle_copy / bundles.SUMS).read_bytes())  # type: ignore[union-attr, call-arg]
    file = bundle_copy / bundles.SIGNATURE
    lines = {**json.loads(file.read_text()), "signature": base64.b64encode(bare).decode()}
    file.write_text(json.dumps(lines))
    with pytest.raises(BundleError, match="does not match"):
        load(bundle_copy)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"key": "", "signature": ""}', b'{"key": 5}', b"\xff", b"[" * 9999]
)
def test_what_is_no_signature_is_refused(bundle_copy: Path, content: bytes) -> None:
    (bundle_copy / bundles.SIGNATURE).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        load(bundle_copy)
    assert caught.value.reason == "signature"


def test_other_keys_are_refused_with_what_to_do(bundle_copy: Path, home: Path) -> None:
    rsa = generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (home / "rsa").write_bytes(rsa.private_bytes(*form))
    (home / "none").write_bytes(b"no key")
    with pytest.raises(SignatureError, match="no Ed25519 key; make one"):
        signature.sign(load(bundle_copy), home / "rsa", nothing)
    with pytest.raises(SignatureError, match="cannot be read as a key"):
        signature.sign(load(bundle_copy), home / "none", nothing)
    locked = write_keys(home, "locked", password=b"right")
    with pytest.raises(SignatureError, match="password is another"):
        signature.sign(load(bundle_copy), locked, lambda: b"wrong")


def test_a_signature_travels_with_the_zip(bundle_copy: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.trial, "verify", lambda path: type("Tried", (), {"ok": True}))
    signature.sign(load(bundle_copy), write_keys(home, "ward_7"), nothing)
    kept = store.unpack(store.pack(load(bundle_copy)))
    assert signature.look(load(kept)).by == "ward_7"


def test_the_command_line_signs_and_verify_says_by_whom(
    bundle_copy: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = write_keys(home, "ward_7", "openssh")
    assert main(["sign", str(bundle_copy), "--key", str(key), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["by"] == "ward_7"
    assert main(["verify", str(bundle_copy), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["ok"], found["bound"], found["signature"]["state"]) == (True, True, "trusted")
    shutil.copy(bundle_copy / "card.json", bundle_copy / "student.onnx")
    assert main(["verify", str(bundle_copy)]) == 2
    assert "student.onnx was changed" in capfd.readouterr().err


def test_what_is_no_key_among_the_trusted_is_left_out_and_logged(
    bundle_copy: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signature.sign(load(bundle_copy), write_keys(home, "ward_7"), nothing)
    (home / "trusted" / "notes.pub").write_text("no key")
    assert signature.look(load(bundle_copy)).by == "ward_7"
    assert "notes.pub is left out" in caplog.text
