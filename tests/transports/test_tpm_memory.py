"""What is in the memory of ssh-sk-helper while a TPM signs for it: nothing of the private key, which the TPM has."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from support.openssh import KeyFile, Person, enrolled
from support.processes import helper_of
from support.swtpm import HEADER, Manager, Swtpm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TPM_CC_SIGN = 0x15D
LENGTH = 32
# How the TPM keeps what is so long: after its length, as this machine has numbers.
SO_LONG = LENGTH.to_bytes(2, "little")


def memory(process: int) -> bytes:
    """Return all that a process can write to."""
    parts = []
    with open(f"/proc/{process}/mem", "rb", buffering=0) as content:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            place, access, *_ = line.split()
            if access.startswith("rw"):
                first, last = (int(address, 16) for address in place.split("-"))
                content.seek(first)
                parts.append(content.read(last - first))
    return b"".join(parts)


def private_keys(dump: bytes) -> Iterator[ec.EllipticCurvePrivateKey]:
    """Yield what could be private keys in a TPM's memory."""
    seen = set()
    at = dump.find(SO_LONG)
    while at >= 0:
        scalar = dump[at + 2 : at + 2 + LENGTH]
        if len(set(scalar)) > LENGTH // 2 and scalar not in seen:
            seen.add(scalar)
            try:
                yield ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
            except ValueError:
                pass  # a number that is too large
        at = dump.find(SO_LONG, at + 1)


def test_the_private_key_is_in_the_tpm_alone(owner: Person, tpm: Swtpm, manager: Manager) -> None:
    key = enrolled(owner, "ecdsa-sk")
    public = KeyFile(key).public
    document = owner.folder / "document"
    document.write_text("a message")
    dumps: dict[str, bytes] = {}
    running: list[subprocess.Popen[bytes]] = []

    def dump(command: bytes) -> None:
        if HEADER.unpack_from(command)[2] == TPM_CC_SIGN:
            dumps["tpm"], dumps["helper"] = memory(tpm.pid), memory(helper_of(running[0].pid))

    manager.answer = dump
    running.append(
        subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, document],
            env=owner.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    )  # fmt: skip
    assert running[0].wait(60) == 0
    found = {
        private.private_numbers().private_value.to_bytes(LENGTH, "big")
        for private in private_keys(dumps["tpm"])
        if private.public_key().public_numbers().x.to_bytes(LENGTH, "big") == public.key[1:33]
    }
    assert len(found) == 1
    (scalar,) = found
    assert dumps["tpm"].count(scalar)
    assert not dumps["helper"].count(scalar)
    assert not dumps["helper"].count(scalar[::-1])
