"""The policy of listing resident keys: what is decided for sk_load_resident_keys(), in order."""

from __future__ import annotations

from .api import APPLICATION_PREFIX, FLAG_USER_VERIFICATION, ResidentKey
from .client import selection
from .credentials import known_keys, purpose
from .credentials.public_key import COSE_ALGORITHMS, public_key_bytes
from .ctap import commands
from .errors import AuthenticatorError, PinRequired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import ResidentRequest
    from .client.resident_credentials import ResidentCredential
    from .config import Configuration
    from .operation import Operation

_ALGORITHMS = {cose_algorithm: algorithm for algorithm, cose_algorithm in COSE_ALGORITHMS.items()}


def load_resident_keys(
    request: ResidentRequest, configuration: Configuration, operation: Operation
) -> list[ResidentKey]:
    """Return the resident keys whose application starts with "ssh:", for a host drops all others.

    They are the authenticator's, and, where pysk_config names directories, those that these have for the user.

    Raises SecurityKeyError; PinRequired where another call with a PIN can succeed.
    """
    if operation.trace is not None:
        operation.trace(f"list resident keys: {'no PIN' if request.pin is None else 'a PIN'}")
    if configuration.differs_between_uses():
        from . import policy

        policy.apply(configuration, None, None)

    def list_of_token() -> list[ResidentKey]:
        return _load_of_token(request, configuration, operation)

    if not configuration.key_directories:
        return list_of_token()
    from .directory_keys import list_beside

    return list_beside(list_of_token, request, configuration, operation)


def _load_of_token(request: ResidentRequest, configuration: Configuration, operation: Operation) -> list[ResidentKey]:
    """Return the authenticator's own. Raises as load_resident_keys() does."""

    def wants(rp_id: str, is_whole: bool) -> bool:
        if not rp_id.startswith(APPLICATION_PREFIX):
            return False
        if not is_whole:
            # Nobody can tell how it goes on.
            operation.tell(
                f"the authenticator has kept only the beginning of an application, {rp_id}, and its keys are left out; "
                "use the key files made at enrollment"
            )
        elif not _can_be_told(rp_id):
            operation.tell(
                f"the authenticator has keys for {purpose.shown(rp_id)}, whose name could be a line or a path of its "
                "own where it is written, and they are left out; use pysk keys export, or delete them"
            )
            return False
        return is_whole

    token = selection.open_for_management(request.device, configuration, operation)
    operation.token = token
    try:
        from .client.fido2_client import errors_translated
        from .client.resident_credentials import credentials, open_management

        ctap2 = token.open_client(operation)
        management = open_management(ctap2, request.pin, token, operation)
        # With user verification of its own the authenticator decides by itself, so no PIN need be asked for.
        asks_for_pin = "uv" not in ctap2.info.options
        with errors_translated(token):
            listed = credentials(management, wants, operation.tell)
            made = [to_key(credential, operation, asks_for_pin=asks_for_pin) for credential in listed]
        keys = [key for key in made if key is not None]
    except PinRequired as error:
        # Hosts ask for the PIN before this call, and not again after it, so the person must learn it from us.
        error.is_question = False
        raise
    finally:
        token.close()
    if token.is_the_only_one:
        seen = [(key.application, key.key_handle, key.algorithm, key.public_key) for key in keys]
        known_keys.remember(configuration.known_keys, seen)
    return keys


def _can_be_told(untrusted_rp_id: str) -> bool:
    """Return whether hosts can be told of an application: they print it, and make a comment and a file's name of it."""
    return untrusted_rp_id.isprintable() and ".." not in untrusted_rp_id.split("/")


def to_key(credential: ResidentCredential, operation: Operation, *, asks_for_pin: bool) -> ResidentKey | None:
    """Return what the host is told of a credential, None if it is no key of ssh's algorithms."""
    cose_key = credential.public_key
    cose_algorithm = credential.algorithm
    if not isinstance(cose_key, dict) or cose_algorithm not in _ALGORITHMS:
        return None
    try:
        public_key = public_key_bytes(cose_key, cose_algorithm)
    except AuthenticatorError:
        operation.tell(f"a key for {credential.rp_id} has no valid public key, and is left out; enroll another")
        return None
    wants_pin = credential.cred_protect == commands.CRED_PROTECT_REQUIRED and asks_for_pin
    return ResidentKey(
        algorithm=_ALGORITHMS[cose_algorithm],
        application=credential.rp_id,
        flags=FLAG_USER_VERIFICATION if wants_pin else 0,
        key_handle=credential.key_handle,
        public_key=public_key,
        user_id=credential.user_id,
    )
