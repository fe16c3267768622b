"""What another machine may do with a shared authenticator: ssh's own requests, and nothing else."""

from __future__ import annotations

from sk_provider.api import APPLICATION_PREFIX
from sk_provider.ctap import MAX_ENTRIES, apdu, cbor, commands, framing, requests, sha256, status
from sk_provider.ctap.status import StatusError
from sk_provider.device_side.job import failure
from sk_provider.errors import AuthenticatorError, Interrupted, SecurityKeyError

from . import permitted
from .permitted import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sk_provider.transport_api import Channel, Event

    OnKeepalive = Callable[[int], None]

# The members of each answer that pass: what extensions add, such as a largeBlobKey, is not ssh's.
_ATTESTATION = (1, 2, 3)
_ASSERTION = (1, 2, 3, 4)
_RP = (3, 4)
_CREDENTIAL = (6, 7, 8, 10)

_PIN_READING = (commands.GET_PIN_RETRIES, commands.GET_KEY_AGREEMENT, commands.GET_UV_RETRIES)
_PERMISSIONS = (
    commands.PERMISSION_MAKE_CREDENTIAL | commands.PERMISSION_GET_ASSERTION | commands.PERMISSION_CREDENTIAL_MANAGEMENT
)
_PERMISSIONS_FOR_AN_APPLICATION = commands.PERMISSION_MAKE_CREDENTIAL | commands.PERMISSION_GET_ASSERTION

# What a makeCredential whose pinUvAuthParam is empty is answered after the touch that it asks for (§6.1.2 step 1).
_TOUCHED = (status.SUCCESS, status.PIN_INVALID, status.PIN_AUTH_INVALID, status.PIN_NOT_SET)

_SW_NO_ERROR = apdu.SW_SUCCESS.to_bytes(2, "big")
_SW_CONDITIONS_NOT_SATISFIED = apdu.SW_CONDITIONS_NOT_SATISFIED.to_bytes(2, "big")
_SW_COMMAND_NOT_ALLOWED = apdu.SW_COMMAND_NOT_ALLOWED.to_bytes(2, "big")

ANSWERED = 1
"""What a command has come to: the person has touched the authenticator for it, or was verified by it."""
GOES_ON = 2
"""It belongs to what the person may be busy with: a touch that U2F waits for, a PIN, a listing that a PIN is for."""
NOTHING = 3
"""It was refused, has failed, or is what a client can ask for at any time at no cost to the person."""


class Gate:
    """Stands between one client and the authenticator, and lets ssh's requests through.

    Requests are written anew from what was understood. So are the answers that could hold what is not ssh's:
    attestations, assertions and lists of resident keys. The others pass as they are: those of getInfo, clientPIN and
    selection, the number of resident keys, and U2F's.
    """

    def __init__(self, channel: Channel, say: Callable[[str], None]) -> None:
        """Take the authenticator's channel, and what tells the person who wants what."""
        self._channel = channel
        self._tell = say
        # What is left of the lists that the client began, by the command and subcommand that ask for the next entry.
        self._rest: dict[tuple[int, int], list[bytes]] = {}
        self._rp_id_hashes: set[bytes] = set()
        self._told_apdu = b""
        self._has_token = False  # whether the client has got a pinUvAuthToken through this gate
        # What the one that it has last got is good for, None as long as that is open.
        self._token_rp_id: str | None = None

    def call(self, cmd: int, data: bytes, event: Event, on_keepalive: OnKeepalive | None) -> bytes:
        """Answer a CTAPHID MSG or CBOR command as the authenticator would, or refuse it.

        What goes wrong is answered, and told to the person. Raises OSError if the person cannot be told: no request
        passes that they should have been told of first.
        """
        try:
            is_u2f = cmd == framing.MSG
            response = self._call_u2f(data, event) if is_u2f else self._call_ctap2(data, event, on_keepalive)
            if len(response) > framing.MAX_MESSAGE_SIZE:
                raise _nonsense("is too long")
        except Refused as refusal:
            self._say(f"refused: {refusal}")
            return bytes([refusal.status]) if cmd == framing.CBOR else _SW_COMMAND_NOT_ALLOWED
        except StatusError as error:
            return bytes([error.code])
        except Interrupted:
            return bytes([status.KEEPALIVE_CANCEL]) if cmd == framing.CBOR else _SW_CONDITIONS_NOT_SATISFIED
        except SecurityKeyError as error:
            self._say(f"cannot be served: {error}")
            return failure(cmd)
        return response

    def _say(self, what: str) -> None:
        self._told_apdu = b""
        self._tell(what)

    def _call_ctap2(self, untrusted_data: bytes, event: Event, on_keepalive: OnKeepalive | None) -> bytes:
        if not untrusted_data:
            raise Refused("an empty request", status.INVALID_LENGTH)
        command, untrusted_parameters = untrusted_data[0], permitted.decode(untrusted_data[1:])
        for begun in [begun for begun in self._rest if begun[0] != command]:
            del self._rest[begun]
        match command:
            case commands.MAKE_CREDENTIAL:
                parameters = permitted.only(untrusted_parameters, permitted.MAKE_CREDENTIAL)
                rp_id = self._check_make_credential(parameters, event)
                attestation = self._ask(command, parameters, event, on_keepalive)
                _check_rp(attestation, rp_id)
                return _success(attestation, _ATTESTATION)
            case commands.GET_ASSERTION:
                parameters = permitted.only(untrusted_parameters, permitted.GET_ASSERTION)
                rp_id = self._check_get_assertion(parameters)
                return self._get_assertions(parameters, rp_id, event, on_keepalive)
            case commands.GET_INFO:
                return self._forward(command, {}, event)
            case commands.CLIENT_PIN:
                parameters = permitted.only(untrusted_parameters, permitted.CLIENT_PIN)
                self._check_client_pin(parameters)
                response = self._forward(command, parameters, event, on_keepalive)
                if parameters.get(2) not in _PIN_READING and response[0] == status.SUCCESS:
                    self._has_token = True
                    bound_to = parameters.get(10)
                    self._token_rp_id = bound_to if isinstance(bound_to, str) else None
                return response
            case commands.GET_NEXT_ASSERTION:
                return self._next(command, 0)
            case commands.CREDENTIAL_MANAGEMENT | commands.CREDENTIAL_MANAGEMENT_PREVIEW:
                return self._manage_credentials(
                    command, permitted.only(untrusted_parameters, permitted.CREDENTIAL_MANAGEMENT), event
                )
            case commands.SELECTION:
                self._say("asks for a touch that chooses this authenticator")
                return self._forward(command, {}, event, on_keepalive)
            case _:
                raise Refused(f"the command 0x{command:02x}", status.NOT_ALLOWED)

    def _forward(
        self, command: int, parameters: Mapping[int, object], event: Event, on_keepalive: OnKeepalive | None = None
    ) -> bytes:
        try:
            encoded = cbor.encode(dict(parameters)) if parameters else b""
        except cbor.CborError:
            raise Refused("a request that is not CTAP's CBOR", status.INVALID_CBOR) from None
        response = self._channel.call(framing.CBOR, bytes([command]) + encoded, event, on_keepalive)
        if not response:
            raise _nonsense("is empty")
        return response

    def _ask(
        self, command: int, parameters: Mapping[int, object], event: Event, on_keepalive: OnKeepalive | None = None
    ) -> dict[object, object]:
        """Return the authenticator's answer. Raises StatusError if it refuses, and SecurityKeyError."""
        response = self._forward(command, parameters, event, on_keepalive)
        if response[0] != status.SUCCESS:
            raise StatusError(response[0])
        try:
            answer = cbor.decode(response[1:])
        except cbor.CborError:
            raise _nonsense("is not CBOR") from None
        if not isinstance(answer, dict):
            raise _nonsense("is not a CBOR map")
        return answer

    def _ask_for_list(
        self,
        begin: tuple[int, Mapping[int, object]],
        go_on: tuple[int, Mapping[int, object]],
        total_member: int,
        event: Event,
        on_keepalive: OnKeepalive | None = None,
    ) -> list[dict[object, object]]:
        """Return all entries of a list at once.

        The client is given them from here: its asking for the next one never reaches the authenticator, which might
        take that for the next one of what another program has begun.
        """
        entries = [self._ask(*begin, event, on_keepalive)]
        total = entries[0].get(total_member, 1)
        if not isinstance(total, int) or total > MAX_ENTRIES:
            raise _nonsense("has an impossible number of entries")
        while len(entries) < total:
            entries.append(self._ask(*go_on, event))
        return entries if total > 0 else []

    def _hand_out(
        self,
        next_command: tuple[int, int],
        entries: list[dict[object, object]],
        members: Iterable[int],
        total_member: int,
    ) -> bytes:
        """Answer with the first entry, and keep the others for next_command: command and subcommand."""
        if not entries:
            raise StatusError(status.NO_CREDENTIALS)
        first = {**entries[0], total_member: len(entries)}
        rest = [_success(entry, members) for entry in entries[1:]]
        response = _success(first, (*members, total_member))
        self._rest[next_command] = rest
        return response

    def _next(self, command: int, subcommand: int) -> bytes:
        rest = self._rest.get((command, subcommand))
        if not rest:
            raise Refused("the rest of a list that was not begun here", status.NOT_ALLOWED)
        return rest.pop(0)

    def _check_make_credential(self, parameters: Mapping[int, object], event: Event) -> str:
        rp = parameters.get(2)
        rp_id = permitted.application(rp.get("id") if isinstance(rp, dict) else None)
        extensions = parameters.get(6)
        if isinstance(extensions, dict) and set(extensions) - {"credProtect"}:
            raise Refused(f"a key for {permitted.shown(rp_id)} with more than ssh asks for", status.NOT_ALLOWED)
        options = permitted.options(parameters.get(7))
        if options.get("up") is False:
            raise Refused(f"a key for {permitted.shown(rp_id)} without a touch", status.INVALID_OPTION)
        self._bind_token(rp_id, parameters.get(8))
        shown = permitted.shown(rp_id)
        if options.get("rk"):
            self._require_verification(shown, event)
            self._say(f"wants a new RESIDENT key for {shown}; it replaces one of the same application and user")
            return rp_id
        # An empty pinUvAuthParam asks for a touch alone (step 1), but an authenticator that knows no PIN makes the key.
        touch = "a touch, or " if parameters.get(8) == b"" else ""
        self._say(f"wants {touch}a new key for {shown}")
        return rp_id

    def _require_verification(self, shown: str, event: Event) -> None:
        """Refuse a resident key where nobody is verified for it: it could replace another, and nobody would know."""
        options = self._ask(commands.GET_INFO, {}, event).get(4)
        if not isinstance(options, dict) or True not in (options.get("clientPin"), options.get("uv")):
            raise Refused(f"a resident key for {shown}, as the authenticator has no PIN", status.NOT_ALLOWED)

    def _bind_token(self, rp_id: str, pin_uv_auth_param: object) -> None:
        """Let the token of a PIN or gesture serve one application alone, which the person knows from its first use.

        CTAP 2.1 binds most of them so itself; those of CTAP 2.0 serve for all.
        """
        if not pin_uv_auth_param:
            return
        self._require_token()
        if self._token_rp_id is None:
            self._token_rp_id = rp_id
        elif self._token_rp_id != rp_id:
            one, other = permitted.shown(self._token_rp_id), permitted.shown(rp_id)
            raise Refused(f"a PIN that was entered for {one}, used for {other}", status.PIN_AUTH_INVALID)

    def _require_token(self) -> None:
        """Refuse a token from before this gate: those of CTAP 2.0 last until power-down, and what for is forgotten."""
        if not self._has_token:
            raise Refused("the use of a PIN that was not entered in this turn", status.PIN_AUTH_INVALID)

    def _check_get_assertion(self, parameters: Mapping[int, object]) -> str:
        rp_id = permitted.application(parameters.get(1))
        if parameters.get(4):
            raise Refused(f"a signature for {permitted.shown(rp_id)} with extensions", status.NOT_ALLOWED)
        self._bind_token(rp_id, parameters.get(6))
        if permitted.options(parameters.get(5)).get("up") is False:
            client_data_hash = parameters.get(2)
            if not isinstance(client_data_hash, bytes) or not requests.is_of_no_message(client_data_hash):
                raise Refused(f"a signature for {permitted.shown(rp_id)} without a touch", status.UP_REQUIRED)
            self._say(f"asks whether there is a key for {permitted.shown(rp_id)}")
        else:
            self._say(f"wants a signature for {permitted.shown(rp_id)}")
        return rp_id

    def _get_assertions(
        self, parameters: Mapping[int, object], rp_id: str, event: Event, on_keepalive: OnKeepalive | None
    ) -> bytes:
        self._rest.clear()
        assertions = self._ask_for_list(
            (commands.GET_ASSERTION, parameters), (commands.GET_NEXT_ASSERTION, {}), 5, event, on_keepalive
        )
        for assertion in assertions:
            _check_rp(assertion, rp_id)
        return self._hand_out((commands.GET_NEXT_ASSERTION, 0), assertions, _ASSERTION, 5)

    def _check_client_pin(self, parameters: Mapping[int, object]) -> None:
        subcommand = parameters.get(2)
        if subcommand in _PIN_READING:
            return
        if subcommand == commands.GET_PIN_TOKEN:
            self._say("enters a PIN, for the first application that it is used for")
            return
        if subcommand not in (commands.GET_TOKEN_USING_PIN, commands.GET_TOKEN_USING_UV):
            raise Refused("a change of the PIN", status.NOT_ALLOWED)
        permissions = parameters.get(9)
        if not isinstance(permissions, int) or permissions & ~_PERMISSIONS:
            raise Refused("a PIN's token for more than keys of ssh", status.NOT_ALLOWED)
        rp_id = permitted.application(parameters[10]) if 10 in parameters else None
        if rp_id is None and permissions & _PERMISSIONS_FOR_AN_APPLICATION:
            raise Refused("a PIN's token for any application", status.MISSING_PARAMETER)
        what = "enters a PIN" if subcommand == commands.GET_TOKEN_USING_PIN else "wants user verification"
        self._say(f"{what}, to list keys" if rp_id is None else f"{what} for {permitted.shown(rp_id)}")

    def _manage_credentials(self, command: int, parameters: dict[int, object], event: Event) -> bytes:
        if parameters.get(4):
            self._require_token()
        match parameters.get(1):
            case commands.GET_CREDS_METADATA:
                self._say("asks how many resident keys there are")
                return self._forward(command, parameters, event)
            case commands.ENUMERATE_RPS_BEGIN:
                self._say("lists the resident keys")
                return self._enumerate_rps(command, parameters, event)
            case commands.ENUMERATE_RPS_NEXT:
                return self._next(command, commands.ENUMERATE_RPS_NEXT)
            case commands.ENUMERATE_CREDENTIALS_BEGIN:
                return self._enumerate_credentials(command, parameters, event)
            case commands.ENUMERATE_CREDENTIALS_NEXT:
                return self._next(command, commands.ENUMERATE_CREDENTIALS_NEXT)
            case _:
                raise Refused("a deletion or change of keys", status.NOT_ALLOWED)

    def _enumerate_rps(self, command: int, parameters: dict[int, object], event: Event) -> bytes:
        """Read the whole list, and keep of it what is ssh's."""
        self._rest.pop((command, commands.ENUMERATE_RPS_NEXT), None)
        self._rp_id_hashes = set()
        ours = []
        for entry in self._ask_for_list((command, parameters), (command, {1: commands.ENUMERATE_RPS_NEXT}), 5, event):
            rp, rp_id_hash = entry.get(3), entry.get(4)
            rp_id = rp.get("id") if isinstance(rp, dict) else None
            if (
                isinstance(rp_id, str)
                and rp_id.startswith(APPLICATION_PREFIX)
                and permitted.can_be_shown(rp_id)
                and isinstance(rp_id_hash, bytes)
                and rp_id_hash == sha256(rp_id.encode())
            ):
                ours.append(entry)
                self._rp_id_hashes.add(rp_id_hash)
        return self._hand_out((command, commands.ENUMERATE_RPS_NEXT), ours, _RP, 5)

    def _enumerate_credentials(self, command: int, parameters: dict[int, object], event: Event) -> bytes:
        self._rest.pop((command, commands.ENUMERATE_CREDENTIALS_NEXT), None)
        subparameters = parameters.get(2)
        rp_id_hash = subparameters.get(1) if isinstance(subparameters, dict) else None
        if not isinstance(rp_id_hash, bytes) or rp_id_hash not in self._rp_id_hashes:
            raise Refused("a list of keys that are not ssh's", status.NOT_ALLOWED)
        begin = (command, {**parameters, 2: {1: rp_id_hash}})
        credentials = self._ask_for_list(begin, (command, {1: commands.ENUMERATE_CREDENTIALS_NEXT}), 9, event)
        return self._hand_out((command, commands.ENUMERATE_CREDENTIALS_NEXT), credentials, _CREDENTIAL, 9)

    def _call_u2f(self, untrusted_apdu: bytes, event: Event) -> bytes:
        self._rest.clear()
        try:
            command = apdu.Apdu(untrusted_apdu)
        except ValueError:
            raise Refused("a U2F request that is not one", status.INVALID_LENGTH) from None
        if command.cla != apdu.CLA_ISO:
            raise Refused("a U2F request that is not one", status.INVALID_LENGTH)
        instruction, control, data = command.ins, command.p1, command.data
        if instruction == apdu.INS_VERSION:
            return self._channel.call(framing.MSG, apdu.extended(apdu.CLA_ISO, apdu.INS_VERSION, 0, 0, b""), event)
        if instruction not in (apdu.INS_REGISTER, apdu.INS_AUTHENTICATE):
            raise Refused(f"the U2F command 0x{instruction:02x}", status.NOT_ALLOWED)
        # U2F names an application by its hash alone, so only the usual one can be told from a web site's.
        if data[32:64] != sha256(APPLICATION_PREFIX.encode()):
            raise Refused("a U2F key that is not ssh's", status.NOT_ALLOWED)
        if instruction == apdu.INS_REGISTER and len(data) == 64:
            what, control = "wants a new U2F key", 0
        elif instruction == apdu.INS_AUTHENTICATE and len(data) > 64 and len(data) == 65 + data[64]:
            if control not in (apdu.P1_ENFORCE_PRESENCE, apdu.P1_CHECK_ONLY):
                raise Refused("a signature without a touch", status.UP_REQUIRED)
            is_check = control == apdu.P1_CHECK_ONLY
            what = "asks whether there is a U2F key" if is_check else "wants a U2F signature"
        else:
            raise Refused("a U2F request of the wrong length", status.INVALID_LENGTH)
        request = apdu.extended(apdu.CLA_ISO, instruction, control, 0, data)
        # U2F clients ask again and again until there is a touch: that is one request to a person, as long as nothing
        # else has been told since.
        if request != self._told_apdu:
            self._say(f"{what} for {APPLICATION_PREFIX}")
            self._told_apdu = request
        response = self._channel.call(framing.MSG, request, event)
        if response[-2:] == _SW_NO_ERROR:
            self._told_apdu = b""
        return response


def outcome(cmd: int, untrusted_data: bytes, response: bytes) -> int:
    """Return what a CTAPHID MSG or CBOR command has come to: ANSWERED, GOES_ON or NOTHING.

    untrusted_data: the client's request; response: what call() has returned for it.
    """
    if cmd == framing.MSG:
        return _outcome_of_u2f(untrusted_data, response)
    command, code = untrusted_data[:1], response[0]
    try:
        parameters = permitted.decode(untrusted_data[1:])
    except Refused:
        return NOTHING
    if command == bytes((commands.MAKE_CREDENTIAL,)) and parameters.get(8) == b"":
        return ANSWERED if code in _TOUCHED else NOTHING
    if code != status.SUCCESS or not command:
        return NOTHING
    match command[0]:
        case commands.MAKE_CREDENTIAL | commands.SELECTION:
            return ANSWERED
        case commands.GET_ASSERTION:
            options = parameters.get(5)
            return NOTHING if isinstance(options, dict) and options.get("up") is False else ANSWERED
        case commands.CLIENT_PIN if parameters.get(2) == commands.GET_TOKEN_USING_UV:
            return ANSWERED
        case commands.CLIENT_PIN if parameters.get(2) not in _PIN_READING:
            return GOES_ON
        case commands.CREDENTIAL_MANAGEMENT | commands.CREDENTIAL_MANAGEMENT_PREVIEW:
            return GOES_ON
    return NOTHING


def _outcome_of_u2f(untrusted_apdu: bytes, response: bytes) -> int:
    instruction, control = untrusted_apdu[1:2], untrusted_apdu[2:3]
    if instruction not in (bytes((apdu.INS_REGISTER,)), bytes((apdu.INS_AUTHENTICATE,))):
        return NOTHING
    if response[-2:] == _SW_NO_ERROR:
        return ANSWERED
    is_check = instruction == bytes((apdu.INS_AUTHENTICATE,)) and control == bytes((apdu.P1_CHECK_ONLY,))
    return GOES_ON if response[-2:] == _SW_CONDITIONS_NOT_SATISFIED and not is_check else NOTHING


def _nonsense(what: str) -> AuthenticatorError:
    return AuthenticatorError(f"the authenticator's answer {what}", "try again when no other program uses it")


def _success(answer: dict[object, object], members: Iterable[int]) -> bytes:
    """Write an answer with these members of it. Raises AuthenticatorError if they are not CTAP's."""
    try:
        return bytes([status.SUCCESS]) + cbor.encode({member: answer[member] for member in members if member in answer})
    except cbor.CborError:
        raise _nonsense("is not CTAP's CBOR") from None


def _check_rp(answer: dict[object, object], rp_id: str) -> None:
    """Raise AuthenticatorError if an attestation or assertion is not for rp_id."""
    authenticator_data = answer.get(2)
    if not isinstance(authenticator_data, bytes) or authenticator_data[:32] != sha256(rp_id.encode()):
        raise _nonsense("is for another application")
