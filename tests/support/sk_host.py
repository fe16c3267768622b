"""A host of our own in C (tests/abi/host.c): compiled here, played here, and its account of the calls read here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

SOURCE: Final = Path(__file__).parents[1] / "abi" / "host.c"

PIN: Final = "correct horse"

APPLICATION: Final = b"ssh:"
RP_ID_HASH: Final = hashlib.sha256(APPLICATION).digest()
CHALLENGE: Final = b"thirty-two bytes of a challenge."
MESSAGE: Final = b"a message to sign"
ED25519: Final = 1

SENTENCE: Final = re.compile(r"libpysk: [^;\n]+; [^\n]+\n")
"""The one line that a failure prints: what happened, and what to do."""

DEADLINE: Final = 240
"""Seconds that one scenario may take, under valgrind on a busy machine."""

Event = dict[str, Any]

# The interpreter keeps its memory until the process ends, so a search for leaks would find nothing but that.
_SANITIZER_OPTIONS: Final = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


@dataclasses.dataclass(frozen=True)
class Build:
    """A host, and a library that was compiled in the same way."""

    host: Path
    library: Path


def compile_host(folder: Path, *flags: str, major: int = 10) -> Path:
    """Compile the host into folder for one API major and return its path. Raises CalledProcessError if it does not."""
    program = folder / f"host-{major}-{hashlib.sha256(repr(flags).encode()).hexdigest()[:8]}"
    warnings = ("-std=c11", "-Wall", "-Wextra", "-Werror")
    command = ("cc", *warnings, "-g", "-O1", f"-DSK_MAJOR={major}", *flags, "-o", str(program), str(SOURCE))
    subprocess.run((*command, "-ldl", "-pthread"), check=True, timeout=300)
    return program


@dataclasses.dataclass(frozen=True)
class Played:
    """What came of one scenario: its exit status, what it printed, and one event per call."""

    status: int
    events: list[Event]
    stderr: str

    def calls(self, label: str) -> list[Event]:
        """Return the events of that label, in order."""
        return [event for event in self.events if event["label"] == label]

    def call(self, label: str) -> Event:
        """Return the one event of that label."""
        (event,) = self.calls(label)
        return event

    def said(self, label: str) -> str:
        """Return what was printed on stderr from the announcement of label's one call to the next announcement."""
        (text,) = (rest for name, rest in self._announced() if name == label)
        return text

    def _announced(self) -> list[tuple[str, str]]:
        parts = re.split(r"^> (.*)\n", self.stderr, flags=re.MULTILINE)
        return list(zip(parts[1::2], parts[2::2], strict=True))

    @property
    def noise(self) -> str:
        """What is on stderr besides the announcements."""
        return re.sub(r"^> .*\n", "", self.stderr, flags=re.MULTILINE)


def play(
    host: Path,
    scenario: str,
    library: str | Path,
    *arguments: str | Path,
    env: Mapping[str, str],
    wrapper: Sequence[str] = (),
) -> Played:
    """Play one scenario of the host's on a library, the wrapper's command line standing before the host's.

    Raises TimeoutExpired if it does not end within DEADLINE seconds.
    """
    done = subprocess.run(
        (*wrapper, str(host), scenario, str(library), *(str(argument) for argument in arguments)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**env, **_SANITIZER_OPTIONS},
        timeout=DEADLINE,
        check=False,
    )
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return Played(done.returncode, events, done.stderr.decode("utf-8", "surrogateescape"))


def assert_untouched(played: Played) -> None:
    """Fail unless the scenario was played to its end and left everything that is the host's as it was."""
    assert played.status == 0, played.stderr
    changes = dict(played.events[-1])
    assert changes.pop("label") == "end"
    assert changes.pop("call") == "end"
    assert not any(changes.values()), changes


def assert_refused(played: Played, label: str, *codes: int, mentions: str = "") -> None:
    """Fail unless the call of that label ended in one of codes (any of sk-api's), a NULL response and one sentence."""
    event = played.call(label)
    assert event["rc"] in (codes or range(-5, 0)), event
    assert event["cleared"] or event["untouched"], event
    said = played.said(label)
    assert SENTENCE.fullmatch(said), said
    assert mentions in said


def verify_signature(
    enrolled: Event, signed: Event, application: bytes = APPLICATION, message: bytes = MESSAGE
) -> None:
    """Fail unless one event is of a valid signature by the key that the other event enrolled.

    What is signed: SHA-256(application) || flags || counter || SHA-256(message) (PROTOCOL.u2f, "SSH U2F Signatures").
    """
    assert enrolled["rc"] == 0
    assert signed["rc"] == 0
    assert signed["handle"] == enrolled["key_handle"]
    flags_and_counter = bytes([signed["flags"]]) + signed["counter"].to_bytes(4, "big")
    blob = hashlib.sha256(application).digest() + flags_and_counter + hashlib.sha256(message).digest()
    public_key, r = bytes.fromhex(enrolled["public_key"]), bytes.fromhex(signed["sig_r"])
    if enrolled["alg"] == ED25519:
        assert len(public_key) == 32
        assert len(r) == 64
        assert signed["sig_s"] is None
        ed25519.Ed25519PublicKey.from_public_bytes(public_key).verify(r, blob)
        return
    s = bytes.fromhex(signed["sig_s"])
    assert len(r) == len(s) == 32
    signature = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    point.verify(signature, blob, ec.ECDSA(hashes.SHA256()))


def verify_every_signature(played: Played) -> int:
    """Verify each signature of a scenario by the key that was enrolled with its handle, and return how many there are.

    Fails too if two signatures by one authenticator bear the same counter.
    """
    keys = {event["key_handle"]: event for event in played.events if event["call"] == "enroll" and event["rc"] == 0}
    signatures = [event for event in played.events if event["call"] == "sign"]
    for signed in signatures:
        verify_signature(keys[signed["handle"]], signed)
    counters = [signed["counter"] for signed in signatures]
    assert len(set(counters)) == len(counters)
    return len(signatures)
