from __future__ import annotations

from struct import pack

import pytest
from support.card import ATR, GET_INFO, GET_RESPONSE, OFF, ON, RESET, SELECT, SELECTION, reader
from support.serve import PATIENCE


def test_card_has_an_answer_to_reset_and_the_applet() -> None:
    with reader() as card:
        card.tell(ON)
        assert card.ask(ATR) == bytes.fromhex("3b80800101")
        assert card.ask(SELECT) == b"U2F_V2\x90\x00"
        assert card.ask(GET_INFO)[:1] == b"\0"


def test_select_tells_u2f_only_while_no_user_verification_is_required() -> None:
    toggle_always_uv = bytes.fromhex("80100000040da1010200")
    with reader() as card:
        for version, u2f in ((b"U2F_V2", b"U2F_V2\x90\x00"), (b"FIDO_2_0", b"\x69\x86")) * 2:
            assert card.ask(SELECT) == version + b"\x90\x00"
            assert card.ask(bytes.fromhex("0003000000")) == u2f
            assert card.ask(toggle_always_uv) == b"\0\x90\x00"


@pytest.mark.parametrize("control", [OFF, ON, RESET])
def test_each_control_deselects_the_applet(control: bytes) -> None:
    with reader() as card:
        card.ask(SELECT)
        card.tell(control)
        assert card.ask(GET_INFO) == b"\x6d\x00"


def test_unknown_control_and_empty_message_do_no_harm() -> None:
    with reader() as card:
        card.ask(SELECT)
        card.tell(b"\x77")
        assert card.ask(b"") == b"\x67\x00"
        assert card.ask(GET_INFO)[:1] == b"\0"


def test_touch_is_awaited_with_keepalives() -> None:
    with reader(presence="after:400") as card:
        card.ask(SELECT)
        assert card.ask(SELECTION) == b"\x02\x91\x00"
        answers = [card.ask(GET_RESPONSE)]
        while answers[-1] == b"\x02\x91\x00":
            answers.append(card.ask(GET_RESPONSE))
        assert len(answers) > 1
        assert answers[-1] == b"\x00\x90\x00"


def test_power_off_while_a_touch_is_awaited_cancels_it() -> None:
    with reader(presence="after:20000") as card:
        card.ask(SELECT)
        assert card.ask(SELECTION) == b"\x02\x91\x00"
        card.tell(OFF)
        card.tell(ON)
        card.ask(SELECT)
        assert card.ask(GET_INFO)[:1] == b"\0"


def test_apdu_may_come_in_pieces_and_several_at_once() -> None:
    with reader() as card:
        message = pack(">H", len(SELECT)) + SELECT
        for byte in message[:-1]:
            card.connection.sendall(bytes([byte]))
        card.connection.sendall(message[-1:] + pack(">H", 1) + ATR)
        assert card._read(10) == b"\x00\x08U2F_V2\x90\x00"
        assert card._read(7) == b"\x00\x05" + bytes.fromhex("3b80800101")


def test_reader_that_goes_away_ends_the_server() -> None:
    with reader() as card:
        card.connection.close()
        assert card.served.process.wait(PATIENCE) == 1
        assert card.served.end()[1].startswith("pysk: the reader at vpcd:127.0.0.1:")
