"""pysk reset: making an authenticator forget everything."""

from __future__ import annotations

import sys

import click

# What happened, and what to do, where an authenticator refuses a reset, by its address's scheme.
_LATE_USB = (
    "the authenticator allows a reset only within 10 seconds of being plugged in",
    "unplug it, plug it in and reset it at once",
)
_LATE = {
    "nfc": (
        "the card allows a reset only within 10 seconds of being put on the reader",
        "take it off, put it back and reset it at once",
    ),
    "udp": (
        "the authenticator allows a reset only within 10 seconds of its start",
        "restart the program that serves it and reset it at once",
    ),
    "unix": (
        "pysk share refuses resets, and pysk serve allows one only within 10 seconds of its start",
        "reset it on the machine that it is plugged into, or restart pysk serve and reset it at once",
    ),
}


@click.command()
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def reset(address: str, *, yes: bool) -> None:
    """Delete all keys and the PIN of an authenticator.

    Every key that was enrolled on it stops working for good. Security keys allow a reset only within 10 seconds of
    being plugged in, and wait for a touch.
    """
    from fido2.ctap import CtapError

    from sk_provider import config
    from sk_provider.client import refusal, selection
    from sk_provider.client.fido2_client import errors_translated
    from sk_provider.client.token import Token
    from sk_provider.errors import AuthenticatorError, Unsupported
    from sk_provider.operation import Operation
    from sk_provider.transports import soft, split, tpm

    configuration = config.load()
    operation = Operation(configuration.timeout)
    scheme, location = split(address)
    if scheme in (soft.SCHEME, tpm.SCHEME):
        transport = soft if scheme == soft.SCHEME else tpm
        channel = transport.open(location, configuration, operation, may_create=False, may_reset=True)
        token = Token(channel, address, trace=operation.trace)
    else:
        token = selection.open_for_management(address, configuration, operation)
    try:
        ctap2 = token.open_client(operation)
        if not token.speaks_ctap2:
            raise Unsupported("the authenticator supports U2F only, which has no reset", "use another one")
        if not yes:
            confirm(f"Delete all keys and the PIN of {address}?")
            operation.restart()
        with errors_translated(token, pass_status=True):
            ctap2.reset(event=operation)  # type: ignore[arg-type]  # is_set() is all that is wanted of it
    except CtapError as error:
        if error.code == CtapError.ERR.NOT_ALLOWED:
            raise AuthenticatorError(*_LATE.get(scheme, _LATE_USB)) from None
        raise refusal.error_of(int(error.code), token) from None
    finally:
        token.close()
    click.echo("reset", err=True)


def confirm(question: str) -> None:
    """Ask whether to go on, and end the program if not. Raises InvalidRequest if nobody can be asked."""
    from sk_provider.errors import InvalidRequest

    from .pin import read_line

    if sys.stdin is None:
        raise InvalidRequest("there is no standard input to confirm on", "use a terminal, or add --yes")
    try:
        if sys.stdin.isatty():
            click.confirm(question, abort=True, err=True)
            return
        # The line is ended at once: what is read here is not seen, and what is told then stands on a line of its own.
        click.echo(f"{question} [y/N]", err=True)
        answer = read_line()
    except UnicodeError:
        raise InvalidRequest("the answer is not UTF-8 text", "answer y or n") from None
    except OSError as error:
        raise InvalidRequest(
            f"standard input cannot be read ({error.strerror})", "use a terminal, a pipe or a file"
        ) from None
    if not answer:
        raise InvalidRequest(
            "nobody can confirm: standard input is no terminal, and has no more lines", "use a terminal, or add --yes"
        )
    if answer.strip().lower() not in ("y", "yes"):
        raise click.Abort
