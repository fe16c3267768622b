"""What other users of the machine cannot do; the virtual machine is where a test may always be another user."""

from __future__ import annotations

import os
import socket
import tempfile

from support.openssh import Person, provider_lines

NOBODY = 65534


def test_a_socket_that_another_user_made_is_refused(person: Person) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, socket.socket(socket.AF_UNIX) as listener:
        os.chown(folder, NOBODY, -1)
        path = f"{folder}/socket"
        os.seteuid(NOBODY)
        try:
            listener.bind(path)
            listener.listen()
        finally:
            os.seteuid(0)
        done, _ = person.enroll("id", "ed25519-sk", f"device=unix:{path}")
    assert done.status != 0
    assert provider_lines(done.errors) == [f"libpysk: unix:{path} belongs to user {NOBODY}; use a socket of your own"]
