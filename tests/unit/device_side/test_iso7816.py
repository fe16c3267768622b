from __future__ import annotations

import os
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.soft_token import FUZZ_EXAMPLES

from sk_provider.ctap.apdu import AID, Apdu
from sk_provider.ctap.framing import CBOR, MSG, STATUS_PROCESSING, STATUS_UPNEEDED
from sk_provider.device_side.iso7816 import Applet
from sk_provider.device_side.job import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SELECT = bytes.fromhex("00a4040008") + AID
MAX_MESSAGE = 7609

SUCCESS = 0x9000
KEEPALIVE = 0x9100
WRONG_LENGTH = 0x6700
CONDITIONS = 0x6985
NOT_FOUND = 0x6A82
WRONG_P1P2 = 0x6A86
INSTRUCTION = 0x6D00
CLASS = 0x6E00


class Reader:
    """A reader with a card in it whose commands the test completes by hand."""

    def __init__(self, capabilities: int = 0x04) -> None:
        self.now = 1000.0
        self.jobs: list[Job] = []
        self.callers: list[object] = []
        self.announced = capabilities
        self.applet = Applet(capabilities, lambda: self.announced, self._start)
        assert self.send(SELECT + b"\0")[1] == SUCCESS

    def _start(self, caller: object, command: int, data: bytes) -> Job:
        self.callers.append(caller)
        self.jobs.append(Job(command, data))
        return self.jobs[-1]

    def raw(self, apdu: bytes) -> bytes | None:
        return self.applet.receive(apdu, self.now)

    def send(self, apdu: bytes, engine: bytes | None = None) -> tuple[bytes, int]:
        """Send a command and take its response; engine is what the engine answers, when it is asked."""
        response = self.raw(apdu)
        if response is None:
            assert engine is not None
            self.jobs[-1].response = engine
            response = self.applet.poll(self.now)
            assert response is not None
        return response[:-2], int.from_bytes(response[-2:], "big")

    def wait(self, seconds: float) -> tuple[bytes, int] | None:
        self.now += seconds
        response = self.applet.poll(self.now)
        return None if response is None else (response[:-2], int.from_bytes(response[-2:], "big"))


@pytest.fixture
def reader() -> Reader:
    return Reader()


def short(header: str, data: bytes, le: bytes = b"\0") -> bytes:
    return bytes.fromhex(header) + bytes([len(data)]) + data + le


def extended(header: str, data: bytes, le: bytes = b"\0\0") -> bytes:
    return bytes.fromhex(header) + b"\0" + pack(">H", len(data)) + data + le


@pytest.mark.parametrize(
    ("raw", "data", "le", "is_extended"),
    [
        ("00a40400", "", 0, False),
        ("00a4040000", "", 256, False),
        ("00a4040007", "", 7, False),
        ("00a4040002aabb", "aabb", 0, False),
        ("00a4040002aabb00", "aabb", 256, False),
        ("00a4040002aabb10", "aabb", 16, False),
        ("00a40400000000", "", 65536, True),
        ("00a40400000100", "", 256, True),
        ("00a40400000002aabb", "aabb", 0, True),
        ("00a40400000002aabb0000", "aabb", 65536, True),
        ("00a40400000000" + "0000", "", 65536, True),
    ],
)
def test_apdu_is_read_in_each_of_its_forms(raw: str, data: str, le: int, is_extended: bool) -> None:
    apdu = Apdu(bytes.fromhex(raw))
    assert (apdu.data.hex(), apdu.le, apdu.is_extended) == (data, le, is_extended)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "00",
        "00a404",
        "00a4040003aabb",
        "00a4040001aabbcc",
        "00a404000000",
        "00a40400000003aabb",
        "00a404000000aabb00",
    ],
)
def test_apdu_whose_lengths_do_not_fit_is_a_wrong_length(reader: Reader, raw: str) -> None:
    assert reader.send(bytes.fromhex(raw)) == (b"", WRONG_LENGTH)


@pytest.mark.parametrize(("capabilities", "version"), [(0x04, b"U2F_V2"), (0x0C, b"FIDO_2_0"), (0x00, b"U2F_V2")])
def test_select_tells_u2f_from_fido2_alone(capabilities: int, version: bytes) -> None:
    reader = Reader(capabilities)
    assert reader.send(SELECT) == (version, SUCCESS)
    assert reader.send(SELECT + b"\0") == (version, SUCCESS)
    assert reader.send(extended("00a40400", AID)) == (version, SUCCESS)
    assert reader.send(short("00a4040c", AID, b"")) == (b"", SUCCESS)


def test_select_tells_what_the_token_announces_at_the_moment(reader: Reader) -> None:
    reader.announced = 0x0C
    assert reader.send(SELECT) == (b"FIDO_2_0", SUCCESS)
    assert reader.send(bytes.fromhex("00030000"), b"\x69\x86") == (b"", 0x6986)
    reader.announced = 0x04
    assert reader.send(SELECT) == (b"U2F_V2", SUCCESS)


def test_select_of_another_applet_ends_ours(reader: Reader) -> None:
    assert reader.send(short("00a40400", AID + b"1234")) == (b"", NOT_FOUND)
    assert reader.send(short("80108000", b"\x04")) == (b"", INSTRUCTION)
    assert reader.send(SELECT)[1] == SUCCESS


@pytest.mark.parametrize("header", ["00a40000", "00a40401", "00a40402"])
def test_select_by_anything_but_a_name_is_refused(reader: Reader, header: str) -> None:
    assert reader.send(short(header, AID)) == (b"", WRONG_P1P2)


def test_nothing_works_before_select() -> None:
    reader = Reader()
    reader.applet.reset()
    for apdu in (short("80108000", b"\x04"), bytes.fromhex("00030000"), bytes.fromhex("80110000")):
        assert reader.send(apdu) == (b"", INSTRUCTION)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("00000400", INSTRUCTION),
        ("00200000", INSTRUCTION),
        ("80200000", INSTRUCTION),
        ("80030000", INSTRUCTION),
        ("40100000", CLASS),
        ("84100000", CLASS),
        ("ff100000", CLASS),
        ("01a40400", 0x6881),
        ("04a40400", 0x6882),
        ("0ca40400", 0x6882),
        ("80100100", WRONG_P1P2),
        ("80108001", WRONG_P1P2),
        ("80110100", WRONG_P1P2),
        ("80120000", WRONG_P1P2),
    ],
)
def test_what_the_applet_does_not_know_has_its_status_word(reader: Reader, header: str, status: int) -> None:
    assert reader.send(short(header, b"\x04")) == (b"", status)
    assert reader.jobs == []


def test_token_without_ctap2_knows_no_ctap_class() -> None:
    assert Reader(0x00).send(short("80108000", b"\x04")) == (b"", CLASS)


def test_token_without_u2f_knows_no_u2f_instruction() -> None:
    assert Reader(0x0C).send(bytes.fromhex("00030000")) == (b"", INSTRUCTION)


def test_ctap_command_in_a_short_apdu_has_its_response(reader: Reader) -> None:
    assert reader.send(short("80100000", b"\x04"), b"\x00info") == (b"\x00info", SUCCESS)
    assert (reader.jobs[0].command, reader.jobs[0].data) == (CBOR, b"\x04")


def test_ctap_error_is_still_a_success_of_the_apdu(reader: Reader) -> None:
    assert reader.send(short("80108000", b"\x01\xa0"), b"\x14") == (b"\x14", SUCCESS)


def test_ctap_command_wants_data(reader: Reader) -> None:
    assert reader.send(bytes.fromhex("80108000")) == (b"", WRONG_LENGTH)


def test_chained_command_is_put_together(reader: Reader) -> None:
    request = os.urandom(600)
    assert reader.send(short("90108000", request[:250], b"")) == (b"", SUCCESS)
    assert reader.send(short("90108000", request[250:500], b"")) == (b"", SUCCESS)
    assert reader.send(short("80108000", request[500:]), b"\x00") == (b"\x00", SUCCESS)
    assert reader.jobs[0].data == request


def test_chain_that_another_command_interrupts_is_forgotten(reader: Reader) -> None:
    reader.send(short("90108000", b"abc", b""))
    reader.send(bytes.fromhex("0003000000"), b"U2F_V2\x90\x00")
    reader.send(short("80108000", b"\x04"), b"\x00")
    assert reader.jobs[-1].data == b"\x04"


def test_select_is_not_chained_and_so_begins_anew_whatever_came_before(reader: Reader) -> None:
    assert reader.send(short("10a40400", AID[:4], b"")) == (b"", 0x6884)
    assert reader.send(SELECT) == (b"U2F_V2", SUCCESS)
    assert reader.send(short("90108000", b"abc", b"")) == (b"", SUCCESS)
    assert reader.send(SELECT) == (b"U2F_V2", SUCCESS)
    reader.send(short("80108000", b"\x04"), b"\x00")
    assert reader.jobs[-1].data == b"\x04"


def test_chain_longer_than_any_message_is_a_wrong_length(reader: Reader) -> None:
    for _ in range(MAX_MESSAGE // 250):
        assert reader.send(short("90108000", bytes(250), b"")) == (b"", SUCCESS)
    assert reader.send(short("90108000", bytes(250), b"")) == (b"", WRONG_LENGTH)
    reader.send(short("80108000", b"\x04"), b"\x00")
    assert reader.jobs[-1].data == b"\x04"


def test_response_to_a_short_apdu_is_fetched_in_parts(reader: Reader) -> None:
    response = os.urandom(700)
    assert reader.send(short("80108000", b"\x04"), response) == (response[:256], 0x6100)
    assert reader.send(bytes.fromhex("00c0000000")) == (response[256:512], 0x61BC)
    assert reader.send(bytes.fromhex("80c00000bc")) == (response[512:], SUCCESS)
    assert reader.send(bytes.fromhex("00c0000000")) == (b"", CONDITIONS)


def test_response_is_cut_to_the_length_that_was_asked_for(reader: Reader) -> None:
    assert reader.send(short("80108000", b"\x04", b"\x04"), b"\x00123456") == (b"\x00123", 0x6103)
    assert reader.send(bytes.fromhex("00c0000001")) == (b"4", 0x6102)
    assert reader.send(bytes.fromhex("00c0000002")) == (b"56", SUCCESS)


@pytest.mark.parametrize("le", [1, 255, 256, 299])
def test_response_to_an_extended_apdu_is_cut_as_well(reader: Reader, le: int) -> None:
    response = os.urandom(300)
    rest = 300 - le
    first = reader.send(extended("80108000", b"\x04", pack(">H", le)), response)
    assert first == (response[:le], 0x6100 | (rest if rest < 256 else 0))
    assert reader.send(bytes.fromhex("00c00000000000")) == (response[le:], SUCCESS)


@pytest.mark.parametrize("le", [b"", b"\0\0", pack(">H", 7000)])
def test_response_to_an_extended_apdu_comes_whole_unless_less_is_asked_for(reader: Reader, le: bytes) -> None:
    response = os.urandom(7000)
    assert reader.send(extended("80108000", b"\x04", le), response) == (response, SUCCESS)


def test_rest_of_a_response_is_dropped_by_the_next_command(reader: Reader) -> None:
    reader.send(short("80108000", b"\x04"), os.urandom(700))
    reader.send(short("80108000", b"\x04"), b"\x00")
    assert reader.send(bytes.fromhex("00c0000000")) == (b"", CONDITIONS)


def test_response_to_an_extended_apdu_comes_whole(reader: Reader) -> None:
    request, response = os.urandom(5000), os.urandom(7000)
    assert reader.send(extended("80100000", request), response) == (response, SUCCESS)
    assert reader.jobs[0].data == request


def test_keepalives_come_while_the_engine_waits(reader: Reader) -> None:
    assert reader.raw(short("80108000", b"\x01")) is None
    assert reader.applet.deadline() == pytest.approx(reader.now + 0.1)
    assert reader.wait(0.09) is None
    assert reader.wait(0.02) == (bytes([STATUS_PROCESSING]), KEEPALIVE)
    assert reader.applet.deadline() is None
    reader.jobs[0].status = STATUS_UPNEEDED
    assert reader.raw(bytes.fromhex("8011000000")) is None
    assert reader.wait(0.1) == (bytes([STATUS_UPNEEDED]), KEEPALIVE)
    reader.jobs[0].response = b"\x00done"
    assert reader.send(bytes.fromhex("8011000000")) == (b"\x00done", SUCCESS)
    assert reader.send(bytes.fromhex("8011000000")) == (b"", CONDITIONS)


def test_reader_that_knows_no_keepalive_waits_for_the_response(reader: Reader) -> None:
    assert reader.raw(short("80100000", b"\x01")) is None
    assert reader.applet.deadline() is None
    assert reader.wait(30) is None
    reader.jobs[0].response = b"\x00"
    assert reader.wait(0) == (b"\x00", SUCCESS)


def test_cancel_ends_the_command_and_gives_its_last_response(reader: Reader) -> None:
    reader.raw(short("80108000", b"\x01"))
    reader.wait(0.1)
    assert reader.raw(bytes.fromhex("8011110000")) is None
    assert reader.jobs[0].cancelled.is_set()
    reader.jobs[0].response = b"\x2d"
    assert reader.wait(0) == (b"\x2d", SUCCESS)


def test_getresponse_without_a_command_is_refused(reader: Reader) -> None:
    assert reader.send(bytes.fromhex("8011000000")) == (b"", CONDITIONS)
    assert reader.send(bytes.fromhex("8011110000")) == (b"", CONDITIONS)


@pytest.mark.parametrize(
    "apdu", [short("80108000", b"\x04"), SELECT, bytes.fromhex("8012010000"), bytes.fromhex("0003000000")]
)
def test_next_command_cancels_the_one_that_still_runs(reader: Reader, apdu: bytes) -> None:
    reader.raw(short("80108000", b"\x01"))
    reader.wait(0.1)
    reader.send(apdu, b"\x00\x90\x00")
    assert reader.jobs[0].cancelled.is_set()
    reader.jobs[0].response = b"\x2d"
    assert reader.send(bytes.fromhex("8011000000"))[1] in (CONDITIONS, INSTRUCTION)


def test_end_of_the_session_deselects(reader: Reader) -> None:
    assert reader.send(bytes.fromhex("8012010000")) == (b"", SUCCESS)
    assert reader.send(short("80108000", b"\x04")) == (b"", INSTRUCTION)


def test_reset_cancels_and_deselects(reader: Reader) -> None:
    reader.raw(short("80108000", b"\x01"))
    reader.applet.reset()
    assert reader.jobs[0].cancelled.is_set()
    assert reader.wait(1) is None
    assert reader.send(bytes.fromhex("8011000000")) == (b"", INSTRUCTION)


@pytest.mark.parametrize(
    "apdu",
    [bytes.fromhex("0001030040") + bytes(64), short("00010300", bytes(64)), extended("00010300", bytes(64))],
)
def test_u2f_message_reaches_the_engine_in_the_extended_form(reader: Reader, apdu: bytes) -> None:
    assert reader.send(apdu, b"\x69\x85") == (b"", CONDITIONS)
    assert reader.jobs[0].command == MSG
    assert reader.jobs[0].data == bytes.fromhex("00010300000040") + bytes(64) + b"\0\0"


def test_long_u2f_response_keeps_its_own_status_word_for_the_last_part(reader: Reader) -> None:
    response = os.urandom(300)
    assert reader.send(short("00010300", bytes(64)), response + b"\x90\x00") == (response[:256], 0x612C)
    assert reader.send(bytes.fromhex("00c000002c")) == (response[256:], SUCCESS)


APDUS = st.one_of(
    st.binary(max_size=300),
    st.tuples(
        st.sampled_from([0x00, 0x10, 0x80, 0x90, 0x01, 0x0C]),
        st.sampled_from([0xA4, 0xC0, 0x10, 0x11, 0x12, 0x01, 0x02, 0x03]),
        st.sampled_from([0x00, 0x01, 0x03, 0x04, 0x11, 0x80]),
        st.sampled_from([0x00, 0x0C]),
        st.one_of(st.just(AID), st.binary(max_size=255)),
        st.booleans(),
    ).map(lambda t: (extended if t[5] else short)(bytes(t[:4]).hex(), t[4])),
)


@settings(max_examples=5 * FUZZ_EXAMPLES)
@given(st.lists(st.one_of(APDUS, st.floats(0, 0.3), st.just("answer"), st.just("reset")), max_size=40))
def test_any_sequence_of_apdus_leaves_the_applet_answering_the_next_good_one(events: list[bytes | float | str]) -> None:
    reader = Reader()
    for event in events:
        if isinstance(event, bytes):
            response = reader.raw(event)
            assert response is None or len(response) >= 2
        elif isinstance(event, float):
            reader.wait(event)
        elif event == "reset":
            reader.applet.reset()
        elif reader.jobs and reader.jobs[-1].response is None:
            reader.jobs[-1].response = bytes(400) + b"\x90\x00"
            reader.wait(0)
    assert reader.send(SELECT + b"\0") == (b"U2F_V2", SUCCESS)
    assert reader.send(short("80108000", b"\x04"), b"\x00info") == (b"\x00info", SUCCESS)


@pytest.mark.parametrize("begin_anew", [lambda _: None, lambda reader: reader.applet.reset()])
def test_whoever_has_selected_the_applet_is_another_caller_than_before(begin_anew: Callable[[Reader], None]) -> None:
    reader = Reader()
    for _ in range(2):
        reader.send(short("80100000", b"\x04"), b"\0")
    begin_anew(reader)
    reader.send(SELECT)
    reader.send(short("80100000", b"\x04"), b"\0")
    first, again, another = reader.callers
    assert first is again is not another
