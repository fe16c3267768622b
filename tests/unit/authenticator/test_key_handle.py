from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fido2.cose import CoseKey
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.authenticator.keeper import Properties
from sk_provider.authenticator.key_handle import DISCOVERABLE, LENGTH, MARK, SealingKeeper, store_id_of
from sk_provider.authenticator.keys import ALGORITHMS, public_key
from sk_provider.ctap import EDDSA, ES256
from sk_provider.ctap.cbor import decode

STORE_ID = bytes(range(16))
SECRET = bytes(range(32))
RP_ID_HASH = hashlib.sha256(b"ssh:").digest()
PRIVATE_KEY = b"k" * 32
KEEPER = SealingKeeper(STORE_ID, SECRET)

# One of each kind, as the first version made them for STORE_ID and SECRET: people's key files hold such.
RECORDED = json.loads(Path(__file__).with_name("key_handles.json").read_text())


def seal(algorithm: int = ES256) -> bytes:
    """A new key handle."""
    return KEEPER.make(algorithm, RP_ID_HASH, Properties(1, discoverable=False))[0]


@pytest.mark.parametrize(("algorithm", "alg"), [(ES256, b"\xff\xff\xff\xf9"), (EDDSA, b"\xff\xff\xff\xf8")])
def test_the_format_is_the_one_that_key_files_hold(algorithm: int, alg: bytes) -> None:
    """Opens a handle that was put together from the format's description alone."""
    nonce = bytes(12)
    plaintext = PRIVATE_KEY + bytes([0x82]) + b"v" * 32 + b"n" * 32
    handle = b"pysk" + b"\x01" + STORE_ID + nonce + AESGCM(SECRET).encrypt(nonce, plaintext, b"\x01" + alg + RP_ID_HASH)
    key = KEEPER.open(handle, RP_ID_HASH)
    assert key is not None
    assert key.algorithm == algorithm
    assert key.public_key() == public_key(algorithm, PRIVATE_KEY)
    assert (key.cred_protect, key.discoverable) == (2, True)
    assert (key.cred_random_uv, key.cred_random) == (b"v" * 32, b"n" * 32)
    assert len(handle) == LENGTH == KEEPER.max_credential_id_length


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_recorded_key_handle_opens_and_its_key_signs(recorded: dict[str, Any]) -> None:
    key = KEEPER.open(bytes.fromhex(recorded["key_handle"]), RP_ID_HASH)
    assert key is not None
    assert key.algorithm == recorded["algorithm"]
    assert key.cred_protect == recorded["cred_protect"]
    assert key.discoverable is recorded["discoverable"]
    assert key.cred_random_uv.hex() == recorded["cred_random_uv"]
    assert key.cred_random.hex() == recorded["cred_random"]
    cose_key = decode(bytes.fromhex(recorded["public_key"]))
    assert key.public_key() == cose_key
    CoseKey.parse(cose_key).verify(b"a message", key.sign(b"a message"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("cred_protect", [1, 2, 3])
@pytest.mark.parametrize("discoverable", [False, True])
def test_what_is_made_is_opened(algorithm: int, cred_protect: int, discoverable: bool) -> None:
    handle, made = KEEPER.make(algorithm, RP_ID_HASH, Properties(cred_protect, discoverable=discoverable))
    opened = SealingKeeper(STORE_ID, SECRET).open(handle, RP_ID_HASH)
    assert opened is not None
    for key in (made, opened):
        assert (key.algorithm, key.cred_protect, key.discoverable) == (algorithm, cred_protect, discoverable)
        CoseKey.parse(opened.public_key()).verify(b"a message", key.sign(b"a message"))
    assert made.public_key() == opened.public_key()
    assert (made.cred_random_uv, made.cred_random) == (opened.cred_random_uv, opened.cred_random)
    assert made.cred_random_uv != made.cred_random
    assert DISCOVERABLE & 0x03 == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_two_keys_or_handles_are_alike_and_none_is_in_its_handle(algorithm: int) -> None:
    made = [KEEPER.make(algorithm, RP_ID_HASH, Properties(1, discoverable=False)) for _ in range(20)]
    assert len({handle[21:33] for handle, _ in made}) == 20  # the nonces
    assert len({key.public_key()[-2] for _, key in made}) == 20
    for handle, _ in made:
        alg = algorithm.to_bytes(4, "big", signed=True)
        plaintext = AESGCM(SECRET).decrypt(handle[21:33], handle[33:], b"\x01" + alg + RP_ID_HASH)
        assert plaintext[:32] not in handle


def test_a_handle_tells_its_store_and_not_its_algorithm() -> None:
    handles = [seal(algorithm) for algorithm in ALGORITHMS]
    assert all(handle.startswith(MARK) and store_id_of(handle) == STORE_ID for handle in handles)
    assert len({len(handle) for handle in handles}) == 1
    assert store_id_of(b"pysk") is None
    assert store_id_of(b"yubi" + bytes(200)) is None


@given(st.integers(0, LENGTH - 1), st.integers(1, 255))
def test_no_bit_of_a_handle_can_be_changed(at: int, change: int) -> None:
    handle = seal()
    changed = handle[:at] + bytes([handle[at] ^ change]) + handle[at + 1 :]
    assert KEEPER.open(changed, RP_ID_HASH) is None


def test_a_handle_opens_under_its_own_secret_store_and_rp_alone() -> None:
    handle = seal()
    assert SealingKeeper(STORE_ID, bytes(32)).open(handle, RP_ID_HASH) is None
    assert SealingKeeper(bytes(16), SECRET).open(handle, RP_ID_HASH) is None
    assert KEEPER.open(handle, bytes(32)) is None
