"""One power-up of the authenticator: what its commands share, and what its RAM remembers from one to the next.

Between processes only the store remembers anything; a process has one power-up, or several after another.
"""

from __future__ import annotations

import time

from sk_provider.ctap import framing, status
from sk_provider.ctap.status import StatusError

from .presence import CANCELLED, GRANTED, REFUSALS, TIMED_OUT, PresenceRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .event import Event
    from .keeper import Keeper, Keepers
    from .pin_uv_auth import PinUvAuth
    from .presence import Presence
    from .profiles import Profile
    from .state import State
    from .store import Store, Transaction

    OnKeepalive = Callable[[int], None]

CONTINUATION_PATIENCE = 30.0
"""How long a stateful command waits for its continuation, in seconds (CTAP 2.1 §6)."""


class PowerUp:
    """What every command takes; it serves one call at a time.

    store: where the authenticator keeps what must survive.
    keepers: where what keeps its keys comes from.
    profile: what it behaves as.
    power_cycle, reset_allowed: see engine.Authenticator.
    clock: returns seconds that only grow.
    """

    def __init__(
        self,
        store: Store,
        presence: Presence,
        profile: Profile,
        power_cycle: bytes,
        reset_allowed: Callable[[], bool] | None,
        keepers: Keepers,
    ) -> None:
        self.store = store
        self.keepers = keepers
        self.profile = profile
        self.power_cycle = power_cycle
        self.reset_allowed = reset_allowed
        self.clock = time.monotonic
        # By who called, and by command and subcommand of the request that may continue.
        self._continuations: dict[tuple[object, int, int], _Continuation] = {}
        self._caller: object = None
        self._presence = presence
        self._pin_uv_auth: PinUvAuth | None = None
        self._event: Event | None = None
        self._on_keepalive: OnKeepalive | None = None

    def begin_call(self, event: Event | None, on_keepalive: OnKeepalive | None, caller: object) -> None:
        """Let a call of caller's begin, which event ends, and which tells on_keepalive when a person is asked."""
        self._event = event
        self._on_keepalive = on_keepalive
        self._caller = caller

    def forget(self) -> None:
        """Forget what only RAM held, and who called."""
        self.forget_continuations()
        self.keepers.forget()
        self._pin_uv_auth = None
        # Who called may hold on to us: in a circle all of it would stay in a process that goes on.
        self.begin_call(None, None, None)

    def end_pin_uv_auth_tokens(self) -> None:
        """Let every pinUvAuthToken end, and whatever was begun with one, whoever called (CTAP 2.1 §6.5.5.6)."""
        self.pin_uv_auth.reset_pin_uv_auth_tokens()
        self.forget_continuations()

    def ask(self, action: str, rp_id: str = "", user_name: str = "", timed_out: int = status.OPERATION_DENIED) -> None:
        """Wait for a person's presence.

        timed_out: the status if nobody was there, which most commands take for a refusal. The rest: PresenceRequest's.

        Raises StatusError if it is not granted.
        """
        answer = self.request(action, rp_id, user_name)
        if answer != GRANTED:
            raise StatusError(timed_out if answer == TIMED_OUT else REFUSALS[answer])

    def request(self, action: str, rp_id: str = "", user_name: str = "") -> int:
        """Ask a person, and return the answer: GRANTED, DENIED, TIMED_OUT or CANCELLED."""
        if self._event is not None and self._event.is_set():
            return CANCELLED
        if self._on_keepalive is not None:
            self._on_keepalive(framing.STATUS_UPNEEDED)
        self.keepers.idle()
        return self._presence(PresenceRequest(action, rp_id, user_name), self._event)

    def transaction(self) -> Transaction:
        """Begin a change of the store, as Store.transaction() does, for which no longer is waited than for the call."""
        self.keepers.idle()
        return self.store.transaction(self._event)

    def keeper(self, state: State) -> Keeper:
        """Return what keeps the keys of credentials while the store is in a state; a reset makes it another."""
        return self.keepers(state)

    @property
    def pin_uv_auth(self) -> PinUvAuth:
        """The pinUvAuthTokens and key agreement keys."""
        if self._pin_uv_auth is None:
            from .pin_uv_auth import PinUvAuth

            self._pin_uv_auth = PinUvAuth(self.profile, self.clock, self.ask, self.is_protected)
        return self._pin_uv_auth

    def consume_presence(self) -> None:
        """Let a touch, and the pinUvAuthToken in use, serve no second ceremony."""
        if self._pin_uv_auth is not None:
            self._pin_uv_auth.clear_after_use()

    def always_uv(self, state: State) -> bool:
        """Return whether user verification is always required (CTAP 2.1 §7.2)."""
        return self.profile.always_uv if state.always_uv is None else state.always_uv

    def is_protected(self, state: State) -> bool:
        """Return whether there is some form of user verification: a PIN that is set, or a built-in method."""
        return bool(state.pin) or self.profile.uv

    def await_continuation(self, command: int, subcommand: int, items: list[Any], *, authenticated: bool) -> None:
        """Remember what the next requests, of this command and subcommand, are answered with, one item each.

        authenticated: whether by the pinUvAuthToken in use, with which the continuation ends too.
        """
        if items:
            end = self.pin_uv_auth.end if authenticated else float("inf")
            now = self.clock()
            for late in [each for each, other in self._continuations.items() if now > other.deadline]:
                del self._continuations[late]
            self._continuations[self._caller, command, subcommand] = _Continuation(items, end, now)

    def pending(self, command: int) -> Any:
        """Return the item that a former request of a command left, None if there is none or it came too late."""
        continuation = self._continuations.get((self._caller, command, 0))
        if continuation is None or self.clock() > continuation.deadline:
            return None
        return continuation.items[0]

    def continue_with(self, command: int, subcommand: int = 0) -> Any:
        """Take the next item that a former request left.

        Raises StatusError if there is none for this command, or it came too late.
        """
        continuation = self._continuations.pop((self._caller, command, subcommand), None)
        if continuation is None or self.clock() > continuation.deadline:
            raise StatusError(status.NOT_ALLOWED)
        item = continuation.items.pop(0)
        if continuation.items:
            continuation.renew(self.clock())
            self._continuations[self._caller, command, subcommand] = continuation
        return item

    def end_continuations(self, but: int | None) -> None:
        """Let no request of this caller's continue a former one, except one of the command but."""
        for pending in [each for each in self._continuations if each[0] is self._caller and each[1] != but]:
            del self._continuations[pending]

    def forget_continuations(self) -> None:
        """Let no request continue a former one, whoever calls."""
        self._continuations.clear()


class _Continuation:
    """What a stateful command remembers for the next (CTAP 2.1 §6).

    items: what is left to answer with.
    deadline: by the authenticator's clock.
    """

    __slots__ = ("_end", "deadline", "items")

    def __init__(self, items: list[Any], end: float, now: float) -> None:
        """end: when the pinUvAuthToken ends that authenticated the command, by the same clock as now."""
        self.items = items
        self._end = end
        self.renew(now)

    def renew(self, now: float) -> None:
        """Wait for the next command from now on."""
        self.deadline = min(now + CONTINUATION_PATIENCE, self._end)
