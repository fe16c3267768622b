"""The faults that other tests plant in a virtual key are those that they are named for."""

from __future__ import annotations

from contextlib import closing
from struct import pack

import pytest
from cryptography.exceptions import InvalidSignature
from fido2.ctap1 import Ctap1
from fido2.ctap2 import Ctap2
from support.card import GET_INFO, SELECT, SELECTION, reader
from support.serve import REPORT_SIZE, connect_udp, connect_unix, open_device, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from fido2.hid import CtapHidDevice

HASH = bytes(32)


def test_token_that_dies_is_gone_after_its_last_packet(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(f"unix:{path}", fault="dies-after:5") as served:
        device = open_device(connect_unix(str(path)))  # two packets
        assert device.ping(b"x") == b"x"  # two more
        with pytest.raises((ConnectionError, BrokenPipeError)):
            device.ping(b"x")
        device.close()
        status, said = served.end()
        assert status == 1
        assert said == "pysk: the token died after 5 packets; serve one that does not\n"
        assert not path.exists()


def test_stuck_token_keeps_alive_for_ever_and_obeys_no_cancel() -> None:
    with serve("udp:127.0.0.1:0", fault="stuck") as served:
        connected = connect_udp(served.address)
        with closing(open_device(connected)) as device:
            assert Ctap2(device).info.versions
            channel = pack(">I", device._channel_id)
            connected.send((channel + b"\x90\x00\x01\x0b").ljust(REPORT_SIZE, b"\0"))
            assert connected.recv(REPORT_SIZE)[:5] == channel + b"\xbb"
            connected.send((channel + b"\x91\x00\x00").ljust(REPORT_SIZE, b"\0"))
            assert [connected.recv(REPORT_SIZE)[4] for _ in range(5)] == [0xBB] * 5


def test_garbage_follows_the_channel_of_every_packet_but_those_of_get_info() -> None:
    with serve("udp:127.0.0.1:0", fault="garbage") as served:
        connected = connect_udp(served.address)
        with closing(open_device(connected)) as device:
            assert Ctap2(device).info.versions
            channel = pack(">I", device._channel_id)
            answers: set[bytes] = set()
            while len(answers) < 3:
                connected.send((channel + b"\x90\x00\x01\x0b").ljust(REPORT_SIZE, b"\0"))
                answer = connected.recv(REPORT_SIZE)
                assert answer[:4] == channel
                # What came before may have been a keep-alive, so that the command still runs.
                if answer[4:] != b"\xbf\x00\x01\x06".ljust(REPORT_SIZE - 4, b"\0"):
                    assert answer not in answers
                    assert any(answer[8:])
                    answers.add(answer)
        with closing(open_device(connect_udp(served.address))) as device:
            assert Ctap2(device).info.versions


def test_garbage_spares_select_and_get_info() -> None:
    with reader(fault="garbage") as card:
        assert card.ask(SELECT) == b"U2F_V2\x90\x00"
        assert card.ask(GET_INFO)[:1] == b"\0"
        answers = set()
        for _ in range(5):
            assert card.ask(SELECT) == b"U2F_V2\x90\x00"
            answers.add(card.ask(SELECTION))
        assert len(answers) > 1


@pytest.fixture
def bad_signer() -> Iterator[CtapHidDevice]:
    with (
        serve("udp:127.0.0.1:0", fault="bad-signature") as served,
        closing(open_device(connect_udp(served.address))) as device,
    ):
        yield device


@pytest.mark.parametrize("algorithm", [-7, -8])
def test_bad_signature_does_not_verify(bad_signer: CtapHidDevice, algorithm: int) -> None:
    ctap2 = Ctap2(bad_signer)
    parameters: Any = [{"type": "public-key", "alg": algorithm}]
    made = ctap2.make_credential(HASH, {"id": "ssh:"}, {"id": b"user"}, parameters).auth_data.credential_data
    assert made is not None
    assertion = ctap2.get_assertion("ssh:", HASH, [{"type": "public-key", "id": made.credential_id}])
    with pytest.raises(InvalidSignature):
        assertion.verify(HASH, made.public_key)


def test_bad_signature_of_u2f_does_not_verify(bad_signer: CtapHidDevice) -> None:
    registration = Ctap1(bad_signer).register(HASH, HASH)
    registration.verify(HASH, HASH)
    signature = Ctap1(bad_signer).authenticate(HASH, HASH, registration.key_handle)
    with pytest.raises(InvalidSignature):
        signature.verify(HASH, HASH, registration.public_key)


@pytest.mark.parametrize("fault", ["nonsense", "stuck:3", "dies-after", "dies-after:x"])
def test_a_fault_that_is_not_known_is_not_taken_for_none(fault: str) -> None:
    with pytest.raises(RuntimeError, match="did not begin"):
        serve("udp:127.0.0.1:0", fault=fault).__enter__()
