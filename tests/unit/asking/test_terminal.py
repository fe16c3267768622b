"""A terminal shows nothing that is typed as long as a PIN is asked for, and is afterwards as it was."""

from __future__ import annotations

import os
import resource
import termios

from sk_provider.asking import terminal as terminals


def shows_what_is_typed(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def test_a_terminal_is_silent_also_where_no_file_can_be_opened() -> None:
    screen, terminal = os.openpty()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = [shows_what_is_typed(terminal)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with terminals.silent(terminal):
            seen.append(shows_what_is_typed(terminal))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    seen.append(shows_what_is_typed(terminal))
    os.close(screen)
    os.close(terminal)
    assert seen == [True, False, True]
