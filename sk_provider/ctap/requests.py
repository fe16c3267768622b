"""The CTAP2 commands of a signature (CTAP 2.1 §6.2, §6.4, §6.5.5.2), on nothing but our own CBOR."""

from __future__ import annotations

import posix

from sk_provider.errors import AuthenticatorError

from . import AUTHDATA_AT, AUTHDATA_ED, AUTHDATA_UP, AUTHDATA_UV, cbor, commands, framing, sha256, status
from .status import StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Channel

NO_CLIENT_DATA = bytes(32)
"""What is asked to be "signed" where nothing is: no message has this SHA-256."""


def fresh_client_data_hash() -> bytes:
    """Return what is "signed" where only the existence of a key is asked for: 16 zero bytes and 16 random ones.

    No message can be found whose SHA-256 begins so, so nobody can use the signature; and no recorded one fits.
    """
    return bytes(16) + posix.urandom(16)


def is_of_no_message(client_data_hash: bytes) -> bool:
    """Return whether a client data hash is one that no message has, see fresh_client_data_hash()."""
    return len(client_data_hash) == 32 and client_data_hash[:16] == bytes(16)


class Assertion:
    """A checked assertion without extensions. flags: authenticatorData's; counter: 32 bits; signature: as it came."""

    def __init__(self, flags: int, counter: int, signature: bytes) -> None:
        self.flags = flags
        self.counter = counter
        self.signature = signature

    def signed(self, rp_id: str, client_data_hash: bytes) -> bytes:
        """Return what the signature is of, if it was made for these: authenticatorData and the client data hash."""
        counter = self.counter.to_bytes(4, "big")
        return sha256(rp_id.encode()) + bytes((self.flags,)) + counter + client_data_hash


def _nonsense(what: str) -> AuthenticatorError:
    return AuthenticatorError(f"the authenticator's answer {what}", "try again, or use another authenticator")


def _call(channel: Channel, command: int, parameters: bytes, operation: Operation) -> dict[object, object]:
    untrusted_response = channel.call(framing.CBOR, bytes([command]) + parameters, operation)
    if not untrusted_response:
        raise _nonsense("is empty")
    if untrusted_response[0] != status.SUCCESS:
        raise StatusError(untrusted_response[0])
    try:
        response = cbor.decode(untrusted_response[1:])
    except cbor.CborError:
        raise _nonsense("is not CBOR") from None
    if not isinstance(response, dict):
        raise _nonsense("is not a CBOR map")
    return response


class Info:
    """What authenticatorGetInfo tells (CTAP 2.1 §6.4).

    options: option IDs, and whether each is on; extensions: those that it knows; force_pin_change: whether the PIN is
    good for nothing but its change; aaguid: of its model, 16 bytes, b"" if it does not say.
    """

    def __init__(
        self, options: dict[object, object], extensions: list[object], *, force_pin_change: bool, aaguid: bytes = b""
    ) -> None:
        self.options = options
        self.extensions = extensions
        self.force_pin_change = force_pin_change
        self.aaguid = aaguid


def get_info_members(channel: Channel, operation: Operation) -> dict[object, object]:
    """Return the members of authenticatorGetInfo's answer (CTAP 2.1 §6.4), of which nothing was checked.

    Raises as get_info() does.
    """
    return _call(channel, commands.GET_INFO, b"", operation)


def get_info(channel: Channel, operation: Operation) -> Info:
    """Return what the authenticator says of itself.

    Raises StatusError, and SecurityKeyError if there is no usable answer.
    """
    info = get_info_members(channel, operation)
    options = info.get(0x04, {})
    if not isinstance(options, dict):
        raise _nonsense("has no map of options")
    extensions = info.get(0x02)
    known = extensions if isinstance(extensions, list) else []
    aaguid = info.get(0x03)
    return Info(
        options,
        known,
        force_pin_change=info.get(0x0C) is True,
        aaguid=aaguid if isinstance(aaguid, bytes) and len(aaguid) == 16 else b"",
    )


def get_pin_retries(channel: Channel, operation: Operation) -> tuple[int, bool]:
    """Return how many tries are left for the PIN, and whether none counts until the next power-up (CTAP 2.1 §6.5.5.2).

    Raises StatusError, and SecurityKeyError if there is no usable answer.
    """
    # Protocol 1, which CTAP 2.0 wants to be told, says no more than that nothing here is encrypted.
    answer = _call(channel, commands.CLIENT_PIN, cbor.encode({1: 1, 2: commands.GET_PIN_RETRIES}), operation)
    retries = answer.get(3)
    if not isinstance(retries, int):
        raise _nonsense("has no number of tries")
    return retries, answer.get(4) is True


def get_assertion(
    channel: Channel,
    rp_id: str,
    client_data_hash: bytes,
    credential_id: bytes,
    operation: Operation,
    *,
    up: bool,
    uv: bool = False,
    pin_uv_auth: tuple[int, bytes] | None = None,
) -> Assertion:
    """Ask for an assertion with one credential (CTAP 2.1 §6.2).

    client_data_hash: 32 bytes; up: whether a person must be present; uv: have the authenticator verify the person by
    its own means; pin_uv_auth: the protocol's number and the pinUvAuthParam.

    Raises StatusError if the authenticator refuses, and SecurityKeyError if there is no answer or it is not one
    that an OpenSSH signature could carry: it must be for rp_id and this credential, and have no extensions.
    """
    parameters: dict[object, object] = {
        1: rp_id,
        2: client_data_hash,
        3: [{"id": credential_id, "type": "public-key"}],
    }
    options = {}
    if not up:
        options["up"] = False
    if uv:
        options["uv"] = True
    if options:
        parameters[5] = options
    if pin_uv_auth is not None:
        protocol, pin_uv_auth_param = pin_uv_auth
        parameters[6] = pin_uv_auth_param
        parameters[7] = protocol
    response = _call(channel, commands.GET_ASSERTION, cbor.encode(parameters), operation)
    _check_credential(response.get(1), credential_id)
    authenticator_data, signature = response.get(2), response.get(3)
    if not isinstance(authenticator_data, bytes) or not isinstance(signature, bytes):
        raise _nonsense("has no signature")
    flags, counter = _parse_authenticator_data(authenticator_data, rp_id)
    if up and not flags & AUTHDATA_UP:
        raise _nonsense("does not confirm a touch")
    if (uv or pin_uv_auth is not None) and not flags & AUTHDATA_UV:
        raise _nonsense("does not confirm user verification")
    return Assertion(flags, counter, signature)


def _check_credential(credential: object, credential_id: bytes) -> None:
    """CTAP lets the authenticator leave the credential out where only one was allowed."""
    if credential is not None and not (isinstance(credential, dict) and credential.get("id") == credential_id):
        raise _nonsense("is for another key")


def _parse_authenticator_data(authenticator_data: bytes, rp_id: str) -> tuple[int, int]:
    """Return flags and counter (WebAuthn §6.1)."""
    if len(authenticator_data) < 37:
        raise _nonsense("is cut short")
    if authenticator_data[:32] != sha256(rp_id.encode()):
        raise _nonsense("is for another application")
    flags = authenticator_data[32]
    # OpenSSH verifies application, flags, counter and message: nothing else that was signed could be told to it.
    if flags & (AUTHDATA_AT | AUTHDATA_ED) or len(authenticator_data) != 37:
        raise _nonsense("has extensions, which no ssh signature can carry")
    return flags, int.from_bytes(authenticator_data[33:37], "big")
