"""The policy of enrolling: what is decided for sk_enroll(), in the order in which it is decided."""

from __future__ import annotations

from .api import (
    FLAG_FORCE_OPERATION,
    FLAG_RESIDENT_KEY,
    FLAG_USER_VERIFICATION,
    EnrollResponse,
)
from .client import refusal, selection
from .credentials import attestation as attestation_statement
from .credentials import key_handle, known_keys
from .credentials.public_key import COSE_ALGORITHMS, public_key_bytes
from .ctap import AUTHDATA_AT, AUTHDATA_UP, AUTHDATA_UV, cbor, commands, sha256, status
from .ctap.requests import fresh_client_data_hash
from .errors import AuthenticatorError, CredentialExists, InvalidRequest, PinNotSet, PinRequired, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from fido2.ctap2 import Ctap2
    from fido2.ctap2.base import AttestationResponse
    from fido2.ctap2.pin import PinProtocol
    from fido2.webauthn import AttestedCredentialData

    from .api import EnrollRequest
    from .client.token import Token
    from .config import Configuration
    from .operation import Operation

USER_ID_LENGTH = 32
"""Bytes; shorter names are padded with zeros, and one zero always remains (OpenSSH's sk-usbhid.c)."""

_USER_NAME = "openssh"

_OPTIONAL = FLAG_RESIDENT_KEY | FLAG_USER_VERIFICATION


def enroll(request: EnrollRequest, configuration: Configuration, operation: Operation) -> EnrollResponse:
    """Have an authenticator make a new key.

    Raises SecurityKeyError; PinRequired where another call with a PIN can succeed, CredentialExists where one with
    FLAG_FORCE_OPERATION can.
    """
    if request.algorithm not in COSE_ALGORITHMS:
        raise Unsupported(f"security key algorithm {request.algorithm} is not known", "use ecdsa-sk or ed25519-sk")
    if operation.trace is not None:
        operation.trace(
            f"enroll: application {request.application}, algorithm {request.algorithm}, flags 0x{request.flags:02x}, "
            f"{'no PIN' if request.pin is None else 'a PIN'}"
        )
    user_id = _user_id(request.user)
    if configuration.differs_between_uses():
        from . import policy

        policy.apply(configuration, request.application, None)
    if configuration.seals_key_handles and request.flags & FLAG_RESIDENT_KEY:
        from .credentials import sealing

        raise sealing.resident_error("leave out -O resident, or have no SealKeyHandle for this application")
    if configuration.seals_key_handles:
        from . import sealed_keys

        sealed_keys.refuse_if_nobody_can_be_asked(configuration)
    token = selection.open_for_enrollment(request, configuration, operation)
    operation.token = token
    try:
        response = _make_credential(request, user_id, token, operation)
    finally:
        token.close()
    if configuration.seals_key_handles:
        sealed_keys.seal(response, request, configuration, operation)
    known_keys.remember(
        configuration.known_keys,
        [(request.application, response.key_handle, request.algorithm, response.public_key)],
    )
    return response


def _user_id(name: str | None) -> bytes:
    user_id = (name or "").encode("utf-8", "surrogateescape")
    if len(user_id) >= USER_ID_LENGTH:
        raise InvalidRequest(
            f"the user name is longer than {USER_ID_LENGTH - 1} bytes", "choose a shorter one with -O user="
        )
    return user_id.ljust(USER_ID_LENGTH, b"\0")


def _make_credential(request: EnrollRequest, user_id: bytes, token: Token, operation: Operation) -> EnrollResponse:
    from fido2.ctap import CtapError

    from .client.fido2_client import errors_translated

    ctap2 = token.open_client(operation)
    try:
        with errors_translated(token, pass_status=True):
            return _make_credential_by(ctap2, request, user_id, token, operation)
    except CtapError as error:
        code = int(error.code)
        if code in (status.UNSUPPORTED_OPTION, status.INVALID_OPTION) and request.flags & _OPTIONAL:
            raise Unsupported(
                f"the authenticator does not support an option of the request (error 0x{code:02x})",
                "leave out -O resident and -O verify-required, or use another authenticator",
            ) from None
        if request.pin is not None:
            raise refusal.error_of(code, token) from None
        question = PinRequired("the authenticator requires its PIN for this enrollment", "enter it when you are asked")
        no_pin = PinNotSet(
            "the authenticator requires user verification for every use (alwaysUv), and has no PIN",
            refusal.set_a_pin(token),
        )
        raise refusal.error_without_pin(code, question, no_pin, token, operation) from None


def _make_credential_by(
    ctap2: Ctap2, request: EnrollRequest, user_id: bytes, token: Token, operation: Operation
) -> EnrollResponse:
    algorithm = COSE_ALGORITHMS[request.algorithm]
    listed = ctap2.info.algorithms
    if listed and all(each.get("alg") != algorithm for each in listed):
        raise refusal.error_of(status.UNSUPPORTED_ALGORITHM, token)
    is_resident = bool(request.flags & FLAG_RESIDENT_KEY)
    if is_resident and not ctap2.info.options.get("rk"):
        raise Unsupported("the authenticator does not support resident keys", "leave out -O resident")
    extensions = _extensions(request, ctap2)
    _refuse_unusable(request, ctap2.info.options, token)
    client_data_hash = sha256(request.challenge)
    looks_first = is_resident and not request.flags & FLAG_FORCE_OPERATION
    authorization = _Authorization(request, ctap2, token, operation, is_for_two=looks_first)
    if looks_first:
        _refuse_to_overwrite(request, user_id, ctap2, token, authorization)
    options = dict(authorization.options)
    if is_resident:
        options["rk"] = True
    attestation = ctap2.make_credential(
        client_data_hash,
        {"id": request.application},
        {"id": user_id, "name": _USER_NAME, "displayName": _USER_NAME},
        [{"type": "public-key", "alg": algorithm}],
        extensions=extensions or None,
        options=options or None,
        **authorization.parameters(client_data_hash),
    )
    try:
        credential = _checked_credential(attestation, request, extensions, is_verified=authorization.is_given)
        attestation_statement.verify(attestation, client_data_hash)
        return _to_response(request, attestation, credential, algorithm)
    except AuthenticatorError as error:
        made = attestation.auth_data.credential_data
        if made is not None:
            _tell_of_the_rest(error, request, made.credential_id, token)
        raise


def _extensions(request: EnrollRequest, ctap2: Ctap2) -> dict[str, object]:
    if not request.flags & _OPTIONAL:
        return {}
    if "credProtect" not in (ctap2.info.extensions or ()):
        raise Unsupported(
            "the authenticator does not support keys that require user verification (credProtect)",
            "leave out -O resident and -O verify-required",
        )
    if request.flags & FLAG_USER_VERIFICATION:
        return {"credProtect": commands.CRED_PROTECT_REQUIRED}
    return {"credProtect": commands.CRED_PROTECT_OPTIONAL_WITH_LIST}


class _Authorization:
    """How the authenticator will know the person: a PIN's token, its own user verification, or not at all.

    options: what to send with each command.
    """

    def __init__(
        self, request: EnrollRequest, ctap2: Ctap2, token: Token, operation: Operation, *, is_for_two: bool
    ) -> None:
        """Verify the person, if that takes a command of its own; is_for_two: getAssertion comes before makeCredential.

        Raises PinRequired, PinBlocked, PinNotSet, and what pin.get_token() and pin.get_uv_token() raise.
        """
        from fido2.ctap2.pin import ClientPin

        from .client import pin

        self.options: dict[str, bool] = {}
        self._protocol: PinProtocol | None = None
        self._pin_uv_auth_token = b""
        options = ctap2.info.options
        permissions = ClientPin.PERMISSION.MAKE_CREDENTIAL | ClientPin.PERMISSION.GET_ASSERTION
        if request.pin is not None:
            client_pin, self._pin_uv_auth_token = pin.get_token(
                ctap2, request.pin, permissions, request.application, token
            )
            self._protocol = client_pin.protocol
        elif _needs_verification(request, options):
            if options.get("uv") and options.get("pinUvAuthToken") and is_for_two:
                # With the uv option the person would be wanted for each command.
                client_pin, self._pin_uv_auth_token = pin.get_uv_token(
                    ctap2, permissions, request.application, token, operation
                )
                self._protocol = client_pin.protocol
            elif options.get("uv"):
                self.options["uv"] = True
            elif options.get("clientPin"):
                question = PinRequired(
                    "the authenticator requires its PIN for this enrollment", "enter it when you are asked"
                )
                raise refusal.question_or_error(
                    question, token, operation, force_pin_change=ctap2.info.force_pin_change
                )
            else:
                raise PinNotSet(
                    "the authenticator requires user verification to make a key, and has no PIN",
                    refusal.set_a_pin(token),
                )

    @property
    def is_given(self) -> bool:
        """Whether the authenticator knows the person: by a PIN or by its own means."""
        return self._protocol is not None or bool(self.options)

    def parameters(self, client_data_hash: bytes) -> dict[str, Any]:
        """Return what proves the PIN to a command about client_data_hash, as python-fido2's arguments."""
        if self._protocol is None:
            return {}
        return {
            "pin_uv_param": self._protocol.authenticate(self._pin_uv_auth_token, client_data_hash),
            "pin_uv_protocol": self._protocol.VERSION,
        }


def _refuse_unusable(request: EnrollRequest, options: Mapping[str, bool], token: Token) -> None:
    """Raise an error for a key that would want its user verified by an authenticator that cannot do that."""
    if not request.flags & FLAG_USER_VERIFICATION or options.get("uv") or options.get("clientPin"):
        return
    if options.get("clientPin") is False:
        raise PinNotSet(
            "a key with verify-required needs an authenticator with a PIN, and this one has none",
            refusal.set_a_pin(token),
        )
    raise Unsupported("the authenticator has neither a PIN nor other user verification", "leave out -O verify-required")


def _needs_verification(request: EnrollRequest, options: Mapping[str, bool]) -> bool:
    """Whether the authenticator will refuse to make this credential for an unknown person (CTAP 2.1 §6.1.2)."""
    if options.get("alwaysUv"):
        return True
    if not (options.get("clientPin") or options.get("uv")):
        return False
    return bool(request.flags & FLAG_RESIDENT_KEY) or not options.get("makeCredUvNotRqd")


def _refuse_to_overwrite(
    request: EnrollRequest, user_id: bytes, ctap2: Ctap2, token: Token, authorization: _Authorization
) -> None:
    """Raise CredentialExists if the authenticator has a resident key for this application and user."""
    from fido2.ctap import CtapError

    client_data_hash = fresh_client_data_hash()
    try:
        assertions = ctap2.get_assertions(
            request.application,
            client_data_hash,
            options={"up": False, **authorization.options},
            **authorization.parameters(client_data_hash),
        )
    except CtapError as error:
        if error.code == CtapError.ERR.NO_CREDENTIALS:
            return
        raise
    for assertion in assertions:
        if not assertion.user or assertion.user.get("id") != user_id:
            continue
        untrusted_key_handle = (assertion.credential or {}).get("id")
        if isinstance(untrusted_key_handle, bytes):
            key = key_handle.digest(untrusted_key_handle)
            delete = f"delete it with: {refusal.command('keys delete', token)} {key}"
        else:
            delete = f"delete it; to list the keys: {refusal.command('keys list', token)}"
        raise CredentialExists(
            f"the authenticator already has a resident key for {request.application} and this user",
            f"choose another user (-O user=) or application (-O application=), or {delete}",
        )


def _checked_credential(
    attestation: AttestationResponse, request: EnrollRequest, extensions: Mapping[str, object], *, is_verified: bool
) -> AttestedCredentialData:
    """Return the new key, once it is the one that was asked for, protected as asked.

    is_verified: whether the person was verified for it. Raises AuthenticatorError if it is another one.
    """
    authenticator_data = attestation.auth_data
    credential = authenticator_data.credential_data
    if not authenticator_data.flags & AUTHDATA_AT or credential is None:
        raise AuthenticatorError("the authenticator's answer has no key", "try again")
    if authenticator_data.rp_id_hash != sha256(request.application.encode()):
        raise AuthenticatorError("the authenticator's answer is for another application", "try again")
    if not credential.credential_id:
        raise AuthenticatorError("the authenticator's answer has no key handle", "try again")
    if not authenticator_data.flags & AUTHDATA_UP:
        raise AuthenticatorError("the authenticator's answer does not confirm a touch", "use another authenticator")
    if is_verified and not authenticator_data.flags & AUTHDATA_UV:
        raise AuthenticatorError(
            "the authenticator's answer does not confirm user verification", "use another authenticator"
        )
    made: object = authenticator_data.extensions or {}
    if not isinstance(made, dict) or any(made.get(name) != value for name, value in extensions.items()):
        raise AuthenticatorError(
            "the authenticator did not protect the new key as requested (credProtect)", "use another authenticator"
        )
    return credential


def _tell_of_the_rest(
    error: AuthenticatorError, request: EnrollRequest, untrusted_key_handle: bytes, token: Token
) -> None:
    """Tell in the error that a resident key that is refused stays on the authenticator, where it was made."""
    if request.flags & FLAG_RESIDENT_KEY:
        error.happened += f"; the resident key that it made for {request.application} is still on it"
        error.remedy = (
            f"delete it with: {refusal.command('keys delete', token)} {key_handle.digest(untrusted_key_handle)}"
        )


def _to_response(
    request: EnrollRequest, attestation: AttestationResponse, credential: AttestedCredentialData, algorithm: int
) -> EnrollResponse:
    signature, certificate = b"", b""
    if attestation.fmt != "none":
        signature = attestation.att_stmt["sig"]
        certificate = attestation.att_stmt.get("x5c", [b""])[0]
    return EnrollResponse(
        flags=request.flags & ~FLAG_FORCE_OPERATION,
        public_key=public_key_bytes(credential.public_key, algorithm),
        key_handle=credential.credential_id,
        signature=signature,
        attestation_certificate=certificate,
        authenticator_data=cbor.encode(bytes(attestation.auth_data)),
    )
