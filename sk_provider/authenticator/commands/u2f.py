"""U2F, which CTAP 2.1 calls CTAP1: raw messages in APDUs (FIDO U2F Raw Message Formats v1.2)."""

from __future__ import annotations

from sk_provider.authenticator.attestation import attest
from sk_provider.authenticator.authenticator_data import authenticator_data
from sk_provider.authenticator.keeper import Properties
from sk_provider.authenticator.presence import GRANTED
from sk_provider.ctap import AUTHDATA_UP, ES256, apdu
from sk_provider.ctap.commands import CRED_PROTECT_REQUIRED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.authenticator.keeper import Key
    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.state import State

NO_ERROR = apdu.SW_SUCCESS.to_bytes(2, "big")
WRONG_LENGTH = apdu.SW_WRONG_LENGTH.to_bytes(2, "big")
CONDITIONS_NOT_SATISFIED = apdu.SW_CONDITIONS_NOT_SATISFIED.to_bytes(2, "big")
COMMAND_NOT_ALLOWED = apdu.SW_COMMAND_NOT_ALLOWED.to_bytes(2, "big")
WRONG_DATA = apdu.SW_WRONG_DATA.to_bytes(2, "big")
INS_NOT_SUPPORTED = apdu.SW_INS_NOT_SUPPORTED.to_bytes(2, "big")
CLA_NOT_SUPPORTED = apdu.SW_CLA_NOT_SUPPORTED.to_bytes(2, "big")

RESERVED = b"\x05"


def answer(power_up: PowerUp, untrusted_apdu: bytes) -> bytes:
    """Answer one request APDU, of short or extended length: return the response data and its status word (2 bytes)."""
    if len(untrusted_apdu) < 4:
        return WRONG_LENGTH
    if untrusted_apdu[0] != apdu.CLA_ISO:
        return CLA_NOT_SUPPORTED
    if untrusted_apdu[1] not in (apdu.INS_REGISTER, apdu.INS_AUTHENTICATE, apdu.INS_VERSION):
        return INS_NOT_SUPPORTED
    # U2F verifies no user, so there is none of it while that is required (CTAP 2.1 §7.2.4).
    if power_up.always_uv(power_up.store.read()):
        return COMMAND_NOT_ALLOWED
    try:
        command = apdu.Apdu(untrusted_apdu)
    except ValueError:
        return WRONG_LENGTH
    if command.ins == apdu.INS_REGISTER:
        return _register(power_up, command.data)
    if command.ins == apdu.INS_AUTHENTICATE:
        return _authenticate(power_up, command.p1, command.data)
    return WRONG_LENGTH if command.data else b"U2F_V2" + NO_ERROR


def _register(power_up: PowerUp, data: bytes) -> bytes:
    """Make a key for an application parameter (§4)."""
    if len(data) != 64:
        return WRONG_LENGTH
    challenge, application = data[:32], data[32:]
    if power_up.request("enroll", application.hex()) != GRANTED:
        return CONDITIONS_NOT_SATISFIED
    state = power_up.store.read()
    properties = Properties(1, discoverable=False)
    handle, key = power_up.keeper(state).make(ES256, application, properties)
    cose_key = key.public_key()
    point: bytes = b"\x04" + cose_key[-2] + cose_key[-3]
    signature = attest(state.attestation_key, b"\x00" + application + challenge + handle + point)
    return RESERVED + point + bytes((len(handle),)) + handle + state.attestation_certificate + signature + NO_ERROR


def _authenticate(power_up: PowerUp, control: int, data: bytes) -> bytes:
    """Sign with a key handle, or tell whether it is ours (§5)."""
    if len(data) < 65 or len(data) != 65 + data[64]:
        return WRONG_LENGTH
    challenge, application, untrusted_handle = data[:32], data[32:64], data[65:]
    key = _open(power_up, power_up.store.read(), application, untrusted_handle)
    if key is None:
        return WRONG_DATA
    if control == apdu.P1_CHECK_ONLY:
        return CONDITIONS_NOT_SATISFIED
    if control not in (apdu.P1_ENFORCE_PRESENCE, apdu.P1_NO_PRESENCE):
        return WRONG_DATA
    flags = 0
    if control == apdu.P1_ENFORCE_PRESENCE:
        if power_up.request("sign", application.hex()) != GRANTED:
            return CONDITIONS_NOT_SATISFIED
        flags = AUTHDATA_UP
    with power_up.transaction() as state:
        # Another process may have reset the token, or deleted the credential, while a person was awaited.
        if _open(power_up, state, application, untrusted_handle) is None:
            return WRONG_DATA
        count = power_up.keeper(state).count()
    # What is signed is authenticator data without more.
    signed = authenticator_data(application, flags, count)
    signature = key.sign(signed + challenge)
    return signed[32:] + signature + NO_ERROR


def _open(power_up: PowerUp, state: State, application: bytes, untrusted_handle: bytes) -> Key | None:
    """Open a key handle that serves without user verification; credentials made through CTAP2 do, too."""
    key = power_up.keeper(state).open(untrusted_handle, application)
    if key is None or key.algorithm != ES256 or key.cred_protect == CRED_PROTECT_REQUIRED:
        return None
    return key if not key.discoverable or untrusted_handle in state.credentials else None
