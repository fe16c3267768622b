"""Ctrl-C while tokens on /dev/hidraw blink: all of them stop, and the programs end."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

import pytest
from support.openssh import Person
from support.plugged import NEVER, NotingServer, Plugged
from support.processes import interrupt
from support.serve import wait_until

from sk_provider.authenticator.profiles import DEFAULT
from sk_provider.authenticator.store import Store


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([["init", "info", "make"]], id="enrollment"),
        # Either is asked for a touch, by a command that makes no key.
        pytest.param([["init", "make"]] * 2, id="choice-of-two"),
    ],
)
def test_an_interrupted_wait_ends_at_once_and_no_token_keeps_blinking(
    person: Person, messages: list[list[str]]
) -> None:
    with ExitStack() as stack:
        tokens = []
        for number in range(len(messages)):
            store = person.folder / f"store{number}"
            Store.create(str(store))
            tokens.append(stack.enter_context(Plugged(NotingServer, store, DEFAULT, NEVER)))
        process = subprocess.Popen(
            ["ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", person.folder / "id"],
            env=person.environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until(lambda: all(token.is_blinking for token in tokens), "the blinking")
        interrupt(process)
        assert process.returncode != 0
        wait_until(lambda: not any(token.is_blinking for token in tokens), "the end of the blinking")
        assert [token.server.messages for token in tokens] == [[*sent, "cancel"] for sent in messages]
