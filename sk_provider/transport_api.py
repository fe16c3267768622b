"""What a transport is, and the channel that it opens: the interface for other packages as for our own transports."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Configuration
    from .errors import SecurityKeyError
    from .operation import Operation


class Event(Protocol):
    """What a channel looks at while it waits."""

    def is_set(self) -> bool:
        """Return whether waiting makes no sense any more."""

    def reason(self) -> SecurityKeyError:
        """Return why."""

    def wait_for_others(self, since: float) -> None:
        """Count a wait for other programs that have the authenticator. See Operation."""


class Channel(Protocol):
    """An open authenticator; python-fido2 takes it for a CtapDevice.

    capabilities: CTAPHID capability bits (CTAP 2.1 §11.2.9.1.3).
    """

    capabilities: int

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """Carry out one CTAPHID command and return the response's data, CTAP status byte included.

        on_keepalive: is called with each other status of a keep-alive; among several, an authenticator of which it
        never hears framing.STATUS_UPNEEDED cannot be chosen by a touch.

        Raises UnknownCommand if the authenticator does not know cmd, and another SecurityKeyError if there is no
        response: its deadline passed, event was set, the device is gone.
        """

    def close(self) -> None:
        """Let the authenticator go. May be called more than once."""


class AsksAPerson(Channel, Protocol):
    """A channel whose authenticator asks a person by a question of its own, so that nobody else need call them.

    asks_a_person: True.
    """

    asks_a_person: bool


class Transport(Protocol):
    """A module that reaches authenticators of one kind."""

    def discover(self, location: str) -> list[str]:
        """Return the locations of the authenticators that the location of an address means, unopened."""

    def open(self, location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> Channel:
        """Open one that discover() returned; may_create: make one that is not there, where that can be.

        Raises DeviceNotFound if it is not there, and other SecurityKeyErrors if it cannot be used.
        """


class WaitsForAPerson(Transport, Protocol):
    """A transport whose open() waits for a person to bring what discover() has not found, such as a card.

    waits_for_a_person: True. Where several addresses are named, it is waited for if nothing is at any of them.
    """

    waits_for_a_person: bool


class MayBeAbsent(Transport, Protocol):
    """A transport that can tell at once that there is nothing to discover, for a part of the system is not there."""

    def could_be_there(self) -> bool:
        """Return whether discover("") is worth its time, by what costs next to none."""


class KnowsNames(Transport, Protocol):
    """A transport whose authenticators say what they are called."""

    def name(self, location: str) -> str:
        """Return what the authenticator at a location calls itself, "" if it does not say. Raises nothing."""


class RecognizesKeyHandles(Transport, Protocol):
    """A transport whose authenticators can be told by the key handles that they make."""

    def open_holder(
        self, key_handle: bytes, locations: list[str], configuration: Configuration, operation: Operation
    ) -> tuple[str, Channel] | None:
        """Open the authenticator that made a key handle, and return its location as well.

        locations: those of the addresses that are named for the operation. Return None if the key handle is none of
        this transport's. Raises CredentialNotFound if it is, but of an authenticator that is not known, with a sentence
        on how to name that; and other SecurityKeyErrors if it cannot be used.
        """
