"""The software authenticator in this process: soft: is the default store, soft:/path another."""

from __future__ import annotations

import posix

from sk_provider.config import PRESENCE_AUTO, PRESENCE_DENY, expand_home, home_directory
from sk_provider.ctap.framing import CAPABILITY_NMSG, CBOR, MSG
from sk_provider.errors import (
    ConfigurationError,
    CredentialNotFound,
    NotMadeYet,
    PresenceDenied,
    StoreUnusable,
    UnknownCommand,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.authenticator.engine import Authenticator
    from sk_provider.authenticator.event import Event as TokenEvent
    from sk_provider.authenticator.presence import Presence, PresenceRequest
    from sk_provider.authenticator.store import Store
    from sk_provider.config import Configuration
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Event

SCHEME = "soft"


def default_store() -> str:
    """Return the path of the store that `soft:` means."""
    return home_directory() + "/.local/share/pysk/soft"


def store_path(location: str) -> str:
    """Return the path of the store that the location of a soft: address means.

    Raises ConfigurationError if it is not absolute.
    """
    path = expand_home(location) if location else default_store()
    if not path.startswith("/"):
        raise ConfigurationError(f"soft:{location} is not an absolute path", "begin it with / or ~/")
    return path


def discover(location: str) -> list[str]:
    """Return the location, if there is a store."""
    try:
        posix.stat(store_path(location))
    except OSError:
        return []
    return [location]


class SoftChannel:
    """A software authenticator as a channel."""

    asks_a_person = True

    def __init__(self, authenticator: Authenticator) -> None:
        self.capabilities = authenticator.capabilities
        self._authenticator = authenticator

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See transport_api.Channel. Raises StoreUnusable if the store cannot be read or written."""
        if cmd not in (CBOR, MSG) or (cmd == MSG and self.capabilities & CAPABILITY_NMSG):
            raise UnknownCommand(f"soft: has no CTAPHID command 0x{cmd:02x}", "report this as a bug of libpysk")
        try:
            return self._authenticator.call(cmd, data, event, on_keepalive)
        except StoreUnusable:
            if event is not None and event.is_set():
                raise event.reason() from None
            raise

    def close(self) -> None:
        """See transport_api.Channel."""
        self._authenticator.close()


def open(  # noqa: A001 - see Transport
    location: str, configuration: Configuration, operation: Operation, *, may_create: bool, may_reset: bool = False
) -> SoftChannel:
    """Open the authenticator of the store, which is made if it is not there and may_create.

    may_reset: whether authenticatorReset is allowed: hardware allows it after power-up, which a new process is not.

    Raises NotMadeYet if there is none, and StoreUnusable if it cannot be used.
    """
    from sk_provider.authenticator.store import Store, StoreMissing

    path = store_path(location)
    try:
        store = Store.create(path) if may_create else Store.open(path)
    except StoreMissing:
        import shlex

        raise NotMadeYet(
            f"there is no software authenticator in {path}",
            f"enroll a key with -O device={shlex.quote(f'soft:{location}')} to make one",
        ) from None
    return _channel(store, configuration, operation, may_reset=may_reset)


def open_holder(
    key_handle: bytes, locations: list[str], configuration: Configuration, operation: Operation
) -> tuple[str, SoftChannel] | None:
    """Open the authenticator that made a key handle: one at the locations, or else the default.

    Return its location as well. Raises CredentialNotFound if none of them did, and StoreUnusable if one of them cannot
    be read. See transport_api.RecognizesKeyHandles.
    """
    for location in [location for location in [*locations, ""] if discover(location)]:
        from sk_provider.authenticator.key_handle import store_id_of
        from sk_provider.authenticator.store import Store

        store = Store.find(store_path(location))
        if store is not None and store.store_id == store_id_of(key_handle):
            return location, _channel(store, configuration, operation)
    raise CredentialNotFound(
        "the key belongs to a software authenticator that is neither the default one (soft:) nor named by "
        f"Device{configuration.aside()}",
        "name it with Device in pysk_config: soft:/PATH for its store, or the address at which pysk serve serves it; "
        "if its store was deleted, enroll a new key",
    )


def _channel(
    store: Store, configuration: Configuration, operation: Operation, *, may_reset: bool = False
) -> SoftChannel:
    from sk_provider.authenticator.engine import Authenticator

    return SoftChannel(
        Authenticator(
            store,
            presence_of(configuration, operation),
            power_cycle=boot_id(),
            reset_allowed=lambda: may_reset,
        )
    )


def presence_of(
    configuration: Configuration,
    operation: Operation,
    address: str = "soft:",
    called: str = "the software authenticator",
) -> Presence:
    """Return what the authenticator calls when a person must confirm; address and called name it."""
    from sk_provider.authenticator import presence

    def ask(request: PresenceRequest, event: TokenEvent | None) -> int:
        if configuration.presence == PRESENCE_AUTO:
            return presence.GRANTED
        if configuration.presence == PRESENCE_DENY:
            raise PresenceDenied(
                f"pysk_config refuses everything that needs a touch of {address} (Presence deny)", "change that line"
            )
        from sk_provider.asking import confirmation as prompt

        is_signing = request.action in ("sign", "verify")
        answer = prompt.confirm_in_ways(
            configuration.pin_prompts,
            request.question(called),
            event or operation,
            purpose=operation.describe() if is_signing and operation.describe is not None else "",
            seconds=configuration.timeout,
            trusts_environment=configuration.trusts_environment,
            aside=configuration.aside(),
        )
        if answer == prompt.UNANSWERED:
            if operation.is_set():
                raise operation.reason()
            return presence.CANCELLED
        return presence.GRANTED if answer == prompt.CONFIRMED else presence.DENIED

    return ask


def boot_id() -> bytes:
    """Return what differs between two starts of the machine, which are this authenticator's power-ups."""
    try:
        descriptor = posix.open("/proc/sys/kernel/random/boot_id", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b"no boot id"
    try:
        return posix.read(descriptor, 64).strip()
    finally:
        posix.close(descriptor)
