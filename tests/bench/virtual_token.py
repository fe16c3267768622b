"""Authenticators without a latency of their own: a key, and token.c giving the answers that were made with it."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
from contextlib import contextmanager
from pathlib import Path

from bench.measure import BenchError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sk_provider.ctap import AUTHDATA_AT, AUTHDATA_UP, EDDSA, cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COUNTER = 1000
_RP_ID_HASH = hashlib.sha256(b"ssh:").digest()
_AAGUID = bytes(16)
_MAKE_CREDENTIAL, _GET_ASSERTION, _GET_INFO = b"\x01", b"\x02", b"\x04"
_NO_PERSON = cbor.encode({"up": False})
_SUCCESS = b"\0"


class VirtualKey:
    """An Ed25519 credential for ssh: and the answers that its token gives."""

    def __init__(self) -> None:
        self.handle = secrets.token_bytes(64)
        self._private = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        """Its 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes, counter: int) -> bytes:
        """Return the signature over what ssh wants signed."""
        return self._private.sign(_authenticator_data(AUTHDATA_UP, counter) + hashlib.sha256(data).digest())

    def answers(self, challenge: bytes, *messages: bytes) -> bytes:
        """Return the file of answers to an enrollment with that challenge and to signatures of these messages."""
        info = cbor.encode({1: ["FIDO_2_0"], 3: _AAGUID, 4: {"up": True}})
        made = self._make_credential(hashlib.sha256(challenge).digest())
        records = [_record(_GET_INFO, b"", info), _record(_MAKE_CREDENTIAL, hashlib.sha256(challenge).digest(), made)]
        # Whether the token has the key at all is asked without a person: what is "signed" then is verified by nobody.
        records.append(_record(_GET_ASSERTION, _NO_PERSON, self._assert(0, bytes(32))))
        digests = [hashlib.sha256(message).digest() for message in messages]
        records += [_record(_GET_ASSERTION, digest, self._assert(AUTHDATA_UP, digest)) for digest in digests]
        return b"".join(records)

    def _make_credential(self, client_data_hash: bytes) -> bytes:
        cose_key = cbor.encode({1: 1, 3: EDDSA, -1: 6, -2: self.public_key})
        credential = _AAGUID + len(self.handle).to_bytes(2, "big") + self.handle + cose_key
        authenticator_data = _authenticator_data(AUTHDATA_UP | AUTHDATA_AT, COUNTER) + credential
        statement = {"alg": EDDSA, "sig": self._private.sign(authenticator_data + client_data_hash)}
        return cbor.encode({1: "packed", 2: authenticator_data, 3: statement})

    def _assert(self, flags: int, client_data_hash: bytes) -> bytes:
        authenticator_data = _authenticator_data(flags, COUNTER)
        signature = self._private.sign(authenticator_data + client_data_hash)
        credential: dict[object, object] = {"id": self.handle, "type": "public-key"}
        return cbor.encode({1: credential, 2: authenticator_data, 3: signature})


def _authenticator_data(flags: int, counter: int) -> bytes:
    return _RP_ID_HASH + bytes((flags,)) + counter.to_bytes(4, "big")


def _record(command: bytes, part: bytes, response: bytes) -> bytes:
    response = _SUCCESS + response
    return command + len(part).to_bytes(2, "big") + part + len(response).to_bytes(2, "big") + response


@contextmanager
def running(program: Path, answers: bytes, folder: Path, delays_ms: Sequence[int]) -> Iterator[list[str]]:
    """Run one token for each delay, and give their addresses. All but the last have no answers of these."""
    processes: list[subprocess.Popen[bytes]] = []
    full, none = folder / "answers", folder / "no-answers"
    full.write_bytes(answers)
    none.touch()
    try:
        paths = [folder / f"token-{number}" for number in range(len(delays_ms))]
        for path, delay_ms in zip(paths, delays_ms, strict=True):
            known = full if path is paths[-1] else none
            command = [str(word) for word in (program, known, delay_ms, path)]
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise BenchError("a virtual token did not begin")
        yield [f"unix:{path}" for path in paths]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
