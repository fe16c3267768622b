"""A trace, by LogLevel in the user's own file and by `pysk --trace`: what it tells, and that it tells no secret."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.desktop import Desktop
from support.openssh import PIN, PIN_PROMPT, Person, assert_signs, enrolled, provider_lines
from support.serve import serve
from support.traced import Home, of_pin, told

NEW_PIN = "another horse"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("protocol", [1, 2])
def test_no_secret_is_in_the_trace_of_a_key_with_a_pin(home: Home, protocol: int) -> None:
    # python-fido2 takes the first that the authenticator knows.
    home.tree.append("client/pin.py", f"ClientPin.PROTOCOLS.sort(key=lambda each: each.VERSION != {protocol})")
    person = home.person
    home.configure()
    subprocess.run(
        [person.pysk, "pin", "set", f"soft:{person.store}"], input=f"{PIN}\n", text=True, check=True, timeout=60
    )
    answers = [(PIN_PROMPT, PIN)]
    done, key = person.enroll("id", "ed25519-sk", "resident", "verify-required", "user=somebody", answers=answers)
    assert done.status == 0, done
    assert_signs(person, key, answers)
    (person.folder / "listed").mkdir()
    listed = person.run("sh", "-c", "cd listed && ssh-keygen -K -N ''", answers=answers)
    assert listed.status == 0, listed
    assert told(home.log.read_text(), [*of_pin(PIN), *home.secrets, b"somebody"]) == []
    assert len(home.secrets) > 10
    for name in (
        "enroll: application ssh:, algorithm 1, flags 0x25, a PIN",
        f"soft:{person.store} > authenticatorMakeCredential {{",
        f"pinUvAuthProtocol: {protocol}, subCommand: getPinUvAuthTokenUsingPinWithPermissions (9)", ", secret>",
        "sign: application ssh:, algorithm 1, flags 0x25, a PIN",
        f"chosen: soft:{person.store}, whose mark the key handle bears", "> authenticatorGetAssertion {rpId: ",
        "list resident keys: a PIN", "> authenticatorCredentialManagement {subCommand: enumerateRPsBegin (2)",
        "\ndone",
        "ends with code -3, which is a question: ",
    ):  # fmt: skip
        assert name in home.trace, name


def test_the_trace_tells_which_of_several_authenticators_signs_and_why(home: Home, sockets: Path) -> None:
    addresses = [f"unix:{sockets}/{name}" for name in ("one", "two", "gone")]
    with serve(addresses[0]), serve(addresses[1]):
        home.configure(device=addresses[1])
        key = enrolled(home.person)
        home.configure(device=" ".join(addresses))
        home.log.unlink()
        assert_signs(home.person, key)
    sentences = home.sentences
    assert f"authenticators are named by Device in pysk_config: {' '.join(addresses)}" in sentences
    assert f"{addresses[0]} does not hold the key" in sentences
    assert f"{addresses[1]} holds the key, as its signature proves" in sentences
    assert f"chosen: {addresses[1]}, the first that says that it holds the key" in sentences
    assert any(line.startswith(f"{addresses[1]} < CTAPHID INIT on channel") for line in sentences)
    assert sentences[-1] == "done"


def test_the_trace_of_a_u2f_authenticator_has_its_messages(home: Home, sockets: Path) -> None:
    address = f"unix:{sockets}/token"
    with serve("--profile", "u2f", address):
        home.configure(device=address)
        assert_signs(home.person, enrolled(home.person, "ecdsa-sk"))
    sentences = home.sentences
    assert any(line.startswith(f"{address} > U2F REGISTER {{challenge: h'") for line in sentences)
    assert any(line.startswith(f"{address} > U2F AUTHENTICATE enforce-user-presence {{") for line in sentences)
    assert any(line.startswith(f"{address} < SUCCESS (0x9000) {{userPresence: 1, counter: ") for line in sentences)
    assert sentences.count("done") == 2


def test_what_the_person_is_told_is_in_the_trace(home: Home, sockets: Path) -> None:
    addresses = [f"unix:{sockets}/{name}" for name in ("one", "two")]
    with serve(addresses[0]), serve(addresses[1]):
        home.configure(device=" ".join(addresses))
        done, _ = home.person.enroll("id", "ed25519-sk")
    assert done.status != 0, done
    question, failure = (line.removeprefix("libpysk: ") for line in provider_lines(done.errors))
    assert f"the person is told: {question}" in home.sentences
    assert home.sentences[-1] == f"ends with code -2: {failure}"


def test_how_a_person_is_asked_and_told_is_in_the_trace(home: Home, sockets: Path) -> None:
    person = home.person
    # Otherwise ssh's own tests name one, by which libpysk asks too.
    person.environment = {name: person.environment[name] for name in person.environment if "ASKPASS" not in name}
    address = f"unix:{sockets}/token"
    with serve(address, presence="after:1500"), Desktop(sockets) as desktop:
        person.set_pin(PIN, address)
        home.configure("PinPrompt askpass terminal", device=address)
        _, key = person.enroll("id", "ed25519-sk", "verify-required")
        home.log.unlink()
        done, _ = person.sign(key, answers=[(PIN_PROMPT, ""), ("PIN: ", PIN)])
        assert done.status == 0, done
        for line in (
            "PinPrompt askpass: there is no DISPLAY for SSH_ASKPASS",
            "PinPrompt terminal: a PIN was entered",
            f"{address} Notify terminal: told there",
        ):
            assert home.sentences.count(line) == 1, line
        home.log.unlink()
        home.configure("PinPrompt host", device=address)
        person.sign(key, answers=[(PIN_PROMPT, "")])
        assert "PinPrompt host: the program that asked is to ask for the PIN" in home.sentences
        home.log.unlink()
        home.configure(device=address)
        with_pin = person.askpass(PIN)
        signing = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(person.folder / "document")]
        (person.folder / "document.sig").unlink(missing_ok=True)
        subprocess.run(
            signing, env={**person.environment, **with_pin, **desktop.variables},
            stdin=subprocess.DEVNULL, start_new_session=True, check=True, timeout=60,
        )  # fmt: skip
        desktop.wait_for_withdrawal()
    assert f"{address} Notify terminal: there is none" in home.sentences
    assert f"{address} Notify desktop: given to the session bus" in home.sentences
    assert told(home.log.read_text(), of_pin(PIN)) == []


@pytest.mark.parametrize("fault", ["stuck", "garbage", "dies-after:9"])
def test_the_trace_of_an_authenticator_that_fails_says_how(home: Home, sockets: Path, fault: str) -> None:
    address = f"unix:{sockets}/token"
    with serve(address):
        home.configure(device=address)
        key = enrolled(home.person)
    home.log.unlink()
    with serve(address, fault=fault):
        done, _ = home.person.sign(key)
    assert done.status != 0
    assert all(line.isprintable() for line in home.trace.splitlines())
    assert f"{address} gives no answer after " in home.trace
    assert re.search(r"ends with code -1: .+; ", home.trace)
    assert len(provider_lines(done.errors)) == 1


def test_a_trace_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "nowhere" / "log")
    done, key = home.person.enroll("id", "ed25519-sk")
    assert (done.status, len(provider_lines(done.errors))) == (0, 1), done
    assert "cannot be written, so that there is no trace; correct LogFile" in done.errors
    done, signature = home.person.sign(key)
    assert (done.status, len(provider_lines(done.errors))) == (0, 1), done
    assert home.person.verify(key, signature).returncode == 0


def test_nothing_is_traced_that_nobody_has_asked_for(home: Home) -> None:
    home.person.configure("Presence auto", f"LogFile {home.log}")
    enrolled(home.person)
    assert home.sentences == []


def pysk_trace(person: Person, *arguments: str, lines: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [person.pysk, "--trace", *arguments],
        input="".join(f"{line}\n" for line in lines),
        text=True, env=person.environment, check=False, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("profile", ["fido2.0", "fido2.1"])
def test_pysk_traces_what_it_does_about_a_pin_but_no_pin(person: Person, profile: str) -> None:
    with serve("--profile", profile, "udp:127.0.0.1:0") as token:
        address = token.names[0]
        done = [
            pysk_trace(person, "pin", "set", address, lines=(PIN,)),
            pysk_trace(person, "pin", "change", address, lines=(PIN, NEW_PIN)),
            pysk_trace(person, "pin", "status", address),
            pysk_trace(person, "pin", "change", address, lines=(PIN, PIN)),
        ]
    assert [each.returncode for each in done] == [0, 0, 0, 1]
    assert done[2].stdout == "a PIN is set, 8 tries left\n"
    text = "".join(each.stderr for each in done)
    assert told(text, [*of_pin(PIN), *of_pin(NEW_PIN)]) == []
    for name in (
        "authenticators are named by the caller: udp:127.0.0.1:", f"{address} > CTAPHID INIT on channel 0xffffffff",
        "subCommand: setPIN (3)", "subCommand: changePIN (4)", "newPinEnc: <", "pinRetries: 8",
        "< PIN_INVALID (0x31), after",
    ):  # fmt: skip
        assert name in text


def test_pysk_without_the_option_traces_nothing(person: Person) -> None:
    with serve("udp:127.0.0.1:0") as token:
        done = subprocess.run(
            [person.pysk, "pin", "status", token.names[0]], capture_output=True, text=True, check=True, timeout=60
        )
    assert done.stderr == ""
