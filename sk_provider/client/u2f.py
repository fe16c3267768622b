"""Authenticators that speak CTAP1 alone (U2F Raw Message Formats v1.2), by python-fido2."""

from __future__ import annotations

import time
from contextlib import contextmanager

from fido2.ctap1 import APDU, ApduError, Ctap1
from fido2.ctap2 import AttestationResponse, Ctap2, Info
from fido2.webauthn import Aaguid, AttestationObject

from sk_provider.api import FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.ctap import ES256, apdu, sha256, status
from sk_provider.ctap.requests import NO_CLIENT_DATA, Assertion
from sk_provider.errors import AuthenticatorError
from sk_provider.operation import Operation

from . import refusal
from .fido2_client import Device, errors_translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeVar

    from sk_provider.api import SignRequest
    from sk_provider.transport_api import Event

    from .refusal import AddressedChannel

    Result = TypeVar("Result")

_POLL_INTERVAL = 0.2
"""Seconds between two questions whether the authenticator was touched by now."""

_TEST_OF_USER_PRESENCE = 0x01

_MAX_KEY_HANDLE = 255
"""Bytes, for their number is sent as one (U2F Raw Message Formats §5.1)."""


def _open(token: AddressedChannel, event: Event) -> Ctap1:
    return Ctap1(Device(token, event))  # type: ignore[arg-type]  # it needs no more than a channel has


@contextmanager
def _status_words_translated(token: AddressedChannel) -> Iterator[None]:
    with errors_translated(token):
        try:
            yield
        except ApduError as error:
            if error.code == APDU.WRONG_DATA:
                raise refusal.error_of(status.NO_CREDENTIALS, token) from None
            if error.code == apdu.SW_UNKNOWN:
                raise refusal.failure_error(f"status {error.code:04x}", token) from None
            raise AuthenticatorError(f"the authenticator answered with status {error.code:04x}", "try again") from None


def _poll(ask: Callable[[], Result], token: AddressedChannel, event: Event) -> Result:
    """Ask until somebody has touched the authenticator: U2F answers at once that nobody has yet."""
    operation = event if isinstance(event, Operation) else None
    try:
        while True:
            try:
                return ask()
            except ApduError as error:
                if error.code != APDU.USE_NOT_SATISFIED:
                    raise
            if operation is not None:
                operation.await_person(f"{token.address} by U2F", lambda: f"touch {token.address}")
            if event.is_set():
                raise event.reason()
            time.sleep(_POLL_INTERVAL)
    finally:
        if operation is not None:
            operation.person_came(f"{token.address} by U2F")


class U2fClient(Ctap2):
    """A U2F authenticator as python-fido2 has one of CTAP2, which can do little (CTAP 2.1 §10)."""

    def __init__(self, token: AddressedChannel, operation: Operation) -> None:
        self._ctap1 = _open(token, operation)
        self._token = token
        self._operation = operation
        self._info = Info(
            versions=["U2F_V2"],
            extensions=[],
            aaguid=Aaguid.NONE,
            options={"rk": False},
            algorithms=[{"type": "public-key", "alg": ES256}],
        )

    def make_credential(  # of python-fido2's arguments, those that U2F has a place for
        self, client_data_hash: bytes, rp: Mapping[str, str], *_: object, **__: object
    ) -> AttestationResponse:
        """Register a new ES256 key, once somebody has touched the authenticator.

        Raises SecurityKeyError.
        """
        app_param = sha256(rp["id"].encode())
        with _status_words_translated(self._token):
            registration = _poll(
                lambda: self._ctap1.register(client_data_hash, app_param), self._token, self._operation
            )
            attestation = AttestationObject.from_ctap1(app_param, registration)
        return AttestationResponse(attestation.fmt, attestation.auth_data, dict(attestation.att_stmt))


def get_assertion(request: SignRequest, token: AddressedChannel, operation: Operation) -> Assertion:
    """Sign, once somebody has touched the authenticator, which U2F always wants.

    Raises Unsupported for a key that wants its user verified, CredentialNotFound if it does not hold the key, and
    SecurityKeyError.
    """
    if request.flags & FLAG_USER_VERIFICATION:
        raise refusal.unverifiable_error()
    if len(request.key_handle) > _MAX_KEY_HANDLE:
        raise refusal.error_of(status.NO_CREDENTIALS, token)
    if not request.flags & FLAG_USER_PRESENCE:
        operation.tell("the authenticator supports U2F only, and signs only when it is touched; touch it")
    app_param = sha256(request.application.encode())
    ctap1 = _open(token, operation)
    with _status_words_translated(token):
        signature = _poll(
            lambda: ctap1.authenticate(request.message_digest, app_param, request.key_handle), token, operation
        )
        if signature.user_presence != _TEST_OF_USER_PRESENCE:
            raise AuthenticatorError("the authenticator's answer does not confirm a touch", "try again")
        return Assertion(signature.user_presence, signature.counter, signature.signature)


def holds_key(token: AddressedChannel, application: str, key_handle: bytes, operation: Operation) -> bool:
    """Return whether the authenticator holds the key, without a touch. Raises SecurityKeyError."""
    if len(key_handle) > _MAX_KEY_HANDLE:
        return False
    with errors_translated(token):
        try:
            _open(token, operation).authenticate(
                NO_CLIENT_DATA, sha256(application.encode()), key_handle, check_only=True
            )
        except ApduError as error:
            return bool(error.code == APDU.USE_NOT_SATISFIED)
    return False


def wait_for_touch(token: AddressedChannel, event: Event) -> bool:
    """Return whether the authenticator was touched after it was asked, see Token.wait_for_touch()."""
    ctap1 = _open(token, event)
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        # For an application that one shared by another machine lets through as well.
        ctap1.register(bytes(32), sha256(b"ssh:"))

    with _status_words_translated(token):
        _poll(poll, token, event)
    return polls > 1
