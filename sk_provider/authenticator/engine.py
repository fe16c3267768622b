"""The authenticator as its callers see it: commands go in, answers come out; the commands have modules of their own.

Between processes only the store remembers anything. What a token holds in RAM (pinUvAuthTokens, key agreement keys, a
command that waits for its continuation) lives in the Authenticator object, which stands for one power-up at most.
"""

from __future__ import annotations

import time

from sk_provider.ctap import commands, framing, status
from sk_provider.ctap.cbor import CborError, decode, encode
from sk_provider.ctap.status import StatusError

from .presence import CANCELLED, GRANTED, REFUSALS, TIMED_OUT, PresenceRequest
from .profiles import DEFAULT, profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .event import Event
    from .pin_uv_auth import PinUvAuth
    from .presence import Presence
    from .profiles import Profile
    from .state import State
    from .store import Store, Transaction

    OnKeepalive = Callable[[int], None]

# How long a stateful command waits for its continuation, in seconds (CTAP 2.1 section 6).
CONTINUATION_PATIENCE = 30.0


class Continuation:
    """What a stateful command remembers for the next (CTAP 2.1 section 6).

    :ivar items: what is left to answer with.
    :ivar token_end: when the pinUvAuthToken ends that authenticated the command.
    :ivar deadline: by the authenticator's clock, as token_end is.
    """

    __slots__ = ("deadline", "items", "token_end")

    def __init__(self, items: list[Any], token_end: float, now: float) -> None:
        self.items = items
        self.token_end = token_end
        self.renew(now)

    def renew(self, now: float) -> None:
        """Wait for the next command from now on."""
        self.deadline = min(now + CONTINUATION_PATIENCE, self.token_end)


class Authenticator:
    """A token on a store, which serves one call at a time.

    It is what python-fido2's Ctap1 and Ctap2 take for a CtapDevice.

    :param store: where it keeps what must survive.
    :param presence: asks a person: takes a PresenceRequest and the call's event, answers GRANTED, DENIED, TIMED_OUT or
        CANCELLED. What it raises leaves call unchanged, and the store as it was. The store is not locked meanwhile.
    :param profile: what it behaves as, see profiles.py.
    :param power_cycle: names the power-up that this object belongs to: three wrong PINs in one block the PIN until
        another. In the host's process that is the machine's boot; a server draws random bytes at each power-up.
    :param reset_allowed: whether authenticatorReset is within its time after power-up (CTAP 2.1 section 6.6); never, if
        not given.
    :ivar capabilities: what it answers, in the bits of CTAPHID_INIT.
    :ivar clock: seconds that only grow.
    """

    def __init__(
        self,
        store: Store,
        presence: Presence,
        profile: Profile | None = None,
        power_cycle: bytes = b"",
        reset_allowed: Callable[[], bool] | None = None,
    ) -> None:
        self.store = store
        self.profile = profile or default_profile()
        self.power_cycle = power_cycle
        self.reset_allowed = reset_allowed
        self.clock = time.monotonic
        self.capabilities = (framing.CAPABILITY_CBOR if self.profile.ctap2 else 0) | (
            0 if self.profile.ctap1 else framing.CAPABILITY_NMSG
        )
        # By command and subcommand of the request that may continue.
        self._continuations: dict[tuple[int, int], Continuation] = {}
        self._presence = presence
        self._pin_uv_auth: PinUvAuth | None = None
        self._event: Event | None = None
        self._on_keepalive: OnKeepalive | None = None

    def call(
        self, cmd: int, data: bytes = b"", event: Event | None = None, on_keepalive: OnKeepalive | None = None
    ) -> bytes:
        """Answer one message.

        :param cmd: framing.CBOR (data: a command byte and canonical CBOR) or framing.MSG (data: a U2F APDU).
        :param data: untrusted bytes.
        :param event: ends the waiting for a person once it is set.
        :param on_keepalive: called with 2 before a person is asked.
        :return: a status byte and CBOR, or the U2F response data and its status word.
        :raises StoreUnusable: if the store cannot be read or written.
        """
        self._event = event
        self._on_keepalive = on_keepalive
        if self.profile.delay_ms:
            time.sleep(self.profile.delay_ms / 1000)
        if cmd == framing.MSG and self.profile.ctap1:
            from .commands import u2f

            self.forget_continuations()
            return u2f.answer(self, bytes(data))
        if cmd != framing.CBOR or not self.profile.ctap2:
            return bytes((status.INVALID_COMMAND,))
        try:
            answer = self._answer(bytes(data))
        except StatusError as error:
            return bytes((error.code,))
        return bytes((status.SUCCESS,)) + (b"" if answer is None else encode(answer))

    def close(self) -> None:
        """Forget what only RAM held."""
        self.forget_continuations()
        self._pin_uv_auth = None

    def ask(self, action: str, rp_id: str = "", user_name: str = "", timed_out: int = status.OPERATION_DENIED) -> None:
        """Wait for a person's presence.

        :param timed_out: the status if nobody was there, which most commands take for a refusal.
        :raises StatusError: if it is not granted.
        """
        answer = self.request(action, rp_id, user_name)
        if answer != GRANTED:
            raise StatusError(timed_out if answer == TIMED_OUT else REFUSALS[answer])

    def request(self, action: str, rp_id: str = "", user_name: str = "") -> int:
        """Ask a person, and tell the answer: GRANTED, DENIED, TIMED_OUT or CANCELLED."""
        if self._event is not None and self._event.is_set():
            return CANCELLED
        if self._on_keepalive is not None:
            self._on_keepalive(framing.STATUS_UPNEEDED)
        return self._presence(PresenceRequest(action, rp_id, user_name), self._event)

    def transaction(self) -> Transaction:
        """Begin a change of the store, as Store.transaction() does, for which no longer is waited than for the call."""
        return self.store.transaction(self._event)

    @property
    def pin_uv_auth(self) -> PinUvAuth:
        """The pinUvAuthTokens and key agreement keys of this power-up."""
        if self._pin_uv_auth is None:
            from .pin_uv_auth import PinUvAuth

            self._pin_uv_auth = PinUvAuth(self.profile, self.clock, self.ask, self.is_protected)
        return self._pin_uv_auth

    def announced(self) -> int:
        """Tell the capabilities of this moment: there is no U2F while user verification is always required (§7.2.4).

        :raises StoreUnusable: if the store cannot be read.
        """
        return self.capabilities | (framing.CAPABILITY_NMSG if self.always_uv(self.store.read()) else 0)

    def consume_presence(self) -> None:
        """Let a touch, and the pinUvAuthToken in use, serve no second ceremony."""
        if self._pin_uv_auth is not None:
            self._pin_uv_auth.clear_after_use()

    def always_uv(self, state: State) -> bool:
        """Whether user verification is always required (CTAP 2.1 section 7.2)."""
        return self.profile.always_uv if state.always_uv is None else state.always_uv

    def is_protected(self, state: State) -> bool:
        """Whether there is some form of user verification: a PIN that is set, or a built-in method."""
        return bool(state.pin) or self.profile.uv

    def await_continuation(self, command: int, subcommand: int, items: list[Any], *, authenticated: bool) -> None:
        """Remember what the next request, of this command and subcommand, is answered with, one item each.

        :param authenticated: whether by the pinUvAuthToken in use, with which the continuation ends too.
        """
        if items:
            token_end = self.pin_uv_auth.end if authenticated else float("inf")
            self._continuations[command, subcommand] = Continuation(items, token_end, self.clock())

    def pending(self, command: int) -> Any:
        """Look at the item that a former request of a command left, None if there is none or it came too late."""
        continuation = self._continuations.get((command, 0))
        if continuation is None or self.clock() > continuation.deadline:
            return None
        return continuation.items[0]

    def forget_continuations(self) -> None:
        """Let no request continue a former one."""
        self._continuations.clear()

    def continue_with(self, command: int, subcommand: int = 0) -> Any:
        """Take the next item that a former request left.

        :raises StatusError: if there is none for this command, or it came too late.
        """
        continuation = self._continuations.pop((command, subcommand), None)
        if continuation is None or self.clock() > continuation.deadline:
            raise StatusError(status.NOT_ALLOWED)
        item = continuation.items.pop(0)
        if continuation.items:
            continuation.renew(self.clock())
            self._continuations[command, subcommand] = continuation
        return item

    def _answer(self, data: bytes) -> dict[int, Any] | None:
        if not data:
            raise StatusError(status.INVALID_LENGTH)
        if len(data) > self.profile.max_message_size:
            raise StatusError(status.REQUEST_TOO_LARGE)
        command = data[0]
        run = self._command(command)
        if run is None:
            raise StatusError(status.INVALID_COMMAND)
        try:
            parameters = decode(data[1:], canonical=True) if len(data) > 1 else {}
        except CborError:
            raise StatusError(status.INVALID_CBOR) from None
        if type(parameters) is not dict:
            raise StatusError(status.CBOR_UNEXPECTED_TYPE)
        # Another command ends what is pending; listing credentials while one lists RPs does not.
        for pending in [pending for pending in self._continuations if pending[0] != command]:
            del self._continuations[pending]
        return run(self, parameters)

    def _command(self, command: int) -> Callable[[Authenticator, dict[Any, Any]], dict[int, Any] | None] | None:
        """Look up, and only now import, what answers a command that the profile has."""
        if command == commands.GET_ASSERTION:
            from .commands.get_assertion import get_assertion

            return get_assertion
        if command == commands.GET_NEXT_ASSERTION:
            from .commands.get_assertion import get_next_assertion

            return get_next_assertion
        if command == commands.GET_INFO:
            from .commands.get_info import get_info

            return get_info
        if command == commands.MAKE_CREDENTIAL:
            from .commands.make_credential import make_credential

            return make_credential
        if command == commands.CLIENT_PIN:
            from .commands.client_pin import client_pin

            return client_pin
        if command in self.profile.credential_management:
            from .commands.credential_management import credential_management, credential_management_preview

            return credential_management if command == commands.CREDENTIAL_MANAGEMENT else credential_management_preview
        if command == commands.RESET:
            from .commands.reset import reset

            return reset
        if command == commands.LARGE_BLOBS and self.profile.large_blobs:
            from .commands.large_blobs import large_blobs

            return large_blobs
        if command == commands.CONFIG and self.profile.authenticator_config:
            from .commands.authenticator_config import authenticator_config

            return authenticator_config
        if command == commands.SELECTION and "FIDO_2_1" in self.profile.versions:
            return _selection
        return None


def default_profile() -> Profile:
    """Make the profile of a token that nothing is asked of but to be a good one."""
    return profile(DEFAULT)


def _selection(token: Authenticator, _parameters: dict[Any, Any]) -> None:
    """Answer authenticatorSelection (CTAP 2.1 section 6.9)."""
    token.ask("select", timed_out=status.USER_ACTION_TIMEOUT)
