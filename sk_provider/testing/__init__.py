"""A kit that tries a transport which somebody has written, by pytest, on the software authenticator.

A transport keeps its promises, those of transport_api, if all cases of a class such as this one pass:

    from sk_provider.testing import ReportConformance, Token

    class TestSerial(ReportConformance):
        scheme = "serial"

        def connect(self, token: Token) -> str:
            return token.terminal()

connect() puts a token behind a location of the transport, and returns that; see Token for the ways to reach it. For a
transport whose authenticator is a program, `shlex.join(token.bridge())` is one, like `pysk serve stdio:`, and with
messages=True like `pysk serve stdio:messages`. Where connect() needs fixtures, a fixture named surroundings takes them,
and keeps them in self.

The classes, each with all cases of the one before:

- SafeConformance: what may be tried with anybody's authenticator: nothing is reset, no PIN is set or entered, no key is
  kept. It wants a method make_location() instead of connect().
- TransportConformance: more, in which a token is slow, silent, dead, or waits for a person who never comes.
- ReportConformance: more, in which reports are wrong, for what carries CTAPHID reports.

What a subclass may set:

- transport: the transport, where its package is not installed. Else it is what the entry point `scheme` names, and is
  tried in ssh-keygen and `pysk try` as well.
- leaves_out: the names of cases that make no sense for it.
- silence: seconds after which it takes an authenticator for dead, 3. grace: seconds in which a wait must end after the
  event is set; a host gives it 1, and the kit 2, for machines that have much to do. patience: seconds that a person has
  where nobody comes, 3. sizes: the messages, in bytes, that must come whole.

No case touches the home of whoever runs it. Calls are made in this process, with a Configuration that was read from no
file. Programs get PYSK_CONFIG with a file of the kit's, and the address by `-O device=` and `pysk try ADDRESS`: what
decides which code is run is never taken from the environment, so that a transport of another package may be named by
nothing else but the pysk_config in the home that the password database knows. Who wants to log in by ssh, which signs
without any option, needs that file, or an account for it.

`pytest -p sk_provider.testing.plugin --token ADDRESS` tries a real authenticator, by the cases that are safe: those of
such classes, or with `--pyargs sk_provider.testing.in_hand` those of this package. Some want a touch, and say so.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"sk_provider.testing.{name}" for name in ("conformance", "messages", "waiting")))

from .conformance import ReportConformance, SafeConformance, TransportConformance  # noqa: E402 - rewritten by then
from .token import Token, Unplugged  # noqa: E402

__all__ = ["ReportConformance", "SafeConformance", "Token", "TransportConformance", "Unplugged"]
