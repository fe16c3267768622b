"""The command pysk: what ssh has no way to do for an authenticator."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading

import click

from sk_provider import __version__, third_party
from sk_provider.errors import SecurityKeyError
from sk_provider.reporting import printable

from .attest import attest
from .devices import devices
from .directory import directory
from .doctor import doctor
from .forget import forget
from .keys import keys
from .path import path
from .pin import pin
from .reset import reset
from .seal import seal, unseal
from .serve import serve
from .share import share
from .try_ import try_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_STDOUT, _STDERR = 1, 2


def _keep_streams() -> None:
    """Open /dev/null where a standard stream is closed, so that no socket or file of ours gets its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _end_as_by_ctrl_c() -> None:
    """Have other signals end the program by an exception too: then an authenticator is told to stop blinking."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)
    # asking.child can tell it from the handler of Python, which is named also where it was never put in place.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class _Output(io.FileIO):
    """Standard output, where what comes after a failure goes nowhere, so that it is told once."""

    _has_failed = False

    def write(self, data: Any) -> int:
        if self._has_failed:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            # Whoever has read enough, such as head, needs no sentence; click ends the program.
            self._has_failed = True
            raise
        except OSError as error:
            self._has_failed = True
            raise click.ClickException(
                f"standard output cannot be written ({error.strerror}); redirect it elsewhere"
            ) from None


def _check_output() -> None:
    """Have a failure to write to standard output told, also where that is closed."""
    stream = sys.stdout
    if stream is not sys.__stdout__:
        return
    # What is open for reading only fails as what is closed does.
    descriptor = os.open(os.devnull, os.O_RDONLY) if stream is None else _STDOUT
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor, "w", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors=getattr(stream, "errors", "strict"),
    )


def _tell(error: click.ClickException) -> None:
    """Tell a failure of click's as every other one is told, which click would have begin with another word."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if not isinstance(error, click.UsageError):
        click.echo(f"pysk: {printable(error.format_message())}", err=True)
        return
    if error.ctx is not None:
        click.echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
    # Which choices there are stands on lines of their own.
    click.echo(f"pysk: {error.format_message()}", err=True)


def _tell_of_what_runs_beside() -> None:
    """Have what fails where nobody waits for it told in a sentence: Python would print it with its values."""

    def tell(failure: Any) -> None:
        error = third_party.blame_beside(failure)
        if error is not None:
            click.echo(f"pysk: {printable(str(error))}", err=True)

    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = tell
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = tell


def _end_without_waiting(status: Any) -> None:
    """End the program if Python might first wait for a thread, which another package has begun and may go on.

    status: see SystemExit.
    """
    # concurrent.futures has Python wait for daemons of its own, too.
    others = [each for each in threading.enumerate() if each is not threading.main_thread()]
    if status is None:
        status = 0
    if others and isinstance(status, int):
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except OSError:
                pass
            except click.ClickException as error:
                _tell(error)
                status = error.exit_code
        os._exit(status)


class _Commands(click.Group):
    """Tells a failure as ssh's programs do: one line, and a status that is not 0."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        _keep_streams()
        _check_output()
        _tell_of_what_runs_beside()
        spared = third_party.children()
        options["standalone_mode"] = False
        try:
            sys.exit(super().main(*arguments, **options))
        except click.ClickException as error:
            _tell(error)
            status = error.exit_code
        except click.Abort:
            click.echo("Aborted!", err=True)
            status = 1
        except SystemExit as end:
            status = end.code  # type: ignore[assignment]
        if third_party.was_loaded:
            third_party.end_children(spared)
            _end_without_waiting(status)
        sys.exit(status)

    def invoke(self, context: click.Context) -> object:
        _end_as_by_ctrl_c()
        try:
            return super().invoke(context)
        except SecurityKeyError as error:
            sentence = str(error)
        except ImportError as error:
            sentence = f"a Python package cannot be loaded ({error}); reinstall libpysk"
        click.echo(f"pysk: {printable(sentence)}", err=True)
        raise click.exceptions.Exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pysk")
@click.option("--trace", is_flag=True, help="Print on stderr, without secrets, each message and each decision.")
@click.pass_context
def main(context: click.Context, *, trace: bool) -> None:
    """Manage FIDO authenticators (security keys) for OpenSSH.

    ADDRESS names an authenticator, such as usb:, nfc:, soft: or /dev/hidraw3; libpysk(8) lists all forms. Without one,
    the Device line of pysk_config(5) applies, or else the security key that is plugged in is used.
    """
    if trace:
        _trace(context)


def _trace(context: click.Context) -> None:
    """Have all operations of a command told on standard error."""
    from sk_provider.operation import Operation
    from sk_provider.trace import stderr_trace

    Operation.trace = third_party.trace = stderr_trace("pysk")

    @context.call_on_close
    def _end() -> None:
        Operation.trace = third_party.trace = None


for command in (attest, devices, directory, doctor, forget, keys, path, pin, reset, seal, serve, share, try_, unseal):
    main.add_command(command)

if "_PYSK_COMPLETE" in os.environ:
    from .completion import complete_values

    complete_values(main)
