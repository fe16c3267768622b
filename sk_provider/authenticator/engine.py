"""The door of the authenticator: takes calls as a device does, and knows which command answers each."""

from __future__ import annotations

import sys
import time

from sk_provider.ctap import commands, framing, status
from sk_provider.ctap.cbor import CborError, decode, encode
from sk_provider.ctap.status import StatusError

from . import profiles
from .power_up import PowerUp
from .store_keeper import StoreKeepers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .event import Event
    from .keeper import Keepers
    from .power_up import OnKeepalive
    from .presence import Presence
    from .profiles import Profile
    from .store import Store

    Command = Callable[[PowerUp, dict[Any, Any]], dict[int, Any] | None]

# By command byte, the module in commands/, and the function in it, that answer it; imported when it is first called.
_COMMANDS = {
    commands.MAKE_CREDENTIAL: ("make_credential", "make_credential"),
    commands.GET_ASSERTION: ("get_assertion", "get_assertion"),
    commands.GET_NEXT_ASSERTION: ("get_assertion", "get_next_assertion"),
    commands.GET_INFO: ("get_info", "get_info"),
    commands.CLIENT_PIN: ("client_pin", "client_pin"),
    commands.RESET: ("reset", "reset"),
    commands.CREDENTIAL_MANAGEMENT: ("credential_management", "credential_management"),
    commands.CREDENTIAL_MANAGEMENT_PREVIEW: ("credential_management", "credential_management_preview"),
    commands.SELECTION: ("selection", "selection"),
    commands.LARGE_BLOBS: ("large_blobs", "large_blobs"),
    commands.CONFIG: ("authenticator_config", "authenticator_config"),
}


class Authenticator:
    """A token on a store, for one power-up; it serves one call at a time.

    It is what python-fido2's Ctap1 and Ctap2 take for a CtapDevice.

    capabilities: what it answers, in the bits of CTAPHID_INIT.
    power_up: what its commands share.
    """

    def __init__(
        self,
        store: Store,
        presence: Presence,
        profile: Profile | None = None,
        power_cycle: bytes = b"",
        reset_allowed: Callable[[], bool] | None = None,
        keepers: Keepers | None = None,
    ) -> None:
        """Power a token up.

        store: where it keeps what must survive.
        presence: asks a person: takes a PresenceRequest and the call's event, returns GRANTED, DENIED, TIMED_OUT or
            CANCELLED. What it raises leaves call() unchanged, and the store as it was. The store is not locked
            meanwhile.
        profile: what the token behaves as, see profiles.py.
        power_cycle: names the power-up that this object belongs to: three wrong PINs in one block the PIN until
            another. In the host's process that is the machine's boot; a server draws random bytes at each power-up.
        reset_allowed: returns whether authenticatorReset is within its time after power-up (CTAP 2.1 §6.6); it never
            is, if this is not given.
        keepers: what keeps the keys: the store itself, if this is not given.
        """
        self.power_up = PowerUp(
            store,
            presence,
            profile or profiles.profile(profiles.DEFAULT),
            power_cycle,
            reset_allowed,
            keepers or StoreKeepers(),
        )
        self._profile = self.power_up.profile
        self.capabilities = (framing.CAPABILITY_CBOR if self._profile.ctap2 else 0) | (
            0 if self._profile.ctap1 else framing.CAPABILITY_NMSG
        )

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: OnKeepalive | None = None,
        caller: object = None,
    ) -> bytes:
        """Answer one message: return a status byte and CBOR, or the U2F response data and its status word.

        cmd: framing.CBOR (data: a command byte and canonical CBOR) or framing.MSG (data: a U2F APDU).
        data: untrusted bytes.
        event: ends the waiting for a person once it is set.
        on_keepalive: called with framing.STATUS_UPNEEDED before a person is asked.
        caller: whose message it is; no other caller's goes on with what it begins.

        Raises StoreUnusable if the store cannot be read or written.
        """
        self.power_up.begin_call(event, on_keepalive, caller)
        if self._profile.delay_ms:
            time.sleep(self._profile.delay_ms / 1000)
        try:
            return self._respond(cmd, data)
        finally:
            # The next call may be a person's PIN away.
            self.power_up.keepers.idle()

    def _respond(self, cmd: int, data: bytes) -> bytes:
        if cmd == framing.MSG and self._profile.ctap1:
            from .commands import u2f

            self.power_up.end_continuations(but=None)
            return u2f.answer(self.power_up, bytes(data))
        if cmd != framing.CBOR or not self._profile.ctap2:
            return bytes((status.INVALID_COMMAND,))
        try:
            answer = self._answer(bytes(data))
        except StatusError as error:
            return bytes((error.code,))
        return bytes((status.SUCCESS,)) + (b"" if answer is None else encode(answer))

    def close(self) -> None:
        """Forget what only RAM held."""
        self.power_up.forget()

    def announced(self) -> int:
        """Return the capabilities of this moment: there is no U2F while user verification is always required (§7.2.4).

        Raises StoreUnusable if the store cannot be read.
        """
        always_uv = self.power_up.always_uv(self.power_up.store.read())
        return self.capabilities | (framing.CAPABILITY_NMSG if always_uv else 0)

    def _answer(self, data: bytes) -> dict[int, Any] | None:
        if not data:
            raise StatusError(status.INVALID_LENGTH)
        if len(data) > self._profile.max_message_size:
            raise StatusError(status.REQUEST_TOO_LARGE)
        command = data[0]
        if not _has(self._profile, command):
            raise StatusError(status.INVALID_COMMAND)
        run = _load(command)
        try:
            parameters = decode(data[1:], canonical=True) if len(data) > 1 else {}
        except CborError:
            raise StatusError(status.INVALID_CBOR) from None
        if type(parameters) is not dict:
            raise StatusError(status.CBOR_UNEXPECTED_TYPE)
        # Another command ends what is pending; listing credentials while one lists RPs does not.
        self.power_up.end_continuations(but=command)
        return run(self.power_up, parameters)


def _has(profile: Profile, command: int) -> bool:
    """Return whether a token of the profile has the command."""
    if command in (commands.CREDENTIAL_MANAGEMENT, commands.CREDENTIAL_MANAGEMENT_PREVIEW):
        return command in profile.credential_management
    if command == commands.LARGE_BLOBS:
        return bool(profile.large_blobs)
    if command == commands.CONFIG:
        return profile.authenticator_config
    if command == commands.SELECTION:
        return "FIDO_2_1" in profile.versions
    return command in _COMMANDS


def _load(command: int) -> Command:
    module, function = _COMMANDS[command]
    name = f"sk_provider.authenticator.commands.{module}"
    __import__(name)
    run: Command = getattr(sys.modules[name], function)
    return run
