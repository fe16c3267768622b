"""How the cases call what may not end, or may end the process, and in what it must end."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import warnings

import pytest

from sk_provider.ctap import status
from sk_provider.errors import Interrupted, SecurityKeyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")

_TICK = 0.02
ANSWER_PATIENCE = 20.0
"""Seconds for what takes milliseconds, on a machine that has much to do."""


class Begun:
    """A function that was called in a thread, as the host does it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._results: list[Any] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._thread.start()

    def _call(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            self._errors.append(error)

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return not self._thread.is_alive()

    def result(self, what: str, seconds: float) -> Any:
        """Return what it returns, or raise what it raises; fail if it does not end in time. what: its name."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            pytest.fail(f"{what} has not ended within {seconds:.1f} s")
        if self._errors:
            raise self._errors.pop()
        return self._results[0]


def within(seconds: float, what: str, function: Callable[[], Result]) -> Result:
    """Return what a function returns, which is called in a thread; fail if it does not end in time."""
    result: Result = Begun(function).result(what, seconds)
    return result


def outcome_of(function: Callable[[], Any], seconds: float | None = None) -> Any:
    """Return what a function returns, or raises of what is documented; fail if it does not end in so many seconds."""
    try:
        return function() if seconds is None else within(seconds, "what was begun", function)
    except SecurityKeyError as error:
        return error


def in_words(outcome: object) -> str:
    """Return what became of something, as outcome_of() has it, in a line."""
    if isinstance(outcome, BaseException):
        return f"it raised {type(outcome).__name__} ({outcome})"
    return f"it returned {outcome!r}"


def check_sentence(error: object) -> None:
    """Check that an error can be shown to a person: what happened, and what to do, each in one line."""
    assert isinstance(error, SecurityKeyError), f"it must fail, and did not: {in_words(error)}"
    for part in (error.happened, error.remedy):
        assert part, f"{type(error).__name__} has nothing to say"
        assert isinstance(part, str)
        assert "\n" not in part


def check_called_off(outcome: object, kind: type[SecurityKeyError] = Interrupted) -> None:
    """Check that a wait ended with the event's reason, or that the authenticator itself has said so."""
    if isinstance(outcome, bytes) and outcome[:1] == bytes([status.KEEPALIVE_CANCEL]):
        return
    check_sentence(outcome)
    assert isinstance(outcome, kind), f"{type(outcome).__name__} is not the event's reason, which is {kind.__name__}"


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something holds; fail with what is wrong if it does not after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(_TICK)


def in_a_fork(function: Callable[[], object]) -> bool:
    """Return whether a function succeeds in a forked process, which ends at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are threads, which a host has too
        child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:  # noqa: BLE001 - nothing of the tests must go on in this process
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + ANSWER_PATIENCE
    while time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            return code == 0
        time.sleep(_TICK)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def run(command: list[str], environment: dict[str, str]) -> str:
    """Run a program that must succeed, and return what it printed; fail with what it said if it does not."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout}{done.stderr}"
    return done.stdout
