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

from sk_provider.authenticator.key_handle import DISCOVERABLE, LENGTH, MARK, seal, store_id_of, unseal
from sk_provider.authenticator.keys import ALGORITHMS, public_key, sign
from sk_provider.ctap import EDDSA, ES256
from sk_provider.ctap.cbor import decode

STORE_ID = bytes(range(16))
SECRET = bytes(range(32))
RP_ID_HASH = hashlib.sha256(b"ssh:").digest()
PRIVATE_KEY = b"k" * 32

# One of each kind, as the first version made them for STORE_ID and SECRET: people's key files hold such.
RECORDED = json.loads(Path(__file__).with_name("key_handles.json").read_text())


def test_the_format_is_the_one_that_key_files_hold() -> None:
    """Opens a handle that was put together from the format's description alone."""
    nonce = bytes(12)
    plaintext = PRIVATE_KEY + bytes([0x82]) + b"v" * 32 + b"n" * 32
    associated_data = b"\x01" + b"\xff\xff\xff\xf8" + RP_ID_HASH
    handle = b"pysk" + b"\x01" + STORE_ID + nonce + AESGCM(SECRET).encrypt(nonce, plaintext, associated_data)
    opened = unseal(STORE_ID, SECRET, ALGORITHMS, RP_ID_HASH, handle)
    assert opened is not None
    assert opened.credential_id == handle
    assert (opened.algorithm, opened.private_key) == (EDDSA, PRIVATE_KEY)
    assert (opened.cred_protect, opened.discoverable) == (2, True)
    assert (opened.cred_random_uv, opened.cred_random) == (b"v" * 32, b"n" * 32)
    assert len(handle) == LENGTH


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_recorded_key_handle_opens_and_its_key_signs(recorded: dict[str, Any]) -> None:
    opened = unseal(STORE_ID, SECRET, ALGORITHMS, RP_ID_HASH, bytes.fromhex(recorded["key_handle"]))
    assert opened is not None
    assert opened.algorithm == recorded["algorithm"]
    assert opened.cred_protect == recorded["cred_protect"]
    assert opened.discoverable is recorded["discoverable"]
    assert opened.cred_random_uv.hex() == recorded["cred_random_uv"]
    assert opened.cred_random.hex() == recorded["cred_random"]
    cose_key = decode(bytes.fromhex(recorded["public_key"]))
    assert public_key(opened.algorithm, opened.private_key) == cose_key
    CoseKey.parse(cose_key).verify(b"a message", sign(opened.algorithm, opened.private_key, b"a message"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("cred_protect", [1, 2, 3])
@pytest.mark.parametrize("discoverable", [False, True])
def test_what_is_sealed_is_opened(algorithm: int, cred_protect: int, discoverable: bool) -> None:
    sealed = seal(STORE_ID, SECRET, algorithm, RP_ID_HASH, PRIVATE_KEY, cred_protect, discoverable)
    opened = unseal(STORE_ID, SECRET, ALGORITHMS, RP_ID_HASH, sealed.credential_id)
    assert opened is not None
    for name in sealed.__slots__:
        assert getattr(opened, name) == getattr(sealed, name)
    assert PRIVATE_KEY not in sealed.credential_id
    assert DISCOVERABLE & 0x03 == 0


def test_a_handle_tells_its_store_and_not_its_algorithm() -> None:
    handles = [seal(STORE_ID, SECRET, alg, RP_ID_HASH, PRIVATE_KEY, 1, False).credential_id for alg in ALGORITHMS]
    assert all(handle.startswith(MARK) and store_id_of(handle) == STORE_ID for handle in handles)
    assert len({len(handle) for handle in handles}) == 1
    assert store_id_of(b"pysk") is None
    assert store_id_of(b"yubi" + bytes(200)) is None


@given(st.integers(0, LENGTH - 1), st.integers(1, 255))
def test_no_bit_of_a_handle_can_be_changed(at: int, change: int) -> None:
    handle = seal(STORE_ID, SECRET, ES256, RP_ID_HASH, PRIVATE_KEY, 1, False).credential_id
    changed = handle[:at] + bytes([handle[at] ^ change]) + handle[at + 1 :]
    assert unseal(STORE_ID, SECRET, ALGORITHMS, RP_ID_HASH, changed) is None


def test_a_handle_opens_under_its_own_secret_rp_and_algorithm_alone() -> None:
    handle = seal(STORE_ID, SECRET, ES256, RP_ID_HASH, PRIVATE_KEY, 1, False).credential_id
    assert unseal(STORE_ID, bytes(32), ALGORITHMS, RP_ID_HASH, handle) is None
    assert unseal(bytes(16), SECRET, ALGORITHMS, RP_ID_HASH, handle) is None
    assert unseal(STORE_ID, SECRET, ALGORITHMS, bytes(32), handle) is None
    assert unseal(STORE_ID, SECRET, (EDDSA,), RP_ID_HASH, handle) is None
