"""The policy of signing: what is decided for sk_sign(), in the order in which it is decided."""

from __future__ import annotations

from .api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    SEALED_MARK,
    SignResponse,
)
from .client import selection
from .ctap import status
from .ctap.status import StatusError
from .errors import (
    AuthenticatorError,
    InvalidRequest,
    PinAlwaysRequired,
    PinInvalid,
    PinRequired,
    Unsupported,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import SignRequest
    from .client.token import Token
    from .config import Configuration
    from .ctap.requests import Assertion
    from .errors import SecurityKeyError
    from .operation import Operation

# What authenticators answer to the option that leaves out the touch.
_WITHOUT_A_TOUCH = (status.UNSUPPORTED_OPTION, status.INVALID_OPTION, status.UP_REQUIRED)


def sign(request: SignRequest, configuration: Configuration, operation: Operation) -> SignResponse:
    """Have the authenticator that holds the key sign the message digest.

    Raises SecurityKeyError; PinRequired where another call with a PIN can succeed.
    """
    if request.algorithm not in (ALGORITHM_ECDSA, ALGORITHM_ED25519):
        raise Unsupported(f"security key algorithm {request.algorithm} is not known", "use ecdsa-sk or ed25519-sk")
    if operation.trace is not None:
        operation.trace(
            f"sign: application {request.application}, algorithm {request.algorithm}, flags 0x{request.flags:02x}, "
            f"{'no PIN' if request.pin is None else 'a PIN'}"
        )
    if not request.key_handle:
        raise InvalidRequest("the key file has no key handle", "enroll the key again")
    if configuration.differs_between_uses():
        from . import policy

        policy.apply(configuration, request.application, request.read_message)
    if not request.host_key_handle.startswith(SEALED_MARK):
        return _sign_by_token(request, configuration, operation)
    from . import sealed_keys

    if request.key_stream is None:
        sealed_keys.unseal(request, configuration, operation)
    with sealed_keys.passphrase_judged(request, configuration, operation):
        return _sign_by_token(request, configuration, operation)


def _sign_by_token(request: SignRequest, configuration: Configuration, operation: Operation) -> SignResponse:
    """Have it signed by the key handle that is the authenticator's. Raises as sign() does."""
    token = selection.open_for_signature(request, configuration, operation)
    operation.token = token
    try:
        if request.key_stream is not None:
            from . import sealed_keys

            sealed_keys.refuse_if_not_held(request, token, operation)
        uv, pin_uv_auth = _authorize(request, token, configuration, operation)
        assertion = token.get_assertion(request, operation, uv=uv, pin_uv_auth=pin_uv_auth)
        if token.public_key is not None:
            _check_signature(request, assertion, token.public_key)
        if request.pin is not None and configuration.remember_pin:
            from .client import remembered_pin

            remembered_pin.remember(request, configuration.remember_pin, token, operation)
    except StatusError as error:
        raise _error_of(error.code, request, token, operation) from None
    finally:
        if configuration.audit_log is not None:
            token.learn_model(operation)
        token.close()
    sig_r, sig_s = _split_signature(request.algorithm, assertion.signature)
    return SignResponse(assertion.flags, assertion.counter, sig_r, sig_s)


def _authorize(
    request: SignRequest, token: Token, configuration: Configuration, operation: Operation
) -> tuple[bool, tuple[int, bytes] | None]:
    """Return whether the authenticator shall verify the person itself, and what proves the PIN."""
    if request.pin is not None:
        from .client import pin

        return False, pin.authorize_assertion(token, request.pin, request, operation)
    if configuration.remember_pin:
        from .client import pin, remembered_pin

        remembered = remembered_pin.recall(request, token, operation)
        if remembered is not None:
            try:
                return False, pin.authorize_assertion(token, remembered, request, operation)
            except PinInvalid as error:
                remembered_pin.forget(request, operation)
                raise _question_after(error) from None
    if not request.flags & FLAG_USER_VERIFICATION:
        return False, None
    info = token.get_info(operation)
    if info.options.get("uv") is True:
        return True, None
    from .client import refusal

    match info.options.get("clientPin"):
        case True:
            raise refusal.verification_question_or_error(info, token, operation)
        case False:
            raise refusal.lost_pin_error("this key requires a PIN for every use, and the authenticator has none", token)
        case _:
            raise refusal.unverifiable_error()


def _question_after(refused: PinInvalid) -> PinRequired:
    """Return the question for the PIN where a remembered one was refused."""
    question = PinRequired("the PIN that was remembered is wrong now", "enter it when you are asked")
    question.retries, question.address = refused.retries, refused.address
    return question


def _check_signature(request: SignRequest, assertion: Assertion, public_key: tuple[int, bytes]) -> None:
    """Raise AuthenticatorError if the signature is not the key's; public_key: as Token has it."""
    from .credentials.signature import verifies

    message = assertion.signed(request.application, request.message_digest)
    if not verifies(*public_key, message, assertion.signature):
        raise AuthenticatorError(
            "the authenticator's signature does not match the public key, so it only pretends to hold this key",
            "connect only the authenticator that the key was enrolled on",
        )


def _error_of(code: int, request: SignRequest, token: Token, operation: Operation) -> SecurityKeyError:
    """Return the error for the status code that the authenticator answered with.

    Raises SecurityKeyError if it does not answer what is asked to tell.
    """
    from .client import refusal

    if not request.flags & FLAG_USER_PRESENCE and code in _WITHOUT_A_TOUCH:
        return refusal.touch_error()
    if request.pin is not None:
        return refusal.error_of(code, token)
    if request.flags & FLAG_USER_VERIFICATION:
        question = PinRequired(
            "the authenticator's built-in user verification is not available now", "enter its PIN when you are asked"
        )
    else:
        question = PinAlwaysRequired(
            "the authenticator requires its PIN for every use (alwaysUv)",
            "enter it if you are asked, or sign through ssh-agent, which asks",
        )
        if code == status.NO_CREDENTIALS and _may_hide_keys(token, operation):
            return refusal.hidden_key_error("the authenticator does not hold this key, or hides it")
    no_pin = refusal.lost_pin_error(
        "the authenticator requires user verification for every use (alwaysUv), and has no PIN", token
    )
    return refusal.error_without_pin(code, question, no_pin, token, operation)


def _may_hide_keys(token: Token, operation: Operation) -> bool:
    try:
        return "credProtect" in token.get_info(operation).extensions
    except StatusError:
        return False


def _split_signature(algorithm: int, signature: bytes) -> tuple[bytes, bytes]:
    if algorithm == ALGORITHM_ED25519:
        if len(signature) != 64:
            raise AuthenticatorError(
                "the authenticator's signature is not an Ed25519 signature", "check the type in the key file"
            )
        return signature, b""
    return _parse_ecdsa_signature(signature)


def _parse_ecdsa_signature(der: bytes) -> tuple[bytes, bytes]:
    """Return r and s, 32 bytes each, of an ECDSA-Sig-Value for P-256 (RFC 3279 §2.2.3)."""
    try:
        if der[0] != 0x30 or der[1] != len(der) - 2:
            raise ValueError
        r, rest = _parse_integer(der[2:])
        s, rest = _parse_integer(rest)
        if rest:
            raise ValueError
        return r.to_bytes(32, "big"), s.to_bytes(32, "big")
    except (IndexError, ValueError, OverflowError):
        raise AuthenticatorError(
            "the authenticator's signature is not an ECDSA signature", "check the type in the key file"
        ) from None


def _parse_integer(der: bytes) -> tuple[int, bytes]:
    length = der[1]
    content = der[2 : 2 + length]
    if der[0] != 0x02 or not content or len(content) != length or content[0] & 0x80:
        raise ValueError
    return int.from_bytes(content, "big"), der[2 + length :]
