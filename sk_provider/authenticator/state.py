"""What a store holds: everything that a token remembers from one power-up to the next, and how a file has it."""

from __future__ import annotations

import os

from sk_provider.ctap import sha256
from sk_provider.ctap.cbor import CborError, decode, encode

FORMAT = 1

PIN_RETRIES = 8
UV_RETRIES = 3
MIN_PIN_LENGTH = 4  # code points
MAX_PIN_LENGTH = 63  # bytes
# An empty large-blob array and its checksum (CTAP 2.1 §6.10).
EMPTY_LARGE_BLOBS = b"\x80" + sha256(b"\x80")[:16]


class NewerFormat(Exception):
    """A newer libpysk has written the state."""


class State:
    """What a store holds.

    always_uv: None until it was set, so that the profile decides.
    credentials: by credential ID, a nested CBOR map (see resident.py); looking one up decodes no other.
    pin: empty, or salt (16 bytes) and verifier (32 bytes).
    power_cycle: the one in which pin_wrong_in_a_row was counted.
    """

    __slots__ = (
        "always_uv",
        "attestation_certificate",
        "attestation_key",
        "counter",
        "credential_serial",
        "credentials",
        "force_pin_change",
        "large_blobs",
        "min_pin_length",
        "min_pin_length_rp_ids",
        "pin",
        "pin_length",
        "pin_retries",
        "pin_wrong_in_a_row",
        "power_cycle",
        "secret",
        "store_id",
        "uv_retries",
    )

    MEMBERS = {  # noqa: RUF012 - a table
        "always_uv": bool,
        "attestation_certificate": bytes,
        "attestation_key": bytes,
        "counter": int,
        "credential_serial": int,
        "credentials": dict,
        "force_pin_change": bool,
        "large_blobs": bytes,
        "min_pin_length": int,
        "min_pin_length_rp_ids": list,
        "pin": bytes,
        "pin_length": int,
        "pin_retries": int,
        "pin_wrong_in_a_row": int,
        "power_cycle": bytes,
        "secret": bytes,
        "store_id": bytes,
        "uv_retries": int,
    }
    """The members that a file has, and their types; always_uv may be None as well."""

    store_id: bytes
    counter: int
    secret: bytes
    attestation_key: bytes
    attestation_certificate: bytes
    pin: bytes
    pin_length: int
    pin_retries: int
    pin_wrong_in_a_row: int
    power_cycle: bytes
    uv_retries: int
    min_pin_length: int
    min_pin_length_rp_ids: list[str]
    force_pin_change: bool
    always_uv: bool | None
    credentials: dict[bytes, bytes]
    credential_serial: int
    large_blobs: bytes

    @classmethod
    def new(cls) -> State:
        """Make the state of a token that nobody has used yet."""
        state = cls()
        state.store_id = os.urandom(16)
        state.counter = 0
        state.clear()
        return state

    def clear(self) -> None:
        """Forget all but the store's id and the signature counter, which never goes back, and renew the keys."""
        from .attestation import make_attestation

        self.secret = os.urandom(32)
        self.attestation_key, self.attestation_certificate = make_attestation()
        self.clear_settings()

    def clear_settings(self) -> None:
        """Forget the PIN, the discoverable credentials and what can be set."""
        self.pin = b""
        self.pin_length = 0
        self.pin_retries = PIN_RETRIES
        self.pin_wrong_in_a_row = 0
        self.power_cycle = b""
        self.uv_retries = UV_RETRIES
        self.min_pin_length = MIN_PIN_LENGTH
        self.min_pin_length_rp_ids = []
        self.force_pin_change = False
        self.always_uv = None
        self.credentials = {}
        self.credential_serial = 0
        self.large_blobs = EMPTY_LARGE_BLOBS

    def to_bytes(self) -> bytes:
        """Return the content of the file: a map of format, state (a nested map) and the state's SHA-256."""
        content = encode({name: getattr(self, name) for name in self.MEMBERS})
        return encode({"format": FORMAT, "state": content, "sha256": sha256(content)})

    @classmethod
    def from_bytes(cls, untrusted_data: bytes | memoryview) -> State:
        """Return the state that the content of the file holds.

        Raises NewerFormat if it is of a format that came after this one, and CborError if it is anything else than a
        whole state.
        """
        outer = decode(untrusted_data, canonical=True)
        if type(outer) is not dict or type(outer.get("format")) is not int:
            raise CborError("no state")
        if outer["format"] > FORMAT:
            raise NewerFormat
        content = outer.get("state")
        if type(content) is not bytes or outer.get("sha256") != sha256(content):
            raise CborError("checksum")
        members = decode(content, canonical=True)
        if type(members) is not dict or members.keys() != cls.MEMBERS.keys():
            raise CborError("members")
        for name, value in members.items():
            if type(value) is not cls.MEMBERS[name] and (name, value) != ("always_uv", None):
                raise CborError(name)
        state = cls()
        for name, value in members.items():
            setattr(state, name, value)
        if not state.has_right_lengths():
            raise CborError("lengths")
        return state

    def has_right_lengths(self) -> bool:
        """Return whether the members that must have one have a length that can be."""
        return len(self.store_id) == 16 and len(self.secret) == 32 and len(self.pin) in (0, 48)
