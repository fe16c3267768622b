"""A virtual key with a fault, of the same parts as a sound one; as a program it serves as `pysk serve` does.

attests-itself   it has no certificate: a new key attests itself (WebAuthn §8.2)
attests-nothing  the format of its attestations is "none"
bad-signature    what it signs does not verify
dies-after:N     it is gone once so many packets have come and left
garbage          all that it says but its channel is random, except about getInfo
stuck            it answers nothing but getInfo, and hears no cancelling
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from typing import Any, TypeVar

from sk_provider.authenticator.profiles import DEFAULT, profile
from sk_provider.authenticator.store import Store
from sk_provider.cli.serve import _presence, _say
from sk_provider.ctap import apdu, cbor, commands, status
from sk_provider.ctap.framing import CBOR, INIT_PACKET, KEEPALIVE, MSG, REPORT_SIZE
from sk_provider.device_side.errors import ServeError
from sk_provider.device_side.hid import HidServer
from sk_provider.device_side.job import Job
from sk_provider.device_side.loop import Loop
from sk_provider.device_side.udp import UdpServer
from sk_provider.device_side.uhid import UhidServer
from sk_provider.device_side.unix import UnixServer
from sk_provider.device_side.vpcd import VpcdServer
from sk_provider.errors import StoreUnusable
from sk_provider.virtual_key.key import VirtualKey
from sk_provider.virtual_key.serving import Serving

FAULTS = ("", "attests-itself", "attests-nothing", "bad-signature", "dies-after", "garbage", "stuck")
ENGINE_COMMANDS = (INIT_PACKET | MSG, INIT_PACKET | CBOR, INIT_PACKET | KEEPALIVE)
NO_ERROR = apdu.SW_SUCCESS.to_bytes(2, "big")
SIGNATURE = 3  # the member of an assertion

AnyServer = TypeVar("AnyServer")


class FaultyKey(VirtualKey):
    """A key with a fault, or with none."""

    def __init__(self, fault: str, *arguments: Any) -> None:
        """Name the fault; the arguments are VirtualKey's."""
        self._fault, _, number = fault.partition(":")
        self._last_packet = int(number or 0)
        if self._fault not in FAULTS or bool(number) != (self._fault == "dies-after"):
            raise ValueError(f"there is no fault {fault}")
        self._packets = 0
        self._is_about_get_info = False
        super().__init__(*arguments)

    def start(self, caller: object, command: int, data: bytes) -> Job:
        self._is_about_get_info = command == CBOR and data == bytes([commands.GET_INFO])
        if self._fault == "stuck" and not self._is_about_get_info:
            return Job(command, data)
        return super().start(caller, command, data)

    def answer(self, authenticator: Any, caller: object, command: int, data: bytes, *more: Any) -> bytes:
        response = super().answer(authenticator, caller, command, data, *more)
        if self._fault in ("attests-itself", "attests-nothing"):
            return with_another_attestation(
                authenticator, command, data, response, signs=self._fault == "attests-itself"
            )
        return with_bad_signature(command, data, response) if self._fault == "bad-signature" else response

    def count_packet(self) -> None:
        """Note that a packet came or is to leave. Raises ServeError if it is the last."""
        self._packets += 1
        if self._fault == "dies-after" and self._packets >= self._last_packet:
            raise ServeError(f"the token died after {self._packets} packets", "serve one that does not")

    def spoil(self, packet: bytes) -> bytes:
        """Return what to send instead of what is said about the command that came last."""
        return os.urandom(len(packet)) if self._fault == "garbage" and not self._is_about_get_info else packet


def with_another_attestation(authenticator: Any, command: int, data: bytes, response: bytes, *, signs: bool) -> bytes:
    """Return the response to a command with another attestation, by the new key or none, if there is one in it."""
    if command != CBOR or data[0] != commands.MAKE_CREDENTIAL or response[0] != status.SUCCESS:
        return response
    made: Any = cbor.decode(response[1:], canonical=True)
    if not signs:
        return response[:1] + cbor.encode({**made, 1: "none", 3: {}})
    request: Any = cbor.decode(data[1:])
    authenticator_data = made[2]
    length = int.from_bytes(authenticator_data[53:55], "big")
    power_up = authenticator.power_up
    keeper = power_up.keeper(power_up.store.read())
    key = keeper.open(authenticator_data[55 : 55 + length], authenticator_data[:32])
    statement = {"alg": key.public_key()[3], "sig": key.sign(authenticator_data + request[1])}
    return response[:1] + cbor.encode({**made, 3: statement})


def with_bad_signature(command: int, data: bytes, response: bytes) -> bytes:
    """Return the response to a command with another signature, if there is one in it."""
    if command == MSG:
        if data[1] != apdu.INS_AUTHENTICATE or response[-2:] != NO_ERROR:
            return response
        return spoilt(response[:-2]) + NO_ERROR
    if data[0] not in (commands.GET_ASSERTION, commands.GET_NEXT_ASSERTION) or response[0] != status.SUCCESS:
        return response
    assertion: Any = cbor.decode(response[1:], canonical=True)
    return response[:1] + cbor.encode({**assertion, SIGNATURE: spoilt(assertion[SIGNATURE])})


def spoilt(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


class FaultyHidServer(HidServer[Any]):
    key: FaultyKey

    def receive(self, untrusted_report: bytes, peer: Any) -> None:
        if len(untrusted_report) == REPORT_SIZE:
            self.key.count_packet()
        super().receive(untrusted_report, peer)

    def send(self, report: bytes, peer: Any) -> None:
        self.key.count_packet()
        is_from_engine = report[4] in ENGINE_COMMANDS or not report[4] & INIT_PACKET
        super().send(report[:4] + self.key.spoil(report[4:]) if is_from_engine else report, peer)


class FaultyVpcdServer(VpcdServer):
    key: FaultyKey
    is_selecting = False

    def receive(self, untrusted_apdu: bytes) -> None:
        self.key.count_packet()
        self.is_selecting = untrusted_apdu[1:2] == bytes([apdu.INS_SELECT])
        super().receive(untrusted_apdu)

    def send(self, response: bytes) -> None:
        self.key.count_packet()
        super().send(response if self.is_selecting else self.key.spoil(response))


def planted(faulty: type[Any], server: type[AnyServer], key: FaultyKey) -> type[AnyServer]:
    """Return a class of servers that is faulty as the key is."""
    planted: type[AnyServer] = type(f"Faulty{server.__name__}", (faulty, server), {"key": key})
    return planted


class FaultyServing(Serving):
    """Serves a key by servers that are as faulty."""

    def __init__(self, key: FaultyKey, loop: Loop) -> None:
        super().__init__(key, loop)
        self.uhid_server = planted(FaultyHidServer, UhidServer, key)
        self.unix_server = planted(FaultyHidServer, UnixServer, key)
        self.udp_server = planted(FaultyHidServer, UdpServer, key)
        self.vpcd_server = planted(FaultyVpcdServer, VpcdServer, key)


def main() -> int:
    parser = argparse.ArgumentParser()
    for option in ("--fault", "--store", "--profile", "--presence"):
        parser.add_argument(option)
    parser.add_argument("addresses", nargs="+")
    asked = parser.parse_args()
    loop = Loop()
    loop.stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="pysk-serve-") as temporary:
        try:
            store = Store.create(asked.store or f"{temporary}/store")
            what = profile(asked.profile or DEFAULT)
            key = FaultyKey(asked.fault, store, _presence(asked.presence), what, _say, loop.wake)
            with FaultyServing(key, loop) as serving:
                serving.open(tuple(asked.addresses))
                sys.stdout.write(f"serving {' '.join(serving.names)}\n")
                sys.stdout.flush()
                serving.run()
        except (ServeError, StoreUnusable) as error:
            _say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
