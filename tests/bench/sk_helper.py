"""What ssh-sk-helper is asked and answers (OpenSSH's ssh-sk-helper.c and ssh-sk-client.c, protocol version 5)."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

from bench.measure import PATIENCE_S, BenchError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from support.openssh import PublicKey, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HELPER = Path("/usr/lib/openssh/ssh-sk-helper")

VERSION = 5
SIGN = 1
LOAD_RESIDENT = 3

# Stands in for the helper: keeps the request of whoever started it, and gives no answer.
_RECORDER = """#!{python} -IS
import posix
request = b""
while len(request) < 4 or len(request) < 4 + int.from_bytes(request[:4], "big"):
    request += posix.read(0, 65536)
with open({path!r}, "wb") as file:
    file.write(request)
"""


def capture(command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, sent: bytes = b"") -> bytes:
    """Return what a client sends to ssh-sk-helper when it is called in this way."""
    recorder, request = folder / "recorder", folder / "request"
    recorder.write_text(_RECORDER.format(python=sys.executable, path=str(request)))
    recorder.chmod(0o700)
    request.unlink(missing_ok=True)
    done = subprocess.run(
        [str(word) for word in command],
        env={**environment, "SSH_SK_HELPER": str(recorder)},
        input=sent, capture_output=True, cwd=folder, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    if not request.exists():
        raise BenchError(f"{command[0]} has not called ssh-sk-helper: {done.stderr.decode(errors='replace')}")
    return request.read_bytes()


def signed_data(request: bytes) -> bytes:
    """Return the message of a captured request for a signature."""
    reader = Reader(request)
    assert reader.uint32() == len(request) - 4
    assert (reader.uint8(), reader.uint32()) == (VERSION, SIGN)
    reader.take(1 + 4)  # whether and how much to log
    reader.string()  # the key
    reader.string()  # the provider
    return reader.string()


def payload(reply: bytes, kind: int) -> Reader:
    """Return what is in a reply of that type. Raises BenchError if it is another, such as a failure."""
    reader = Reader(reply)
    assert reader.uint32() == len(reply) - 4
    assert reader.uint8() == VERSION
    got = reader.uint32()
    if got != kind:
        raise BenchError(f"ssh-sk-helper answered with type {got}: {reader.rest().hex()}")
    return reader


def verify_reply(reply: bytes, public_key: Path, data: bytes) -> int:
    """Verify the signature in a helper's reply and return its counter."""
    return _verify(payload(reply, SIGN).string(), public_key, data)


def verify_armoured(armoured: bytes, public_key: Path, data: bytes) -> int:
    """Verify the signature that ``ssh-keygen -Y sign`` printed (PROTOCOL.sshsig) and return its counter.

    :param data: what ssh-keygen has its keys sign for the document.
    """
    lines = armoured.split()
    reader = Reader(base64.b64decode(b"".join(lines[lines.index(b"SIGNATURE-----") + 1 : lines.index(b"-----END")])))
    assert (reader.take(6), reader.uint32()) == (b"SSHSIG", 1)
    for _ in ("public key", "namespace", "reserved", "hash"):
        reader.string()
    return _verify(reader.string(), public_key, data)


def _verify(signature: bytes, public_key: Path, data: bytes) -> int:
    """Verify a signature as PROTOCOL.u2f has it. Raises InvalidSignature."""
    key = PublicKey(base64.b64decode(public_key.read_text().split()[1]))
    reader = Reader(signature)
    assert reader.string().decode() == key.kind
    raw = reader.string()
    flags_and_counter = reader.rest()
    blob = hashlib.sha256(key.application.encode()).digest() + flags_and_counter + hashlib.sha256(data).digest()
    if "ed25519" in key.kind:
        ed25519.Ed25519PublicKey.from_public_bytes(key.key).verify(raw, blob)
    else:
        parts = Reader(raw)
        r, s = (int.from_bytes(parts.string(), "big") for _ in range(2))
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.key)
        point.verify(utils.encode_dss_signature(r, s), blob, ec.ECDSA(hashes.SHA256()))
    return int.from_bytes(flags_and_counter[1:], "big")
