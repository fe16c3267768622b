"""A transport of another package, of which nothing is taken for granted: what it does wrong costs itself alone."""

from __future__ import annotations

import _thread
import time

from sk_provider.errors import ConfigurationError, SecurityKeyError, TransportDefect
from sk_provider.third_party import blame
from sk_provider.transport_api import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from sk_provider.config import Configuration
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Channel, Event, Transport

    Result = TypeVar("Result")

_PATIENCE = 5.0
"""Seconds in which authenticators must be found, and a channel closed."""
_GRACE = 1.0
"""Seconds in which what is waited for must end once waiting makes no sense any more."""
_TICK = 0.1
_MAX_LOCATIONS = 1000


class GuardedTransport:
    """See transport_api.Transport. A call runs in a thread of its own, which is left behind if it does not end."""

    def __init__(self, scheme: str, package: str, transport: Any) -> None:
        """Guard a transport. Raises ConfigurationError if it is none, TransportDefect if it wants a newer interface."""
        self._whose = f"the transport {scheme}: of the package {package}"
        self._transport: Transport = transport
        self._check_version(package, getattr(transport, "transport_api_version", 1))
        for name in ("discover", "open"):
            if not callable(getattr(transport, name, None)):
                raise ConfigurationError(f"{self._whose} has no function {name}()", "report this to its authors")
        self.waits_for_a_person = bool(getattr(transport, "waits_for_a_person", False))
        # Who looks for what a transport may have must not find what this one has not.
        if hasattr(transport, "open_holder"):
            self.open_holder = self._open_holder
        if hasattr(transport, "name"):
            self.name = self._name

    def _check_version(self, package: str, stated: object) -> None:
        """Refuse a transport that may want what is not here. stated: see transport_api.StatesVersion."""
        if not isinstance(stated, int) or stated < 1:
            raise TransportDefect(
                f"{self._whose} states no version of the interface (transport_api_version)",
                "report this to its authors",
            )
        if stated > VERSION:
            raise TransportDefect(
                f"{self._whose} is for version {stated} of the interface, and libpysk has version {VERSION}",
                f"install a newer release of libpysk, or an older one of {package}",
            )

    def discover(self, location: str) -> list[str]:
        """See Transport."""
        ends = time.monotonic() + _PATIENCE
        found = self._run(
            lambda: list(self._transport.discover(location)), lambda: time.monotonic() >= ends, "discover"
        )
        if len(found) > _MAX_LOCATIONS or not all(isinstance(each, str) for each in found):
            raise self._wrong("discover", "a list of locations")
        return found

    def open(
        self, location: str, configuration: Configuration, operation: Operation, *, may_create: bool
    ) -> GuardedChannel:
        """See Transport."""

        def open_it() -> Channel:
            return self._transport.open(location, configuration, operation, may_create=may_create)

        return self._guarded(self._run(open_it, operation.is_set, "open", operation), "open", operation)

    def _open_holder(
        self, key_handle: bytes, locations: list[str], configuration: Configuration, operation: Operation
    ) -> tuple[str, Channel] | None:
        """See transport_api.RecognizesKeyHandles."""
        transport: Any = self._transport

        def open_it() -> Any:
            return transport.open_holder(key_handle, locations, configuration, operation)

        held = self._run(open_it, operation.is_set, "open_holder", operation)
        if held is None:
            return None
        if not isinstance(held, tuple) or len(held) != 2 or not isinstance(held[0], str):
            raise self._wrong("open_holder", "a location and a channel")
        return held[0], self._guarded(held[1], "open_holder", operation)

    def _name(self, location: str) -> str:
        """See transport_api.KnowsNames."""
        transport: Any = self._transport
        ends = time.monotonic() + _GRACE
        try:
            name = self._run(lambda: transport.name(location), lambda: time.monotonic() >= ends, "name")
        except SecurityKeyError:
            return ""
        return name if isinstance(name, str) else ""

    def _guarded(self, channel: Any, function: str, operation: Operation) -> GuardedChannel:
        if not all(callable(getattr(channel, name, None)) for name in ("call", "close")):
            raise self._wrong(function, "a channel")
        capabilities = getattr(channel, "capabilities", None)
        if not isinstance(capabilities, int):
            raise self._wrong(function, "a channel with capabilities")
        return GuardedChannel(channel, capabilities, self._whose, operation)

    def _run(
        self, function: Callable[[], Result], is_over: Callable[[], bool], name: str, operation: Operation | None = None
    ) -> Result:
        try:
            return _run_in_time(function, is_over, self._whose, name, operation.reason if operation else None)
        except _Stuck as stuck:
            raise stuck.reason from None

    def _wrong(self, function: str, what: str) -> TransportDefect:
        return TransportDefect(
            f"{self._whose} failed ({function}() did not return {what})", "report this to its authors"
        )


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
            raise TransportDefect(f"{self._whose} does not answer (call())", "report this to its authors")
        waiting: Event = event if event is not None else self._operation
        try:
            response: object = _run_in_time(
                lambda: self._channel.call(cmd, data, event, on_keepalive),
                waiting.is_set,
                self._whose,
                "call",
                waiting.reason,
            )
        except _Stuck as stuck:
            self._is_stuck = True
            raise stuck.reason from None
        if not isinstance(response, (bytes, bytearray, memoryview)):
            raise TransportDefect(f"{self._whose} failed (call() did not return bytes)", "report this to its authors")
        return bytes(response)

    def close(self) -> None:
        """See Channel. That it fails is told, and changes nothing for what was done."""
        if self._is_stuck:
            return
        ends = time.monotonic() + _PATIENCE
        try:
            _run_in_time(self._channel.close, lambda: time.monotonic() >= ends, self._whose, "close", None)
        except _Stuck as stuck:
            self._operation.tell(str(stuck.reason))
        except SecurityKeyError as error:
            self._operation.tell(str(error))


class _Stuck(Exception):
    """A call has not ended in time. reason: what is told for that."""

    def __init__(self, reason: SecurityKeyError) -> None:
        super().__init__()
        self.reason = reason


def _run_in_time(
    function: Callable[[], Result],
    is_over: Callable[[], bool],
    whose: str,
    name: str,
    reason: Callable[[], SecurityKeyError] | None,
) -> Result:
    """Return what a function of another package returns, which runs in a thread.

    is_over: whether waiting for it makes no sense any more, and _GRACE later it is left behind; reason: returns why,
    None where it is only slow.

    Raises SecurityKeyError: what it raises of those, blame for what else, _Stuck if it does not end.
    """
    result: list[Result] = []
    errors: list[BaseException] = []
    lock = _thread.allocate_lock()
    lock.acquire()

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - another package's
            errors.append(error)
        finally:
            lock.release()

    _thread.start_new_thread(run, ())
    ends: float | None = None
    while not lock.acquire(timeout=_TICK):
        if ends is None and is_over():
            ends = time.monotonic() + _GRACE
        if ends is not None and time.monotonic() >= ends:
            slow = TransportDefect(f"{whose} does not answer ({name}())", "report this to its authors")
            raise _Stuck(reason() if reason is not None else slow)
    if errors:
        # What is raised here and kept here as well would refer to itself, and stay.
        if isinstance(errors[0], SecurityKeyError):
            raise errors.pop()
        raise blame(whose, errors.pop()) from None
    return result[0]
