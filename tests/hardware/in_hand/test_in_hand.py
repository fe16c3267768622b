"""A person's own authenticator, which `--token` names: nothing is reset, no PIN is set or entered, no key is kept.

What is enrolled here is enrolled without a PIN, which some authenticators refuse once they have one.
"""

from __future__ import annotations

from support.openssh import Person, Signature

# Whatever else the transport can do, the kit's cases come with it.
from sk_provider.testing.in_hand import TestTokenInHand

__all__ = ["TestTokenInHand"]


def test_it_is_listed(token_in_hand: str, person: Person) -> None:
    person.configure(device=token_in_hand)
    done = person.run(str(person.pysk), "devices")
    assert done.status == 0, done


def test_a_key_is_made_and_signs_by_ssh_keygen(token_in_hand: str, person: Person) -> None:
    person.configure(device=token_in_hand)
    done, key = person.enroll("id", "ecdsa-sk")
    assert done.status == 0, done
    done, signature = person.sign(key)
    assert done.status == 0, done
    assert person.verify(key, signature).returncode == 0
    assert Signature(signature.read_text()).flags == 1


def test_what_nobody_has_made_is_not_signed_with(token_in_hand: str, person: Person) -> None:
    person.configure("Presence auto")
    done, key = person.enroll("other", "ecdsa-sk")
    assert done.status == 0, done
    person.configure(device=token_in_hand)
    done, _ = person.sign(key)
    assert done.status != 0
