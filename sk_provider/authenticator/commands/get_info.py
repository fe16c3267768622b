"""authenticatorGetInfo (CTAP 2.1 §6.4)."""

from __future__ import annotations

from sk_provider.ctap.commands import CREDENTIAL_MANAGEMENT, CREDENTIAL_MANAGEMENT_PREVIEW

from .authenticator_config import MAX_RP_IDS
from .creation_extensions import MAX_CRED_BLOB_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp

FIRMWARE_VERSION = 1
# What the FIDO registry of predefined values calls USER_VERIFY_FINGERPRINT_INTERNAL.
UV_MODALITY_FINGERPRINT = 0x02
UV_ATTEMPTS = 3


def get_info(power_up: PowerUp, _parameters: dict[Any, Any]) -> dict[int, Any]:
    """Answer with what the token is and can do, as its profile has it."""
    profile = power_up.profile
    state = power_up.store.read()
    always_uv = power_up.always_uv(state)
    options = {
        "rk": True,
        "up": True,
        "plat": "internal" in profile.transports,
        "clientPin": bool(state.pin),
    }
    if profile.uv:
        options["uv"] = True
    if CREDENTIAL_MANAGEMENT in profile.credential_management:
        options["credMgmt"] = True
    if CREDENTIAL_MANAGEMENT_PREVIEW in profile.credential_management:
        options["credentialMgmtPreview"] = True
    if profile.pin_uv_auth_token:
        options["pinUvAuthToken"] = True
        options["makeCredUvNotRqd"] = profile.make_cred_uv_not_required and not always_uv
    if profile.large_blobs:
        options["largeBlobs"] = True
    if profile.authenticator_config:
        options["authnrCfg"] = True
        options["alwaysUv"] = always_uv
        options["setMinPINLength"] = True
        if profile.uv:
            options["uvAcfg"] = True
    # U2F has no user verification, so it is gone while that is required (§7.2.4).
    versions = [version for version in profile.versions if version != "U2F_V2" or not always_uv]
    info: dict[int, Any] = {
        0x01: versions,
        0x02: list(profile.extensions),
        0x03: profile.aaguid,
        0x04: options,
        0x05: profile.max_message_size,
        0x06: list(profile.pin_protocols),
    }
    if "FIDO_2_1" in versions or "FIDO_2_1_PRE" in versions:
        info[0x07] = profile.max_credentials_in_list
        info[0x08] = power_up.keeper(state).max_credential_id_length
        info[0x09] = list(profile.transports)
    if profile.lists_algorithms:
        info[0x0A] = [{"alg": algorithm, "type": "public-key"} for algorithm in profile.algorithms]
    if "FIDO_2_1" in versions:
        if profile.large_blobs:
            info[0x0B] = profile.large_blobs
        info[0x0C] = state.force_pin_change
        info[0x0D] = state.min_pin_length
        info[0x0E] = FIRMWARE_VERSION
        info[0x0F] = MAX_CRED_BLOB_LENGTH
        info[0x10] = MAX_RP_IDS
        if profile.uv:
            info[0x11] = UV_ATTEMPTS
            info[0x12] = UV_MODALITY_FINGERPRINT
        info[0x14] = profile.max_resident - min(profile.max_resident, len(state.credentials))
    return info
