"""What a trace tells, and whether a text tells a secret, in whichever way bytes are written."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from sk_provider.trace import Trace
from support.openssh import Person
from support.provider_tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ENOUGH = 8
"""Bytes of a secret of which the first ones alone are not to be told either."""

# The software authenticator writes down what it and its client agree on, and what it gives out.
_NOTE_SECRETS = """
def _noting(function):
    def noting(*arguments, **named):
        made = function(*arguments, **named)
        with open({path!r}, "a") as file:
            for each in (*arguments, made):
                if isinstance(each, bytes):
                    file.write(each.hex() + chr(10))
        return made
    return noting
for _name in ("decapsulate", "encrypt", "decrypt", "verify"):
    setattr(PinUvAuthProtocol, _name, _noting(getattr(PinUvAuthProtocol, _name)))
PinUvAuth.issue = _noting(PinUvAuth.issue)
"""


def trace_into(lines: list[str]) -> Trace:
    """Return a trace whose lines are appended to a list."""

    def write(line: str) -> bool:
        lines.append(line)
        return True

    return Trace(write)


def sentence_of(line: str) -> str:
    """Return a line without its time."""
    return line.partition(" ms: ")[2]


def of_pin(pin: str) -> list[bytes]:
    """Return what a PIN is proved by: the PIN, as it is and padded, and its hash, whole and as it is sent."""
    digest = hashlib.sha256(pin.encode()).digest()
    return [pin.encode(), pin.encode().ljust(64, b"\0"), digest, digest[:16]]


def told(text: str, secrets: Iterable[bytes]) -> list[bytes]:
    """Return those of the secrets that the text has: as text, or in hexadecimal or base64 digits."""
    return [secret for secret in secrets if any(spelling in text for spelling in _spellings(secret))]


def _spellings(secret: bytes) -> Iterator[str]:
    for part in {secret, secret[:_ENOUGH]}:
        yield part.hex()
        yield part.hex().upper()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # But for the digit that has bits of what follows.
            yield encode(part).decode().rstrip("=")[: len(part) * 8 // 6]
        yield repr(part)[2:-1]


class Home:
    """Somebody whose home has a pysk_config that asks for a trace, which the environment may not do."""

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self.tree = Tree(folder / "packages")
        home = folder / "home"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        self.person = Person(home, self.tree.library)
        del self.person.environment["PYSK_CONFIG"]
        self.person.config = home / ".ssh" / "pysk_config"
        self.log = log or home / "log"
        self.configure()
        # The user's home is the password database's, which the test leaves alone.
        self.tree.append("config.py", f"def home_directory(): return {str(home)!r}")
        self._secrets = folder / "secrets"
        self.tree.append("authenticator/pin_uv_auth.py", _NOTE_SECRETS.format(path=str(self._secrets)))

    def configure(self, *lines: str, device: str | None = None) -> None:
        """Write their pysk_config, with these lines besides."""
        always = ("Presence auto", "Timeout 10", "LogLevel trace", f"LogFile {self.log}")
        self.person.configure(*always, *lines, device=device)

    @property
    def sentences(self) -> list[str]:
        """The lines of the trace, without their times; others of the log say that the copy is not as installed."""
        return [line.partition(" ms: ")[2] for line in self.log.read_text().splitlines() if " ms: " in line]

    @property
    def trace(self) -> str:
        """All of them."""
        return "\n".join(self.sentences)

    @property
    def secrets(self) -> list[bytes]:
        """What both sides of the PIN protocol have known, but for what is signed or hashed in the open."""
        noted = {bytes.fromhex(line) for line in self._secrets.read_text().splitlines()}
        # Numbers of commands are authenticated as well.
        return [secret for secret in noted if len(secret) > 2 and secret.hex() not in self._public()]

    def _public(self) -> set[str]:
        return set(re.findall("clientDataHash: h'([0-9a-f]{64})'", self.trace))
