"""What a trace tells of CTAP's messages: names and values, without what is secret or names a person.

A byte string or a text is shown only where a table says what it is; of all others there is the length.
"""

from __future__ import annotations

import time

from sk_provider.credentials import key_handle
from sk_provider.ctap import AUTHDATA_AT, AUTHDATA_ED, AUTHDATA_UP, AUTHDATA_UV, apdu, cbor, commands, framing, status
from sk_provider.ctap.traced import COMMANDS, KEEPALIVES, named_bits, names_of, status_word
from sk_provider.errors import SecurityKeyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.trace import Trace
    from sk_provider.transport_api import Channel, Event

    Show = Callable[[object], str]
    Members = dict[object, tuple[str, Show]]

_MAX_BYTES = 80
_MAX_CHARACTERS = 200
_MAX_ITEMS = 32

_STATUS_NAMES = names_of(vars(status))


class TracedChannel:
    """A channel that tells a trace what goes through it. See transport_api.Channel."""

    def __init__(self, channel: Channel, address: str, trace: Trace) -> None:
        self.capabilities = channel.capabilities
        self.asks_a_person = getattr(channel, "asks_a_person", False)
        self._channel = channel
        self._address = address
        self._trace = trace

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See transport_api.Channel."""

        def keep_alive(keepalive_status: int) -> None:
            name = KEEPALIVES.get(keepalive_status, "unknown")
            self._trace(f"< keep-alive, {name} ({keepalive_status}), after {_since(began)}")
            if on_keepalive is not None:
                on_keepalive(keepalive_status)

        with self._trace.about(self._address):
            self._trace(f"> {_shown(_request, cmd, data)}")
            began = time.monotonic()
            try:
                response = self._channel.call(cmd, data, event, keep_alive)
            except SecurityKeyError as error:
                self._trace(f"gives no answer after {_since(began)}: {error.happened}")
                raise
            except BaseException as error:
                self._trace(f"gives no answer after {_since(began)}: {type(error).__name__}")
                raise
            self._trace(f"< {_shown(_response, cmd, data, response)}, after {_since(began)}")
        return response

    def close(self) -> None:
        """See transport_api.Channel."""
        with self._trace.about(self._address):
            self._trace("is closed")
        self._channel.close()


def _since(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.1f} ms"


def _shown(show: Callable[..., str], *arguments: object) -> str:
    """Return what a function shows of untrusted bytes. Raises nothing: no trace stands in the way of an operation."""
    try:
        return show(*arguments)
    except Exception as error:  # noqa: BLE001
        return f"a message that cannot be shown ({type(error).__name__})"


def _request(cmd: int, data: bytes) -> str:
    if cmd == framing.MSG:
        return _u2f_request(data)
    if cmd != framing.CBOR or not data:
        return f"CTAPHID {COMMANDS.get(cmd, f'0x{cmd:02x}')}, {len(data)} bytes"
    name, members, _ = _command(data)
    return f"{name} {_cbor(data[1:], members)}" if data[1:] else name


def _response(cmd: int, request: bytes, response: bytes) -> str:
    if cmd == framing.MSG:
        return _u2f_response(request, response)
    if cmd != framing.CBOR:
        return f"{len(response)} bytes"
    if not response:
        return "an empty answer"
    outcome = f"{_STATUS_NAMES.get(response[0], 'unknown status')} (0x{response[0]:02x})"
    _, _, members = _command(request)
    return f"{outcome} {_cbor(response[1:], members)}" if response[1:] else outcome


def _command(request: bytes) -> tuple[str, Members, Members]:
    return _COMMANDS.get(request[0], (f"command 0x{request[0]:02x}", {}, {}))


def _cbor(data: bytes, members: Members) -> str:
    try:
        return _map(members)(cbor.decode(data))
    except cbor.CborError as error:
        return f"<{len(data)} bytes, no CBOR: {error}>"


def _u2f_request(data: bytes) -> str:
    try:
        command = apdu.Apdu(data)
    except ValueError:
        return f"U2F <{len(data)} bytes, no APDU>"
    if command.ins == apdu.INS_VERSION:
        return "U2F VERSION"
    if command.ins not in (apdu.INS_REGISTER, apdu.INS_AUTHENTICATE):
        return f"U2F command 0x{command.ins:02x}, {len(command.data)} bytes"
    parameters = f"{{challenge: {_value(command.data[:32])}, application: {_value(command.data[32:64])}"
    if command.ins == apdu.INS_REGISTER:
        return f"U2F REGISTER {parameters}}}"
    control = _U2F_CONTROLS.get(command.p1, f"0x{command.p1:02x}")
    return f"U2F AUTHENTICATE {control} {parameters}, keyHandle: {_digest(command.data[65:])}}}"


def _u2f_response(request: bytes, response: bytes) -> str:
    if len(response) < 2:
        return f"an answer of {len(response)} bytes, which has no status"
    outcome = status_word(int.from_bytes(response[-2:], "big"))
    data = response[:-2]
    instruction = request[1] if len(request) > 1 else None
    if instruction == apdu.INS_AUTHENTICATE and len(data) > 5:
        counter = int.from_bytes(data[1:5], "big")
        return f"{outcome} {{userPresence: {data[0]}, counter: {counter}, signature: {_value(data[5:])}}}"
    if instruction == apdu.INS_REGISTER and len(data) > 67:
        handle = data[67 : 67 + data[66]]
        rest = len(data) - 67 - len(handle)
        return (
            f"{outcome} {{publicKey: {_value(data[1:66])}, keyHandle: {_digest(handle)}, "
            f"certificate and signature: <{rest} bytes>}}"
        )
    if instruction == apdu.INS_VERSION:
        return f"{outcome} {_value(data.decode('ascii', 'replace'))}"
    return f"{outcome}, {len(data)} bytes" if data else outcome


_U2F_CONTROLS = {
    apdu.P1_CHECK_ONLY: "check-only",
    apdu.P1_ENFORCE_PRESENCE: "enforce-user-presence",
    apdu.P1_NO_PRESENCE: "dont-enforce-user-presence",
}


def _value(value: object) -> str:
    """Show a value as it is, in CBOR's diagnostic notation (RFC 8949 §8), as far as there is room for it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case bytes():
            more = f"... {len(value)} bytes" if len(value) > _MAX_BYTES else ""
            return f"h'{value[:_MAX_BYTES].hex()}{more}'"
        case str():
            more = f"... {len(value)} characters" if len(value) > _MAX_CHARACTERS else ""
            escaped = value[:_MAX_CHARACTERS].replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}{more}"'
        case list():
            return _list(_value)(value)
        case dict():
            return _joined("{", [f"{_value(key)}: {_value(value[key])}" for key in [*value][:_MAX_ITEMS]], value, "}")
    return str(value)


def _joined(opening: str, shown: list[str], items: list[object] | dict[object, object], closing: str) -> str:
    more = [f"... {len(items)} in all"] if len(items) > len(shown) else []
    return f"{opening}{', '.join([*shown, *more])}{closing}"


def _size(value: object) -> str:
    """Show of what nobody here knows no more than its size; a number or nothing is shown."""
    match value:
        case bytes():
            return f"<{len(value)} bytes>"
        case str():
            return f"<{len(value)} characters>"
        case list():
            return f"<array of {len(value)}>"
        case dict():
            return f"<map of {len(value)}>"
    return _value(value)


def _secret(value: object) -> str:
    return f"<{len(value)} bytes, secret>" if isinstance(value, bytes) else "<secret>"


def _digest(value: object) -> str:
    """Show what names a key or a person so that the same can be told from another, as pysk does."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes, SHA-256 {key_handle.digest(value)}>"
    if isinstance(value, str):
        return f"<{len(value)} characters, SHA-256 {key_handle.digest(value.encode(errors='replace'))}>"
    return _size(value)


def _list(show: Show) -> Show:
    def show_list(value: object) -> str:
        if not isinstance(value, list):
            return _size(value)
        return _joined("[", [show(item) for item in value[:_MAX_ITEMS]], value, "]")

    return show_list


def _map(members: Members) -> Show:
    def show_map(value: object) -> str:
        if not isinstance(value, dict):
            return _size(value)
        shown = []
        for key in [*value][:_MAX_ITEMS]:
            name, show = members.get(key, (_value(key), _size)) if not isinstance(key, bool) else (_value(key), _size)
            shown.append(f"{name}: {show(value[key])}")
        return _joined("{", shown, value, "}")

    return show_map


def _texts(**shows: Show) -> Show:
    """Show a map whose keys are texts; a - is written _."""
    return _map({name.replace("_", "-"): (name.replace("_", "-"), show) for name, show in shows.items()})


def _named(names: dict[int, str]) -> Show:
    def show_number(value: object) -> str:
        name = names.get(value) if isinstance(value, int) else None
        return f"{name} ({value})" if name else _size(value)

    return show_number


def _bits(names: dict[int, str]) -> Show:
    return lambda value: named_bits(value, names) if isinstance(value, int) and value >= 0 else _size(value)


def _unless_it_is_set(show: Show) -> Show:
    """Show whether an extension is asked for, or was carried out, where its value is no more than that."""
    return lambda value: _value(value) if isinstance(value, bool) else show(value)


_FLAGS = {AUTHDATA_UP: "UP", AUTHDATA_UV: "UV", 0x08: "BE", 0x10: "BS", AUTHDATA_AT: "AT", AUTHDATA_ED: "ED"}


def _authenticator_data(value: object) -> str:
    """Show authenticatorData (WebAuthn §6.1)."""
    if not isinstance(value, bytes) or len(value) < 37:
        return _size(value)
    counter = int.from_bytes(value[33:37], "big")
    flags, rest = value[32], value[37:]
    shown = [f"rpIdHash: {_value(value[:32])}", f"flags: {named_bits(flags, _FLAGS)}", f"counter: {counter}"]
    try:
        if flags & AUTHDATA_AT and len(rest) >= 18:
            length = int.from_bytes(rest[16:18], "big")
            credential_id, following = rest[18 : 18 + length], rest[18 + length :]
            shown += [f"aaguid: {_value(rest[:16])}", f"credentialId: {_digest(credential_id)}"]
            rest = following
            public_key, used = cbor.decode_prefix(following)
            shown.append(f"publicKey: {_PUBLIC_KEY(public_key)}")
            rest = following[used:]
        if flags & AUTHDATA_ED and rest:
            extensions, used = cbor.decode_prefix(rest)
            shown.append(f"extensions: {_EXTENSIONS(extensions)}")
            rest = rest[used:]
    except cbor.CborError as error:
        shown.append(f"no CBOR: {error}")
    if rest:
        shown.append(f"<{len(rest)} more bytes>")
    return f"{{{', '.join(shown)}}}"


_PUBLIC_KEY = _map({1: ("kty", _value), 3: ("alg", _value), -1: ("crv", _value), -2: ("x", _value), -3: ("y", _value)})
_SHARED_KEY = ("keyAgreement", _size)
_RP = _texts(id=_value, name=_value)
_USER = _texts(id=_digest, name=_digest, displayName=_digest)
_CREDENTIAL = _texts(id=_digest, type=_value)
_HMAC_SECRET = _unless_it_is_set(
    _map({1: _SHARED_KEY, 2: ("saltEnc", _secret), 3: ("saltAuth", _secret), 4: ("pinUvAuthProtocol", _value)})
)
# Of requests and of answers.
_EXTENSIONS = _map(
    {
        "credProtect": ("credProtect", _value),
        "hmac-secret": ("hmac-secret", _HMAC_SECRET),
        "hmac-secret-mc": ("hmac-secret-mc", _HMAC_SECRET),
        "largeBlobKey": ("largeBlobKey", _unless_it_is_set(_secret)),
        "credBlob": ("credBlob", _unless_it_is_set(_secret)),
        "minPinLength": ("minPinLength", _value),
        "thirdPartyPayment": ("thirdPartyPayment", _value),
    }
)
_ATTESTATION_STATEMENT = _texts(alg=_value, sig=_value, x5c=_list(_digest))
_OPTIONS = _value
_PIN_AUTH = ("pinUvAuthParam", _secret)
_PROTOCOL = ("pinUvAuthProtocol", _value)
_LARGE_BLOB_KEY = ("largeBlobKey", _secret)

# CTAP 2.1 §6.2.2
_ASSERTION: Members = {
    1: ("credential", _CREDENTIAL),
    2: ("authData", _authenticator_data),
    3: ("signature", _value),
    4: ("user", _USER),
    5: ("numberOfCredentials", _value),
    6: ("userSelected", _value),
    7: _LARGE_BLOB_KEY,
}

_PERMISSIONS = {
    commands.PERMISSION_MAKE_CREDENTIAL: "makeCredential",
    commands.PERMISSION_GET_ASSERTION: "getAssertion",
    commands.PERMISSION_CREDENTIAL_MANAGEMENT: "credentialManagement",
    commands.PERMISSION_BIO_ENROLLMENT: "bioEnrollment",
    commands.PERMISSION_LARGE_BLOB_WRITE: "largeBlobWrite",
    commands.PERMISSION_CONFIG: "authenticatorConfiguration",
}
_CLIENT_PIN_SUBCOMMANDS = {
    commands.GET_PIN_RETRIES: "getPINRetries",
    commands.GET_KEY_AGREEMENT: "getKeyAgreement",
    commands.SET_PIN: "setPIN",
    commands.CHANGE_PIN: "changePIN",
    commands.GET_PIN_TOKEN: "getPinToken",
    commands.GET_TOKEN_USING_UV: "getPinUvAuthTokenUsingUvWithPermissions",
    commands.GET_UV_RETRIES: "getUVRetries",
    commands.GET_TOKEN_USING_PIN: "getPinUvAuthTokenUsingPinWithPermissions",
}
_CREDENTIAL_MANAGEMENT_SUBCOMMANDS = {
    commands.GET_CREDS_METADATA: "getCredsMetadata",
    commands.ENUMERATE_RPS_BEGIN: "enumerateRPsBegin",
    commands.ENUMERATE_RPS_NEXT: "enumerateRPsGetNextRP",
    commands.ENUMERATE_CREDENTIALS_BEGIN: "enumerateCredentialsBegin",
    commands.ENUMERATE_CREDENTIALS_NEXT: "enumerateCredentialsGetNextCredential",
    commands.DELETE_CREDENTIAL: "deleteCredential",
    commands.UPDATE_USER_INFORMATION: "updateUserInformation",
}
_CONFIG_SUBCOMMANDS = {
    1: "enableEnterpriseAttestation",
    commands.TOGGLE_ALWAYS_UV: "toggleAlwaysUv",
    commands.SET_MIN_PIN_LENGTH: "setMinPINLength",
}

_CREDENTIAL_MANAGEMENT: tuple[str, Members, Members] = (
    "authenticatorCredentialManagement",
    {
        1: ("subCommand", _named(_CREDENTIAL_MANAGEMENT_SUBCOMMANDS)),
        2: (
            "subCommandParams",
            _map({1: ("rpIDHash", _value), 2: ("credentialID", _CREDENTIAL), 3: ("user", _USER)}),
        ),
        3: _PROTOCOL,
        4: _PIN_AUTH,
    },
    {
        0x01: ("existingResidentCredentialsCount", _value),
        0x02: ("maxPossibleRemainingResidentCredentialsCount", _value),
        0x03: ("rp", _RP),
        0x04: ("rpIDHash", _value),
        0x05: ("totalRPs", _value),
        0x06: ("user", _USER),
        0x07: ("credentialID", _CREDENTIAL),
        0x08: ("publicKey", _PUBLIC_KEY),
        0x09: ("totalCredentials", _value),
        0x0A: ("credProtect", _value),
        0x0B: _LARGE_BLOB_KEY,
        0x0C: ("thirdPartyPayment", _value),
    },
)

# By command: its name, the members of the request, and those of the answer (CTAP 2.1 §6, and 2.2 for what is later).
_COMMANDS: dict[int, tuple[str, Members, Members]] = {
    commands.MAKE_CREDENTIAL: (
        "authenticatorMakeCredential",
        {
            0x01: ("clientDataHash", _value),
            0x02: ("rp", _RP),
            0x03: ("user", _USER),
            0x04: ("pubKeyCredParams", _value),
            0x05: ("excludeList", _list(_CREDENTIAL)),
            0x06: ("extensions", _EXTENSIONS),
            0x07: ("options", _OPTIONS),
            0x08: _PIN_AUTH,
            0x09: _PROTOCOL,
            0x0A: ("enterpriseAttestation", _value),
        },
        {
            1: ("fmt", _value),
            2: ("authData", _authenticator_data),
            3: ("attStmt", _ATTESTATION_STATEMENT),
            4: ("epAtt", _value),
            5: _LARGE_BLOB_KEY,
        },
    ),
    commands.GET_ASSERTION: (
        "authenticatorGetAssertion",
        {
            1: ("rpId", _value),
            2: ("clientDataHash", _value),
            3: ("allowList", _list(_CREDENTIAL)),
            4: ("extensions", _EXTENSIONS),
            5: ("options", _OPTIONS),
            6: _PIN_AUTH,
            7: _PROTOCOL,
        },
        _ASSERTION,
    ),
    commands.GET_NEXT_ASSERTION: ("authenticatorGetNextAssertion", {}, _ASSERTION),
    commands.GET_INFO: (
        "authenticatorGetInfo",
        {},
        {
            0x01: ("versions", _value),
            0x02: ("extensions", _value),
            0x03: ("aaguid", _value),
            0x04: ("options", _OPTIONS),
            0x05: ("maxMsgSize", _value),
            0x06: ("pinUvAuthProtocols", _value),
            0x07: ("maxCredentialCountInList", _value),
            0x08: ("maxCredentialIdLength", _value),
            0x09: ("transports", _value),
            0x0A: ("algorithms", _value),
            0x0B: ("maxSerializedLargeBlobArray", _value),
            0x0C: ("forcePINChange", _value),
            0x0D: ("minPINLength", _value),
            0x0E: ("firmwareVersion", _value),
            0x0F: ("maxCredBlobLength", _value),
            0x10: ("maxRPIDsForSetMinPINLength", _value),
            0x11: ("preferredPlatformUvAttempts", _value),
            0x12: ("uvModality", _value),
            0x13: ("certifications", _value),
            0x14: ("remainingDiscoverableCredentials", _value),
            0x15: ("vendorPrototypeConfigCommands", _value),
            0x16: ("attestationFormats", _value),
            0x17: ("uvCountSinceLastPinEntry", _value),
            0x18: ("longTouchForReset", _value),
            0x19: ("encIdentifier", _size),
            0x1A: ("transportsForReset", _value),
            0x1B: ("pinComplexityPolicy", _value),
            0x1C: ("pinComplexityPolicyURL", _size),
            0x1D: ("maxPINLength", _value),
        },
    ),
    commands.CLIENT_PIN: (
        "authenticatorClientPIN",
        {
            0x01: _PROTOCOL,
            0x02: ("subCommand", _named(_CLIENT_PIN_SUBCOMMANDS)),
            0x03: _SHARED_KEY,
            0x04: _PIN_AUTH,
            0x05: ("newPinEnc", _secret),
            0x06: ("pinHashEnc", _secret),
            0x09: ("permissions", _bits(_PERMISSIONS)),
            0x0A: ("rpId", _value),
        },
        {
            1: _SHARED_KEY,
            2: ("pinUvAuthToken", _secret),
            3: ("pinRetries", _value),
            4: ("powerCycleState", _value),
            5: ("uvRetries", _value),
        },
    ),
    commands.RESET: ("authenticatorReset", {}, {}),
    commands.SELECTION: ("authenticatorSelection", {}, {}),
    commands.CREDENTIAL_MANAGEMENT: _CREDENTIAL_MANAGEMENT,
    commands.CREDENTIAL_MANAGEMENT_PREVIEW: _CREDENTIAL_MANAGEMENT,
    commands.LARGE_BLOBS: (
        "authenticatorLargeBlobs",
        {
            1: ("get", _value),
            2: ("set", _secret),
            3: ("offset", _value),
            4: ("length", _value),
            5: _PIN_AUTH,
            6: _PROTOCOL,
        },
        {1: ("config", _secret)},
    ),
    commands.CONFIG: (
        "authenticatorConfig",
        {
            1: ("subCommand", _named(_CONFIG_SUBCOMMANDS)),
            2: (
                "subCommandParams",
                _map({1: ("newMinPINLength", _value), 2: ("minPinLengthRPIDs", _value), 3: ("forceChangePin", _value)}),
            ),
            3: _PROTOCOL,
            4: _PIN_AUTH,
        },
        {},
    ),
}
