from __future__ import annotations

import os
import socket
import sys
from contextlib import closing

import pytest

from sk_provider import peers

US = {os.geteuid()}


def bound(host: str, port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind((host, port))
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::"])
def test_a_socket_that_gets_what_is_sent_to_an_address_has_an_owner(host: str) -> None:
    with closing(bound(host)) as listening, closing(bound("127.0.0.1")) as sender:
        port = listening.getsockname()[1]
        sender.sendto(b"it does", ("127.0.0.1", port))
        assert listening.recv(100) == b"it does"
        assert peers.udp_owners(port, "127.0.0.1") == US
        assert peers.udp_owners(port) == US


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_who_listens_on_a_port_is_told_and_not_who_is_connected_to_it(host: str) -> None:
    with closing(socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)) as server:
        port = server.getsockname()[1]
        assert peers.tcp_listeners(port) == US
        connected = socket.create_connection((host, port))
        accepted, _ = server.accept()
    with closing(connected), closing(accepted):
        assert peers.tcp_listeners(port) == set()


@pytest.mark.parametrize("host", ["127.0.0.2", "::ffff:127.0.0.2"])
def test_a_socket_on_another_address_gets_nothing_and_may_yet_be_a_sender(host: str) -> None:
    with closing(bound(host)) as listening:
        port = listening.getsockname()[1]
        assert peers.udp_owners(port, "127.0.0.1") == set()
        assert peers.udp_owners(port) == US


def test_a_socket_that_is_connected_to_a_port_is_not_on_it() -> None:
    with closing(bound("127.0.0.1")) as closed:
        address = closed.getsockname()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as connected:
        connected.connect(address)
        assert peers.udp_owners(address[1]) == set()
        assert peers.udp_owners(connected.getsockname()[1], "127.0.0.1") == US


def test_each_socket_of_many_is_found() -> None:
    sockets = [bound("127.0.0.1") for _ in range(300)]  # more than one read of the table returns
    try:
        assert all(peers.udp_owners(each.getsockname()[1], "127.0.0.1") == US for each in sockets)
    finally:
        for each in sockets:
            each.close()


def test_root_and_we_are_no_strangers() -> None:
    assert peers.strangers({0, os.geteuid(), 12345, 54321}) == [12345, 54321]
    assert peers.strangers(set()) == []


def test_without_the_tables_nothing_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_TABLES", ("/nowhere/udp", "/proc/net/udp6"))
    with pytest.raises(FileNotFoundError):
        peers.udp_owners(1)


def test_a_system_without_ipv6_has_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_TABLES", ("/proc/net/udp", "/nowhere/udp6"))
    with closing(bound("127.0.0.1")) as listening:
        assert peers.udp_owners(listening.getsockname()[1], "127.0.0.1") == US


def test_elsewhere_than_on_linux_we_are_taken_for_the_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "freebsd14")
    assert peers.udp_owners(1) == US
