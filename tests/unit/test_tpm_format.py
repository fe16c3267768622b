"""What is permanent of keys in a TPM, tried without one: the form of a key handle, and what a store must hold."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sk_provider.tpm import key_handle
from sk_provider.tpm.state import TpmState

STORE_ID, NONCE, SECRET = bytes(range(16)), bytes(range(12)), bytes(range(32))
SEED, POINT, RP_ID_HASH = b"s" * 32, b"p" * 32, b"r" * 32
EDDSA = -8


def handle_of(wrapped: bytes, properties: int = 0x82) -> bytes:
    """Return a key handle as the description of the format has it."""
    plaintext = bytes([properties]) + SEED + POINT + wrapped
    sealed = AESGCM(SECRET).encrypt(NONCE, plaintext, b"\x01\xff\xff\xff\xf8" + RP_ID_HASH)
    return b"ptpm\x01" + STORE_ID + NONCE + sealed


def test_a_key_handle_of_the_first_release_is_opened() -> None:
    assert key_handle.bears(handle_of(b"wrapped"), STORE_ID)
    assert key_handle.store_id_of(handle_of(b"wrapped")) == STORE_ID
    content = key_handle.unseal(handle_of(b"wrapped"), SECRET, EDDSA, RP_ID_HASH)
    assert content is not None
    assert (content.seed, content.point, content.wrapped) == (SEED, POINT, b"wrapped")
    assert (content.cred_protect, content.discoverable) == (2, True)
    content = key_handle.unseal(handle_of(b"wrapped", 0x01), SECRET, EDDSA, RP_ID_HASH)
    assert content is not None
    assert (content.cred_protect, content.discoverable) == (1, False)


def test_a_new_key_handle_has_the_form_of_the_first_release() -> None:
    content = key_handle.Content(3, SEED, POINT, b"wrapped", discoverable=True)
    made = key_handle.seal(content, STORE_ID, SECRET, EDDSA, RP_ID_HASH)
    assert made[:21] == b"ptpm\x01" + STORE_ID
    plaintext = AESGCM(SECRET).decrypt(made[21:33], made[33:], b"\x01\xff\xff\xff\xf8" + RP_ID_HASH)
    assert plaintext == b"\x83" + SEED + POINT + b"wrapped"


def test_a_key_handle_is_no_longer_than_it_may_be_and_no_shorter_than_it_must_be() -> None:
    longest = 640 - len(handle_of(b""))
    assert key_handle.unseal(handle_of(bytes(longest)), SECRET, EDDSA, RP_ID_HASH) is not None
    assert key_handle.unseal(handle_of(bytes(longest + 1)), SECRET, EDDSA, RP_ID_HASH) is None
    for length in range(len(handle_of(b""))):
        assert key_handle.unseal(handle_of(b"")[:length], SECRET, EDDSA, RP_ID_HASH) is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("store_id", bytes(15)),
        ("pin", bytes(1)),
        ("primary_name", bytes(33)),
        ("verification_key", bytes(31)),
        ("counter_index", -1),
        ("counter_index", 1 << 32),
        ("counter", -1),
        ("counter_start", -1),
    ],
)
def test_a_store_with_a_member_of_another_size_is_none(name: str, wrong: object) -> None:
    state = TpmState.blank()
    assert (state.pin, state.credentials) == (b"", {})
    state.primary_name, state.verification_key = bytes(34), bytes(32)
    for pin in (b"", bytes(16)):
        state.pin = pin
        assert state.has_right_lengths()
    state.counter_index = (1 << 32) - 1
    assert state.has_right_lengths()
    setattr(state, name, wrong)
    assert not state.has_right_lengths()
