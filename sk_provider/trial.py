"""Trying an authenticator: keys are enrolled, sign and are verified, by the policies of sk_enroll() and sk_sign()."""

from __future__ import annotations

import copy
import os
import tempfile
import time

from .api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, EnrollRequest, SignRequest
from .client import selection
from .client.description import Description, learn
from .credentials import openssh_key
from .credentials.signature import verifies
from .ctap import sha256
from .enroll import enroll
from .errors import AuthenticatorError, PinRequired, Unsupported
from .sign import sign
from .transports import soft, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from .api import EnrollResponse, SignResponse
    from .config import Configuration
    from .operation import Operation

    Result = TypeVar("Result")

APPLICATION = "ssh:"

_DEFAULT_STORE = f"{soft.SCHEME}:"

# The steps of a trial.
OPEN = "open"
ENROLL = "enroll"
SIGN = "sign"
VERIFY = "verify"


class Step:
    """A step that is done. key_type: as ssh-keygen takes it, None for OPEN; name: OPEN, ENROLL, SIGN or VERIFY;
    milliseconds: how long it took, a person's touch included, and the entering of a PIN not.
    """

    def __init__(self, key_type: str | None, name: str, milliseconds: float) -> None:
        self.key_type = key_type
        self.name = name
        self.milliseconds = milliseconds


class Trial:
    """The trial of one authenticator. description: what it is, once it was opened.

    Of its keys, which are not resident, nothing is kept, there or here.
    """

    def __init__(
        self,
        configuration: Configuration,
        operation: Operation,
        *,
        ask_for_pin: Callable[[], str],
        announce: Callable[[str, str], object],
    ) -> None:
        """ask_for_pin: returns the authenticator's PIN, where it wants one; announce: is told the key type and the name
        of a step that may want a touch, before it begins.
        """
        self.description: Description | None = None
        self._configuration = copy.copy(configuration)
        self._configuration.known_keys = None
        self._configuration.ignore("seals_key_handles")
        self._operation = operation
        self._ask_for_pin = ask_for_pin
        self._announce = announce
        self._pin: str | None = None
        self._began = 0.0

    def run(self, device: str | None) -> Iterator[Step]:
        """Try an authenticator, that which would be enrolled on, with each type of key that it has; yield each step.

        device: its address, or None; ``soft:`` is a software authenticator of its own, which ends with the trial, where
        the default one was not made yet. Raises SecurityKeyError as enroll() and sign() do, and for a signature that is
        not by the key; DeviceNotFound where an authenticator would have to be made first.
        """
        if device == _DEFAULT_STORE and not soft.discover(""):
            with tempfile.TemporaryDirectory(prefix="pysk-try-") as folder:
                yield from self._try(f"{_DEFAULT_STORE}{folder}/soft", may_create=True)
        else:
            yield from self._try(device, may_create=False)

    def _try(self, device: str | None, *, may_create: bool) -> Iterator[Step]:
        self._begin()
        description = self._open(device, may_create=may_create)
        yield self._done(None, OPEN)
        for algorithm, makes in (
            (ALGORITHM_ED25519, description.ed25519_sk),
            (ALGORITHM_ECDSA, description.ecdsa_sk),
        ):
            if makes is False:
                continue
            key_type = openssh_key.KEYGEN_TYPES[algorithm]
            try:
                key = self._enroll(algorithm, description.address)
            except Unsupported:
                if makes:
                    raise
                continue
            yield self._done(key_type, ENROLL)
            digest = sha256(os.urandom(32))
            signature = self._sign(algorithm, description.address, key, digest)
            yield self._done(key_type, SIGN)
            self._begin()
            _verify(algorithm, key, digest, signature)
            yield self._done(key_type, VERIFY)

    def _begin(self) -> None:
        self._operation.restart()
        self._began = time.monotonic()

    def _done(self, key_type: str | None, name: str) -> Step:
        return Step(key_type, name, (time.monotonic() - self._began) * 1000)

    def _open(self, device: str | None, *, may_create: bool) -> Description:
        request = EnrollRequest(ALGORITHM_ED25519, b"", APPLICATION, FLAG_USER_PRESENCE, None, device, None)
        token = selection.open_for_enrollment(request, self._configuration, self._operation, may_create=may_create)
        try:
            description = Description(token.address, split(token.address)[0], product=token.product() or None)
            learn(description, token, self._operation)
        finally:
            token.close()
        self.description = description
        return description

    def _enroll(self, algorithm: int, address: str) -> EnrollResponse:
        self._announce(openssh_key.KEYGEN_TYPES[algorithm], ENROLL)

        def attempt(pin: str | None) -> EnrollResponse:
            request = EnrollRequest(algorithm, os.urandom(32), APPLICATION, FLAG_USER_PRESENCE, pin, address, None)
            return enroll(request, self._configuration, self._operation)

        return self._with_pin_if_wanted(attempt)

    def _sign(self, algorithm: int, address: str, key: EnrollResponse, digest: bytes) -> SignResponse:
        self._announce(openssh_key.KEYGEN_TYPES[algorithm], SIGN)

        def attempt(pin: str | None) -> SignResponse:
            request = SignRequest(algorithm, digest, APPLICATION, key.key_handle, FLAG_USER_PRESENCE, pin, address)
            return sign(request, self._configuration, self._operation)

        return self._with_pin_if_wanted(attempt)

    def _with_pin_if_wanted(self, attempt: Callable[[str | None], Result]) -> Result:
        """Do it without a PIN, and with one if that is refused for want of it, as ssh does."""
        self._begin()
        try:
            return attempt(None)
        except PinRequired:
            if self._pin is None:
                self._pin = self._ask_for_pin()
            self._begin()
            return attempt(self._pin)


def _verify(algorithm: int, key: EnrollResponse, digest: bytes, response: SignResponse) -> None:
    """Check a signature as sshd does, by application, flags, counter and message (PROTOCOL.u2f, "SSH U2F Signatures").

    Raises AuthenticatorError if it is not the key's.
    """
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    message = sha256(APPLICATION.encode()) + bytes([response.flags]) + response.counter.to_bytes(4, "big") + digest
    signature = response.sig_r
    if algorithm == ALGORITHM_ECDSA:
        signature = encode_dss_signature(int.from_bytes(response.sig_r, "big"), int.from_bytes(response.sig_s, "big"))
    if not verifies(algorithm, key.public_key, message, signature):
        raise AuthenticatorError(
            "the signature is not by the key that the authenticator has just made", "use another authenticator"
        )
