"""The numbers of the protocols are those that python-fido2 has; those that it has none of stand here once more."""

from __future__ import annotations

import hashlib

from fido2 import pcsc
from fido2.cose import ES256, EdDSA
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import APDU, Ctap1
from fido2.ctap2 import ClientPin, Config, CredentialManagement, Ctap2
from fido2.hid import CAPABILITY, CTAPHID
from fido2.webauthn import AuthenticatorData
from hypothesis import given
from hypothesis import strategies as st

from sk_provider import ctap
from sk_provider.ctap import apdu, commands, framing, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import IntEnum
    from types import ModuleType

ERRORS = {
    "INVALID_CMD": "INVALID_COMMAND",
    "INVALID_PAR": "INVALID_PARAMETER",
    "INVALID_LEN": "INVALID_LENGTH",
    "INVALID_SEQ": "INVALID_SEQ",
    "MSG_TIMEOUT": "TIMEOUT",
    "CHANNEL_BUSY": "CHANNEL_BUSY",
    "INVALID_CHANNEL": "INVALID_CHANNEL",
}


def numbers(module: ModuleType, prefix: str = "") -> dict[str, int]:
    """Return a module's constants whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): value
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and name.startswith(prefix) and isinstance(value, int)
    }


def reference(enum: Iterable[IntEnum], **renamed: str) -> dict[str, int]:
    """Return the names and numbers of python-fido2's; renamed: by its name, ours."""
    return {renamed.get(each.name, each.name): int(each) for each in enum}


def test_status_codes() -> None:
    ours, theirs = numbers(status), reference(CtapError.ERR)
    assert len(ours) > 30
    assert ours == {name: theirs[name] for name in ours}


def test_the_commands_of_ctap2() -> None:
    expected = {
        **reference(
            Ctap2.CMD, CREDENTIAL_MGMT="CREDENTIAL_MANAGEMENT", CREDENTIAL_MGMT_PRE="CREDENTIAL_MANAGEMENT_PREVIEW"
        ),
        **reference(ClientPin.CMD, GET_TOKEN_USING_PIN_LEGACY="GET_PIN_TOKEN"),
        **reference(
            CredentialManagement.CMD,
            ENUMERATE_CREDS_BEGIN="ENUMERATE_CREDENTIALS_BEGIN",
            ENUMERATE_CREDS_NEXT="ENUMERATE_CREDENTIALS_NEXT",
            UPDATE_USER_INFO="UPDATE_USER_INFORMATION",
        ),
        **reference(Config.CMD),
        **{
            f"PERMISSION_{name}": number
            for name, number in reference(
                ClientPin.PERMISSION,
                CREDENTIAL_MGMT="CREDENTIAL_MANAGEMENT",
                BIO_ENROLL="BIO_ENROLLMENT",
                AUTHENTICATOR_CFG="CONFIG",
            ).items()
        },
        # CTAP 2.1 §12.1
        "CRED_PROTECT_OPTIONAL": 1,
        "CRED_PROTECT_OPTIONAL_WITH_LIST": 2,
        "CRED_PROTECT_REQUIRED": 3,
    }
    ours = numbers(commands)
    assert len(ours) > 30
    assert ours == {name: expected[name] for name in ours}


def test_ctaphid() -> None:
    theirs, errors = reference(CTAPHID), reference(CtapError.ERR)
    assert numbers(framing, "CAPABILITY_") == {
        name: number for name, number in reference(CAPABILITY).items() if name != "LOCK"
    }
    assert numbers(framing, "STATUS_") == reference(STATUS)
    assert numbers(framing, "ERR_") == {ours: errors[name] for ours, name in ERRORS.items()}
    ours = numbers(framing)
    assert {name: ours[name] for name in theirs if name != "VENDOR_FIRST"} == {
        name: number for name, number in theirs.items() if name != "VENDOR_FIRST"
    }
    # CTAP 2.1 §11.2.4
    assert (ours["REPORT_SIZE"], ours["BROADCAST_CHANNEL"], ours["INIT_PACKET"]) == (64, 0xFFFFFFFF, 0x80)
    assert (ours["INIT_DATA_SIZE"], ours["CONTINUATION_DATA_SIZE"], ours["MAX_MESSAGE_SIZE"]) == (57, 59, 7609)


def test_apdus() -> None:
    assert apdu.AID == pcsc.AID_FIDO
    assert numbers(apdu, "INS_") == {
        **reference(Ctap1.INS),
        # ISO 7816-4 §5.4.2, CTAP 2.1 §11.3.5
        "SELECT": 0xA4,
        "GET_RESPONSE": 0xC0,
        "NFCCTAP_MSG": 0x10,
        "NFCCTAP_GETRESPONSE": 0x11,
        "NFCCTAP_CONTROL": 0x12,
    }
    assert numbers(apdu, "P1_") == {
        "GETRESPONSE_SUPPORTED": 0x80,
        "CANCEL": 0x11,
        "END": 0x01,
        # U2F Raw Message Formats v1.2 §5.1
        "CHECK_ONLY": 0x07,
        "ENFORCE_PRESENCE": 0x03,
        "NO_PRESENCE": 0x08,
    }
    assert (apdu.CLA_ISO, apdu.CLA_CTAP2, apdu.CHAINING) == (0, 0x80, 0x10)
    assert numbers(apdu, "MAX_") == {"SHORT_DATA": 0xFF, "SHORT_RESPONSE": 0x100, "EXTENDED_RESPONSE": 0x10000}


def test_status_words() -> None:
    theirs = reference(APDU)
    assert numbers(apdu, "SW_") == {
        "SUCCESS": theirs["OK"],
        "CONDITIONS_NOT_SATISFIED": theirs["USE_NOT_SATISFIED"],
        "WRONG_DATA": theirs["WRONG_DATA"],
        "KEEPALIVE": int.from_bytes(bytes(pcsc.SW_UPDATE), "big"),
        "MORE": pcsc.SW1_MORE_DATA << 8,
        # ISO 7816-4 §5.6
        "WRONG_LENGTH": 0x6700,
        "CHANNEL_NOT_SUPPORTED": 0x6881,
        "SECURE_MESSAGING_NOT_SUPPORTED": 0x6882,
        "CHAINING_NOT_SUPPORTED": 0x6884,
        "COMMAND_NOT_ALLOWED": 0x6986,
        "NOT_FOUND": 0x6A82,
        "WRONG_P1P2": 0x6A86,
        "INS_NOT_SUPPORTED": 0x6D00,
        "CLA_NOT_SUPPORTED": 0x6E00,
        "UNKNOWN": 0x6F00,
        "CTAP_STATUS": 0x6400,
    }


def test_flags_and_algorithms() -> None:
    flags = reference(AuthenticatorData.FLAG)
    assert numbers(ctap, "AUTHDATA_") == {name: flags[name] for name in ("UP", "UV", "AT", "ED")}
    assert (ctap.ES256, ctap.EDDSA) == (ES256.ALGORITHM, EdDSA.ALGORITHM)


@given(st.binary())
def test_a_digest_is_that_of_the_standard_library(message: bytes) -> None:
    assert ctap.sha256(message) == hashlib.sha256(message).digest()
