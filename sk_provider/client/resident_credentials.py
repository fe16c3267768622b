"""The resident credentials that an authenticator lists (CTAP 2.1 §6.8), by python-fido2."""

from __future__ import annotations

from fido2.ctap import CtapError
from fido2.ctap2 import CredentialManagement
from fido2.ctap2.pin import ClientPin

from sk_provider.credentials import key_handle as key_handles
from sk_provider.credentials import openssh_key
from sk_provider.credentials.public_key import COSE_ALGORITHMS, public_key_bytes
from sk_provider.ctap import MAX_ENTRIES, commands, sha256
from sk_provider.errors import (
    AuthenticatorError,
    CredentialNotFound,
    InvalidRequest,
    PinNotSet,
    PinRequired,
    Unsupported,
)

from . import pin, refusal
from .fido2_client import errors_translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from fido2.ctap2 import Ctap2

    from sk_provider.operation import Operation

    from .token import Token

_RESULT = CredentialManagement.RESULT

PROTECTIONS = {
    commands.CRED_PROTECT_OPTIONAL: "none",
    commands.CRED_PROTECT_OPTIONAL_WITH_LIST: "key-file-or-pin",
    commands.CRED_PROTECT_REQUIRED: "verify-required",
}
"""By the level of credProtect (CTAP 2.1 §12.1), what it means where ssh uses the key."""

_SSH_ALGORITHMS = {cose_algorithm: algorithm for algorithm, cose_algorithm in COSE_ALGORITHMS.items()}

_MIN_BEGINNING = 4
"""Characters of what names a key that are enough if no other's begins so."""

_MAX_NAME = 64
"""Bytes of a user's name that every authenticator has room for; of a longer one it may keep less (CTAP 2.1 §6.8.6)."""

_TOO_LONG = (
    CtapError.ERR.INVALID_LENGTH,
    CtapError.ERR.LIMIT_EXCEEDED,
    CtapError.ERR.KEY_STORE_FULL,
    CtapError.ERR.REQUEST_TOO_LARGE,
)
"""What authenticators answer to a name that they have no room for."""


class ResidentCredential:
    """What an authenticator tells of a credential, of which nothing but the types was checked.

    rp_id: of which there may be nothing but the beginning (CTAP 2.1 §6.8.7), unless is_rp_id_whole. key_handle: not
    empty; user_name, display_name: None if there is none; public_key: a COSE key, or whatever there is instead;
    cred_protect: the level, or None.
    """

    __slots__ = (
        "cred_protect",
        "display_name",
        "is_rp_id_whole",
        "key_handle",
        "public_key",
        "rp_id",
        "user_id",
        "user_name",
    )

    def __init__(
        self,
        rp_id: str,
        is_rp_id_whole: bool,
        key_handle: bytes,
        user_id: bytes,
        user_name: str | None,
        display_name: str | None,
        public_key: object,
        cred_protect: object,
    ) -> None:
        self.rp_id = rp_id
        self.is_rp_id_whole = is_rp_id_whole
        self.key_handle = key_handle
        self.user_id = user_id
        self.user_name = user_name
        self.display_name = display_name
        self.public_key = public_key
        self.cred_protect = cred_protect

    @property
    def algorithm(self) -> int | None:
        """The public key's COSE algorithm, None if there is none."""
        algorithm = self.public_key.get(3) if isinstance(self.public_key, dict) else None
        return algorithm if isinstance(algorithm, int) else None

    @property
    def protection(self) -> str | None:
        """One of PROTECTIONS, None if it is not told."""
        return PROTECTIONS.get(self.cred_protect) if isinstance(self.cred_protect, int) else None

    def handle_digest(self) -> str:
        """Return what names the key for a person, see credentials.key_handle."""
        return key_handles.digest(self.key_handle)

    def public_blob(self) -> bytes | None:
        """Return the public key as OpenSSH has it, None if it has no such keys or the application is not whole."""
        cose_key, cose_algorithm = self.public_key, self.algorithm
        if not self.is_rp_id_whole or not isinstance(cose_key, dict) or cose_algorithm not in _SSH_ALGORITHMS:
            return None
        try:
            public_key = public_key_bytes(cose_key, cose_algorithm)
        except AuthenticatorError:
            return None
        return openssh_key.public_blob(_SSH_ALGORITHMS[cose_algorithm], public_key, self.rp_id)

    def fingerprint(self) -> str | None:
        """Return what ssh-keygen -l prints of the public key, None where there is no public_blob()."""
        blob = self.public_blob()
        return None if blob is None else openssh_key.fingerprint(blob)


def open_management(ctap2: Ctap2, given_pin: str | None, token: Token, operation: Operation) -> CredentialManagement:
    """Return python-fido2's client of credentialManagement, authorized by the PIN or by the authenticator's own means.

    Raises PinRequired where a PIN is wanted and none is given, Unsupported if the authenticator lists no keys,
    PinNotSet, PinBlocked, and what pin.get_token() and pin.get_uv_token() raise.
    """
    if not CredentialManagement.is_supported(ctap2.info):
        raise Unsupported("the authenticator cannot list its resident keys", "use the key files made at enrollment")
    permission = ClientPin.PERMISSION.CREDENTIAL_MGMT
    options = ctap2.info.options
    if given_pin is not None:
        client_pin, pin_uv_auth_token = pin.get_token(ctap2, given_pin, permission, None, token)
    elif not (options.get("clientPin") or options.get("uv")):
        raise PinNotSet("the authenticator has no PIN", refusal.set_a_pin(token))
    elif options.get("uv") and options.get("pinUvAuthToken"):
        client_pin, pin_uv_auth_token = pin.get_uv_token(ctap2, permission, None, token, operation)
    else:
        question = PinRequired("the authenticator requires its PIN to list its keys", "enter it when you are asked")
        raise refusal.question_or_error(question, token, operation, force_pin_change=ctap2.info.force_pin_change)
    return CredentialManagement(ctap2, client_pin.protocol, pin_uv_auth_token)


def credentials(
    management: CredentialManagement, wants: Callable[[str, bool], bool], tell: Callable[[str], object]
) -> Iterator[ResidentCredential]:
    """Yield the credentials of the RP IDs that are wanted. One that cannot be used is left out, and told.

    wants: is given what the authenticator keeps of an RP ID, and whether that is all of it (CTAP 2.1 §6.8.7).

    Raises CtapError and whatever python-fido2 stumbles over, and AuthenticatorError for a list that has no end.
    """
    for rp in _entries(management.enumerate_rps_begin, management.enumerate_rps_next, _RESULT.TOTAL_RPS):
        rp_id, rp_id_hash = rp[_RESULT.RP].get("id"), rp[_RESULT.RP_ID_HASH]
        if not isinstance(rp_id, str) or "\0" in rp_id:
            continue
        is_whole = sha256(rp_id.encode()) == rp_id_hash
        if wants(rp_id, is_whole):
            yield from _of_one_rp(management, rp_id, rp_id_hash, tell, is_whole=is_whole)


def find(listed: list[ResidentCredential], wanted: str, token: Token) -> ResidentCredential:
    """Return the credential that a person names by its key handle's digest or its fingerprint, or by how they begin.

    Raises CredentialNotFound if there is none, InvalidRequest if there are several.
    """
    found = [each for each in listed if _is_named(each, wanted)]
    if not found:
        raise CredentialNotFound(
            f"the authenticator has no resident key {wanted}",
            f"see: {refusal.command('keys list --all', token)}",
        )
    if len(found) > 1:
        raise InvalidRequest(f"{len(found)} resident keys begin with {wanted}", "write more of the one that you mean")
    return found[0]


def check_renames(ctap2: Ctap2) -> None:
    """Raise Unsupported if the authenticator cannot change the names of a credential's user."""
    if not CredentialManagement.is_update_supported(ctap2.info):
        raise Unsupported(
            "the authenticator cannot rename its resident keys", "enroll another one with -O user=, or keep the name"
        )


def check_name(name: str) -> None:
    """Raise InvalidRequest if a name is not one that every authenticator that renames can keep."""
    if not name or not name.isprintable():
        raise InvalidRequest("the name is empty or has characters that cannot be printed", "choose another one")
    if len(name.encode()) > _MAX_NAME:
        raise InvalidRequest(f"the name has more than {_MAX_NAME} bytes", "choose a shorter one")


def rename(
    management: CredentialManagement,
    credential: ResidentCredential,
    name: str,
    display_name: str | None,
    token: Token,
    operation: Operation,
) -> None:
    """Have the authenticator keep other names of a credential's user, or the old ones (CTAP 2.1 §6.8.6).

    display_name: None if there shall be none. Raises AuthenticatorError if it does not keep the names whole.
    """
    try:
        with errors_translated(token, pass_status=True):
            _update_user(management, credential, name, display_name)
    except CtapError as error:
        if error.code in _TOO_LONG:
            raise AuthenticatorError(
                "the authenticator has no room for this name", "choose a shorter one; the old one still stands"
            ) from None
        raise refusal.error_of(int(error.code), token) from None
    with errors_translated(token):
        now = credentials(management, lambda rp_id, _: rp_id == credential.rp_id, operation.tell)
        kept = [(each.user_name, each.display_name) for each in now if each.key_handle == credential.key_handle]
        if kept != [(name, display_name)]:
            _update_user(management, credential, credential.user_name, credential.display_name)
            raise AuthenticatorError(
                "the authenticator does not keep this name whole", "choose a shorter one; the old one was put back"
            )


def _update_user(
    management: CredentialManagement, credential: ResidentCredential, name: str | None, display_name: str | None
) -> None:
    user = {"id": credential.user_id, "name": name, "displayName": display_name}
    management.update_user_info(
        {"type": "public-key", "id": credential.key_handle},  # type: ignore[arg-type]  # as it takes
        {member: value for member, value in user.items() if value is not None},  # type: ignore[arg-type]  # likewise
    )


def _is_named(credential: ResidentCredential, wanted: str) -> bool:
    if len(wanted.removeprefix(openssh_key.FINGERPRINT_PREFIX)) < _MIN_BEGINNING:
        return False
    fingerprint = credential.fingerprint()
    return credential.handle_digest().startswith(wanted.lower()) or (
        fingerprint is not None and fingerprint.startswith(wanted)
    )


def _of_one_rp(
    management: CredentialManagement, rp_id: str, rp_id_hash: bytes, tell: Callable[[str], object], *, is_whole: bool
) -> Iterator[ResidentCredential]:
    def begin() -> Mapping[int, Any]:
        return management.enumerate_creds_begin(rp_id_hash)

    for entry in _entries(begin, management.enumerate_creds_next, _RESULT.TOTAL_CREDENTIALS):
        descriptor, user = entry.get(_RESULT.CREDENTIAL_ID), entry.get(_RESULT.USER)
        key_handle = descriptor.get("id") if isinstance(descriptor, dict) else None
        members = ("id", "name", "displayName")
        user_id, name, display_name = (user.get(each) if isinstance(user, dict) else None for each in members)
        if not isinstance(key_handle, bytes) or not key_handle or not isinstance(user_id, bytes):
            tell(f"a key for {rp_id} is damaged in the authenticator's list, and is left out; try again")
            continue
        yield ResidentCredential(
            rp_id,
            is_whole,
            key_handle,
            user_id,
            name if isinstance(name, str) else None,
            display_name if isinstance(display_name, str) else None,
            entry.get(_RESULT.PUBLIC_KEY),
            entry.get(_RESULT.CRED_PROTECT),
        )


def _entries(
    begin: Callable[[], Mapping[int, Any]], go_on: Callable[[], Mapping[int, Any]], total_member: int
) -> list[Mapping[int, Any]]:
    """Return all entries of a list; none of another one may be asked for in between."""
    try:
        first = begin()
    except CtapError as error:
        if error.code == CtapError.ERR.NO_CREDENTIALS:
            return []
        raise
    total = first.get(total_member, 1)
    if not isinstance(total, int) or total > MAX_ENTRIES:
        raise AuthenticatorError("the authenticator's list of keys does not end", "use another authenticator")
    return [first, *(go_on() for _ in range(1, total))] if total > 0 else []
