"""What a transport is, and the channel that it opens: the interface for other packages as for our own transports.

Another package names its transport by an entry point of the group sk_provider.transports: the name is the scheme of the
addresses, a Python identifier, compared as it is written; the value is a module, `module`, or an object in one,
`module:object`. pysk_transport(7) shows how to write one.

Other packages may import from sk_provider, and find the same in all versions with the same VERSION:

    sk_provider.transport_api      all of it
    sk_provider.errors             all exceptions
    sk_provider.ctap.hid           HidChannel, a Channel over anything that is Reports
    sk_provider.ctap.framing       all of it
    sk_provider.config             expand_home()

Calls. Every function of another package is called in a new thread, which is left behind if it does not end; a channel
that it opens after that is closed at once. Never are two calls of one channel in progress at the same time, and each
may come from another thread than the one before; calls of different channels, and of a module's functions, may be.

Errors. A SecurityKeyError is shown to the person as it is: what happened, and what to do. Whatever else is raised,
SystemExit and KeyboardInterrupt as well, is shown as a defect of the package, by its class and line and without its
values. Among several authenticators, DeviceNotFound and Unsupported say that there is none; an authenticator whose
transport raises anything else may be the one that holds the key. What no program survives is listed in
pysk_transport(7).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Protocol

    from .config import Configuration
    from .errors import SecurityKeyError
    from .operation import Operation
else:
    # To import typing takes longer than all else that a signature imports.
    Protocol = object

VERSION: Final = 1
"""Of this interface. It rises with whatever a transport might rely on, or would have to do otherwise."""


class Event(Protocol):
    """What a channel looks at while it waits, every 0.1 s, in silence too. Any thread may ask it."""

    def is_set(self) -> bool:
        """Return whether waiting makes no sense any more: the person's time is over, or they have given up."""

    def reason(self) -> SecurityKeyError:
        """Return why, for the channel to raise."""

    def wait_for_others(self, since: float) -> None:
        """Count the time in which other programs have the authenticator as theirs, not as the person's.

        To be called several times a second for as long as they have it; since: when this wait for them began, by
        time.monotonic(). Raises AuthenticatorError once they have had it for too long, and reason() if is_set().
        """


class Channel(Protocol):
    """An open authenticator; python-fido2 takes it for a CtapDevice.

    capabilities: CTAPHID capability bits (CTAP 2.1 §11.2.9.1.3), read once, after open(). Only
    framing.CAPABILITY_CBOR counts here: with it the authenticator is asked by CTAP2, and by U2F if it then turns out
    not to know framing.CBOR; without it, by U2F alone. `pysk share` passes all on.
    """

    capabilities: int

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """Carry out one CTAPHID command and return the response's data.

        cmd: framing.CBOR, whose data is a CTAP2 command's byte and its parameters, and whose response begins with a
        CTAP2 status; or framing.MSG, a U2F request as an APDU with extended lengths, whose response ends with a
        status word. A status that tells of an error is returned like any other response. The request is sent once,
        also where no answer comes: a PIN in it costs one of few tries each time.

        event: what ends the wait. Once is_set(), have the authenticator give up (as CTAPHID_CANCEL does), wait for
        its confirmation for 0.5 s at most, and raise reason(). After 1 s the call is left behind, and neither call()
        nor close() comes to this channel again. None: nothing tells the channel to give up, and only silence ends the
        wait, but the call is left behind likewise once open()'s operation is over. How long a silence is a failure is
        the channel's matter: HidChannel gives up after 3 s, but not before the first keep-alive of a command that may
        wait for a person. One that never gives up waits until the event is set.

        on_keepalive: is called, in the thread of call(), with the status of a keep-alive whenever it differs from the
        one before: framing.STATUS_UPNEEDED has the person told that a touch is awaited. Among several, an
        authenticator of which that is never heard cannot be chosen by a touch.

        Raises UnknownCommand if the authenticator does not know cmd, event.reason() once that is set, and another
        SecurityKeyError, as a rule AuthenticatorError, if there is no response, such as from a device that is gone.
        """

    def close(self) -> None:
        """Let the authenticator go, within 5 s, and end what open() has begun: threads, child processes.

        It comes after the last call() has ended, however that did, and may come more than once. What it raises is
        told, and spoils nothing that was done.
        """


class AsksAPerson(Channel, Protocol):
    """A channel whose authenticator asks a person by a question of its own, so that nobody else need call them.

    asks_a_person: True.
    """

    asks_a_person: bool


class Reports(Protocol):
    """What carries reports of framing.REPORT_SIZE bytes to one authenticator and back, for ctap.hid.HidChannel.

    HidChannel does all the rest of a Channel's work. What is received may be a report of any channel, or no report.
    """

    def send(self, report: bytes) -> None:
        """Send one report, within 3 s. Raises AuthenticatorError if the authenticator is gone or takes no more."""

    def receive(self, seconds: float) -> bytes | None:
        """Return the next report, None if none comes in time; seconds: 0.1 at most.

        Raises AuthenticatorError if the authenticator is gone.
        """

    def close(self) -> None:
        """Let the authenticator go. May be called more than once."""


class Transport(Protocol):
    """A module, or an object, that reaches authenticators of one kind.

    Locations: what follows the colon in an address, as the person wrote it: of `~`, `%` and `$` nothing is replaced
    (config.expand_home() does so for `~/`). In pysk_config, white space ends an address that is not in double quotes.
    """

    def discover(self, location: str) -> list[str]:
        """Return the locations of the authenticators that the location of an address means, without opening any.

        location: "" where the person wrote none. Return [] where there are none now. Each location that is returned
        may come back in an address. It is to take less than 5 s, and may be called several times for one operation.

        Raises ConfigurationError if the location means nothing.
        """

    def open(self, location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> Channel:
        """Open the authenticator at a location.

        location: one that discover() has returned; or that of an address for which it has returned [], if the person
        named no other. `pysk devices` opens each such address, however many there are, to tell what is missing, unless
        the transport waits for a person (see WaitsForAPerson).

        configuration: pysk_config, of which nothing but its being there is promised to other packages. operation: an
        Event that holds for opening as call()'s does, and for as long as the channel is open; its tell(sentence)
        shows the person a line. may_create: whether an authenticator that is not there may be made, for somebody
        enrolls a key; most transports have nothing to make, and ignore it.

        Raises DeviceNotFound if nothing is there, ConfigurationError if the location or the permission to use it is
        wrong, AuthenticatorError if there is no answer, operation.reason() once that is set. Whatever was opened
        before it raises must be closed: there is no channel yet of which close() would come.
        """


class StatesVersion(Transport, Protocol):
    """A transport that says for which version of this interface it was written.

    transport_api_version: VERSION at that time, as a number. A newer one than ours is refused when the transport is
    loaded. Without it, it is taken to be 1.
    """

    transport_api_version: int


class WaitsForAPerson(Transport, Protocol):
    """A transport whose open() waits for a person to bring what discover() has not found, such as a card.

    waits_for_a_person: True. Where several addresses are named, it is waited for if nothing is at any of them.
    """

    waits_for_a_person: bool


class MayBeAbsent(Transport, Protocol):
    """A transport of ours that can tell at once that nothing is to be discovered, as a part of the system is missing.

    Only the one that serves where no address is named is asked.
    """

    def could_be_there(self) -> bool:
        """Return whether discover("") is worth its time, by what costs next to none."""


class KnowsNames(Transport, Protocol):
    """A transport whose authenticators say what they are called."""

    def name(self, location: str) -> str:
        """Return what the authenticator at a location calls itself, "" if it does not say. Raises nothing.

        It is to take less than 1 s, or is asked for no more, and may be called while the authenticator is open.
        """


class RecognizesKeyHandles(Transport, Protocol):
    """A transport whose authenticators can be told by the key handles that they make.

    One of another package is asked only where an address of its scheme is named.
    """

    def open_holder(
        self, key_handle: bytes, locations: list[str], configuration: Configuration, operation: Operation
    ) -> tuple[str, Channel] | None:
        """Open the authenticator that made a key handle, and return its location as well.

        locations: those of the addresses that are named for the operation. Return None if the key handle is none of
        this transport's. Raises CredentialNotFound if it is, but of an authenticator that is not known, with a sentence
        on how to name that; and other SecurityKeyErrors if it cannot be used.

        It is to take less than 5 s, besides the time that operation.wait_for_others() counts, and is left behind 1 s
        later: other authenticators are asked after it.
        """
