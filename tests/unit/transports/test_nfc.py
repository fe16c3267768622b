"""Cards in readers, before a PC/SC service that is played: what is sent to them, and what goes wrong."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from fido2.ctap1 import Ctap1
from fido2.ctap2 import ClientPin, Ctap2
from smartcard import scard
from support.played_pcsc import Card, Service
from support.soft_token import PIN, Device, Person
from support.traced import sentence_of, trace_into

from sk_provider.authenticator.store import Store
from sk_provider.config import Configuration
from sk_provider.ctap import apdu, cbor, commands, framing, status
from sk_provider.errors import (
    AuthenticatorError,
    DeviceNotFound,
    Interrupted,
    InvalidRequest,
    SecurityKeyError,
    TimedOut,
    Unsupported,
)
from sk_provider.operation import Operation
from sk_provider.transports import nfc, pcsc
from sk_provider.transports.nfc import NfcChannel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

pytestmark = pytest.mark.slow

READER, OTHER = "ACS Reader 00", "Other Reader 01"
SELECT = bytes.fromhex("00a4040008a0000006472f000100")
GET_INFO = bytes([commands.GET_INFO])
PIN_REQUEST = bytes([commands.CLIENT_PIN]) + cbor.encode({1: 1, 2: commands.GET_PIN_RETRIES})
MAKE = bytes([commands.MAKE_CREDENTIAL])
LONG = GET_INFO + bytes(300)
AGAIN = "present it again and leave it there until the operation ends"
TAKEN_AWAY = f"the card was removed; {AGAIN}"
DISTURBED = "another program reset the card, or used it in between; try again"


class Table:
    """A reader with a card, the service that has it, and the person with what they are told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, profile: str = "fido2.1") -> None:
        self.device = Device(Store.create(str(folder / profile)), Person(), profile)
        self.card = Card(self.device)
        self.service = Service({READER: self.card, OTHER: None})
        self.service.put_in_place(monkeypatch)
        self.told: list[str] = []
        self.operation = Operation(30, tell=self.told.append)

    def open(self, location: str = "") -> NfcChannel:
        return nfc.open(location, Configuration(), self.operation, may_create=False)

    def opened(self) -> NfcChannel:
        """Open it, and forget what was sent for that."""
        channel = self.open()
        self.card.commands.clear()
        self.service.calls.clear()
        return channel

    def refusal(self, location: str = "") -> SecurityKeyError:
        """Return why it cannot be opened, after everything was let go."""
        with pytest.raises(SecurityKeyError) as caught:
            self.open(location)
        assert (self.service.contexts, self.service.cards) == (0, 0)
        return caught.value

    def failure(self, request: bytes = GET_INFO, cmd: int = framing.CBOR, event: Operation | None = None) -> str:
        """Return the sentence in which a call ends."""
        channel = self.opened()
        try:
            with pytest.raises(SecurityKeyError) as caught:
                channel.call(cmd, request, event)
            return str(caught.value)
        finally:
            channel.close()
            assert self.service.contexts == 0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (nfc, pcsc):
        monkeypatch.setattr(module, "_TICK", 0.01)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nfc, "_SETTLING_PATIENCE", 0.2)
    monkeypatch.setattr(nfc, "_LEAVING_PATIENCE", 0.2)
    monkeypatch.setattr(pcsc, "_SILENCE", 1.2)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    table = Table(tmp_path, monkeypatch)
    yield table
    table.service.released.set()


def word(status_word: int, data: bytes = b"") -> bytes:
    return data + status_word.to_bytes(2, "big")


def test_cards_are_found_in_readers_by_their_names(table: Table) -> None:
    assert nfc.discover("") == nfc.discover("ACS") == [READER]
    assert nfc.discover("Other") == []
    table.service.readers[OTHER] = table.card
    assert nfc.discover("") == [READER, OTHER]
    table.service.states[READER] = scard.SCARD_STATE_MUTE
    assert nfc.discover("") == [OTHER]
    with pytest.raises(DeviceNotFound, match="no card reader is called HID; connect it"):
        nfc.discover("HID")
    table.service.results["SCardGetStatusChange"] = [scard.SCARD_E_TIMEOUT, 0]
    assert nfc.discover("") == [OTHER]
    assert table.service.contexts == 0


def test_readers_that_are_not_there_are_told(table: Table) -> None:
    table.service.results["SCardListReaders"] = [scard.SCARD_E_NO_READERS_AVAILABLE]
    with pytest.raises(DeviceNotFound, match="no card reader is connected; connect it"):
        nfc.discover("")
    assert "no card reader is called x" in str(table.refusal("x"))
    table.service.readers.clear()
    assert str(table.refusal()) == "no card reader is connected; connect it"


def test_a_service_that_is_not_there_is_told(table: Table) -> None:
    table.service.results["SCardEstablishContext"] = [scard.SCARD_E_NO_SERVICE]
    assert str(table.refusal()) == "the PC/SC service does not run; start pcscd"


def test_whether_there_is_pyscard_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert nfc.could_be_there() is True
    monkeypatch.setattr("sys.path", [])
    assert nfc.could_be_there() is False
    assert nfc.waits_for_a_person is True


@pytest.mark.parametrize(
    ("profile", "announces_fido2", "capabilities"),
    [
        ("fido2.1", True, framing.CAPABILITY_CBOR | framing.CAPABILITY_NMSG),
        ("fido2.1", False, framing.CAPABILITY_CBOR),
        ("u2f", False, 0),
    ],
)
def test_what_a_card_speaks_is_told_by_its_selection_or_by_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, announces_fido2: bool, capabilities: int
) -> None:
    table = Table(tmp_path, monkeypatch, profile)
    table.service.readers[READER] = table.card = Card(table.device, announces_fido2=announces_fido2)
    channel = table.open()
    assert channel.capabilities == capabilities
    assert table.card.commands == [SELECT] if announces_fido2 else table.card.commands[0] == SELECT
    assert table.service.modes == [scard.SCARD_SHARE_EXCLUSIVE]
    assert (table.service.contexts, table.service.cards) == (1, 1)
    channel.close()
    channel.close()
    assert (table.service.contexts, table.service.cards) == (0, 0)
    assert table.told == []


@pytest.mark.parametrize(
    ("answers", "capabilities"),
    [
        ([word(0x9000, b"\0\xa0")], framing.CAPABILITY_CBOR),
        ([word(0x9000, b"\x01")], 0),
        ([word(0x6D00, b"\0")], 0),
        ([word(0x9100, b"\1"), word(0x9100), word(0x9000, b"\0\xa0")], framing.CAPABILITY_CBOR),
    ],
)
def test_a_card_that_may_speak_both_is_asked(table: Table, answers: list[bytes], capabilities: int) -> None:
    left = answers.copy()
    table.card.instead = lambda command: None if command[1] == apdu.INS_SELECT else left.pop(0)
    channel = table.open()
    assert (channel.capabilities, left) == (capabilities, [])
    assert table.card.commands[1] == bytes.fromhex("8010800001" + "04" + "00")
    channel.close()


def test_a_card_of_another_kind_is_told(table: Table) -> None:
    table.card.instead = lambda _: word(0x6A82)
    error = table.refusal()
    assert (type(error), str(error)) == (
        Unsupported,
        f"the card in {READER} is not a security key; present another",
    )


def test_a_card_answers_what_the_authenticator_does(table: Table) -> None:
    channel = table.open()
    client: Any = channel
    assert Ctap2(client).info.versions == table.device.ctap2.info.versions
    # A longer answer comes in pieces.
    table.device.set_pin()
    for number in range(3):
        table.device.make_resident("ssh:", bytes([number]))
    registered = Ctap1(client).register(bytes(32), bytes(32))
    registered.verify(bytes(32), bytes(32))
    assert any(command[1] == apdu.INS_GET_RESPONSE for command in table.card.commands)
    channel.close()


def test_a_u2f_message_is_sent_in_the_form_that_the_card_takes(table: Table) -> None:
    channel = table.opened()
    data = bytes(range(64))
    table.card.instead = lambda _: word(0x6985)
    assert channel.call(framing.MSG, apdu.extended(0, 2, 3, 0, data)) == b"\x69\x85"
    assert table.card.commands == [apdu.short(0, 2, 3, 0, data)]
    table.card.instead = lambda _: word(0x9000, b"answer")
    assert channel.call(framing.MSG, apdu.extended(0, 3, 0, 0, b"")) == b"answer\x90\x00"
    channel.close()


def test_other_commands_are_none_of_a_cards(table: Table) -> None:
    channel = table.opened()
    with pytest.raises(InvalidRequest, match="cards have no CTAPHID command 0x08"):
        channel.call(framing.WINK)
    assert table.card.commands == []
    channel.close()


def test_a_long_request_is_sent_in_one_apdu_or_in_several(table: Table) -> None:
    channel = table.opened()
    takes_extended = [True]

    def answer(command: bytes) -> bytes:
        is_extended = command[4] == 0 and len(command) > 5
        return word(0x9000, b"\0") if takes_extended[0] or not is_extended else word(0x6700)

    table.card.instead = answer
    assert channel.call(framing.CBOR, LONG) == b"\0"
    assert table.card.commands == [apdu.extended(0x80, 0x10, 0x80, 0, LONG)]
    for request in (GET_INFO + bytes(254), GET_INFO):
        table.card.commands.clear()
        channel.call(framing.CBOR, request)
        assert table.card.commands == [apdu.short(0x80, 0x10, 0x80, 0, request)]
    chained = [b"\x90\x10\x80\0\xff" + LONG[:255], apdu.short(0x80, 0x10, 0x80, 0, LONG[255:])]
    takes_extended[0] = False
    table.card.commands.clear()
    assert channel.call(framing.CBOR, LONG) == b"\0"
    assert table.card.commands[1:] == chained
    # From then on it is not tried any more.
    table.card.commands.clear()
    channel.call(framing.CBOR, LONG)
    assert table.card.commands == chained
    channel.close()


@pytest.mark.parametrize("length", [255, 256, 510, 511, 765, 766])
def test_a_request_of_any_length_arrives(table: Table, length: int) -> None:
    channel = table.opened()
    channel._uses_extended = False
    data = GET_INFO + bytes(range(255)) * 3
    table.card.instead = lambda _: word(0x9000, b"\0")
    channel.call(framing.CBOR, data[:length])
    read = [apdu.Apdu(command) for command in table.card.commands]
    assert b"".join(each.data for each in read) == data[:length]
    assert [each.cla for each in read] == [0x90] * (len(read) - 1) + [0x80]
    assert [each.le for each in read] == [0] * (len(read) - 1) + [256]
    assert max(len(each.data) for each in read) <= 255
    channel.close()


@pytest.mark.parametrize("refusal", [0x6700, 0x6D00, 0x6E00, 0x6A82, 0x6985])
def test_an_extended_apdu_may_be_refused_in_several_ways(table: Table, refusal: int) -> None:
    channel = table.opened()
    table.card.instead = lambda command: word(refusal) if command[4] == 0 else word(0x9000, b"\0")
    assert channel.call(framing.CBOR, LONG) == b"\0"
    assert len(table.card.commands) == 3
    channel.close()


def test_a_chain_that_is_refused_ends_there(table: Table) -> None:
    channel = table.opened()
    channel._uses_extended = False
    table.card.instead = lambda _: word(0x6884)
    with pytest.raises(AuthenticatorError, match="the card answered with status 6884"):
        channel.call(framing.CBOR, LONG)
    assert len(table.card.commands) == 1
    channel.close()


def test_a_long_pin_request_is_sent_in_the_form_that_all_cards_take(table: Table) -> None:
    channel = table.opened()
    table.card.instead = lambda _: word(0x9000, b"\0")
    channel.call(framing.CBOR, PIN_REQUEST + bytes(300))
    assert [command[0] for command in table.card.commands] == [0x90, 0x80]
    channel.close()


def test_a_long_answer_is_collected(table: Table) -> None:
    channel = table.opened()
    pieces = [word(0x6100, b"\0" + 255 * b"a"), word(0x6102, 256 * b"b"), word(0x9000, b"cc")]
    table.card.instead = lambda _: pieces.pop(0)
    assert channel.call(framing.CBOR, GET_INFO) == b"\0" + 255 * b"a" + 256 * b"b" + b"cc"
    assert table.card.commands[1:] == [b"\0\xc0\0\0\0", b"\0\xc0\0\0\2"]
    pieces.extend([word(0x6105, b"\0"), word(0x9000)])
    assert channel.call(framing.CBOR, GET_INFO) == b"\0"
    channel.close()


@pytest.mark.parametrize("piece", [b"", 250 * b"x"])
def test_an_answer_without_an_end_is_told(table: Table, piece: bytes) -> None:
    channel = table.opened()
    table.card.instead = lambda _: word(0x61FF, piece)
    with pytest.raises(AuthenticatorError, match=f"the card's answer does not end; {AGAIN}"):
        channel.call(framing.CBOR, GET_INFO)
    assert len(table.card.commands) == (2 if not piece else 65537 // 250 + 1)
    channel.close()


def test_an_answer_of_64_kilobytes_has_an_end(table: Table) -> None:
    channel = table.opened()
    pieces = [word(0x6100, 256 * b"x") for _ in range(255)] + [word(0x9000, 256 * b"x")]
    table.card.instead = lambda _: pieces.pop(0)
    assert len(channel.call(framing.CBOR, GET_INFO)) == 65536
    channel.close()


def test_a_card_is_asked_until_it_has_done_what_it_was_told(table: Table) -> None:
    channel = table.opened()
    answers = [word(0x9100, bytes([code])) for code in (1, 1, 2, 2, 1)] + [word(0x9100), word(0x9000, b"\0done")]
    left = answers.copy()
    table.card.instead = lambda _: left.pop(0)
    heard: list[int] = []
    assert channel.call(framing.CBOR, MAKE, table.operation, heard.append) == b"\0done"
    assert heard == [1, 2, 1]
    assert table.card.commands[1:] == [b"\x80\x11\0\0\0"] * 6
    left = answers.copy()
    assert channel.call(framing.CBOR, MAKE) == b"\0done"
    channel.close()


def test_what_ends_the_operation_is_told_to_the_card(table: Table) -> None:
    channel = table.opened()
    table.card.instead = lambda _: word(0x9100, b"\2")
    with pytest.raises(Interrupted):
        channel.call(framing.CBOR, MAKE, table.operation, lambda _: table.operation.call_off())
    assert table.card.commands[-1] == b"\x80\x11\x11\0\0"
    channel.close()


def test_a_trace_tells_each_apdu_but_not_what_is_in_it(table: Table) -> None:
    lines: list[str] = []
    table.operation.trace = trace_into(lines)
    channel = table.opened()
    select, get_info, get_response = map(sentence_of, lines)
    assert select == "APDU SELECT (00a40400), 14 bytes: SUCCESS (0x9000), 6 bytes"
    assert get_info.startswith("APDU NFCCTAP_MSG (80108000), 7 bytes: MORE (0x61")
    assert get_response.startswith("APDU GET_RESPONSE (00c00000), 5 bytes: SUCCESS (0x9000), ")
    lines.clear()
    answers = [word(0x6700), word(0x9000), word(0x9100, b"\2"), word(0x9000, b"\0")]
    table.card.instead = lambda _: answers.pop(0)
    channel.call(framing.CBOR, MAKE + b"secret" * 50, table.operation)
    table.service.results["SCardTransmit"] = [scard.SCARD_W_REMOVED_CARD]
    with pytest.raises(AuthenticatorError):
        channel.call(framing.CBOR, GET_INFO)
    channel.close()
    assert [sentence_of(line) for line in lines] == [
        "APDU NFCCTAP_MSG (80108000), 310 bytes: WRONG_LENGTH (0x6700), 0 bytes",
        "APDU NFCCTAP_MSG (90108000), 260 bytes, more of it follows: SUCCESS (0x9000), 0 bytes",
        "APDU NFCCTAP_MSG (80108000), 52 bytes: KEEPALIVE (0x9100), 1 bytes",
        "APDU NFCCTAP_GETRESPONSE (80110000), 5 bytes: SUCCESS (0x9000), 1 bytes",
        "APDU NFCCTAP_MSG (80108000), 7 bytes: no answer; PC/SC result 0x80100069",
    ]


@pytest.mark.parametrize("code", [status.NO_CREDENTIALS, 0xFF])
def test_a_status_may_come_in_the_status_word(table: Table, code: int) -> None:
    channel = table.opened()
    table.card.instead = lambda _: word(0x6400 | code)
    assert channel.call(framing.CBOR, GET_INFO) == bytes([code])
    channel.close()


@pytest.mark.parametrize("status_word", [0x6400, 0x6F00, 0x6300, 0x9001])
def test_another_status_word_is_told(table: Table, status_word: int) -> None:
    channel = table.opened()
    table.card.instead = lambda _: word(status_word)
    with pytest.raises(AuthenticatorError, match=f"the card answered with status {status_word:04x}; {AGAIN}"):
        channel.call(framing.CBOR, GET_INFO)
    channel.close()


@pytest.mark.parametrize("status_word", [0x6D00, 0x6E00, 0x6A82, 0x6985])
def test_an_applet_that_is_not_selected_any_more_is_selected_again(table: Table, status_word: int) -> None:
    channel = table.opened()
    answers = [word(status_word), word(0x9000), word(0x9000, b"\0")]
    table.card.instead = lambda _: answers.pop(0)
    assert channel.call(framing.CBOR, GET_INFO) == b"\0"
    request = apdu.short(0x80, 0x10, 0x80, 0, GET_INFO)
    assert table.card.commands == [request, SELECT, request]
    answers.extend([word(status_word), word(0x9000)])
    with pytest.raises(AuthenticatorError) as caught:
        channel.call(framing.CBOR, PIN_REQUEST)
    assert str(caught.value) == DISTURBED
    assert answers == []
    channel.close()


def test_a_card_that_another_program_reset_is_selected_again(table: Table) -> None:
    channel = table.opened()
    table.service.results["SCardTransmit"] = [scard.SCARD_W_RESET_CARD]
    assert channel.call(framing.CBOR, GET_INFO)[0] == status.SUCCESS
    request = apdu.short(0x80, 0x10, 0x80, 0, GET_INFO)
    assert table.card.commands[:2] == [SELECT, request]
    assert table.service.calls[:2] == ["SCardTransmit", "SCardReconnect"]
    assert table.service.modes[-1] == scard.SCARD_SHARE_SHARED
    table.service.results["SCardTransmit"] = [scard.SCARD_W_RESET_CARD]
    with pytest.raises(AuthenticatorError) as caught:
        channel.call(framing.CBOR, PIN_REQUEST)
    assert str(caught.value) == DISTURBED
    channel.close()


def test_an_answer_that_a_reset_has_lost_is_not_asked_for_again(table: Table) -> None:
    channel = table.opened()
    table.card.instead = lambda command: word(0x9100, b"\2") if command[1] == 0x10 else None

    def reset(_status: int) -> None:
        table.service.results["SCardTransmit"] = [scard.SCARD_W_RESET_CARD]

    with pytest.raises(AuthenticatorError) as caught:
        channel.call(framing.CBOR, MAKE, table.operation, reset)
    assert str(caught.value) == DISTURBED
    channel.close()


@pytest.mark.parametrize("results", [{"SCardReconnect": [scard.SCARD_E_NO_SMARTCARD]}, {"SCardTransmit": [0]}])
def test_a_card_that_is_gone_after_a_reset_was_taken_away(table: Table, results: dict[str, list[int]]) -> None:
    channel = table.opened()
    if "SCardTransmit" in results:
        results = {"SCardTransmit": [scard.SCARD_W_RESET_CARD, scard.SCARD_W_REMOVED_CARD]}
    else:
        results = {**results, "SCardTransmit": [scard.SCARD_W_RESET_CARD]}
    table.service.results.update(results)
    with pytest.raises(AuthenticatorError) as caught:
        channel.call(framing.CBOR, GET_INFO)
    assert str(caught.value) == TAKEN_AWAY
    channel.close()


@pytest.mark.parametrize("result", [scard.SCARD_E_NOT_TRANSACTED, scard.SCARD_E_INSUFFICIENT_BUFFER])
def test_a_reader_that_takes_only_short_apdus_gets_those(table: Table, result: int) -> None:
    channel = table.opened()
    table.card.instead = lambda _: word(0x9000, b"\0")
    table.service.results["SCardTransmit"] = [result]
    assert channel.call(framing.CBOR, LONG) == b"\0"
    assert [command[0] for command in table.card.commands] == [0x90, 0x80]
    channel.close()


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (scard.SCARD_W_REMOVED_CARD, TAKEN_AWAY),
        (scard.SCARD_E_NO_SMARTCARD, TAKEN_AWAY),
        (scard.SCARD_W_UNPOWERED_CARD, TAKEN_AWAY),
        (scard.SCARD_E_NOT_TRANSACTED, TAKEN_AWAY),
        (scard.SCARD_E_READER_UNAVAILABLE, f"the reader {READER} was unplugged; connect it and try again"),
        (scard.SCARD_E_UNKNOWN_READER, f"the reader {READER} was unplugged; connect it and try again"),
        (scard.SCARD_E_NO_SERVICE, "the PC/SC service ended; start pcscd and try again"),
        (scard.SCARD_E_SERVICE_STOPPED, "the PC/SC service ended; start pcscd and try again"),
        (
            scard.SCARD_F_COMM_ERROR,
            f"the card cannot be reached ({scard.SCardGetErrorMessage(scard.SCARD_F_COMM_ERROR)}); {AGAIN}",
        ),
    ],
)
def test_what_the_service_says_is_told(table: Table, result: int, sentence: str) -> None:
    channel = table.opened()
    # Of the longest short APDU too.
    for request in (GET_INFO, GET_INFO + bytes(254)):
        table.service.results["SCardTransmit"] = [result]
        with pytest.raises(AuthenticatorError) as caught:
            channel.call(framing.CBOR, request)
        assert str(caught.value) == sentence
    channel.close()


def test_an_answer_that_is_none_is_told(table: Table) -> None:
    table.card.instead = lambda command: None if command[1] == apdu.INS_SELECT or not is_open else b""
    is_open: list[int] = []
    channel = table.opened()
    is_open.append(1)
    with pytest.raises(AuthenticatorError) as caught:
        channel.call(framing.CBOR, GET_INFO)
    assert str(caught.value) == TAKEN_AWAY
    table.card.instead = lambda _: b"\x90"
    with pytest.raises(AuthenticatorError, match="the card's answer is cut short"):
        channel.call(framing.CBOR, GET_INFO)
    channel.close()


def test_a_card_is_waited_for_and_that_is_told_once(table: Table) -> None:
    table.service.readers[READER] = None
    timer = threading.Timer(0.2, lambda: table.service.readers.update({OTHER: table.card}))
    timer.start()
    channel = table.open()
    timer.join()
    assert table.told == [f"present the security key to the reader {READER} or {OTHER}"]
    assert channel._reader == OTHER
    channel.close()


class Brief(Operation):
    """One whose time is over soon."""

    def restart(self) -> None:
        self._deadline = time.monotonic() + 0.1


def test_nobody_who_presents_a_card_is_told(table: Table) -> None:
    table.service.readers[READER] = None
    table.operation = Brief(30, tell=table.told.append)
    error = table.refusal("ACS")
    assert (type(error), str(error)) == (
        TimedOut,
        f"no security key was presented to the reader {READER} within 30 s; try again and present it",
    )
    table.operation.call_off()
    assert type(table.refusal()) is Interrupted


def test_a_card_that_is_never_connected_is_waited_for_until_the_person_has_given_up(table: Table) -> None:
    table.service.hanging = {"SCardConnect"}
    table.operation = Brief(30, tell=table.told.append)
    with pytest.raises(TimedOut):
        table.open()


def test_a_card_that_is_just_being_laid_down_is_tried_again(table: Table) -> None:
    settling = [
        scard.SCARD_E_NO_SMARTCARD,
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_W_UNRESPONSIVE_CARD,
        scard.SCARD_W_UNPOWERED_CARD,
    ]
    table.service.results["SCardConnect"] = settling.copy()
    table.open().close()
    assert table.service.modes == [scard.SCARD_SHARE_EXCLUSIVE] * 5
    table.service.results["SCardConnect"] = [scard.SCARD_F_COMM_ERROR]
    assert "the card cannot be reached" in str(table.refusal())
    table.operation.call_off()
    table.service.results["SCardConnect"] = [scard.SCARD_E_NO_SMARTCARD]
    assert type(table.refusal()) is Interrupted


def test_a_card_that_goes_before_anything_is_asked_is_waited_for(table: Table) -> None:
    table.service.results["SCardTransmit"] = [scard.SCARD_W_REMOVED_CARD]
    channel = table.open()
    assert table.service.cards == 1
    channel.close()
    table.service.results["SCardTransmit"] = [scard.SCARD_E_NO_SERVICE]
    assert "ended" in str(table.refusal())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["SCardConnect", "SCardTransmit"])
def test_a_card_that_never_lies_still_was_taken_away(table: Table, name: str) -> None:
    table.service.results[name] = 10_000 * [scard.SCARD_W_REMOVED_CARD]
    assert str(table.refusal()) == TAKEN_AWAY
    assert len(table.service.modes) > 2


@pytest.mark.usefixtures("impatient")
def test_a_card_that_another_program_shares_is_shared_in_the_end(table: Table) -> None:
    table.service.results["SCardConnect"] = 2 * [scard.SCARD_E_SHARING_VIOLATION]
    table.operation.wait_for_others = lambda since: time.sleep(0.25)  # type: ignore[method-assign]  # noqa: ARG005
    table.open().close()
    assert table.service.modes == [scard.SCARD_SHARE_EXCLUSIVE] + 2 * [scard.SCARD_SHARE_SHARED]


@pytest.mark.usefixtures("impatient")
def test_a_card_that_another_program_has_for_itself_is_waited_for(table: Table) -> None:
    table.service.states[READER] = scard.SCARD_STATE_EXCLUSIVE
    table.service.results["SCardConnect"] = 2 * [scard.SCARD_E_SHARING_VIOLATION]
    waits: list[float] = []

    def wait(since: float) -> None:
        waits.append(since)
        time.sleep(0.15)

    table.operation.wait_for_others = wait  # type: ignore[method-assign]
    table.open().close()
    # However long that took, it is taken alone after that.
    assert table.service.modes == [scard.SCARD_SHARE_EXCLUSIVE] * 3
    assert len(set(waits)) == 1
    table.service.results["SCardConnect"] = [scard.SCARD_E_SHARING_VIOLATION]
    table.operation = Operation(30)
    table.operation.call_off()
    assert type(table.refusal()) is Interrupted


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("SCardEstablishContext", "the PC/SC service does not answer; restart pcscd"),
        ("SCardListReaders", "the PC/SC service does not answer; restart pcscd"),
        ("SCardConnect", f"the card does not answer; {AGAIN}"),
        ("SCardTransmit", f"the card does not answer; {AGAIN}"),
    ],
)
def test_silence_is_told_and_what_was_open_is_let_go_when_it_ends(table: Table, name: str, sentence: str) -> None:
    table.service.hanging.add(name)
    with pytest.raises(AuthenticatorError) as caught:
        table.open()
    assert str(caught.value) == sentence
    assert "SCardReleaseContext" not in table.service.calls
    table.service.released.set()
    deadline = time.monotonic() + 30
    while table.service.contexts != (name == "SCardEstablishContext"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("impatient")
def test_nothing_is_asked_of_a_card_that_was_silent(table: Table) -> None:
    channel = table.opened()
    table.service.hanging.add("SCardTransmit")
    with pytest.raises(AuthenticatorError, match="the card does not answer"):
        channel.call(framing.CBOR, GET_INFO, Operation(30))
    table.service.hanging.clear()
    with pytest.raises(AuthenticatorError, match=f"the card does not answer; {AGAIN}"):
        channel.call(framing.CBOR, GET_INFO, Operation(30))
    channel.close()
    assert table.service.calls == ["SCardTransmit"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("request_", "has_end"), [(MAKE, False), (GET_INFO, True)])
def test_a_card_may_not_be_silent_where_nobody_need_come_or_nothing_ends_the_wait(
    table: Table, request_: bytes, has_end: bool
) -> None:
    channel = table.opened()
    table.service.hanging.add("SCardTransmit")
    with pytest.raises(AuthenticatorError, match="the card does not answer"):
        channel.call(framing.CBOR, request_, Operation(30) if has_end else None)


@pytest.mark.usefixtures("impatient")
def test_a_card_may_be_silent_while_it_waits_for_a_person(table: Table) -> None:
    channel = table.opened()
    table.service.hanging.add("SCardTransmit")

    class Patient(Operation):
        def restart(self) -> None:
            self._deadline = time.monotonic() + 2.5

    with pytest.raises(TimedOut):
        channel.call(framing.CBOR, MAKE, Patient(30))
    assert not channel._may_be_silent


@pytest.mark.usefixtures("impatient")
def test_what_cannot_be_ended_is_left(table: Table) -> None:
    channel = table.opened()
    table.service.hanging.add("SCardDisconnect")
    channel.close()
    assert table.service.calls == ["SCardDisconnect"]


def test_a_pin_is_given_to_the_card(table: Table) -> None:
    table.device.set_pin()
    channel: Any = table.open()
    assert ClientPin(Ctap2(channel)).get_pin_token(PIN)
    channel.close()
