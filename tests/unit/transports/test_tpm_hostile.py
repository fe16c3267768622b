"""What keys in a TPM come to by bad luck or bad will: handles and stores that were tampered with, no room, a loss of
power at any moment. Each is told in a sentence, and leaves nothing in the TPM.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fido2.ctap import CtapError
from fido2.ctap2 import ClientPin, Ctap2
from hypothesis import given, settings
from hypothesis import strategies as st
from support.swtpm import Manager, Swtpm

from sk_provider.authenticator.store import Store
from sk_provider.config import Configuration
from sk_provider.ctap import status
from sk_provider.errors import CredentialNotFound, SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.tpm import key_handle, tss
from sk_provider.tpm.keeper import TpmKeepers
from sk_provider.tpm.state import TpmState
from sk_provider.transports import tpm as transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from sk_provider.transports.soft import SoftChannel

pytestmark = pytest.mark.slow

HASH = bytes(32)
PIN = "1234"
ROOM = 0x01500000
"""Where the room in a TPM's NV memory is taken from."""


@pytest.fixture(scope="module")
def swtpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with Swtpm(tmp_path_factory.mktemp("tpm")) as tpm:
        tpm.begin_anew()
        yield tpm


@pytest.fixture(scope="module")
def location(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"{swtpm.tcti}@{tmp_path_factory.mktemp('store')}/store"


def opened(location: str, *, may_reset: bool = False) -> SoftChannel:
    configuration = Configuration()
    configuration.presence = "auto"
    return transport.open(location, configuration, Operation(30), may_create=True, may_reset=may_reset)


def client(channel: SoftChannel) -> Ctap2:
    return Ctap2(channel)  # type: ignore[arg-type]  # it needs no more than a channel has


def make(ctap2: Ctap2, **arguments: Any) -> Any:
    return ctap2.make_credential(
        HASH, {"id": "ssh:"}, {"id": b"user", "name": "user"}, [{"type": "public-key", "alg": -7}], **arguments
    ).auth_data.credential_data


def get(ctap2: Ctap2, credential_id: bytes) -> Any:
    listed: Any = [{"type": "public-key", "id": credential_id}]
    return ctap2.get_assertion("ssh:", HASH, listed)


def indices(swtpm: Swtpm) -> list[int]:
    """Return what is defined in the TPM's NV memory."""
    from tpm2_pytss.constants import TPM2_CAP

    with swtpm.esapi() as esapi:
        _, capability = esapi.get_capability(TPM2_CAP.HANDLES, 0x01000000, 254)
        return [int(each) for each in capability.data.handles]


def test_a_key_handle_that_was_tampered_with_is_nobodys(location: str, swtpm: Swtpm) -> None:
    """Be it cut at any byte, of another byte at any place, or of two handles' parts: the TPM is not asked to sign."""
    channel = opened(location)
    ctap2 = client(channel)
    one, other = make(ctap2).credential_id, make(ctap2).credential_id
    tampered = [one[:length] for length in range(1, len(one))] + [one + b"\0"]
    tampered += [one[:at] + bytes((one[at] ^ 1 << at % 8,)) + one[at + 1 :] for at in range(len(one))]
    # All handles of a store begin with the same.
    same = key_handle.HEADER_LENGTH
    spliced = [one[:at] + other[at:] for at in range(same + 1, len(one))]
    # Where both have the same byte first or last, that is a whole handle.
    tampered += [each for each in spliced if each not in (one, other)]
    for each in tampered:
        with pytest.raises(CtapError) as caught:
            get(ctap2, each)
        assert caught.value.code == status.NO_CREDENTIALS
        if key_handle.store_id_of(each) != key_handle.store_id_of(one):
            with pytest.raises(CredentialNotFound):
                transport.open_holder(each, [location], Configuration(), Operation(30))
    get(ctap2, one)
    channel.close()
    assert swtpm.loaded() == []


@settings(max_examples=30)
@given(data=st.data())
def test_no_content_of_a_store_does_more_than_be_refused(location: str, swtpm: Swtpm, data: st.DataObject) -> None:
    opened(location).close()
    state = Store.open(location.partition("@")[2], TpmState).read()
    assert isinstance(state, TpmState)
    names = ("secret", "pin_object")
    whole = {name: getattr(state, name) for name in names}
    which = data.draw(st.sampled_from(names))
    content = whole[which]
    at = data.draw(st.integers(0, len(content) - 1))
    tampered = data.draw(
        st.sampled_from(
            [
                content[:at],
                content[:at] + bytes((content[at] ^ data.draw(st.integers(1, 255)),)) + content[at + 1 :],
                content[:at] + whole[names[which == names[0]]][at:],
                data.draw(st.binary(max_size=200)),
            ]
        )
    )
    setattr(state, which, tampered)
    keepers = TpmKeepers(tss.Tpm(transport.tcti_of(location), Operation(30), is_shared=False), "store", "reset")
    try:
        keepers.secret(state)
        keepers.release(state, b"")
    except SecurityKeyError:
        pass  # of some bytes the TPM takes no notice
    keepers.forget()
    assert swtpm.loaded() == []


def test_without_room_in_the_tpm_the_counter_is_kept_in_the_store(tmp_path: Path) -> None:
    from tpm2_pytss import TPM2B_AUTH, TPM2B_NV_PUBLIC, TPMA_NV, TPMS_NV_PUBLIC, TSS2_Exception
    from tpm2_pytss.constants import TPM2_ALG, TPM2_NT

    with Swtpm(tmp_path / "tpm") as tpm:
        with tpm.esapi() as esapi:
            # Some is kept for counters.
            sizes = [2048, 256, 32, 8, 1]
            kinds = [(size, TPM2_NT.ORDINARY) for size in sizes] + [(8, TPM2_NT.COUNTER)]
            number = 0
            while kinds:
                size, kind = kinds[0]
                public = TPMS_NV_PUBLIC(
                    nvIndex=ROOM + number,
                    nameAlg=TPM2_ALG.SHA256,
                    attributes=TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA | kind << TPMA_NV.TPM2_NT_SHIFT,
                    dataSize=size,
                )
                try:
                    esapi.nv_define_space(TPM2B_AUTH(), TPM2B_NV_PUBLIC(public))
                    number += 1
                except TSS2_Exception:
                    kinds.pop(0)
        before = indices(tpm)
        location = f"{tpm.tcti}@{tmp_path}/store"
        channel = opened(location)
        ctap2 = client(channel)
        made = make(ctap2)
        counters = [get(ctap2, made.credential_id).auth_data.counter for _ in range(3)]
        channel.close()
        assert counters == sorted(set(counters))
        assert indices(tpm) == before
        assert tpm.loaded() == []


def test_a_loss_of_power_at_any_moment_is_told_and_costs_nothing(swtpm: Swtpm, tmp_path: Path) -> None:
    def change_pin(ctap2: Ctap2) -> None:
        ClientPin(ctap2).change_pin(PIN, PIN)

    with Manager(swtpm) as manager:
        location = f"{manager.tcti}@{tmp_path}/store"
        channel = opened(location)
        kept = make(client(channel)).credential_id
        ClientPin(client(channel)).set_pin(PIN)
        channel.close()
        before = len(indices(swtpm))
        for act in (make, change_pin):
            assert lost(manager, location, act)
            channel = opened(location)
            get(client(channel), kept)
            channel.close()
        assert lost(manager, location, lambda ctap2: ctap2.reset(), may_reset=True)
        channel = opened(location)
        get(client(channel), make(client(channel)).credential_id)
        channel.close()
    assert len(indices(swtpm)) == before
    assert swtpm.loaded() == []


def lost(manager: Manager, location: str, act: Callable[[Ctap2], object], *, may_reset: bool = False) -> list[str]:
    """Have something done of which the TPM hears ever more, at last all of it, and return what was told till then."""
    told: list[str] = []
    while True:
        manager.commands = 0

        def vanish(_: bytes) -> None:
            if manager.commands > 5 * len(told):
                raise ConnectionError

        manager.answer = vanish
        try:
            channel = opened(location, may_reset=may_reset)
            try:
                act(client(channel))
            finally:
                channel.close()
        except SecurityKeyError as error:
            told.append(str(error))
            assert "TPM" in told[-1]
        else:
            return told
        finally:
            manager.answer = lambda _: None
