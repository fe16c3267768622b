"""The policy of listing resident keys: what is decided for sk_load_resident_keys(), in order."""

from __future__ import annotations

from .api import APPLICATION_PREFIX, FLAG_USER_VERIFICATION, ResidentKey
from .client import refusal, selection
from .credentials.public_key import COSE_ALGORITHMS, public_key_bytes
from .ctap import commands
from .errors import AuthenticatorError, PinNotSet, PinRequired, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fido2.ctap2 import CredentialManagement, Ctap2

    from .api import ResidentRequest
    from .client.token import Token
    from .config import Configuration
    from .operation import Operation

_ALGORITHMS = {cose_algorithm: algorithm for algorithm, cose_algorithm in COSE_ALGORITHMS.items()}


def load_resident_keys(
    request: ResidentRequest, configuration: Configuration, operation: Operation
) -> list[ResidentKey]:
    """Return the authenticator's resident keys whose application starts with "ssh:".

    Raises SecurityKeyError; PinRequired where another call with a PIN can succeed.
    """
    token = selection.open_for_management(request.device, configuration, operation)
    try:
        from .client.fido2_client import errors_translated, open_client

        ctap2 = open_client(token, operation)
        management = _open_credential_management(request, ctap2, token, operation)
        with errors_translated():
            return list(_enumerate(management, has_own_verification="uv" in ctap2.info.options))
    except PinRequired as error:
        # Hosts ask for the PIN before this call, and not again after it, so the person must learn it from us.
        error.is_question = False
        raise
    finally:
        token.close()


def _open_credential_management(
    request: ResidentRequest, ctap2: Ctap2, token: Token, operation: Operation
) -> CredentialManagement:
    from fido2.ctap2 import CredentialManagement
    from fido2.ctap2.pin import ClientPin

    from .client import pin

    if not CredentialManagement.is_supported(ctap2.info):
        raise Unsupported("the authenticator cannot list its resident keys", "use the key files made at enrollment")
    permission = ClientPin.PERMISSION.CREDENTIAL_MGMT
    if request.pin is not None:
        client_pin, pin_uv_auth_token = pin.get_token(ctap2, request.pin, permission, None)
    elif not (ctap2.info.options.get("clientPin") or ctap2.info.options.get("uv")):
        raise PinNotSet("the authenticator has no PIN", refusal.SET_A_PIN)
    elif ctap2.info.options.get("uv") and ctap2.info.options.get("pinUvAuthToken"):
        client_pin, pin_uv_auth_token = pin.get_uv_token(ctap2, permission, None, token, operation)
    else:
        question = PinRequired("the authenticator wants its PIN to list its keys", "enter it when you are asked")
        raise refusal.to_ask_for_pin(question, token, operation, force_pin_change=ctap2.info.force_pin_change)
    return CredentialManagement(ctap2, client_pin.protocol, pin_uv_auth_token)


def _enumerate(management: CredentialManagement, *, has_own_verification: bool) -> Iterator[ResidentKey]:
    result = management.RESULT
    for rp in management.enumerate_rps():
        rp_id = rp[result.RP].get("id")
        # A host drops all others; so does this, whether or not the authenticator's strings are sound.
        if not isinstance(rp_id, str) or not rp_id.startswith(APPLICATION_PREFIX) or "\0" in rp_id:
            continue
        for credential in management.enumerate_creds(rp[result.RP_ID_HASH]):
            key = _to_key(rp_id, credential, has_own_verification=has_own_verification)
            if key is not None:
                yield key


def _to_key(rp_id: str, credential: Mapping[int, object], *, has_own_verification: bool) -> ResidentKey | None:
    from fido2.ctap2 import CredentialManagement

    result = CredentialManagement.RESULT
    public_key, descriptor, user = (
        credential[result.PUBLIC_KEY],
        credential[result.CREDENTIAL_ID],
        credential[result.USER],
    )
    if not isinstance(public_key, dict) or not isinstance(descriptor, dict) or not isinstance(user, dict):
        raise TypeError
    cose_algorithm = public_key.get(3)
    if cose_algorithm not in _ALGORITHMS:
        return None
    key_handle, user_id = descriptor.get("id"), user.get("id")
    if not isinstance(key_handle, bytes) or not key_handle or not isinstance(user_id, bytes):
        raise AuthenticatorError("the authenticator's list of keys is damaged", "try again")
    # With user verification of its own the authenticator decides by itself, so no PIN need be asked for.
    wants_pin = credential.get(result.CRED_PROTECT) == commands.CRED_PROTECT_REQUIRED and not has_own_verification
    return ResidentKey(
        algorithm=_ALGORITHMS[cose_algorithm],
        application=rp_id,
        flags=FLAG_USER_VERIFICATION if wants_pin else 0,
        key_handle=key_handle,
        public_key=public_key_bytes(public_key, cose_algorithm),
        user_id=user_id,
    )
