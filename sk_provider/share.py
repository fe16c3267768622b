"""What another machine may do with a shared authenticator: ssh's own requests, and nothing else."""

from __future__ import annotations

from .ctap import cbor, commands, framing, sha256, status
from .errors import Interrupted, SecurityKeyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .transports import Channel, Event

_APPLICATION_PREFIX = "ssh:"

# Subcommands of clientPIN, §6.5.5
_GET_TOKEN_LEGACY = 0x05
_GET_TOKEN_WITH_UV = 0x06
_GET_TOKEN_WITH_PIN = 0x09
_PIN_READING = (0x01, 0x02, 0x07)  # retries, key agreement, uv retries
_PERMISSIONS = 0x01 | 0x02 | 0x04  # makeCredential, getAssertion, credentialManagement

# Subcommands of credentialManagement, §6.8
_ENUMERATE_RPS_NEXT = 0x03
_ENUMERATE_CREDENTIALS_NEXT = 0x05

_MAX_RPS = 1000

# U2F names an application by its hash alone, so only the usual one can be told from a web site's.
_U2F_REGISTER = 0x01
_U2F_AUTHENTICATE = 0x02
_U2F_VERSION = 0x03
_U2F_TOUCH_OR_CHECK = (0x03, 0x07)
_SW_CONDITIONS_NOT_SATISFIED = b"\x69\x85"
_SW_COMMAND_NOT_ALLOWED = b"\x69\x86"


class Refused(Exception):
    """The request is none that may pass. status: what the client is answered, CTAP 2.1 §8.2."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


class Gate:
    """Stands between one client and the authenticator, and lets ssh's requests through.

    What passes is written anew from what was understood, so nothing that was not understood reaches the authenticator.
    """

    def __init__(self, channel: Channel, say: Callable[[str], None]) -> None:
        """Take the authenticator's channel, and what tells the person who wants what."""
        self._channel = channel
        self._say = say
        self._rps: list[dict[object, object]] = []
        self._rp_id_hashes: set[bytes] = set()

    def call(self, cmd: int, data: bytes, event: Event, on_keepalive: Callable[[int], None] | None) -> bytes:
        """Answer a CTAPHID MSG or CBOR command as the authenticator would, or refuse it.

        Raises nothing: what goes wrong is answered, and told to the person.
        """
        try:
            if cmd == framing.MSG:
                return self._call_u2f(data, event)
            return self._call_ctap2(data, event, on_keepalive)
        except Refused as refusal:
            self._say(f"refused: {refusal}")
            return bytes([refusal.status]) if cmd == framing.CBOR else _SW_COMMAND_NOT_ALLOWED
        except Interrupted:
            return bytes([status.KEEPALIVE_CANCEL]) if cmd == framing.CBOR else _SW_CONDITIONS_NOT_SATISFIED
        except SecurityKeyError as error:
            self._say(str(error))
            return bytes([status.OTHER]) if cmd == framing.CBOR else b"\x6f\x00"

    def _call_ctap2(self, untrusted_data: bytes, event: Event, on_keepalive: Callable[[int], None] | None) -> bytes:
        if not untrusted_data:
            raise Refused("an empty request", status.INVALID_LENGTH)
        command, parameters = untrusted_data[0], _decode(untrusted_data[1:])
        match command:
            case 0x04 | 0x08 | 0x0B:  # getInfo, getNextAssertion, selection: without parameters
                parameters = {}
            case 0x01:  # makeCredential, CTAP 2.1 §6.1
                parameters = _only(parameters, range(1, 10))
                self._check_make_credential(parameters)
            case 0x02:  # getAssertion, §6.2
                parameters = _only(parameters, range(1, 8))
                self._check_get_assertion(parameters)
            case 0x06:  # clientPIN, §6.5
                parameters = _only(parameters, (1, 2, 3, 6, 9, 10))
                self._check_client_pin(parameters)
            case 0x0A | 0x41:  # credentialManagement and its preview, §6.8
                return self._manage_credentials(command, parameters, event)
            case _:
                raise Refused(f"the command 0x{command:02x}", status.NOT_ALLOWED)
        return self._forward(command, parameters, event, on_keepalive)

    def _forward(
        self,
        command: int,
        parameters: dict[object, object],
        event: Event,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        encoded = cbor.encode(parameters) if parameters else b""
        return self._channel.call(framing.CBOR, bytes([command]) + encoded, event, on_keepalive)

    def _check_make_credential(self, parameters: dict[object, object]) -> None:
        rp = parameters.get(2)
        rp_id = _application(rp.get("id") if isinstance(rp, dict) else None)
        extensions = parameters.get(6, {})
        if not isinstance(extensions, dict) or set(extensions) - {"credProtect"}:
            raise Refused(f"a key for {rp_id} with more than ssh asks for", status.NOT_ALLOWED)
        # An empty pinUvAuthParam asks for a touch alone (step 1), but an authenticator that knows no PIN makes the key.
        touch = "a touch, or " if parameters.get(8) == b"" else ""
        self._say(f"wants {touch}a new key for {rp_id}")

    def _check_get_assertion(self, parameters: dict[object, object]) -> None:
        rp_id = _application(parameters.get(1))
        if parameters.get(4):
            raise Refused(f"a signature for {rp_id} with extensions", status.NOT_ALLOWED)
        options = parameters.get(5)
        if isinstance(options, dict) and options.get("up") is False:
            if parameters.get(2) != commands.NO_CLIENT_DATA:
                raise Refused(f"a signature for {rp_id} without a touch", status.UP_REQUIRED)
            self._say(f"asks whether there is a key for {rp_id}")
        else:
            self._say(f"wants a signature for {rp_id}")

    def _check_client_pin(self, parameters: dict[object, object]) -> None:
        subcommand = parameters.get(2)
        if subcommand in _PIN_READING:
            return
        if subcommand == _GET_TOKEN_LEGACY:
            self._say("enters a PIN")
            return
        if subcommand not in (_GET_TOKEN_WITH_PIN, _GET_TOKEN_WITH_UV):
            raise Refused("a change of the PIN", status.NOT_ALLOWED)
        permissions = parameters.get(9)
        if not isinstance(permissions, int) or permissions & ~_PERMISSIONS:
            raise Refused("a PIN's token for more than keys of ssh", status.NOT_ALLOWED)
        if 0x0A in parameters:
            _application(parameters[0x0A])
        self._say("enters a PIN" if subcommand == _GET_TOKEN_WITH_PIN else "wants you verified")

    def _manage_credentials(self, command: int, parameters: dict[object, object], event: Event) -> bytes:
        match parameters.get(1):
            case 0x01:  # getCredsMetadata
                return self._forward(command, parameters, event)
            case 0x02:  # enumerateRPsBegin
                self._say("lists the resident keys")
                return self._enumerate_rps(command, parameters, event)
            case 0x03:  # enumerateRPsGetNextRP
                return self._next_rp()
            case 0x04:  # enumerateCredentialsBegin
                subparameters = parameters.get(2)
                rp_id_hash = subparameters.get(1) if isinstance(subparameters, dict) else None
                if rp_id_hash not in self._rp_id_hashes:
                    raise Refused("a list of keys that are not ssh's", status.NOT_ALLOWED)
                return self._forward(command, parameters, event)
            case 0x05:  # enumerateCredentialsGetNextCredential
                return self._forward(command, {1: _ENUMERATE_CREDENTIALS_NEXT}, event)
            case _:
                raise Refused("a deletion or change of keys", status.NOT_ALLOWED)

    def _enumerate_rps(self, command: int, parameters: dict[object, object], event: Event) -> bytes:
        """Read the whole list, and keep of it what is ssh's."""
        self._rps = []
        self._rp_id_hashes = set()
        response = self._forward(command, parameters, event)
        total = 0
        for _ in range(_MAX_RPS):
            if not response or response[0] != status.SUCCESS:
                return response
            entry = _decode(response[1:])
            count = entry.pop(5, total)
            total = count if isinstance(count, int) else 0
            rp, rp_id_hash = entry.get(3), entry.get(4)
            rp_id = rp.get("id") if isinstance(rp, dict) else None
            if (
                isinstance(rp_id, str)
                and rp_id.startswith(_APPLICATION_PREFIX)
                and rp_id_hash == sha256(rp_id.encode())
            ):
                self._rps.append(entry)
                self._rp_id_hashes.add(rp_id_hash)
            total -= 1
            if total <= 0:
                break
            response = self._forward(command, {1: _ENUMERATE_RPS_NEXT}, event)
        if not self._rps:
            return bytes([status.NO_CREDENTIALS])
        first = self._rps.pop(0)
        return b"\0" + cbor.encode({**first, 5: len(self._rps) + 1})

    def _next_rp(self) -> bytes:
        if not self._rps:
            return bytes([status.NOT_ALLOWED])
        return b"\0" + cbor.encode(self._rps.pop(0))

    def _call_u2f(self, untrusted_apdu: bytes, event: Event) -> bytes:
        if len(untrusted_apdu) < 7:
            raise Refused("a U2F request that is cut short", status.NOT_ALLOWED)
        instruction, control = untrusted_apdu[1], untrusted_apdu[2]
        application_parameter = untrusted_apdu[7 + 32 : 7 + 64]
        if instruction in (_U2F_REGISTER, _U2F_AUTHENTICATE):
            if application_parameter != sha256(_APPLICATION_PREFIX.encode()):
                raise Refused("a U2F key that is not ssh's", status.NOT_ALLOWED)
            if instruction == _U2F_AUTHENTICATE and control not in _U2F_TOUCH_OR_CHECK:
                raise Refused("a signature without a touch", status.UP_REQUIRED)
        elif instruction != _U2F_VERSION:
            raise Refused(f"the U2F command 0x{instruction:02x}", status.NOT_ALLOWED)
        return self._channel.call(framing.MSG, untrusted_apdu, event)


def _only(parameters: dict[object, object], keys: Iterable[int]) -> dict[object, object]:
    return {key: parameters[key] for key in keys if key in parameters}


def _decode(untrusted_data: bytes) -> dict[object, object]:
    if not untrusted_data:
        return {}
    try:
        decoded = cbor.decode(untrusted_data)
    except cbor.CborError:
        raise Refused("a request that is not CBOR", status.INVALID_CBOR) from None
    if not isinstance(decoded, dict):
        raise Refused("a request that is not a CBOR map", status.INVALID_CBOR)
    return decoded


def _application(untrusted_rp_id: object) -> str:
    if not isinstance(untrusted_rp_id, str) or not untrusted_rp_id.startswith(_APPLICATION_PREFIX):
        raise Refused(f"a key for {untrusted_rp_id!r}, which is not ssh's", status.NOT_ALLOWED)
    return untrusted_rp_id
