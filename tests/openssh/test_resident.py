"""Resident keys: ssh-keygen -K writes them to files and ssh-add -K gives them to an agent."""

from __future__ import annotations

from fido2.ctap2 import ClientPin, Ctap2
from support.openssh import (
    PIN,
    PIN_PROMPT,
    RESIDENT,
    USER_PRESENT,
    USER_VERIFIED,
    WRONG_PIN,
    Agent,
    KeyFile,
    Person,
    provider_lines,
)
from support.serve import connect_unix, open_device
from support.sshd import Sshd
from support.terminal import Done

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.relay import Connect


def download(person: Person, pin: str = PIN) -> Done:
    return person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, pin)])


def test_resident_keys_come_back_as_they_were_enrolled(person: Person) -> None:
    person.set_pin(PIN)
    enrolled = {
        "id_ed25519_sk_rk": ("ed25519-sk", ["resident"]),
        "id_ecdsa_sk_rk_work": ("ecdsa-sk", ["resident", "application=ssh:work"]),
        "id_ed25519_sk_rk_alice": ("ed25519-sk", ["resident", "user=alice"]),
        "id_ecdsa_sk_rk_work_bob": ("ecdsa-sk", ["resident", "application=ssh:work", "user=bob"]),
        "id_ed25519_sk_rk_strict": ("ed25519-sk", ["resident", "application=ssh:strict", "verify-required"]),
    }
    originals = {}
    for number, (name, (kind, options)) in enumerate(enrolled.items()):
        done, path = person.enroll(f"original{number}", kind, *options, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        originals[name] = KeyFile(path)
    person.enroll("not_resident", "ed25519-sk", "application=ssh:none")

    done = download(person)
    assert done.status == 0, done
    assert not provider_lines(done.screen + done.errors)
    downloaded = {path.name: path for path in person.folder.glob("id_*_rk*") if path.suffix != ".pub"}
    assert set(downloaded) == set(enrolled)
    for name, path in downloaded.items():
        key, original = KeyFile(path), originals[name]
        assert (key.public.blob, key.key_handle) == (original.public.blob, original.key_handle)
        verification = USER_VERIFIED if "strict" in name else 0
        assert key.flags == USER_PRESENT | RESIDENT | verification
        done, signature = person.sign(path, answers=[(PIN_PROMPT, PIN)] if verification else [])
        assert done.status == 0, done
        assert person.verify(path, signature).returncode == 0


def test_a_token_puts_no_line_of_its_own_into_a_file(person: Person, connect: Connect) -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    with connect() as relay:
        with connect_unix(relay.address.removeprefix("unix:")) as connected:
            ctap2 = Ctap2(open_device(connected))
            client_pin = ClientPin(ctap2)
            client_pin.set_pin(PIN)
            for application in ("ssh:work", f"ssh:a\n{line} attacker"):
                token = client_pin.get_pin_token(PIN, ClientPin.PERMISSION.MAKE_CREDENTIAL, application)
                ctap2.make_credential(
                    bytes(32), {"id": application}, {"id": b"alice", "name": "alice"},
                    [{"type": "public-key", "alg": -7}], options={"rk": True},
                    pin_uv_param=client_pin.protocol.authenticate(token, bytes(32)),
                    pin_uv_protocol=client_pin.protocol.VERSION,
                )  # fmt: skip
        person.configure(device=relay.address)
        done = download(person)
        exported = person.run(str(person.pysk), "keys", "export", "--output", "exported", answers=[("PIN: ", PIN)])
    assert done.status == 0, done
    assert line not in done.screen
    (told,) = provider_lines(done.errors)
    assert told.startswith(f'libpysk: the authenticator has keys for "ssh:a?{line[:30]}')
    assert exported.status == 0, exported
    public = [path.read_text().splitlines() for path in person.folder.rglob("id_ecdsa_sk_rk*.pub")]
    assert len(public) == 3
    assert all(len(lines) == 1 and lines[0].startswith("sk-ecdsa-sha2-nistp256@openssh.com ") for lines in public)


def test_wrong_pin_lists_nothing(person: Person) -> None:
    person.set_pin(PIN)
    person.enroll("original", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
    done = download(person, WRONG_PIN)
    assert done.status != 0
    assert not list(person.folder.glob("id_*"))
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]


def test_authenticator_without_pin_cannot_list_and_says_so(person: Person) -> None:
    person.enroll("original", "ed25519-sk", "resident")
    done = download(person, "1234")
    assert done.status != 0
    assert provider_lines(done.errors) == [
        f"libpysk: the authenticator has no PIN; set one with: pysk pin set soft:{person.store}"
    ]


def test_empty_pin_for_an_authenticator_without_one_is_explained(person: Person) -> None:
    person.enroll("original", "ed25519-sk", "resident")
    done = download(person, "")
    assert done.status != 0
    assert provider_lines(done.errors) == [
        f"libpysk: the authenticator has no PIN; set one with: pysk pin set soft:{person.store}"
    ]


def test_empty_pin_for_an_authenticator_with_one_is_explained(person: Person) -> None:
    person.set_pin(PIN)
    done = download(person, "")
    assert done.status != 0
    assert provider_lines(done.errors) == [
        "libpysk: the authenticator requires its PIN to list its keys; enter it when you are asked"
    ]


def test_authenticator_without_resident_keys_lists_none(person: Person) -> None:
    person.set_pin(PIN)
    person.enroll("original", "ed25519-sk")
    done = download(person)
    assert done.status == 0, done
    assert "No keys to download" in done.screen + done.errors
    assert not provider_lines(done.screen + done.errors)
    assert not list(person.folder.glob("id_*"))


def test_agent_takes_the_resident_keys_and_logs_in(person: Person, agent: Agent, server: Sshd, kind: str) -> None:
    person.set_pin(PIN)
    _, path = person.enroll("original", kind, "resident", answers=[(PIN_PROMPT, PIN)])
    server.authorized_keys.write_text((person.folder / "original.pub").read_text())
    path.unlink()
    done = agent.add("-K", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert not provider_lines(done.screen + done.errors)
    done = person.run(*server.client(), "echo logged in", environment=agent.environment)
    assert done.status == 0, done
    assert "logged in" in done.screen
