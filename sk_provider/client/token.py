"""An authenticator that is open, and which of FIDO's protocols it speaks: CTAP2, or U2F alone."""

from __future__ import annotations

from sk_provider.ctap import framing, requests
from sk_provider.ctap.status import StatusError
from sk_provider.errors import SecurityKeyError, UnknownCommand
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from fido2.ctap2 import Ctap2

    from sk_provider.api import SignRequest
    from sk_provider.trace import Trace
    from sk_provider.transport_api import Channel, Event

    Result = TypeVar("Result")

PROBE_PATIENCE = 5
"""Seconds for an authenticator to answer what nobody need come for, with those in which others have it."""


def probe_patience(operation: Operation) -> Operation:
    """Return what ends the wait for what nobody need come for: PROBE_PATIENCE from now, or the operation's end."""
    from .probe import Probe

    return Probe(operation, PROBE_PATIENCE)


class Token:
    """A channel with what is known of the authenticator behind it; what both protocols offer, it offers alike.

    address: what names it, as a user writes it; capabilities: see transport_api.Channel; is_the_only_one: whether there
    was no other to choose from; aaguid: of its model, 16 bytes, b"" as long as it was not asked; public_key: sk-api's
    algorithm and the key that it is to sign by, where there were others and it is known.
    """

    def __init__(
        self, channel: Channel, address: str, name: Callable[[], str] | None = None, trace: Trace | None = None
    ) -> None:
        """name: returns what the device calls itself, "" if it does not say, where anything knows that; trace: see
        Operation.
        """
        if trace is not None:
            from .traced import TracedChannel

            channel = TracedChannel(channel, address, trace)
        self._channel = channel
        self._name = name
        self._has_spoken_ctap2 = False
        self.address = address
        self.capabilities = channel.capabilities
        self.is_the_only_one = True
        self.aaguid = b""
        self.public_key: tuple[int, bytes] | None = None

    @property
    def speaks_ctap2(self) -> bool:
        """Whether it speaks CTAP2, as far as is known: one that announces it may turn out to speak U2F alone."""
        return bool(self.capabilities & framing.CAPABILITY_CBOR)

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See transport_api.Channel. A first CTAP2 command that is unknown is the last: from then on it speaks U2F."""
        operation = event if isinstance(event, Operation) else None
        asks_a_person = getattr(self._channel, "asks_a_person", False)

        def note(keepalive_status: int) -> None:
            if keepalive_status == framing.STATUS_UPNEEDED and operation is not None and not asks_a_person:
                operation.await_person(self.address, self.call_for_a_touch)
            if on_keepalive is not None:
                on_keepalive(keepalive_status)

        try:
            response = self._channel.call(cmd, data, event, note)
        except UnknownCommand:
            if cmd == framing.CBOR and not self._has_spoken_ctap2:
                self.capabilities &= ~framing.CAPABILITY_CBOR
            raise
        finally:
            if operation is not None:
                operation.person_came(self.address)
        if cmd == framing.CBOR:
            self._has_spoken_ctap2 = True
        return response

    def close(self) -> None:
        """See transport_api.Channel."""
        self._channel.close()

    def product(self) -> str:
        """Return what the device calls itself, "" if it does not say."""
        return self._name() if self._name is not None else ""

    def describe(self) -> str:
        """Return its address, and what it calls itself, for a person who has to tell it from others."""
        name = self.product()
        return f"{self.address}, {name}" if name else self.address

    def call_for_a_touch(self) -> str:
        """Return what a person is to do where it waits for one."""
        return f"touch {self.describe()}"

    def by_its_protocol(self, by_ctap2: Callable[[], Result], by_u2f: Callable[[], Result]) -> Result:
        """Return what the function for its protocol returns; by_ctap2 begins with a CTAP2 command."""
        if self.speaks_ctap2:
            try:
                return by_ctap2()
            except UnknownCommand:
                if self.speaks_ctap2:
                    raise
        return by_u2f()

    def probe(self, application: str, key_handle: bytes, operation: Operation) -> tuple[bytes, bytes] | bool:
        """Ask silently whether it holds a key: no PIN goes out for that.

        Return False if it does not hold it, else the proof, a message and its signature; True in U2F, which gives none.

        Raises StatusError if it does not say, and SecurityKeyError: TimedOut after PROBE_PATIENCE.
        """

        def by_ctap2() -> tuple[bytes, bytes] | bool:
            patience = probe_patience(operation)
            client_data_hash = requests.fresh_client_data_hash()
            assertion = requests.get_assertion(self, application, client_data_hash, key_handle, patience, up=False)
            return assertion.signed(application, client_data_hash), assertion.signature

        def by_u2f() -> bool:
            from . import u2f  # which takes its own time on a slow machine

            return u2f.holds_key(self, application, key_handle, probe_patience(operation))

        return self.by_its_protocol(by_ctap2, by_u2f)

    def get_info(self, operation: Operation) -> requests.Info:
        """Return what it says of itself, which is nothing in U2F.

        Raises StatusError, and SecurityKeyError if there is no usable answer.
        """
        info = self.by_its_protocol(
            lambda: requests.get_info(self, operation), lambda: requests.Info({}, [], force_pin_change=False)
        )
        self.aaguid = info.aaguid
        return info

    def learn_model(self, operation: Operation) -> None:
        """Ask for its AAGUID, if that is not known. Nothing is raised where it does not say."""
        if not self.aaguid:
            try:
                self.get_info(operation)
            except (StatusError, SecurityKeyError):
                pass

    def get_assertion(
        self, request: SignRequest, operation: Operation, *, uv: bool, pin_uv_auth: tuple[int, bytes] | None
    ) -> requests.Assertion:
        """Sign; uv and pin_uv_auth: see requests.get_assertion().

        Raises StatusError if it refuses, and SecurityKeyError if there is no usable answer.
        """
        from sk_provider.api import FLAG_USER_PRESENCE

        def by_ctap2() -> requests.Assertion:
            return requests.get_assertion(
                self,
                request.application,
                request.message_digest,
                request.key_handle,
                operation,
                up=bool(request.flags & FLAG_USER_PRESENCE),
                uv=uv,
                pin_uv_auth=pin_uv_auth,
            )

        def by_u2f() -> requests.Assertion:
            from . import u2f

            return u2f.get_assertion(request, self, operation)

        return self.by_its_protocol(by_ctap2, by_u2f)

    def open_client(self, operation: Operation) -> Ctap2:
        """Return python-fido2's client, which has asked for getInfo, or one of U2F with next to no abilities.

        Raises SecurityKeyError if there is no usable answer.
        """

        def by_ctap2() -> Ctap2:
            from .fido2_client import open_ctap2

            client = open_ctap2(self, operation)
            self.aaguid = bytes(client.info.aaguid)
            return client

        def by_u2f() -> Ctap2:
            from .u2f import U2fClient

            return U2fClient(self, operation)

        return self.by_its_protocol(by_ctap2, by_u2f)

    def wait_for_touch(self, event: Event) -> bool:
        """Return whether it was touched, once it says that it was.

        It was not where it neither asks for that nor waits: a card answers for as long as it lies on its reader.

        Raises SecurityKeyError if event ends the wait, or it refuses or fails.
        """
        from . import touch

        def wait() -> bool:
            def by_u2f() -> bool:
                from . import u2f

                return u2f.wait_for_touch(self, event)

            return self.by_its_protocol(lambda: touch.wait(self, event), by_u2f)

        # One may have lain there from before: the next one will not.
        return wait() or wait()
