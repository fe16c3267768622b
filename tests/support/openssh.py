"""How OpenSSH's programs are called by a person who has a software authenticator, and what their key files hold."""

from __future__ import annotations

import base64
import functools
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from support import debian, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

PATIENCE_S = 60

PIN = "correct horse"
WRONG_PIN = "wrong horse"
# Every host's question begins so: "Enter PIN for authenticator: ", "Enter PIN for ED25519-SK key …: ".
PIN_PROMPT = "Enter PIN for"

USER_PRESENT = 0x01
USER_VERIFIED = 0x04
RESIDENT = 0x20


# The first release that enrolls without a PIN and asks for it once the authenticator wants it.
ASKS_ON_DEMAND = (9, 1)


@functools.cache
def version() -> tuple[int, int]:
    """Return the release of OpenSSH that is under test."""
    done = subprocess.run(
        ["ssh", "-V"], env=debian.programs(), capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    found = re.match(r"OpenSSH_(\d+)\.(\d+)", done.stderr)
    assert found is not None
    return int(found[1]), int(found[2])


class Reader:
    """Takes the fields of SSH's wire format (RFC 4251 §5) off the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        assert length <= len(self._data)
        field, self._data = self._data[:length], self._data[length:]
        return field

    def uint8(self) -> int:
        """Return the next byte as a number."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """Return the next four bytes as a number."""
        number: int = struct.unpack(">I", self.take(4))[0]
        return number

    def string(self) -> bytes:
        """Return the next string, which its length precedes."""
        return self.take(self.uint32())

    def rest(self) -> bytes:
        """Return all that is left."""
        return self._data


class PublicKey:
    """An sk public key: its type, its point (65 bytes) or Ed25519 key (32 bytes), its application (PROTOCOL.u2f)."""

    def __init__(self, blob: bytes) -> None:
        reader = Reader(blob)
        self.blob = blob
        self.kind = reader.string().decode()
        if "ecdsa" in self.kind:
            assert reader.string() == b"nistp256"
        self.key = reader.string()
        self.application = reader.string().decode()
        assert reader.rest() == b""


class KeyFile:
    """What an unencrypted sk private key file holds (PROTOCOL.key, PROTOCOL.u2f)."""

    def __init__(self, path: Path) -> None:
        armoured = path.read_text().splitlines()
        assert armoured[0] == "-----BEGIN OPENSSH PRIVATE KEY-----"
        reader = Reader(base64.b64decode("".join(armoured[1:-1])))
        assert reader.take(15) == b"openssh-key-v1\0"
        assert (reader.string(), reader.string(), reader.string()) == (b"none", b"none", b"")
        assert reader.uint32() == 1
        self.public = PublicKey(reader.string())
        private = Reader(reader.string())
        assert private.uint32() == private.uint32()
        assert private.string().decode() == self.public.kind
        if "ecdsa" in self.public.kind:
            private.string()
        assert private.string() == self.public.key
        assert private.string().decode() == self.public.application
        self.flags = private.uint8()
        self.key_handle = private.string()


class Signature:
    """What a signature by ``ssh-keygen -Y sign`` with an sk key says of the authenticator (PROTOCOL.sshsig)."""

    def __init__(self, armoured: str) -> None:
        reader = Reader(base64.b64decode("".join(armoured.splitlines()[1:-1])))
        assert reader.take(6) == b"SSHSIG"
        assert reader.uint32() == 1
        for _ in ("public key", "namespace", "reserved", "hash"):
            reader.string()
        signature = Reader(reader.string())
        self.kind = signature.string().decode()
        signature.string()
        self.flags = signature.uint8()
        self.counter = signature.uint32()


class Person:
    """Somebody who has OpenSSH, libpysk.so, and a software authenticator named in a pysk_config of their own.

    ``folder`` takes all their files. ``lines`` are added to their pysk_config.
    """

    def __init__(self, folder: Path, provider: Path, lines: Sequence[str] = ("Presence auto",)) -> None:
        self.folder = folder
        self.provider = provider
        self.pysk = Path(sys.executable).with_name("pysk")
        self.store = folder / "store"
        self.pin = ""
        self.config = folder / "pysk_config"
        self.configure(*lines)
        self.environment = {
            **debian.programs(),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "PYSK_CONFIG": str(self.config),
            "SSH_SK_PROVIDER": str(provider),
        }

    def configure(self, *lines: str, device: str | None = None) -> None:
        """Write their pysk_config: the authenticator, their store if no other is named, and these lines."""
        self.config.touch(mode=0o600)
        self.config.write_text("".join(f"{line}\n" for line in (f"Device {device or f'soft:{self.store}'}", *lines)))

    def set_pin(self, pin: str, *address: str) -> None:
        """Give the authenticator, that of their pysk_config or another, its first PIN, by ``pysk pin set``."""
        subprocess.run(
            [self.pysk, "pin", "set", *address],
            input=pin + "\n", text=True, env=self.environment, check=True, capture_output=True, timeout=PATIENCE_S,
        )  # fmt: skip
        self.pin = pin

    def run(
        self,
        *command: str,
        answers: Sequence[tuple[str, str]] = (),
        environment: Mapping[str, str] | None = None,
    ) -> terminal.Done:
        """Run a command at a terminal; see ``terminal.run``."""
        return terminal.run(
            command, answers, environment={**self.environment, **(environment or {})}, folder=self.folder
        )

    def enroll(
        self, name: str, kind: str, *options: str, answers: Sequence[tuple[str, str]] = ()
    ) -> tuple[terminal.Done, Path]:
        """Let ssh-keygen make a key without passphrase, with these -O options; return its end and the key's path.

        An older release asks for a PIN first, which needs no answer here.
        """
        path = self.folder / name
        if not answers and version() < ASKS_ON_DEMAND and {"resident", "verify-required"} & set(options):
            answers = [(PIN_PROMPT, self.pin)]
        flags = [word for option in options for word in ("-O", option)]
        return self.run(
            "ssh-keygen", "-t", kind, "-N", "", "-C", name, "-f", str(path), *flags, answers=answers
        ), path  # fmt: skip

    def sign(
        self,
        key: Path,
        message: bytes = b"a message",
        answers: Sequence[tuple[str, str]] = (),
        environment: Mapping[str, str] | None = None,
    ) -> tuple[terminal.Done, Path]:
        """Let ``ssh-keygen -Y sign`` sign a message; return its end and the path of the signature, if there is one."""
        document = self.folder / "document"
        document.write_bytes(message)
        signature = self.folder / "document.sig"
        signature.unlink(missing_ok=True)
        command = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(document)]
        return self.run(*command, answers=answers, environment=environment), signature

    def verify(self, key: Path, signature: Path, message: bytes = b"a message") -> subprocess.CompletedProcess[bytes]:
        """Let ``ssh-keygen -Y verify`` judge a signature; the key's .pub file stands beside it."""
        allowed = self.folder / "allowed_signers"
        allowed.write_text("person@example.org " + key.with_name(key.name + ".pub").read_text())
        return subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-n", "file", "-I", "person@example.org",
             "-f", str(allowed), "-s", str(signature)],
            input=message, env=self.environment, cwd=self.folder, capture_output=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip

    def askpass(self, *answers: str) -> dict[str, str]:
        """Return the environment in which ssh asks a program that gives these answers, one after the other.

        It gives no answer once they are used up, and writes each question to the file ``questions``.
        """
        program = self.folder / "askpass"
        queue = self.folder / "answers"
        queue.write_text("".join(answer + "\n" for answer in answers))
        program.write_text(f"""#!/bin/sh
printf '%s\\n' "$1" >>'{self.folder}/questions'
[ "$SSH_ASKPASS_PROMPT" = none ] && exec sleep 60
[ -s '{queue}' ] || exit 1
head -n 1 '{queue}'
sed -i 1d '{queue}'
""")
        program.chmod(0o700)
        queue.chmod(0o600)
        return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":nowhere"}


def provider_lines(errors: str) -> list[str]:
    """Return those lines of what came on stderr that are ours."""
    return [line for line in errors.splitlines() if line.startswith("libpysk")]


def asks_to_choose(line: str, number: int, what: str = "are connected") -> bool:
    """Whether the provider asks a person to touch one of so many authenticators, and names them."""
    return re.fullmatch(rf"libpysk: {number} authenticators {what} \(.+\); touch the one to use", line) is not None


def enrolled(person: Person, kind: str = "ed25519-sk", *options: str) -> Path:
    """Return the path of a new key, which nothing was to be said about."""
    done, key = person.enroll("id", kind, *options)
    assert done.status == 0, done
    assert provider_lines(done.errors) == []
    return key


def assert_signs(person: Person, key: Path, answers: Sequence[tuple[str, str]] = ()) -> None:
    """Fail unless the key signs, which nothing is to be said about, and the signature verifies."""
    done, signature = person.sign(key, answers=answers)
    assert done.status == 0, done
    assert provider_lines(done.errors) == []
    assert person.verify(key, signature).returncode == 0


def sign_at_once(person: Person, key: Path, number: int) -> list[str]:
    """Have so many programs sign at the same time, fail unless all of them do, and return our lines of all."""
    documents = [person.folder / f"document{each}" for each in range(number)]
    for document in documents:
        document.write_text("a message")
    running = [
        subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, document],
            env=person.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for document in documents
    ]  # fmt: skip
    said = [process.communicate(timeout=5 * PATIENCE_S)[1] for process in running]
    assert [process.returncode for process in running] == [0] * number, said
    return [line for each in said for line in provider_lines(each)]


class Agent:
    """An ssh-agent as a login starts it, a daemon in / whose stderr is lost, that accepts our provider's path.

    What its helpers have in their environment is what it was started with, whoever asks it for a signature.
    """

    def __init__(self, person: Person, environment: Mapping[str, str] | None = None) -> None:
        self._person = person
        self._environment = person.environment | dict(environment or {})
        # A socket's path must be short, which a test's folder is not.
        self._folder = tempfile.TemporaryDirectory(prefix="pysk-agent-")
        socket = str(Path(self._folder.name) / "socket")
        self.command = ["ssh-agent", "-s", "-a", socket, "-P", str(person.provider.resolve())]
        self.environment = {"SSH_AUTH_SOCK": socket}

    def __enter__(self) -> Self:
        started = subprocess.run(
            self.command,
            env=self._environment, cwd=self._person.folder, check=True, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=PATIENCE_S,
        )  # fmt: skip
        self.pid = int(started.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0])
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGTERM)
        self._folder.cleanup()

    def add(self, *arguments: str, answers: Sequence[tuple[str, str]] = ()) -> terminal.Done:
        """Run ssh-add."""
        return self._person.run("ssh-add", *arguments, answers=answers, environment=self.environment)
