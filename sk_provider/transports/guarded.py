"""A transport of another package, of which nothing is taken for granted: what it does wrong costs itself alone."""

from __future__ import annotations

import time

from sk_provider.errors import SecurityKeyError, TransportDefect
from sk_provider.third_party import PATIENCE, StuckError, run_in_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from sk_provider.config import Configuration
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Channel, Event, Transport

    Result = TypeVar("Result")

_MAX_LOCATIONS = 1000
_ALL_CAPABILITIES = 0xFF
"""CTAPHID has a byte of them (CTAP 2.1 §11.2.9.1.3)."""
_REMEDY = "report this to its authors"


class GuardedTransport:
    """See transport_api.Transport. A call runs in a thread of its own, which is left behind if it does not end."""

    def __init__(self, scheme: str, package: str, transport: Any) -> None:
        """Guard a transport. Raises TransportDefect if it is none, or wants a newer interface."""
        self._whose = f"the transport {scheme}: of the package {package}"
        self._transport: Transport = transport
        self._name_is_stuck = False

        def look() -> tuple[int, list[str], bool]:
            names = ("discover", "open", "open_holder", "name")
            found = [name for name in names if callable(getattr(transport, name, None))]
            stated = getattr(transport, "transport_api_version", 1)
            version = int.__index__(stated) if isinstance(stated, int) else 0
            return version, found, bool(getattr(transport, "waits_for_a_person", False))

        version, found, self.waits_for_a_person = self._run_soon(look, "__getattr__")
        self._check_version(package, version)
        for name in ("discover", "open"):
            if name not in found:
                raise TransportDefect(f"{self._whose} has no function {name}()", _REMEDY)
        # Who looks for what a transport may have must not find what this one has not.
        if "open_holder" in found:
            self.open_holder = self._open_holder
        if "name" in found:
            self.name = self._name

    def _check_version(self, package: str, stated: int) -> None:
        """Refuse a transport that may want what is not here. stated: see transport_api.StatesVersion; or 0."""
        if stated < 1:
            raise TransportDefect(f"{self._whose} states no version of the interface (transport_api_version)", _REMEDY)
        if stated == 1:  # which all have: the rest of transport_api need not be loaded for it
            return
        from sk_provider.transport_api import VERSION

        if stated > VERSION:
            raise TransportDefect(
                f"{self._whose} is for version {stated} of the interface, and libpysk has version {VERSION}",
                f"install a newer release of libpysk, or an older one of {package}",
            )

    def discover(self, location: str) -> list[str]:
        """See Transport."""

        def discover_some() -> list[str]:
            locations: Any = self._transport.discover(location)
            if hasattr(type(locations), "__iter__") and not isinstance(locations, (str, bytes)):
                # There may be no end of them.
                found = [each for each, _ in zip(locations, range(_MAX_LOCATIONS + 1), strict=False)]
                if len(found) <= _MAX_LOCATIONS and all(isinstance(each, str) for each in found):
                    return [_plain(each) for each in found]
            raise self._wrong("discover", "a list of locations")

        return self._run_soon(discover_some, "discover")

    def open(
        self, location: str, configuration: Configuration, operation: Operation, *, may_create: bool
    ) -> GuardedChannel:
        """See Transport."""

        def open_it() -> GuardedChannel:
            channel = self._transport.open(location, configuration, operation, may_create=may_create)
            return self._guarded(channel, "open", operation)

        return self._run(open_it, operation.is_set, operation, "open", discard=GuardedChannel.close)

    def _open_holder(
        self, key_handle: bytes, locations: list[str], configuration: Configuration, operation: Operation
    ) -> tuple[str, Channel] | None:
        """See transport_api.RecognizesKeyHandles."""
        transport: Any = self._transport

        def open_it() -> tuple[str, Channel] | None:
            held = transport.open_holder(key_handle, locations, configuration, operation)
            if held is None:
                return None
            if not isinstance(held, tuple) or len(held) != 2 or not isinstance(held[0], str):
                for each in held if isinstance(held, (tuple, list)) else [held]:
                    _close_unheeded(each)
                raise self._wrong("open_holder", "a location and a channel")
            return _plain(held[0]), self._guarded(held[1], "open_holder", operation)

        def close(held: tuple[str, Channel] | None) -> None:
            if held is not None:
                held[1].close()

        # Another authenticator may hold the key, and is asked after this one.
        ends = time.monotonic() + PATIENCE - operation.others_had_it_for

        def is_over() -> bool:
            return operation.is_set() or time.monotonic() - operation.others_had_it_for >= ends

        return self._run(open_it, is_over, operation, "open_holder", discard=close)

    def _name(self, location: str) -> str:
        """See transport_api.KnowsNames."""
        transport: Any = self._transport

        def name_it() -> str:
            name: object = transport.name(location)
            return _plain(name) if isinstance(name, str) else ""

        if self._name_is_stuck:
            return ""
        try:
            # Who waits for an authenticator asks for this in between: there is no time for more than GRACE.
            return run_in_time(name_it, lambda: True, self._whose)
        except SecurityKeyError:
            return ""
        except StuckError:
            self._name_is_stuck = True
            return ""

    def _guarded(self, channel: Any, function: str, operation: Operation) -> GuardedChannel:
        try:
            if not all(callable(getattr(channel, name, None)) for name in ("call", "close")):
                raise self._wrong(function, "a channel")
            capabilities = getattr(channel, "capabilities", None)
            if not isinstance(capabilities, int):
                raise self._wrong(function, "a channel with capabilities")
            return GuardedChannel(channel, int(capabilities) & _ALL_CAPABILITIES, self._whose, operation)
        except BaseException:
            _close_unheeded(channel)
            raise

    def _run(
        self,
        function: Callable[[], Result],
        is_over: Callable[[], bool],
        operation: Operation,
        name: str,
        discard: Callable[[Result], object],
    ) -> Result:
        try:
            return run_in_time(
                function, is_over, self._whose, called=name, call_off=operation.call_off, discard=discard
            )
        except StuckError:
            raise _why(operation, self._whose, name) from None

    def _run_soon(self, function: Callable[[], Result], name: str) -> Result:
        return _run_soon(function, self._whose, name)

    def _wrong(self, function: str, what: str) -> TransportDefect:
        return TransportDefect(f"{self._whose} failed ({function}() did not return {what})", _REMEDY)


class GuardedChannel:
    """See transport_api.Channel."""

    def __init__(self, channel: Channel, capabilities: int, whose: str, operation: Operation) -> None:
        self.capabilities = capabilities
        self.asks_a_person = bool(getattr(channel, "asks_a_person", False))
        self._channel = channel
        self._whose = whose
        self._operation = operation
        self._is_stuck = False

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See Channel."""
        if self._is_stuck:
            raise _does_not_answer(self._whose, "call")

        running = [True]

        def call_it() -> bytes:
            try:
                response: object = self._channel.call(cmd, data, event, on_keepalive)
                if not isinstance(response, (bytes, bytearray, memoryview)):
                    raise TransportDefect(f"{self._whose} failed (call() did not return bytes)", _REMEDY)
                # One of a class of their own may have another mind of what its bytes are.
                return bytes(memoryview(response))
            finally:
                running.clear()

        waiting: Event = event if event is not None else self._operation
        try:
            # What python-fido2 waits for by itself cannot be called off.
            return run_in_time(
                call_it, waiting.is_set, self._whose, called="call", call_off=getattr(event, "call_off", None)
            )
        except StuckError:
            raise _why(self._operation, self._whose, "call") from None
        finally:
            # However the wait has ended, what runs on is neither called nor closed beside that.
            self._is_stuck = bool(running)

    def close(self) -> None:
        """See Channel. That it fails is told, and changes nothing for what was done."""
        if self._is_stuck:
            return
        try:
            # To look for it runs their code, too.
            _run_soon(lambda: self._channel.close(), self._whose, "close")  # noqa: PLW0108
        except SecurityKeyError as error:
            self._operation.tell(str(error))


def _plain(text: str) -> str:
    """Return a text whose class is no other package's."""
    return str.__str__(text)


def _close_unheeded(channel: Any) -> None:
    """Close what is of no use, if that can be closed, in the thread of the call that has opened it."""
    try:
        channel.close()
    except BaseException:  # noqa: BLE001, S110 - what is wrong first is told
        pass


def _run_soon(function: Callable[[], Result], whose: str, name: str) -> Result:
    """Return what a function returns that waits for nobody. Raises as run_in_time() does, but no StuckError."""
    ends = time.monotonic() + PATIENCE
    try:
        return run_in_time(function, lambda: time.monotonic() >= ends, whose, called=name)
    except StuckError:
        raise _does_not_answer(whose, name) from None


def _does_not_answer(whose: str, name: str) -> TransportDefect:
    return TransportDefect(f"{whose} does not answer ({name}())", _REMEDY)


def _why(operation: Operation, whose: str, name: str) -> SecurityKeyError:
    """Return what to raise for a function that has not ended although waiting makes no sense any more."""
    return operation.reason() if operation.is_interrupted() else _does_not_answer(whose, name)
