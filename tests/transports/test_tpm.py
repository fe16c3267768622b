"""Keys in a TPM, as ssh's programs use them: swtpm is the TPM, behind what a kernel's resource manager does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.openssh import (
    PIN,
    PIN_PROMPT,
    RESIDENT,
    USER_PRESENT,
    USER_VERIFIED,
    WRONG_PIN,
    KeyFile,
    Person,
    Signature,
    assert_signs,
    enrolled,
    provider_lines,
    sign_at_once,
)
from support.swtpm import Manager, Swtpm, failure

from sk_provider.credentials import sealing

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

KIND = "ecdsa-sk"
LOCKED = "libpysk: the TPM is locked, for there were too many wrong PINs or passwords; wait"
NEARLY_LOCKED = "libpysk: one more wrong PIN would lock the TPM for all that uses it; wait 17 minutes"
CREATE_PRIMARY = 0x131
OTHER_TPM = "libpysk: the TPM is not the one that"


@pytest.fixture
def owner(person: Person, manager: Manager) -> Person:
    """Somebody whose keys are in the TPM."""
    use(person, manager)
    return person


def use(person: Person, tpm: Manager | Swtpm, *lines: str) -> None:
    person.configure("Presence auto", *lines, device=f"{tpm.address}@{person.store}")


def fails(person: Person, key: Path, line: str, *pins: str) -> None:
    """Fail unless the key does not sign, after these PINs, and says so in one line that begins with this."""
    done, signature = person.sign(key, answers=[(PIN_PROMPT, pin) for pin in pins])
    assert done.status != 0, done
    assert not signature.exists()
    (said,) = provider_lines(done.errors)
    assert said.startswith(line)


def test_a_key_is_made_signs_and_verifies(owner: Person, tpm: Swtpm) -> None:
    key = enrolled(owner, KIND)
    counters = []
    for _ in range(3):
        done, path = owner.sign(key)
        assert done.status == 0, done
        assert owner.verify(key, path).returncode == 0
        signature = Signature(path.read_text())
        assert signature.flags == USER_PRESENT
        counters.append(signature.counter)
    assert counters == sorted(set(counters))
    assert KeyFile(key).key_handle.startswith(b"ptpm\x01")
    assert tpm.loaded() == []
    assert {path.name: path.stat().st_mode & 0o777 for path in owner.store.iterdir()} == {"lock": 0o600, "state": 0o600}


def test_a_type_of_key_that_a_tpm_has_not_is_refused_before_anything_is_asked(owner: Person, manager: Manager) -> None:
    use(owner, manager, "Presence ask")
    done, path = owner.enroll("id", "ed25519-sk")
    assert done.status != 0
    assert not path.exists()
    assert provider_lines(done.errors) == [
        "libpysk: the authenticator does not support this type of key; use the other one: ecdsa-sk or ed25519-sk"
    ]
    assert "Make a key" not in done.screen


def test_a_sealed_key_signs_by_its_passphrase_alone(owner: Person) -> None:
    key = enrolled(owner, KIND)
    done = subprocess.run(
        [owner.pysk, "seal", key],
        input="correct horse\n", env=owner.environment, text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        0, f"{key} is sealed; kind of key handle: libpysk's keys in a TPM\n"
    )  # fmt: skip
    assert sealing.is_sealed(KeyFile(key).key_handle)
    assert_signs(owner, key, [("Passphrase: ", "correct horse")])
    wrong, _ = owner.sign(key, answers=[("Passphrase: ", "correct horsf")])
    assert wrong.status != 0
    (line,) = provider_lines(wrong.errors)
    assert line.startswith("libpysk: the passphrase is wrong, or the authenticator does not hold this key; try again")


def test_a_pin_releases_keys_of_its_own_and_another_pin_the_same_ones(owner: Person) -> None:
    owner.set_pin(PIN)
    free = enrolled(owner, KIND)
    done, key = owner.enroll("verified", KIND, "verify-required")
    assert done.status == 0, done
    done, path = owner.sign(key, answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert owner.verify(key, path).returncode == 0
    assert Signature(path.read_text()).flags == USER_PRESENT | USER_VERIFIED
    changed = subprocess.run(
        [owner.pysk, "pin", "change"],
        input=f"{PIN}\n{PIN} two\n", text=True, env=owner.environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert changed.returncode == 0, changed
    assert_signs(owner, key, answers=[(PIN_PROMPT, f"{PIN} two")])
    assert_signs(owner, free)
    done, _ = owner.sign(key, answers=[(PIN_PROMPT, PIN)])
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 1 try left; try again"]


def test_wrong_pins_end_before_the_tpm_locks_itself(owner: Person, tpm: Swtpm) -> None:
    owner.set_pin(PIN)
    free = enrolled(owner, KIND)
    _, key = owner.enroll("verified", KIND, "verify-required")
    for line in ("libpysk: wrong PIN, 1 try left; try again", NEARLY_LOCKED):
        done, _ = owner.sign(key, answers=[(PIN_PROMPT, WRONG_PIN)])
        assert done.status != 0
        (said,) = provider_lines(done.errors)
        assert said.startswith(line)
    # Not even the right one is tried.
    fails(owner, key, NEARLY_LOCKED, PIN)
    with tpm.esapi() as esapi:
        assert not in_lockout(esapi)
    assert_signs(owner, free)


def test_a_tpm_in_lockout_is_told_and_free_keys_go_on(owner: Person, tpm: Swtpm) -> None:
    owner.set_pin(PIN)
    free = enrolled(owner, KIND)
    _, key = owner.enroll("verified", KIND, "verify-required")
    lock(tpm)
    fails(owner, key, LOCKED, PIN)
    assert_signs(owner, free)
    with tpm.esapi() as esapi:
        from tpm2_pytss.constants import ESYS_TR

        esapi.dictionary_attack_lock_reset(ESYS_TR.LOCKOUT)
    assert_signs(owner, key, answers=[(PIN_PROMPT, PIN)])


def in_lockout(esapi: object) -> bool:
    from tpm2_pytss.constants import TPM2_CAP

    _, capability = esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, 0x200, 1)  # type: ignore[attr-defined]
    return bool(int(capability.data.tpmProperties[0].value) & 1 << 9)


def lock(tpm: Swtpm) -> None:
    """Let another program of the machine guess wrong until the TPM is in lockout."""
    from tpm2_pytss import TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPM2B_SENSITIVE_DATA, TPMS_SENSITIVE_CREATE
    from tpm2_pytss import TSS2_Exception as TssError
    from tpm2_pytss.constants import ESYS_TR

    with tpm.esapi() as esapi:
        sensitive = TPMS_SENSITIVE_CREATE(userAuth="right", data=TPM2B_SENSITIVE_DATA(b"data"))
        parent, *_ = esapi.create_primary(TPM2B_SENSITIVE_CREATE(), "ecc256:aes128cfb", ESYS_TR.OWNER)
        private, public, *_ = esapi.create(
            parent,
            TPM2B_SENSITIVE_CREATE(sensitive),
            TPM2B_PUBLIC.parse("keyedhash", objectAttributes="fixedtpm|fixedparent|userwithauth"),
        )
        sealed = esapi.load(parent, private, public)
        esapi.tr_set_auth(sealed, "wrong")
        while not in_lockout(esapi):
            with pytest.raises(TssError):
                esapi.unseal(sealed)
        esapi.flush_context(sealed)
        esapi.flush_context(parent)


def test_resident_keys_are_listed_on_another_day(owner: Person, manager: Manager, tmp_path: Path) -> None:
    owner.set_pin(PIN)
    done, key = owner.enroll("id", KIND, "resident", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    folder = tmp_path / "downloaded"
    folder.mkdir()
    other = Person(folder, owner.provider)
    other.config.write_text(owner.config.read_text())
    done = other.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    (downloaded,) = folder.glob("id_*_rk")
    assert KeyFile(downloaded).flags & RESIDENT
    assert KeyFile(downloaded).key_handle == KeyFile(key).key_handle
    assert_signs(owner, key)


def test_a_copied_store_is_of_no_use_with_another_tpm(owner: Person, tpm: Swtpm, tmp_path: Path) -> None:
    owner.set_pin(PIN)
    free = enrolled(owner, KIND)
    _, key = owner.enroll("verified", KIND, "verify-required")
    with Swtpm(tmp_path / "other") as other, Manager(other) as manager:
        use(owner, manager)
        fails(owner, free, OTHER_TPM)
        fails(owner, key, OTHER_TPM, PIN)
    copy = owner.store.rename(tmp_path / "copy")
    shutil.copytree(copy, owner.store)
    with Manager(tpm) as manager:
        use(owner, manager)
        for _ in range(2):
            owner.sign(key, answers=[(PIN_PROMPT, WRONG_PIN)])
        # The copy has counted nothing, and yet gives no more guesses.
        shutil.rmtree(owner.store)
        shutil.copytree(copy, owner.store)
        fails(owner, key, NEARLY_LOCKED, PIN)


def test_a_cleared_tpm_is_told_and_a_reset_begins_anew(owner: Person, tpm: Swtpm, manager: Manager) -> None:
    key = enrolled(owner, KIND)
    tpm.clear()
    fails(owner, key, OTHER_TPM)
    address = f"{manager.address}@{owner.store}"
    reset = subprocess.run(
        [owner.pysk, "reset", "--yes", address], env=owner.environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert reset.returncode == 0, reset
    key.unlink()
    assert_signs(owner, enrolled(owner, KIND))


def test_keys_outlive_a_restart_of_the_tpm_and_its_loss_of_power(person: Person, tpm: Swtpm) -> None:
    use(person, tpm)
    key = enrolled(person, KIND)
    counters = [counter(person, key)]
    tpm.power_cycle()
    counters.append(counter(person, key))
    tpm.vanish()
    fails(person, key, f"libpysk: no TPM answers at {tpm.address}; start it, or correct the address")
    tpm.power_up()
    counters.append(counter(person, key))
    assert counters == sorted(set(counters))


def counter(person: Person, key: Path) -> int:
    """Return the signature counter of a new signature."""
    done, signature = person.sign(key)
    assert done.status == 0, done
    return Signature(signature.read_text()).counter


@pytest.mark.parametrize("number", [2, 16])
def test_many_programs_sign_at_the_same_time(owner: Person, tpm: Swtpm, number: int) -> None:
    key = enrolled(owner, KIND)
    assert sign_at_once(owner, key, number) == []
    assert tpm.loaded() == []


def test_two_programs_sign_without_a_resource_manager(person: Person, tpm: Swtpm) -> None:
    use(person, tpm)
    key = enrolled(person, KIND)
    assert sign_at_once(person, key, 3) == []
    assert tpm.loaded() == []


def test_a_persistent_primary_key_serves_and_one_that_comes_later_changes_nothing(
    owner: Person, tpm: Swtpm, manager: Manager
) -> None:
    commands: set[int] = set()

    def note(command: bytes) -> None:
        commands.add(int.from_bytes(command[6:10], "big"))

    manager.answer = note
    before = enrolled(owner, KIND)
    assert CREATE_PRIMARY in commands
    persist_primary(tpm)
    assert_signs(owner, before)
    owner.store.rename(owner.folder / "elsewhere")
    before.unlink()
    commands.clear()
    assert_signs(owner, enrolled(owner, KIND))
    assert CREATE_PRIMARY not in commands
    assert tpm.loaded() == []


def test_an_rsa_key_in_the_place_of_the_primary_key_changes_nothing(owner: Person, tpm: Swtpm) -> None:
    before = enrolled(owner, KIND)
    persist_primary(tpm, "rsa2048:aes128cfb")
    assert_signs(owner, before)
    owner.store.rename(owner.folder / "elsewhere")
    before.unlink()
    assert_signs(owner, enrolled(owner, KIND))


def persist_primary(tpm: Swtpm, kind: str = "ecc256:aes128cfb") -> None:
    """Make the storage primary key persistent, as systemd and distributions do."""
    from tpm2_pytss import TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE
    from tpm2_pytss.constants import ESYS_TR

    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
    template = TPM2B_PUBLIC.parse(kind, objectAttributes=attributes)
    with tpm.esapi() as esapi:
        primary, *_ = esapi.create_primary(TPM2B_SENSITIVE_CREATE(), template, ESYS_TR.OWNER)
        esapi.evict_control(ESYS_TR.OWNER, primary, 0x81000001)
        esapi.flush_context(primary)


def forget_primary(tpm: Swtpm) -> None:
    """Undo persist_primary()."""
    from tpm2_pytss.constants import ESYS_TR

    with tpm.esapi() as esapi:
        esapi.evict_control(ESYS_TR.OWNER, esapi.tr_from_tpmpublic(0x81000001), 0x81000001)


def test_the_counter_is_kept_in_the_store_where_the_owner_of_the_tpm_has_a_password(owner: Person, tpm: Swtpm) -> None:
    set_password(tpm, "owner's")
    no_primary = (
        "libpysk: the TPM's owner has set a password, and no ECC storage primary key of the standard template is at "
        "0x81000001"
    )
    done, _ = owner.enroll("none", KIND)
    assert provider_lines(done.errors) == [
        f"{no_primary}; have the owner make one there, by tpm2_createprimary and tpm2_evictcontrol"
    ]
    set_password(tpm, "", "owner's")
    persist_primary(tpm, "rsa2048:aes128cfb")
    set_password(tpm, "owner's")
    done, _ = owner.enroll("none", KIND)
    (line,) = provider_lines(done.errors)
    assert line.startswith(f"{no_primary}, but another key; have the owner remove the password, by tpm2_changeauth, or")
    set_password(tpm, "", "owner's")
    forget_primary(tpm)
    persist_primary(tpm)
    set_password(tpm, "owner's")
    key = enrolled(owner, KIND)
    assert [counter(owner, key) for _ in range(2)] == [2, 3]


def test_a_cleared_tpm_is_told_where_its_owner_has_made_a_primary_key_anew_and_set_a_password(
    owner: Person, tpm: Swtpm
) -> None:
    key = enrolled(owner, KIND)
    tpm.clear()
    persist_primary(tpm)
    set_password(tpm, "owner's")
    fails(owner, key, OTHER_TPM)


def set_password(tpm: Swtpm, password: str, before: str = "") -> None:
    """Give the TPM's owner a password, or none by ""."""
    from tpm2_pytss.constants import ESYS_TR

    with tpm.esapi() as esapi:
        esapi.tr_set_auth(ESYS_TR.OWNER, before)
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, password)


def test_a_handle_of_another_store_is_refused(owner: Person, manager: Manager, tmp_path: Path) -> None:
    key = enrolled(owner, KIND)
    owner.store.rename(tmp_path / "elsewhere")
    fails(owner, key, "libpysk: the key is in a TPM that is neither this machine's (tpm:) nor named by Device")


def test_a_damaged_store_is_told(owner: Person) -> None:
    key = enrolled(owner, KIND)
    state = owner.store / "state"
    content = state.read_bytes()
    for damaged in (content[:-20], content[:100] + bytes([content[100] ^ 1]) + content[101:], b""):
        state.write_bytes(damaged)
        fails(owner, key, f"libpysk: the store {owner.store} is damaged or not a store; restore it from a backup")
    state.write_bytes(content)
    assert_signs(owner, key)


def test_what_the_tpm_refuses_is_told(owner: Person, manager: Manager) -> None:
    key = enrolled(owner, KIND)
    for code, line in (
        (0x905, "libpysk: the TPM has no room for another key or session; "),
        (0x100, "libpysk: the TPM was not started up; restart the machine"),
        (0x101, "libpysk: the TPM refuses what is asked of it (error 0x101); "),
    ):
        manager.answer = lambda _, code=code: failure(code)  # type: ignore[misc]
        fails(owner, key, line)
    manager.answer = lambda _: None
    assert_signs(owner, key)


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ("cmd:touch", "libpysk: tpm:cmd:touch is not a TPM's address; write tpm:"),
        ("/lib/evil.so:", "libpysk: there is no TPM 2.0 at /dev/tpmrm0; "),
        ("device:/dev/sda", "libpysk: tpm:device:/dev/sda is not a TPM's device; name one such as /dev/tpmrm0"),
        ("", "libpysk: there is no TPM 2.0 at /dev/tpmrm0; "),
        ("device:/dev/tpmrm7", "libpysk: there is no TPM 2.0 at /dev/tpmrm7; "),
        ("swtpm:host=127.0.0.1,port=1", "libpysk: no TPM answers at tpm:swtpm:host=127.0.0.1,port=1; "),
        ("swtpm:nonsense", "libpysk: no TPM answers at tpm:swtpm:nonsense; "),
    ],
)
def test_an_address_without_a_tpm_is_told(person: Person, location: str, line: str) -> None:
    if not location.startswith("/"):
        location += f"@{person.store}"
    done, path = person.enroll("id", KIND, f"device=tpm:{location}")
    assert done.status != 0
    assert not path.exists()
    (said,) = provider_lines(done.errors)
    assert said.startswith(line)
    assert not os.path.lexists(person.store / "state")
