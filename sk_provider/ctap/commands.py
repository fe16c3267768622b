"""The numbers of CTAP2's commands, with their subcommands, permissions and credProtect levels (CTAP 2.1 §6)."""

from __future__ import annotations

from . import cbor

MAKE_CREDENTIAL = 0x01
GET_ASSERTION = 0x02
GET_INFO = 0x04
CLIENT_PIN = 0x06
RESET = 0x07
GET_NEXT_ASSERTION = 0x08
CREDENTIAL_MANAGEMENT = 0x0A
SELECTION = 0x0B
LARGE_BLOBS = 0x0C
CONFIG = 0x0D
CREDENTIAL_MANAGEMENT_PREVIEW = 0x41  # §6.13

# Subcommands of clientPIN, §6.5.5
GET_PIN_RETRIES = 0x01
GET_KEY_AGREEMENT = 0x02
SET_PIN = 0x03
CHANGE_PIN = 0x04
GET_PIN_TOKEN = 0x05
GET_TOKEN_USING_UV = 0x06
GET_UV_RETRIES = 0x07
GET_TOKEN_USING_PIN = 0x09

# Permissions of a pinUvAuthToken, §6.5.5.7
PERMISSION_MAKE_CREDENTIAL = 0x01
PERMISSION_GET_ASSERTION = 0x02
PERMISSION_CREDENTIAL_MANAGEMENT = 0x04
PERMISSION_BIO_ENROLLMENT = 0x08
PERMISSION_LARGE_BLOB_WRITE = 0x10
PERMISSION_CONFIG = 0x20

# Subcommands of credentialManagement, §6.8
GET_CREDS_METADATA = 0x01
ENUMERATE_RPS_BEGIN = 0x02
ENUMERATE_RPS_NEXT = 0x03
ENUMERATE_CREDENTIALS_BEGIN = 0x04
ENUMERATE_CREDENTIALS_NEXT = 0x05
DELETE_CREDENTIAL = 0x06
UPDATE_USER_INFORMATION = 0x07

# Subcommands of authenticatorConfig, §6.11
TOGGLE_ALWAYS_UV = 0x02
SET_MIN_PIN_LENGTH = 0x03

# credProtect, §12.1
CRED_PROTECT_OPTIONAL = 1
CRED_PROTECT_OPTIONAL_WITH_LIST = 2
CRED_PROTECT_REQUIRED = 3

_ALWAYS_WAIT = (MAKE_CREDENTIAL, RESET, SELECTION)


def waits_for_a_person(request: bytes) -> bool:
    """Return whether an authenticator may wait for a person before it sends anything in answer to a CTAP2 request.

    It should send keep-alives from the first moment, but the firmware of some does so only after seconds.
    """
    command = request[0] if request else 0
    if command in _ALWAYS_WAIT:
        return True
    if command not in (GET_ASSERTION, CLIENT_PIN):
        return False
    try:
        parameters = cbor.decode(request[1:])
    except cbor.CborError:
        return False
    if not isinstance(parameters, dict):
        return False
    if command == CLIENT_PIN:
        return parameters.get(2) == GET_TOKEN_USING_UV
    options = parameters.get(5)
    return not (isinstance(options, dict) and options.get("up") is False)
