"""What the kit finds left behind, besides what its planted faults leave."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile

import pytest

from sk_provider.testing.leftovers import Leftovers, inheritable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO


def deleted_file() -> IO[bytes]:
    """What tempfile.TemporaryFile() returns where files cannot be without a name."""
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return os.fdopen(descriptor, "w+b")


@pytest.mark.parametrize("opened", [tempfile.TemporaryFile, deleted_file])
def test_what_captures_output_may_take_other_descriptors_for_other_files(opened: Callable[[], IO[bytes]]) -> None:
    first = opened()
    before = Leftovers()
    in_the_way = os.dup(first.fileno())
    with opened():
        first.close()
        os.close(in_the_way)
        assert before.found(0) == []


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_what_was_not_closed_is_found(kind: str) -> None:
    before = Leftovers()
    if kind == "file":
        with tempfile.TemporaryFile():
            (found,) = before.found(0)
    else:
        reader, writer = os.pipe()
        (found,) = before.found(0)
        os.close(reader)
        os.close(writer)
    assert found.startswith("file descriptors that were not closed: ")
    assert before.found(0) == []


def test_a_process_that_was_not_waited_for_is_found() -> None:
    before = Leftovers()
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        assert before.found(0) == [f"processes that were not ended, or not waited for: [{process.pid}]"]
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert before.found(0) == [f"processes that were not ended, or not waited for: [{process.pid}]"]
    finally:
        process.kill()
        process.wait()
    assert before.found(0) == []


def test_standard_streams_are_no_descriptors_that_programs_inherit_besides() -> None:
    before = inheritable()
    descriptor = os.dup(0)
    os.set_inheritable(descriptor, True)
    assert inheritable() - before == {descriptor}
    os.close(descriptor)
    assert not inheritable() & {0, 1, 2}


def test_both_ends_of_a_socket_are_named() -> None:
    before = Leftovers()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as connected:
            (found,) = before.found(0)
            assert f" at {connected.getsockname()}, connected to {server.getsockname()}" in found
        assert f" at {server.getsockname()}" in "".join(before.found(0))
    assert before.found(0) == []


def test_a_timeout_of_all_sockets_is_found_whenever_it_was_set() -> None:
    socket.setdefaulttimeout(3)
    try:
        (found,) = Leftovers().found(0)
    finally:
        socket.setdefaulttimeout(None)
    assert found.startswith("a default timeout (socket.setdefaulttimeout())")
