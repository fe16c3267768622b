"""pysk serve: a software security key for the programs of this machine."""

from __future__ import annotations

import shutil
import tempfile
import time

import click

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sk_provider.authenticator.event import Event
    from sk_provider.authenticator.presence import Presence, PresenceRequest
    from sk_provider.device_side.loop import Loop
    from sk_provider.virtual_key.key import VirtualKey

USER_ACTION_TIMEOUT = 30.0  # seconds for a person to answer, CTAP 2.1 §6.1.2
TICK = 0.05  # seconds between two looks at whether the client has cancelled

_ADDRESSES = ("uhid:", "udp:127.0.0.1:8111", "unix:/", "vpcd:", "vpcd:127.0.0.1:35963", "stdio:", "stdio:messages")


def _starting(choices: Iterable[str], incomplete: str) -> list[str]:
    """Return what shells may complete a beginning to."""
    return [choice for choice in choices if choice.startswith(incomplete)]


def _profiles(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from sk_provider.authenticator.profiles import PROFILES

    return _starting(PROFILES, incomplete)


@click.command()
@click.option("--store", "path", metavar="DIR", help="Keep the keys in DIR, which is made if it does not exist.")
@click.option(
    "--profile", "profile_name", metavar="NAME", help="The kind of security key to imitate.", shell_complete=_profiles
)
@click.option(
    "--presence",
    metavar="auto|ask|deny|after:MS",
    default="ask",
    show_default=True,
    shell_complete=lambda _context, _parameter, incomplete: _starting(("auto", "ask", "deny", "after:"), incomplete),
    help="What counts as a touch: nothing is needed, your answer, nothing ever does, or MS milliseconds.",
)
@click.argument(
    "addresses",
    metavar="ADDRESS...",
    nargs=-1,
    required=True,
    shell_complete=lambda _context, _parameter, incomplete: _starting(_ADDRESSES, incomplete),
)
def serve(path: str | None, profile_name: str | None, presence: str, addresses: tuple[str, ...]) -> None:
    """Serve the software authenticator to other programs.

    It is a security key at each ADDRESS until it is interrupted:

    \b
    uhid:                  a USB HID device (/dev/uhid, as root)
    udp:127.0.0.1:8111     CTAPHID reports in UDP datagrams, for root and you
    unix:/path             CTAPHID reports on a Unix socket that only you can use
    vpcd:127.0.0.1:35963   a card in vsmartcard's reader, for every local user
    stdio:                 CTAPHID reports on standard input and output
    stdio:messages         CTAPHID messages on them, without channels and packets

    Once all are served, their addresses are printed in one line. Without --store, the keys are deleted at the end.

    With stdio: standard output is the client's alone, and the end of standard input is the end of all. A message, in
    either direction, is a CTAPHID command (1 byte), the length of its data (2 bytes, big-endian) and the data; INIT
    comes first.

    A NAME of --profile is u2f, fido2.0, fido2.1-pre, fido2.1 (the default), uv, always-uv, pin-for-create, es256-only,
    no-algorithms-field, credential-omitted, small or slow.
    """  # noqa: D301 - click lets lines be where it finds this character
    from sk_provider.authenticator.profiles import DEFAULT, profile
    from sk_provider.authenticator.store import Store
    from sk_provider.device_side.loop import Loop
    from sk_provider.virtual_key.key import VirtualKey

    try:
        asked = _presence(presence)
        what = profile(profile_name or DEFAULT)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    loop = Loop()
    loop.stop_on_signals()  # before there is a temporary store, which a signal must not leave behind
    try:
        temporary = None if path else tempfile.mkdtemp(prefix="pysk-serve-")
    except OSError as error:
        loop.close()
        raise click.ClickException(
            f"no folder can be made for the keys ({error.strerror}); name one with --store, or make room in /tmp"
        ) from None
    try:
        _serve(VirtualKey(Store.create(path or f"{temporary}/store"), asked, what, _say, loop.wake), loop, addresses)
    finally:
        loop.close()
        if temporary:
            shutil.rmtree(temporary)


def _serve(key: VirtualKey, loop: Loop, addresses: tuple[str, ...]) -> None:
    from sk_provider.virtual_key.serving import Serving

    with Serving(key, loop) as serving:
        serving.open(addresses)
        # A client on standard output gets no line in between.
        names = [name for name in serving.names if not name.startswith("stdio:")]
        if names:
            click.echo(f"serving {' '.join(names)}", err=names != serving.names)
        serving.run()


def _say(sentence: str) -> None:
    from sk_provider.reporting import printable

    click.echo(f"pysk: {printable(sentence)}", err=True)


class _UserAction:
    """What ends the waiting for a person: the client's cancelling, or the time that a person has."""

    def __init__(self, event: Event | None) -> None:
        self._event = event
        self._deadline = time.monotonic() + USER_ACTION_TIMEOUT

    def is_set(self) -> bool:
        return self.is_cancelled() or time.monotonic() >= self._deadline

    def is_cancelled(self) -> bool:
        return self._event is not None and self._event.is_set()


def _presence(option: str) -> Presence:
    """Return what asks a person, for auto, deny, after:MS or ask. Raises ValueError if the option is none of them."""
    from sk_provider.authenticator.presence import CANCELLED, DENIED, GRANTED, TIMED_OUT

    if option == "ask":
        return _ask
    if option in ("auto", "deny"):
        answer = GRANTED if option == "auto" else DENIED
        return lambda _request, _event: answer
    kind, _, milliseconds = option.partition(":")
    if kind != "after" or not milliseconds.isdecimal():
        raise ValueError(f"--presence is auto, ask, deny or after:MS, not {option}")

    def after(_request: PresenceRequest, event: Event | None) -> int:
        touched_at = time.monotonic() + int(milliseconds) / 1000
        action = _UserAction(event)
        while time.monotonic() < touched_at:
            if action.is_set():
                return CANCELLED if action.is_cancelled() else TIMED_OUT
            time.sleep(max(0.0, min(TICK, touched_at - time.monotonic())))
        return GRANTED

    return after


def _ask(request: PresenceRequest, event: Event | None) -> int:
    from sk_provider.asking import confirmation as prompt
    from sk_provider.authenticator.presence import CANCELLED, DENIED, GRANTED, TIMED_OUT
    from sk_provider.errors import PresenceDenied

    action = _UserAction(event)
    try:
        answer = prompt.confirm(request.question(), action)
    except PresenceDenied as error:
        _say(str(error))
        return DENIED
    if answer == prompt.UNANSWERED:
        return CANCELLED if action.is_cancelled() else TIMED_OUT
    return GRANTED if answer == prompt.CONFIRMED else DENIED
