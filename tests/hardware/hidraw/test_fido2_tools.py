"""Debian's fido2-tools, which are libfido2's, as clients of the software authenticator."""

from __future__ import annotations

import base64
import os
import re
import subprocess

import pytest
from support.serve import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PIN = "123456"
OTHER_PIN = "a longer PIN, ü"
HASH = base64.b64encode(bytes(range(32))).decode()
SALT = base64.b64encode(bytes(32)).decode()
RP = "example.org"


def run(*command: str, pins: tuple[str, ...] = (), status: int = 0) -> str:
    """Run a tool, which reads PINs from its standard input as there is no terminal; return what it prints."""
    done = subprocess.run(
        command,
        input="".join(f"{pin}\n" for pin in pins),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        start_new_session=True,
    )
    assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout if status == 0 else done.stderr


def make(
    device: str, folder: Path, *options: str, kind: str = "es256", user: str = "someone", pins: tuple[str, ...] = ()
) -> tuple[str, Path, list[str]]:
    """Make and verify a credential; return its ID (base64), its public key's file, and the lines that were printed."""
    request = folder / "request"
    user_id = base64.b64encode(user.encode()).decode()
    request.write_text(f"{HASH}\n{RP}\n{user}\n{user_id}\n")
    made = run("fido2-cred", "-M", *options, "-i", str(request), device, kind, pins=pins)
    (folder / "made").write_text(made)
    verification = [option for option in options if option in ("-h", "-v")]
    key_id, pem = run("fido2-cred", "-V", *verification, "-i", str(folder / "made"), kind).split("\n", 1)
    key = folder / f"{user}.pem"
    key.write_text(pem)
    return key_id, key, made.splitlines()


def sign(
    device: str, folder: Path, key: Path, *options: str, kind: str = "es256", parameters: tuple[str, ...] = (),
    pins: tuple[str, ...] = (),
) -> list[str]:  # fmt: skip
    """Get and verify an assertion; return the lines that were printed."""
    request = folder / "request"
    request.write_text("\n".join((HASH, RP, *parameters)) + "\n")
    assertion = run("fido2-assert", "-G", *options, "-i", str(request), device, kind, pins=pins)
    (folder / "assertion").write_text(assertion)
    verification = [option for option in options if option in ("-h", "-v")]
    run("fido2-assert", "-V", *verification, "-i", str(folder / "assertion"), str(key), kind)
    return assertion.splitlines()


def test_device_is_listed(token: str) -> None:
    listed = run("fido2-token", "-L")
    assert f"{token}: vendor=0x1209, product=0x0001" in listed


def test_info_shows_a_ctap_2_1_token(token: str) -> None:
    info = run("fido2-token", "-I", token)
    assert "version strings: U2F_V2, FIDO_2_0, FIDO_2_1" in info
    assert "proto: 0x02" in info
    assert re.search(r"^caps: 0x05 \(wink, cbor, msg\)$", info, re.MULTILINE)
    for extension in ("credBlob", "credProtect", "hmac-secret", "largeBlobKey", "minPinLength"):
        assert extension in info
    assert "remaining rk(s)" in info


@pytest.mark.parametrize("kind", ["es256", "eddsa"])
def test_credential_signs(token: str, tmp_path: Path, kind: str) -> None:
    key_id, key, _ = make(token, tmp_path, kind=kind)
    sign(token, tmp_path, key, "-p", kind=kind, parameters=(key_id,))


def test_unknown_credential_is_refused(token: str, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_text(f"{HASH}\n{RP}\n{base64.b64encode(os.urandom(100)).decode()}\n")
    told = run("fido2-assert", "-G", "-i", str(request), token, status=1)
    assert "FIDO_ERR_NO_CREDENTIALS" in told


def test_u2f_credential_signs(token: str, tmp_path: Path) -> None:
    key_id, key, made = make(token, tmp_path, "-u")
    assert made[2] == "fido-u2f"
    sign(token, tmp_path, key, "-u", "-p", parameters=(key_id,))


def test_hmac_secret_is_the_same_for_the_same_salt(token: str, tmp_path: Path) -> None:
    key_id, key, _ = make(token, tmp_path, "-h")
    secrets = [sign(token, tmp_path, key, "-h", "-p", parameters=(key_id, SALT))[-1] for _ in range(2)]
    assert len(base64.b64decode(secrets[0])) == 32
    assert secrets[0] == secrets[1]


def test_life_of_a_token_with_pin_resident_keys_and_large_blobs(tmp_path: Path) -> None:
    with serve("uhid:") as served:
        device = served.names[0]
        run("fido2-token", "-S", device, pins=(PIN, PIN))
        run("fido2-token", "-C", device, pins=(PIN, OTHER_PIN, OTHER_PIN))
        assert "pin retries: 8" in run("fido2-token", "-I", device)
        assert "FIDO_ERR_PIN_INVALID" in run("fido2-token", "-L", "-r", device, pins=("wrong pin",), status=1)
        assert "pin retries: 7" in run("fido2-token", "-I", device)

        pins = (OTHER_PIN,)
        key_id, key, made = make(device, tmp_path, "-r", "-b", "-h", "-v", user="resident", pins=pins)
        _, other_key, _ = make(device, tmp_path, "-r", "-v", user="another", kind="eddsa", pins=pins)
        assert RP in run("fido2-token", "-L", "-r", device, pins=pins)
        credentials = run("fido2-token", "-L", "-k", RP, device, pins=pins)
        assert len(credentials.splitlines()) == 2
        assert key_id in credentials
        assert base64.b64encode(b"resident").decode() in credentials
        assert "existing rk(s): 2" in run("fido2-token", "-I", "-c", device, pins=pins)
        found = run("fido2-token", "-I", "-k", RP, "-i", key_id, device, pins=pins)
        assert key_id in found

        signed = sign(device, tmp_path, key, "-v", "-p", parameters=(key_id,), pins=pins)
        assert base64.b64decode(signed[2])[-5] & 0x05 == 0x05  # UP and UV, in authenticator data within CBOR
        secrets = [
            sign(device, tmp_path, key, "-h", "-p", *verification, parameters=(key_id, SALT), pins=needed)[-1]
            for verification, needed in ((("-v",), pins), (("-v",), pins), ((), ()))
        ]
        assert [len(base64.b64decode(secret)) for secret in secrets] == [32, 32, 32]
        assert secrets[0] == secrets[1] != secrets[2]  # verified users have a secret of their own

        (tmp_path / "request").write_text(f"{HASH}\n{RP}\n")
        found = run("fido2-assert", "-G", "-r", "-p", "-v", "-i", str(tmp_path / "request"), device, pins=pins)
        user_ids = [base64.b64encode(user).decode() for user in (b"another", b"resident")]
        assert found.splitlines()[4::5] == user_ids  # the newest first

        blob = tmp_path / "blob"
        blob.write_bytes(os.urandom(3000))  # more than passes in one request
        blob_key = tmp_path / "blob_key"
        blob_key.write_text(made[-1] + "\n")
        read = tmp_path / "read"
        run("fido2-token", "-S", "-b", "-k", str(blob_key), str(blob), device, pins=pins)
        run("fido2-token", "-G", "-b", "-k", str(blob_key), str(read), device)
        assert read.read_bytes() == blob.read_bytes()
        run("fido2-token", "-D", "-b", "-k", str(blob_key), device, pins=pins)
        assert "FIDO_ERR_NOTFOUND" in run("fido2-token", "-G", "-b", "-k", str(blob_key), str(read), device, status=1)

        run("fido2-token", "-D", "-i", key_id, device, pins=pins)
        assert len(run("fido2-token", "-L", "-k", RP, device, pins=pins).splitlines()) == 1
        assert sign(device, tmp_path, other_key, "-r", "-v", "-p", kind="eddsa", pins=pins)[4] == user_ids[0]

        run("fido2-token", "-S", "-l", "8", device, pins=pins)
        assert "minpinlen: 8" in run("fido2-token", "-I", device)
        run("fido2-token", "-S", "-u", device, pins=pins)
        assert "alwaysUv" in run("fido2-token", "-I", device)
        assert "noalwaysUv" not in run("fido2-token", "-I", device)


def test_reset_within_ten_seconds_of_power_up_clears_the_token(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    with serve("--store", store, "uhid:") as served:
        run("fido2-token", "-S", served.names[0], pins=(PIN, PIN))
        assert ", clientPin" in run("fido2-token", "-I", served.names[0])
    with serve("--store", store, "uhid:") as served:
        run("fido2-token", "-R", served.names[0])
        assert "noclientPin" in run("fido2-token", "-I", served.names[0])
