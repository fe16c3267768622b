"""What pysk doctor says of a TPM in which somebody has keys."""

from __future__ import annotations

from support.doctor import Account
from support.openssh import PIN, enrolled
from support.swtpm import Manager, Swtpm, failure


def told(account: Account, manager: Manager) -> list[str]:
    """Return what is to be done about the TPM, and the rest of what is said of it."""
    return [f"{each.seen}; {each.remedy or ''}" for each in account.findings() if each.seen.startswith(manager.address)]


def test_a_tpm_that_has_no_key_yet_is_asked_whether_it_could_make_one(account: Account, manager: Manager) -> None:
    address = f"{manager.address}@{account.store}"
    account.configure("Presence auto", device=address)
    manager.answer = lambda _: failure(0x101)
    assert [line.partition(" (")[0] for line in told(account, manager)] == [
        f"{address}: the TPM refuses what is asked of it"
    ]
    account.enroll("id", "ecdsa-sk")
    # Its folder is left.
    assert account.store.exists()
    manager.answer = lambda _: None
    assert told(account, manager) == [f"{address} can be used, and has no key of yours; "]


def test_a_tpm_that_is_named_is_looked_at(account: Account, tpm: Swtpm, manager: Manager) -> None:
    address = f"{manager.address}@{account.store}"
    account.configure("Presence auto", device=address)
    assert told(account, manager) == [f"{address} can be used, and has no key of yours; "]
    account.set_pin(PIN)
    enrolled(account, "ecdsa-sk")
    assert told(account, manager) == [f"{address} can be used; "]
    tpm.lock()
    assert [line for line in told(account, manager) if "is locked" in line and "; wait" in line]
    tpm.unlock()
    tpm.clear()
    assert [line for line in told(account, manager) if "was cleared" in line and "pysk reset" in line]
