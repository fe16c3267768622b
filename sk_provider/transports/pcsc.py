"""The PC/SC service, through pyscard: card readers, whether they hold a card, and calls that end in time."""

from __future__ import annotations

import _thread
import time

from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.transport_api import Event

_TICK = 0.1
_SILENCE = 5.0
"""Seconds after which a card that does not answer an APDU is dead: P-256 takes slow cards more than one."""
_LAST_PATIENCE = 0.3
"""Seconds that a call gets once waiting for it makes no sense any more."""
_CALLS_OF_CARDS = ("SCardConnect", "SCardReconnect", "SCardTransmit")
"""What waits for the card; all else waits for the PC/SC service alone."""
PRESENT_AGAIN = "present it again and leave it there until the operation ends"


class NotLetIn(DeviceNotFound):
    """The PC/SC service refuses the person: since version 2 it asks polkit, which asks where they are logged in."""

    def __init__(self) -> None:
        super().__init__(
            "the PC/SC service does not let you use card readers",
            "log in at the machine's own screen, or see polkit in libpysk(8)",
        )


class Context:
    """A connection to the PC/SC service."""

    def __init__(self) -> None:
        """Connect to it.

        Raises ConfigurationError if there is no pyscard, NotLetIn if the service refuses the person, DeviceNotFound if
        there is none, and AuthenticatorError if it does not answer.
        """
        try:
            from smartcard import scard
        except ImportError:
            from sk_provider.third_party import by_apt, by_pip

            raise ConfigurationError(
                "cards and NFC need the Python package pyscard",
                by_apt("smartcard", "python3-pyscard") or f"install it with: {by_pip('pyscard')}",
            ) from None
        self.scard: Any = scard
        self._handle: Any = None
        result, self._handle = self.call("SCardEstablishContext", scard.SCARD_SCOPE_USER)
        if result != scard.SCARD_S_SUCCESS:
            self._handle = None
            # Whom it refuses, it hangs up on: what that is to its library depends on who is first.
            if result == scard.SCARD_W_SECURITY_VIOLATION or _hangs_up():
                raise NotLetIn
            raise DeviceNotFound("the PC/SC service does not run", "start pcscd")

    def call(self, name: str, *arguments: Any, event: Event | None = None, may_be_silent: bool = False) -> Any:
        """Return what a function of PC/SC returns, called in a thread: it may wait for the service or a card for ever.

        may_be_silent: whether a card may wait for a person, so that nothing but event ends that.

        Raises what event gives as its reason once that is set, and AuthenticatorError if there is no answer; nothing
        can be called after that.
        """
        outcome: list[Any] = []
        is_given_up: list[bool] = []
        handle = self._handle
        done = _thread.allocate_lock()
        done.acquire()

        def run() -> None:
            try:
                outcome.append(getattr(self.scard, name)(*arguments))
            finally:
                done.release()
                if is_given_up and handle is not None:
                    self.scard.SCardReleaseContext(handle)

        _thread.start_new_thread(run, ())
        deadline = time.monotonic() + _SILENCE
        try:
            while not done.acquire(timeout=_TICK):
                if event is not None and event.is_set():
                    # Cards say every tenth of a second that they are busy, and only between two APDUs hear of it.
                    if done.acquire(timeout=_LAST_PATIENCE):
                        break
                    raise event.reason()
                if time.monotonic() >= deadline and not may_be_silent:
                    if name in _CALLS_OF_CARDS:
                        raise AuthenticatorError("the card does not answer", PRESENT_AGAIN)
                    raise AuthenticatorError("the PC/SC service does not answer", "restart pcscd")
        except BaseException:
            # The context, and the card with it, is left to the thread: it waits for the call to return.
            is_given_up.append(True)
            self._handle = None
            raise
        return outcome[0]

    @property
    def is_usable(self) -> bool:
        """Whether nothing that was called is still waited for."""
        return self._handle is not None

    def release(self) -> None:
        """End the connection."""
        self.end("SCardReleaseContext", self._handle)
        self._handle = None

    def end(self, name: str, *arguments: Any) -> None:
        """Call what lets something go; where not even that is answered, leave it."""
        try:
            if self.is_usable:
                self.call(name, *arguments)
        except AuthenticatorError:
            pass

    def readers(self, name: str) -> list[str]:
        """Return the readers whose name contains name. Raises DeviceNotFound if there is none."""
        result, readers = self.call("SCardListReaders", self._handle, [])
        found = [reader for reader in readers or [] if name in reader] if result == self.scard.SCARD_S_SUCCESS else []
        if not found:
            raise DeviceNotFound(
                f"no card reader is called {name}" if name else "no card reader is connected", "connect it"
            )
        return found

    def has_card(self, reader: str) -> bool:
        """Return whether a card lies on the reader that answers."""
        state = self._state(reader)
        return bool(state & self.scard.SCARD_STATE_PRESENT and not state & self.scard.SCARD_STATE_MUTE)

    def is_held_alone(self, reader: str) -> bool:
        """Return whether a program has the card in the reader for itself alone."""
        return bool(self._state(reader) & self.scard.SCARD_STATE_EXCLUSIVE)

    def _state(self, reader: str) -> int:
        unaware = self.scard.SCARD_STATE_UNAWARE
        result, states = self.call("SCardGetStatusChange", self._handle, 0, [(reader, unaware)])
        return int(states[0][1]) if result == self.scard.SCARD_S_SUCCESS else 0

    def connect(self, reader: str, mode: int, event: Event) -> tuple[int, Any, int]:
        """Return result, card and protocol."""
        protocols = self.scard.SCARD_PROTOCOL_T0 | self.scard.SCARD_PROTOCOL_T1
        result, card, protocol = self.call("SCardConnect", self._handle, reader, mode, protocols, event=event)
        return result, card, protocol


def _hangs_up() -> bool:
    """Return whether the service is there, and ends a connection of which nothing was asked yet."""
    import socket

    from . import FALLBACK_SOCKET

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_LAST_PATIENCE)
        try:
            connection.connect(FALLBACK_SOCKET)
            return connection.recv(1) == b""
        except OSError:
            return False
