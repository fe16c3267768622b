"""The tokens that the authenticator can behave as: data that the engine reads, nothing more."""

from __future__ import annotations

from sk_provider.ctap import EDDSA, ES256
from sk_provider.ctap.commands import CREDENTIAL_MANAGEMENT as MANAGEMENT
from sk_provider.ctap.commands import CREDENTIAL_MANAGEMENT_PREVIEW as PREVIEW
from sk_provider.ctap.commands import (
    PERMISSION_CREDENTIAL_MANAGEMENT,
    PERMISSION_GET_ASSERTION,
    PERMISSION_MAKE_CREDENTIAL,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The model's identifier (CTAP 2.1 §6.4), the same for all profiles, as the attestation certificate repeats it.
AAGUID = bytes.fromhex("4415c58fd29ef869f8134db032b931cc")

DEFAULT = "fido2.1"


class Profile:
    """What a token supports.

    versions: as in authenticatorGetInfo; without a FIDO_2 version there is no CTAP2, without U2F_V2 no CTAP1.
    extensions: as in authenticatorGetInfo.
    algorithms: the COSE algorithms of new credentials, preferred first.
    lists_algorithms: whether authenticatorGetInfo has the algorithms member.
    pin_protocols: the pinUvAuthProtocols, preferred first.
    pin_uv_auth_token: whether pinUvAuthTokens have permissions and expire, as in CTAP 2.1.
    legacy_permissions: what getPinToken (subcommand 0x05) permits.
    credential_management: the command bytes of authenticatorCredentialManagement.
    large_blobs: the size of the large-blob array in bytes; 0 if there is none.
    authenticator_config: whether there is authenticatorConfig.
    uv: whether there is built-in user verification.
    always_uv: whether user verification is always required, until authenticatorConfig says otherwise.
    uv_to_probe: whether, while user verification is always required, an assertion without presence requires it
        too, against CTAP 2.1 §6.2.2.
    make_cred_uv_not_required: whether a non-discoverable credential can be made without user verification.
    omits_credential: whether an assertion for an allowList of one leaves out which credential it is by.
    max_resident: how many discoverable credentials fit.
    max_message_size: in bytes, of a CTAP2 request with its command byte.
    max_credentials_in_list: the longest allowList or excludeList.
    delay_ms: how long each command takes, in milliseconds.
    transports: how it is reached, as in authenticatorGetInfo.
    aaguid: the model's identifier, 16 bytes.
    """

    __slots__ = (
        "aaguid",
        "algorithms",
        "always_uv",
        "authenticator_config",
        "credential_management",
        "delay_ms",
        "extensions",
        "large_blobs",
        "legacy_permissions",
        "lists_algorithms",
        "make_cred_uv_not_required",
        "max_credentials_in_list",
        "max_message_size",
        "max_resident",
        "name",
        "omits_credential",
        "pin_protocols",
        "pin_uv_auth_token",
        "transports",
        "uv",
        "uv_to_probe",
        "versions",
    )

    def __init__(
        self,
        name: str,
        *,
        versions: tuple[str, ...] = ("U2F_V2", "FIDO_2_0", "FIDO_2_1"),
        extensions: tuple[str, ...] = ("credBlob", "credProtect", "hmac-secret", "largeBlobKey", "minPinLength"),
        algorithms: tuple[int, ...] = (ES256, EDDSA),
        lists_algorithms: bool = True,
        pin_protocols: tuple[int, ...] = (2, 1),
        pin_uv_auth_token: bool = True,
        legacy_permissions: int = PERMISSION_MAKE_CREDENTIAL | PERMISSION_GET_ASSERTION,
        credential_management: tuple[int, ...] = (MANAGEMENT, PREVIEW),
        large_blobs: int = 4096,
        authenticator_config: bool = True,
        uv: bool = False,
        always_uv: bool = False,
        uv_to_probe: bool = False,
        make_cred_uv_not_required: bool = True,
        omits_credential: bool = False,
        max_resident: int = 100,
        max_message_size: int = 7609,
        max_credentials_in_list: int = 32,
        delay_ms: int = 0,
        transports: tuple[str, ...] = ("nfc", "usb"),
        aaguid: bytes = AAGUID,
    ) -> None:
        self.name = name
        self.versions = versions
        self.extensions = extensions
        self.algorithms = algorithms
        self.lists_algorithms = lists_algorithms
        self.pin_protocols = pin_protocols
        self.pin_uv_auth_token = pin_uv_auth_token
        self.legacy_permissions = legacy_permissions
        self.credential_management = credential_management
        self.large_blobs = large_blobs
        self.authenticator_config = authenticator_config
        self.uv = uv
        self.always_uv = always_uv
        self.uv_to_probe = uv_to_probe
        self.make_cred_uv_not_required = make_cred_uv_not_required
        self.omits_credential = omits_credential
        self.max_resident = max_resident
        self.max_message_size = max_message_size
        self.max_credentials_in_list = max_credentials_in_list
        self.delay_ms = delay_ms
        self.transports = transports
        self.aaguid = aaguid

    @property
    def ctap1(self) -> bool:
        """Whether the token speaks U2F."""
        return "U2F_V2" in self.versions

    @property
    def ctap2(self) -> bool:
        """Whether the token speaks CTAP2."""
        return self.versions != ("U2F_V2",)


PROFILES: dict[str, dict[str, Any]] = {
    "u2f": {"versions": ("U2F_V2",), "algorithms": (ES256,)},
    "fido2.0": {
        "versions": ("U2F_V2", "FIDO_2_0"),
        "extensions": ("hmac-secret",),
        "lists_algorithms": False,
        "pin_protocols": (1,),
        "pin_uv_auth_token": False,
        "credential_management": (),
        "large_blobs": 0,
        "authenticator_config": False,
        "make_cred_uv_not_required": False,
    },
    "fido2.1-pre": {
        "versions": ("U2F_V2", "FIDO_2_0", "FIDO_2_1_PRE"),
        "extensions": ("credProtect", "hmac-secret"),
        "pin_protocols": (1,),
        "pin_uv_auth_token": False,
        "legacy_permissions": PERMISSION_MAKE_CREDENTIAL | PERMISSION_GET_ASSERTION | PERMISSION_CREDENTIAL_MANAGEMENT,
        "credential_management": (PREVIEW,),
        "large_blobs": 0,
        "authenticator_config": False,
        "make_cred_uv_not_required": False,
    },
    "fido2.1": {},
    "uv": {"uv": True},
    "always-uv": {"always_uv": True, "uv_to_probe": True},
    "pin-for-create": {"make_cred_uv_not_required": False},
    "es256-only": {"algorithms": (ES256,)},
    "no-algorithms-field": {"lists_algorithms": False},
    "credential-omitted": {"omits_credential": True},
    "small": {"max_resident": 3, "max_message_size": 1024, "max_credentials_in_list": 4, "large_blobs": 1024},
    "slow": {"delay_ms": 50},
}


def profile(name: str) -> Profile:
    """Return a new profile of a name. Raises ValueError if there is none of that name."""
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name}; there are {', '.join(PROFILES)}")
    return Profile(name, **PROFILES[name])
