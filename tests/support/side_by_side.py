"""The same operation of OpenSSH's through two providers, on the same virtual token on /dev/hidraw: how each ends.

It runs as root where there is /dev/uhid. What a later operation needs, such as a key to sign with, comes from the other
provider, so that each signs with the other's keys.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from sk_provider.authenticator.profiles import DEFAULT, profile
from sk_provider.authenticator.store import Store
from support import soft_token
from support.openssh import PIN, WRONG_PIN, Agent, KeyFile, Person, Signature, provider_lines
from support.plugged import NEVER, SOON, NotingServer, Plugged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

INTERNAL, OURS = "internal", "libpysk.so"

PATIENCE_S = 120  # for an operation, of which a person may take 60
# A token that is stuck is waited for as a person is, by each operation: both providers get less time for that.
STUCK_TIMEOUT_S, STUCK_PATIENCE_S = 8, 20

_FORCED_FLAG = 0x10


class Row:
    """An operation to compare.

    :ivar action: enroll, sign, -K or ssh-add -K.
    :ivar after: the enrollment that it needs to have been done.
    :ivar has_pin: whether the token has a PIN; that of the enrollment, if there is one.
    :ivar pins: what the person answers, each time that a PIN is asked for.
    :ivar others: the presence of another token that is plugged in as well, if one is.
    :ivar is_held: whether another program has the token's device open, and locked.
    :ivar is_blocked: whether no tries for the PIN are left.
    :ivar is_full: whether the token has no room for another resident key.
    """

    def __init__(
        self,
        name: str,
        action: str,
        *options: str,
        kind: str = "ecdsa-sk",
        after: str = "",
        has_pin: bool = False,
        pins: tuple[str, ...] = (PIN, PIN, PIN),
        others: str = "",
        is_held: bool = False,
        is_blocked: bool = False,
        is_full: bool = False,
    ) -> None:
        self.name = name
        self.action = action
        self.options = options
        self.kind = kind
        self.after = after
        self.has_pin = has_pin
        self.pins = pins
        self.others = others
        self.is_held = is_held
        self.is_blocked = is_blocked
        self.is_full = is_full

    @property
    def wants_pin(self) -> bool:
        """Whether the token has a PIN, where it can have one."""
        return ROWS[self.after].wants_pin if self.after else self.has_pin


WRONG = (WRONG_PIN,) * 3
UNNOTICED = "what was made cannot be used"

ROWS = {
    row.name: row
    for row in (
        Row("enroll ed25519", "enroll", kind="ed25519-sk"),
        Row("enroll ecdsa", "enroll"),
        Row("no-touch", "enroll", "no-touch-required"),
        Row("enroll, PIN set", "enroll", has_pin=True),
        Row("verify-required", "enroll", "verify-required", has_pin=True),
        Row("verify-required ed25519", "enroll", "verify-required", kind="ed25519-sk", has_pin=True),
        Row("verify-required, no PIN", "enroll", "verify-required"),
        Row("resident", "enroll", "resident", has_pin=True),
        Row("resident ed25519", "enroll", "resident", kind="ed25519-sk", has_pin=True),
        Row("resident, no PIN", "enroll", "resident"),
        Row("resident, wrong PIN", "enroll", "resident", has_pin=True, pins=WRONG),
        Row("resident, no room", "enroll", "resident", has_pin=True, is_full=True),
        Row("overwrite", "enroll", "resident", after="resident"),
        Row("overwrite ed25519", "enroll", "resident", kind="ed25519-sk", after="resident ed25519"),
        Row("sign ed25519", "sign", after="enroll ed25519"),
        Row("sign ecdsa", "sign", after="enroll ecdsa"),
        Row("sign no-touch", "sign", after="no-touch"),
        Row("sign, PIN set", "sign", after="enroll, PIN set"),
        Row("sign with PIN", "sign", after="verify-required"),
        Row("sign with PIN ed25519", "sign", after="verify-required ed25519"),
        Row("sign with wrong PIN", "sign", after="verify-required", pins=WRONG),
        Row("-K", "-K", after="resident"),
        Row("-K, wrong PIN", "-K", after="resident", pins=WRONG),
        Row("-K, no PIN", "-K", pins=()),
        Row("ssh-add -K", "ssh-add -K", after="resident"),
        Row("ssh-add -K, no PIN", "ssh-add -K", pins=()),
        Row("two tokens: sign", "sign", after="enroll ecdsa", others=NEVER),
        Row("two tokens: sign with PIN", "sign", after="verify-required", others=NEVER),
        Row("two tokens: touch one", "enroll", others=NEVER),
        Row("two tokens: resident", "enroll", "resident", has_pin=True, others=NEVER),
        Row("two tokens: -K", "-K", after="resident", others=NEVER),
        Row("two tokens: ssh-add -K", "ssh-add -K", after="resident", others=NEVER),
        Row("held: enroll", "enroll", is_held=True),
        Row("held: sign", "sign", after="enroll ecdsa", is_held=True),
        Row("held: -K", "-K", after="resident", is_held=True),
        Row("PIN blocked: enroll", "enroll", has_pin=True, is_blocked=True),
        Row("PIN blocked: resident", "enroll", "resident", has_pin=True, is_blocked=True),
        Row("PIN blocked: sign", "sign", after="verify-required", is_blocked=True),
        Row("PIN blocked: -K", "-K", after="resident", is_blocked=True),
    )
}

FAULTS = ("bad-signature", "dies-after:3", "dies-after:8", "garbage", "stuck")
ABOUT_A_PIN = ("enroll, PIN set", "sign, PIN set")
"""Rows that differ from others only in that the token has a PIN."""

OTHER_KEYS = "ssh:other"  # the application of the keys that fill a token


def why_left_out(row: Row, profile_name: str) -> str:
    """Return why a row makes no sense for a profile, or "" if it does."""
    if profile_name in FAULTS or profile(profile_name).ctap2:
        return ""
    if row.is_blocked or row.name in ABOUT_A_PIN:
        return "the token cannot have a PIN"
    return "the token holds no resident keys" if row.is_full else ""


class Outcome:
    """How an operation ended.

    :ivar succeeded: whether it did what the person wanted; None if it did not end.
    :ivar result: what came of it: the flags of the key or the signature.
    :ivar text: what the person read last, of ours alone if there is a line of ours.
    :ivar explained: whether there was a line of ours, or no failure that could be noticed.
    :ivar questions: how often a PIN was asked for.
    :ivar gestures: how often the person touched a token, or was verified by one.
    :ivar messages: what was sent to the token, the other one's behind it.
    :ivar tries: how many tries for the PIN the token has less than before.
    """

    def __init__(
        self,
        succeeded: bool | None,
        result: str,
        text: str,
        explained: bool,
        questions: int,
        gestures: int,
        messages: list[str],
        tries: int,
    ) -> None:
        self.succeeded = succeeded
        self.result = result
        self.text = text
        self.explained = explained
        self.questions = questions
        self.gestures = gestures
        self.messages = messages
        self.tries = tries

    @property
    def count(self) -> int:
        """How many messages were sent to all tokens."""
        return sum(message != "|" for message in self.messages)

    def __str__(self) -> str:
        ending = {True: "ok", False: "fails", None: "hangs"}[self.succeeded]
        parts = [f"{ending} {self.result}".strip(), f"{self.count}: {' '.join(self.messages)}"]
        parts.append("1 touch" if self.gestures == 1 else f"{self.gestures} touches")
        if self.questions:
            parts.append(f"asks {self.questions}x")
        if self.tries:
            parts.append(f"{self.tries} tries spent")
        if not self.succeeded:
            parts.append(repr(self.text))
        return " · ".join(parts)


class Bench:
    """Both providers and a token of one profile, with all that they leave behind, in a folder of its own."""

    def __init__(self, folder: Path, library: Path, profile_name: str) -> None:
        self._folder = folder
        self._providers = {INTERNAL: Path(INTERNAL), OURS: library}
        # A faulty token cannot be prepared: it was sound before.
        self._fault, self._profile = (profile_name, DEFAULT) if profile_name in FAULTS else ("", profile_name)
        self._prepared: dict[tuple[str, str], Path | None] = {}

    def compare(self, row: Row) -> tuple[Outcome, Outcome] | None:
        """Return how the built-in provider and ours end, or None if no key is there to do it with."""
        sources = {by: self._source(row, by) for by in (INTERNAL, OURS)}
        if any(source is None for source in sources.values()):
            return None
        outcomes = []
        for by, source in sources.items():
            assert source is not None
            outcome, folder = self._run(row, by, source, self._fault)
            outcomes.append(outcome)
            if not self._fault:
                self._prepared[row.name, by] = folder if outcome.succeeded else None
        return outcomes[0], outcomes[1]

    def _source(self, row: Row, by: str) -> Path | None:
        """Return a folder with the token's store, and with the key that the row needs, made by the other provider."""
        if not row.after:
            return self._new_token(has_pin=row.wants_pin, is_full=row.is_full)
        other = OURS if by == INTERNAL else INTERNAL
        return self._prepare(ROWS[row.after], other) or self._prepare(ROWS[row.after], by)

    def _prepare(self, row: Row, by: str) -> Path | None:
        if (row.name, by) not in self._prepared:
            source = self._source(row, by)
            assert source is not None
            outcome, folder = self._run(row, by, source, "")
            self._prepared[row.name, by] = folder if outcome.succeeded else None
        return self._prepared[row.name, by]

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))

    @functools.cache  # noqa: B019 - the bench ends with the process, or a moment after the test
    def _new_token(self, *, has_pin: bool, is_full: bool = False, is_other: bool = False) -> Path:
        """Return a folder with the store of a token that has no keys, or no room for any more.

        :param is_other: whether it is another one than that with the keys.
        """
        folder = self._new_folder()
        device = soft_token.Device(Store.create(str(folder / "store")), soft_token.Person(), self._profile)
        if has_pin and device.profile.ctap2:
            device.set_pin(PIN)
        for number in range(device.profile.max_resident if is_full else 0):
            token = device.pin_token(soft_token.Permission.MAKE_CREDENTIAL, OTHER_KEYS, PIN)
            device.make(OTHER_KEYS, b"%d" % number, options={"rk": True}, **device.auth(token))
        device.close()
        return folder

    def _run(self, row: Row, by: str, source: Path, fault: str) -> tuple[Outcome, Path]:
        folder = self._new_folder()
        shutil.copytree(source, folder, dirs_exist_ok=True)
        store = folder / "store"
        person = Person(folder, self._providers[by])
        is_stuck = fault == "stuck" and not (row.others or row.is_held)
        person.config.write_text(f"Timeout {STUCK_TIMEOUT_S}\n" if is_stuck else "")
        (folder / "questions").unlink(missing_ok=True)
        environment = {**person.environment, **person.askpass(*row.pins)}
        with Store.open(str(store)).transaction() as state:
            if row.is_blocked:
                state.pin_retries = 0
            before = state.pin_retries
        with ExitStack() as stack:
            tokens = []
            if row.others:
                # Where a token is faulty, it is the other one: it shall not be in the way.
                other = self._new_token(has_pin=row.wants_pin, is_other=True) / "store"
                tokens.append(stack.enter_context(Plugged(NotingServer, other, self._profile, row.others, fault)))
                fault = ""
            presence = SOON if row.others else "auto"
            tokens.insert(0, stack.enter_context(Plugged(NotingServer, store, self._profile, presence, fault)))
            if row.is_held:
                device = os.open(tokens[0].server.name, os.O_RDWR)
                stack.callback(os.close, device)
                fcntl.flock(device, fcntl.LOCK_EX)
            if row.action == "ssh-add -K":
                agent = stack.enter_context(Agent(person))
                environment |= agent.environment
            status, errors = _call(
                _command(row, folder), environment, folder, STUCK_PATIENCE_S if is_stuck else PATIENCE_S
            )
            # Of an empty list ssh-add says nothing, and yet exits with 1.
            is_empty_list = row.action == "ssh-add -K" and status == 1 and not errors.strip()
            is_over = status == 0 or is_empty_list
            result = _result(row, folder, source, environment) if is_over else None
        messages = list(tokens[0].server.messages)
        for token in tokens[1:]:
            messages += ["|", *token.server.messages]
        ours = provider_lines(errors)
        lines = ours or errors.strip().splitlines() or [""]
        # A provider is not told the public key, so it cannot know that a signature does not verify.
        is_unnoticed = status == 0 and result is None
        if is_unnoticed:
            lines = [UNNOTICED]
        questions = folder / "questions"
        asked = questions.read_text() if questions.exists() else ""
        outcome = Outcome(
            succeeded=None if status is None else result is not None,
            result=result or "",
            text=lines[-1].removeprefix("libpysk: "),
            explained=bool(ours) or is_unnoticed,
            questions=asked.count("Enter PIN"),
            gestures=sum(token.gestures for token in tokens),
            messages=messages,
            tries=before - Store.open(str(store)).read().pin_retries,
        )
        return outcome, folder


def _command(row: Row, folder: Path) -> list[str]:
    match row.action:
        case "enroll":
            options = [word for option in row.options for word in ("-O", option)]
            (folder / "id").unlink(missing_ok=True)
            return ["ssh-keygen", "-t", row.kind, "-N", "", "-C", "", "-f", "id", *options]
        case "sign":
            (folder / "document").write_bytes(b"a message")
            return ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", "id", "document"]
        case "-K":
            return ["ssh-keygen", "-K", "-N", ""]
    return ["ssh-add", "-K"]


def _call(
    command: Sequence[str], environment: dict[str, str], folder: Path, patience_s: float
) -> tuple[int | None, str]:
    """Run a command without a terminal, whoever asks being answered y; return its status and what it says on stderr.

    The status is None if it does not end.
    """
    with tempfile.TemporaryFile() as answers, tempfile.TemporaryFile() as errors:
        answers.write(b"y\n" * 4)
        answers.seek(0)
        process = subprocess.Popen(
            command,
            stdin=answers, stdout=subprocess.DEVNULL, stderr=errors, env=environment, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
        status: int | None
        try:
            status = process.wait(patience_s)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(PATIENCE_S)
        errors.seek(0)
        return status, errors.read().decode(errors="replace")


def _result(row: Row, folder: Path, source: Path, environment: dict[str, str]) -> str | None:
    """Return what came of an operation that says that it succeeded, or None if nothing did that is of use."""
    match row.action:
        case "enroll":
            key = KeyFile(folder / "id")
            # The key handles of our token bear its store's identity.
            if key.key_handle[5:21] not in ((folder / "store" / "state").read_bytes()):
                return None
            return f"flags {key.flags:02x}"
        case "sign":
            signature = folder / "document.sig"
            (folder / "allowed").write_text("me " + (folder / "id.pub").read_text())
            verified = subprocess.run(
                ["ssh-keygen", "-Y", "verify", "-n", "file", "-I", "me", "-f", "allowed", "-s", signature],
                input=b"a message", cwd=folder, capture_output=True, check=False, timeout=PATIENCE_S,
            )  # fmt: skip
            return f"flags {Signature(signature.read_text()).flags:02x}" if verified.returncode == 0 else None
        case "-K":
            keys = [path for path in folder.glob("id_*_rk*") if path.suffix != ".pub"]
            if not row.after:
                return None if keys else "no keys"
            wanted = KeyFile(source / "id").public.blob
            flags = [KeyFile(path).flags for path in keys if KeyFile(path).public.blob == wanted]
            return f"flags {flags[0]:02x}" if flags else None
    listed = subprocess.run(
        ["ssh-add", "-L"], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    if not row.after:
        return None if listed.returncode == 0 else "no keys"
    return "listed" if (source / "id.pub").read_text().split()[1] in listed.stdout else None


BETTER, SAME, WORSE, INTENDED = "better", "same", "worse", "intended"

ON_PURPOSE = {
    "verify-required, no PIN": "the key could not sign: no PIN is there to verify anybody by",
}
"""Rows in which ours refuses what the built-in provider does, and why; the README names them."""


def judge(row: Row, profile_name: str, internal: Outcome, ours: Outcome) -> tuple[str, str]:
    """Return how ours compares with the built-in provider, and why, if they differ."""
    if internal.succeeded and not ours.succeeded:
        if row.name in ON_PURPOSE and ours.explained:
            return INTENDED, ON_PURPOSE[row.name]
        return WORSE, "ours fails"
    if ours.succeeded is None:
        return WORSE, "ours hangs"
    if not ours.succeeded and not ours.explained:
        return WORSE, "ours does not say why"
    if ours.tries > internal.tries:
        return WORSE, "ours spends more tries for the PIN"
    if ours.succeeded and not internal.succeeded:
        return BETTER, "the built-in provider fails"
    if internal.succeeded is None:
        return BETTER, "the built-in provider hangs"
    if not ours.succeeded and profile_name in FAULTS:
        # How far each gets until the fault shows says nothing: who asks for less meets it later, behind the PIN.
        return (SAME, "") if ours.text == UNNOTICED else (BETTER, "ours says why")
    if ours.succeeded and internal.result != ours.result:
        if int(internal.result[-2:], 16) & ~_FORCED_FLAG == int(ours.result[-2:], 16):
            return BETTER, "the flag that forced it is not kept"
        return WORSE, "the flags differ"
    if ours.questions > internal.questions:
        return WORSE, "ours asks for the PIN more often"
    if ours.succeeded and ours.gestures != internal.gestures:
        mark, how_often = (WORSE, "more") if ours.gestures > internal.gestures else (BETTER, "less")
        return mark, f"the token is to be touched {how_often} often"
    # What is sent to a token that fails counts only how soon it did.
    if ours.count > internal.count and profile_name not in FAULTS:
        return WORSE, "ours sends more to the token"
    if ours.tries < internal.tries:
        return BETTER, "fewer tries for the PIN are spent"
    if ours.questions < internal.questions:
        return BETTER, "the PIN is asked for less often"
    if ours.count < internal.count:
        return BETTER, "less is sent to the token"
    if not ours.succeeded and ours.text != UNNOTICED:
        return BETTER, "ours says why"
    return SAME, ""
