"""Tokens as a web browser uses them: python-fido2's WebAuthn client, whose results its WebAuthn server checks."""

from __future__ import annotations

from contextlib import closing, contextmanager

import pytest
from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.ctap2 import ClientPin, Ctap2
from fido2.server import Fido2Server
from fido2.utils import websafe_decode
from fido2.webauthn import PublicKeyCredentialRpEntity, PublicKeyCredentialUserEntity
from support.serve import connect_udp, open_device, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fido2.webauthn import AttestedCredentialData, RegistrationResponse

RP_ID = "example.org"
PIN = "123456"
USER = PublicKeyCredentialUserEntity(id=b"user", name="someone@example.org", display_name="Someone")


class Person(UserInteraction):
    """Knows the PIN, and counts how often it is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str:
        self.asked += 1
        return PIN

    def request_uv(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> bool:
        return True


class Browser:
    """A WebAuthn client with a token, and the site that it talks to."""

    def __init__(self, client: Fido2Client, person: Person) -> None:
        self.client = client
        self.person = person
        self.server = Fido2Server(PublicKeyCredentialRpEntity(id=RP_ID, name="Example"))
        self.credentials: list[AttestedCredentialData] = []

    def register(self, **wanted: Any) -> RegistrationResponse:
        options, state = self.server.register_begin(USER, self.credentials, **wanted)
        response = self.client.make_credential(options.public_key)
        registered = self.server.register_complete(state, response).credential_data
        assert registered is not None
        self.credentials.append(registered)
        return response

    def log_in(self, discover: bool = False, **wanted: Any) -> Any:
        """Sign with a credential that the site names, or that the token finds; return the results of extensions."""
        listed = None if discover else self.credentials
        options, state = self.server.authenticate_begin(listed, **wanted)
        response = self.client.get_assertion(options.public_key).get_response(0)
        self.server.authenticate_complete(state, self.credentials, response)
        return response.client_extension_results


@contextmanager
def browser(profile: str) -> Iterator[Browser]:
    with (
        serve("--profile", profile, "udp:127.0.0.1:0") as served,
        closing(open_device(connect_udp(served.address))) as device,
    ):
        if profile not in ("u2f", "uv"):
            ClientPin(Ctap2(device)).set_pin(PIN)
        person = Person()
        yield Browser(Fido2Client(device, DefaultClientDataCollector(f"https://{RP_ID}"), person), person)


PROFILES = ["fido2.0", "fido2.1-pre", "fido2.1", "uv", "always-uv", "pin-for-create", "es256-only", "small"]


@pytest.mark.parametrize("profile", PROFILES)
def test_user_is_verified_with_each_profile_that_can(profile: str) -> None:
    with browser(profile) as page:
        page.register(user_verification="required", resident_key_requirement="required")
        page.log_in(user_verification="required")
        page.log_in(discover=True, user_verification="required")
        assert bool(page.person.asked) == (profile != "uv")


@pytest.mark.parametrize("profile", ["u2f", "fido2.1"])
def test_touch_is_enough_where_the_site_does_not_want_the_user_verified(profile: str) -> None:
    with browser(profile) as page:
        page.register(user_verification="discouraged", resident_key_requirement="discouraged")
        page.log_in(user_verification="discouraged")
        assert not page.person.asked


def test_token_is_not_registered_twice() -> None:
    with browser("fido2.1") as page:
        page.register(user_verification="required")
        with pytest.raises(ClientError) as caught:
            page.register(user_verification="required")
        assert caught.value.code == ClientError.ERR.DEVICE_INELIGIBLE


def test_extensions_have_the_results_that_a_site_expects() -> None:
    with browser("fido2.1") as page:
        wanted = {
            "credProps": True,
            "credentialProtectionPolicy": "userVerificationRequired",
            "enforceCredentialProtectionPolicy": True,
            "largeBlob": {"support": "required"},
            "prf": {},
        }
        made = page.register(user_verification="required", resident_key_requirement="required", extensions=wanted)
        results: Any = made.client_extension_results
        assert results["credProps"] == {"rk": True}
        assert results["largeBlob"]["supported"] is True
        assert results["prf"]["enabled"] is True
        assert made.response.attestation_object.auth_data.extensions == {"credProtect": 3, "hmac-secret": True}

        salts = {"first": b"a salt", "second": b"another"}
        secrets = [page.log_in(user_verification="required", extensions={"prf": {"eval": salts}}) for _ in range(2)]
        assert secrets[0]["prf"]["results"] == secrets[1]["prf"]["results"]
        page.log_in(user_verification="required", extensions={"largeBlob": {"write": b"what the site keeps"}})
        read = page.log_in(user_verification="required", extensions={"largeBlob": {"read": True}})
        assert websafe_decode(read["largeBlob"]["blob"]) == b"what the site keeps"
