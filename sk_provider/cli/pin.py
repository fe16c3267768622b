"""pysk pin: setting, changing and looking at an authenticator's PIN."""

from __future__ import annotations

import sys
from contextlib import contextmanager

import click

from .output import json_option, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fido2.ctap2.pin import ClientPin

    from sk_provider.client.token import Token
    from sk_provider.operation import Operation


_MAX_LINE = 4096
"""Characters of a line of standard input."""


@click.group()
def pin() -> None:
    """Set or change an authenticator's PIN, or show its status.

    PINs are asked for on the terminal. If standard input is not a terminal, they are read from it, one on each line.
    """


@pin.command("set")
@click.argument("address", required=False)
def set_pin(address: str | None) -> None:
    """Set the first PIN of an authenticator."""
    from sk_provider.client.fido2_client import errors_translated
    from sk_provider.client.refusal import command
    from sk_provider.errors import PinInvalid

    with _client_pin(address, may_create=True) as (client_pin, token, operation):
        if client_pin.ctap.info.options.get("clientPin"):
            raise PinInvalid("the authenticator already has a PIN", f"change it with: {command('pin change', token)}")
        new = _read_new_pin(client_pin)
        operation.restart()
        with errors_translated(token):
            client_pin.set_pin(new)
    click.echo("PIN set", err=True)


@pin.command()
@click.argument("address", required=False)
def change(address: str | None) -> None:
    """Change the PIN of an authenticator."""
    from fido2.ctap import CtapError

    from sk_provider.client.fido2_client import errors_translated
    from sk_provider.client.pin import error_of_refused_pin, normalize
    from sk_provider.client.refusal import blocked_error, set_a_pin
    from sk_provider.errors import PinNotSet

    with _client_pin(address, may_create=False) as (client_pin, token, operation):
        if not client_pin.ctap.info.options.get("clientPin"):
            raise PinNotSet("the authenticator has no PIN", set_a_pin(token))
        with errors_translated(token):
            retries, wants_power_cycle = client_pin.get_pin_retries()
        blocked = blocked_error(retries, token, needs_power_cycle=bool(wants_power_cycle))
        if blocked is not None:
            raise blocked
        old = normalize(read_secret("Current PIN"))
        operation.restart()
        try:
            with errors_translated(token, pass_status=True):
                _refuse_wrong_pin(client_pin, old)
            new = _read_new_pin(client_pin)
            operation.restart()
            with errors_translated(token, pass_status=True):
                client_pin.change_pin(old, new)
        except CtapError as error:
            raise error_of_refused_pin(client_pin, error, token) from None
    click.echo("PIN changed", err=True)


@pin.command()
@click.argument("address", required=False)
@json_option
def status(address: str | None, *, as_json: bool) -> None:
    """Print whether a PIN is set, and how many tries are left.

    --json prints an object with the members is_set, tries_left (null without a PIN) and wants_power_cycle (whether no
    PIN is accepted until the next power-up).
    """
    from sk_provider.client.fido2_client import errors_translated
    from sk_provider.client.pin import tries_left

    retries, wants_power_cycle = None, None
    with _client_pin(address, may_create=False) as (client_pin, token, _):
        is_set = bool(client_pin.ctap.info.options.get("clientPin"))
        if is_set:
            with errors_translated(token):
                retries, wants_power_cycle = client_pin.get_pin_retries()
    if as_json:
        print_json({"is_set": is_set, "tries_left": retries, "wants_power_cycle": bool(wants_power_cycle)})
    elif retries is None:
        click.echo("no PIN is set")
    elif not retries:
        click.echo("the PIN is blocked")
    elif wants_power_cycle:
        click.echo(f"a PIN is set, {tries_left(retries)}, blocked until the next power-up")
    else:
        click.echo(f"a PIN is set, {tries_left(retries)}")


@contextmanager
def _client_pin(address: str | None, *, may_create: bool) -> Iterator[tuple[ClientPin, Token, Operation]]:
    from sk_provider import config
    from sk_provider.client import selection
    from sk_provider.client.pin import open_client_pin
    from sk_provider.errors import Unsupported
    from sk_provider.operation import Operation

    configuration = config.load()
    operation = Operation(configuration.timeout)
    token = selection.open_for_management(address, configuration, operation, may_create=may_create)
    try:
        ctap2 = token.open_client(operation)
        if "clientPin" not in ctap2.info.options:
            raise Unsupported("the authenticator does not support PINs", "use one that does")
        yield open_client_pin(ctap2), token, operation
    finally:
        token.close()


def _refuse_wrong_pin(client_pin: ClientPin, pin: str) -> None:
    """Have a wrong PIN cost its try before another is entered twice. Raises CtapError if it is refused."""
    from fido2.ctap import CtapError

    # One that must be changed is good for nothing else.
    if client_pin.ctap.info.force_pin_change:
        return
    try:
        client_pin.get_pin_token(pin)
    except CtapError as error:
        if error.code in (CtapError.ERR.PIN_INVALID, CtapError.ERR.PIN_AUTH_BLOCKED, CtapError.ERR.PIN_BLOCKED):
            raise


def _read_new_pin(client_pin: ClientPin) -> str:
    from sk_provider.client.pin import normalize
    from sk_provider.errors import PinInvalid

    new = normalize(read_secret("New PIN"), client_pin.ctap.info.min_pin_length)
    if sys.stdin.isatty() and normalize(read_secret("New PIN again")) != new:
        raise PinInvalid("the two PINs differ", "try again")
    return new


def read_line() -> str:
    """Return the next line of standard input, "" if there is none.

    Raises InvalidRequest if it is longer than _MAX_LINE characters, UnicodeError, and OSError.
    """
    from sk_provider.errors import InvalidRequest

    line = sys.stdin.readline(_MAX_LINE + 1)
    if len(line) > _MAX_LINE:
        raise InvalidRequest(
            f"a line of standard input has more than {_MAX_LINE} characters", "write there what is asked for alone"
        )
    return line


def read_secret(prompt: str, what: str = "PIN") -> str:
    """Ask for a PIN, or what else it is, on the terminal, without showing it; where standard input is none, return its
    next line.

    Raises InvalidRequest if it cannot be read, and PinInvalid if it is no text.
    """
    from sk_provider.client.pin import not_text_error
    from sk_provider.errors import InvalidRequest

    if sys.stdin is None:
        raise InvalidRequest(f"there is no standard input to read the {what} from", "use a terminal, a pipe or a file")
    try:
        if sys.stdin.isatty():
            answer: str = click.prompt(prompt, hide_input=True, err=True)
            return answer
        line = read_line()
    except UnicodeError:
        raise not_text_error() from None
    except OSError as error:
        raise InvalidRequest(
            f"standard input cannot be read ({error.strerror})", "use a terminal, a pipe or a file"
        ) from None
    if not line:
        raise InvalidRequest(
            f"no {what} can be read: standard input is no terminal, and has no more lines",
            f"use a terminal, or write the {what} to standard input",
        )
    return line.rstrip("\n")
