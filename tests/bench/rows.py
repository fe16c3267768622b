"""What is measured: the rows of each group, with the keys, stores and tokens that they need."""

from __future__ import annotations

import compileall
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import libraries, resident, sk_helper, usb, virtual_token
from bench.measure import PATIENCE_S, BenchError, Row, compile_tool, environment, interleave
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from support import provider_tree
from support.serve import serve
from support.swtpm import Swtpm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

DOCUMENT = b"a document\n"
PIN = "correct horse"
TOKEN_MS = 20
TOKENS = (1, 2, 4, 8)
RESIDENT_KEYS = (1, 10, 100)
DELAYS_MS = (0, 2, 5, 20, 50)
DOUBLE = "sk-dummy"
NULL = "null provider"
TPM_ALONE = "tpm2-pytss alone"

HELPER, KEYGEN, ENROLL, PIN_GROUP, RESIDENT, SELECTION, BUILT_IN, USB, SEALED, TPM, GUEST = GROUPS = (
    "signature in ssh-sk-helper",
    "ssh-keygen -Y sign",
    "ssh-keygen -t (enrollment)",
    "signature with a PIN in ssh-sk-helper",
    "resident keys in ssh-sk-helper",
    f"selection in ssh-sk-helper, tokens at {TOKEN_MS} ms",
    "ssh-keygen -Y sign, one token, beside the built-in provider",
    usb.GROUP,
    "signature by a sealed key in ssh-sk-helper",
    "signature by a key in a TPM in ssh-sk-helper",
    "signature in ssh-sk-helper, another package's scheme",
)
# Another package's transport, which leaves all the work to one of ours, so that what is measured is what it costs to
# find, load and guard it; and how many packages are installed beside it.
GUEST_TRANSPORT = "from sk_provider.transports.unix import discover, open\n"
GUEST_NEIGHBOURS = (0, 160)


class Key:
    """An sk key file, and how a program that uses it is called."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path = path
        self.public = path.with_name(path.name + ".pub")
        self.environment = environment


class Bench:
    """All that the rows stand on, in a folder that goes with it."""

    def __init__(self, folder: Path, groups: Sequence[str], others: Mapping[str, Path]) -> None:
        """Take the folder, the groups that are wanted, and the libraries beside the installed one, by their names."""
        self._rows: list[Row] = []
        self._folder = folder
        self._groups = groups
        self._libraries = {"libpysk": provider_tree.installed_library(), **others}
        self._running = ExitStack()
        self._slow_tokens: list[str] = []
        self._tpm: Swtpm | None = None
        self._challenge = folder / "challenge"
        self._challenge.write_bytes(secrets.token_bytes(32))
        self._virtual_key = virtual_token.VirtualKey()
        self._token_program = compile_tool("token", folder)

    def __enter__(self) -> Self:
        try:
            self._prepare()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def rows(self) -> list[Row]:
        """The rows, group by group."""
        return sorted(self._rows, key=lambda row: GROUPS.index(row.group))

    def measure(self, rounds: int, warm_up: int) -> list[Row]:
        """Measure every row and return them, group by group."""
        launch = compile_tool("launch", self._folder)
        if self._rows:
            interleave(self.rows, rounds, warm_up, launch)
        if USB not in self._groups:
            return self.rows
        shared = self._folder / "shared"
        shared.mkdir()
        key = self._folder / "libpysk-token"
        for source, name in (
            (launch, "launch"),
            (self._token_program, "token"),
            (key, "key"),
            (key.with_name(key.name + ".pub"), "key.pub"),
        ):
            shutil.copy(source, shared / name)
        (shared / "answers").write_bytes(self._answers)
        (shared / "document").write_bytes(DOCUMENT)
        (shared / "data").write_bytes(self._data)
        return self.rows + usb.rows(shared, self._libraries["libpysk"], rounds, warm_up)

    def _prepare(self) -> None:
        double = {kind: self._double_key(kind) for kind in ("ed25519", "ecdsa")}
        self._data = sk_helper.signed_data(self._request(double["ed25519"]))
        self._answers = self._virtual_key.answers(self._challenge.read_bytes(), self._data)
        (address,) = self._tokens([0])
        token = {name: self._token_key(name, [address]) for name in self._libraries}
        for kind, key in double.items():
            against = {} if kind == "ed25519" else {f"{DOUBLE} ed25519": "double ed25519"}
            self._add_signatures(f"{DOUBLE} {kind}", key, against)
        self._add_null(token["libpysk"])
        for name, library in self._libraries.items():
            self._add_signatures(
                f"{name}, virtual token", token[name], {f"{DOUBLE} ed25519": "double", NULL: "null"}, of=name
            )
            self._add_soft(name, library, double)
            self._add_enrollments(name, token[name])
            if PIN_GROUP in self._groups:
                self._add_pin(name, library)
            if TPM in self._groups:
                self._add_tpm(name, library)
            if SEALED in self._groups:
                self._add_sealed(name, library)
            if RESIDENT in self._groups:
                self._add_resident(name, library)
            if SELECTION in self._groups:
                self._add_selection(name)
        if GUEST in self._groups:
            self._add_guests(token["libpysk"], address)
        if BUILT_IN in self._groups:
            for delay in DELAYS_MS:
                self._add_built_in(token["libpysk"], delay)

    # What there is to sign with.

    def _environment(self, name: str, library: Path, *lines: str) -> dict[str, str]:
        config = self._folder / f"{name}.config"
        config.touch(mode=0o600)
        config.write_text("".join(f"{line}\n" for line in lines))
        return environment(self._folder, SSH_SK_PROVIDER=library, PYSK_CONFIG=config)

    def _double_key(self, kind: str) -> Key:
        return self._enroll(f"double-{kind}", kind, self._environment("double", libraries.test_double()))

    def _token_key(self, name: str, addresses: Sequence[str]) -> Key:
        variables = self._environment(f"{name}-token", self._libraries[name], f"Device {' '.join(addresses)}")
        return self._enroll(f"{name}-token", "ed25519", variables, "-O", f"challenge={self._challenge}")

    def _enroll(self, name: str, kind: str, variables: Mapping[str, str], *options: str) -> Key:
        key = Key(self._folder / name, variables)
        _run([*_keygen(key.path, kind), *options], variables, self._folder)
        return key

    def _tokens(self, delays_ms: Sequence[int]) -> list[str]:
        folder = Path(tempfile.mkdtemp(prefix="tokens-", dir=self._folder))
        tokens = virtual_token.running(self._token_program, self._answers, folder, delays_ms)
        return self._running.enter_context(tokens)

    def _request(self, key: Key, **variables: str) -> bytes:
        """Return what ssh-keygen asks ssh-sk-helper for, to have the document signed with a key."""
        return sk_helper.capture(_sign(key), {**key.environment, **variables}, self._folder, DOCUMENT)

    # The rows.

    def _add(
        self,
        name: str,
        group: str,
        command: Sequence[str | Path],
        variables: Mapping[str, str],
        *,
        sent: bytes = b"",
        check: Callable[[bytes], None],
        before: Callable[[], None] = lambda: None,
        against: Mapping[str, str] | None = None,
        of: str = "libpysk",
    ) -> None:
        """Add a row, which if another library's is held to the installed one's too."""
        if group not in self._groups:
            return
        held_to = {f"{group}: {other}": label for other, label in (against or {}).items()}
        if of != "libpysk":
            held_to[f"{group}: {name.replace(of, 'libpysk', 1)}"] = "libpysk"
        full = f"{group}: {name}"
        row = Row(full, group, command, variables, sent=sent, check=check, before=before, against=held_to)
        self._rows.append(row)

    def _add_helper(self, name: str, group: str, key: Key, request: bytes, against: Mapping[str, str], of: str) -> None:
        def check(reply: bytes) -> None:
            counter = sk_helper.verify_reply(reply, key.public, self._data)
            _check_source(counter, name)

        command = [sk_helper.HELPER]
        self._add(name, group, command, key.environment, sent=request, check=check, against=against, of=of)

    def _add_signatures(self, name: str, key: Key, against: Mapping[str, str], of: str = "libpysk") -> None:
        def check(armoured: bytes) -> None:
            _check_source(sk_helper.verify_armoured(armoured, key.public, self._data), name)

        self._add_helper(name, HELPER, key, self._request(key), against, of)
        self._add(name, KEYGEN, _sign(key), key.environment, sent=DOCUMENT, check=check, against=against, of=of)

    def _add_null(self, key: Key) -> None:
        library = libraries.null_provider(self._folder / "null", self._virtual_key, self._data)
        null = Key(key.path, environment(self._folder, SSH_SK_PROVIDER=library))
        self._add_signatures(NULL, null, {f"{DOUBLE} ed25519": "double"})

    def _add_soft(self, name: str, library: Path, double: Mapping[str, Key]) -> None:
        store = self._folder / f"{name}-soft"
        variables = self._environment(f"{name}-soft", library, f"Device soft:{store}", "Presence auto")
        for kind in double:
            key = self._enroll(f"{name}-soft-{kind}", kind, variables)
            against = {f"{DOUBLE} {kind}": "double", NULL: "null"}
            self._add_signatures(f"{name}, soft: {kind}", key, against, of=name)

    def _add_enrollments(self, name: str, token: Key) -> None:
        soft = self._folder / f"{name}-soft-ed25519"
        subjects = {
            f"{name}, virtual token": token.environment,
            f"{name}, soft:": environment(
                self._folder, SSH_SK_PROVIDER=self._libraries[name], PYSK_CONFIG=self._folder / f"{name}-soft.config"
            ),
        }
        assert soft.exists()
        if name == "libpysk":
            subjects = {DOUBLE: self._environment("double", libraries.test_double()), **subjects}
        for subject, variables in subjects.items():
            key = Key(self._folder / "new", variables)

            def before(key: Key = key) -> None:
                for path in (key.path, key.public):
                    path.unlink(missing_ok=True)

            def check(_output: bytes, key: Key = key) -> None:
                assert key.public.read_text().startswith("sk-ssh-ed25519@openssh.com ")

            self._add(
                subject, ENROLL, [*_keygen(key.path, "ed25519"), "-O", f"challenge={self._challenge}"], variables,
                check=check, before=before, against={} if subject == DOUBLE else {DOUBLE: "double"}, of=name,
            )  # fmt: skip

    def _add_pin(self, name: str, library: Path) -> None:
        store = self._folder / f"{name}-pin"
        resident.make_store(store, PIN)
        self._running.enter_context(serve("--store", str(store), f"unix:{self._folder / name}-pin.socket"))
        for subject, address in (
            (f"{name}, pysk serve", f"unix:{self._folder / name}-pin.socket"),
            (f"{name}, soft:", f"soft:{store}"),
        ):
            label = f"{name}-{address.partition(':')[0]}-pin"
            variables = self._environment(label, library, f"Device {address}", "Presence auto") | self._askpass()
            key = self._enroll(label, "ed25519", variables, "-O", "verify-required")
            self._add_helper(subject, PIN_GROUP, key, self._request(key), {}, name)

    def _add_sealed(self, name: str, library: Path) -> None:
        ordinary = f"{name}, soft: ed25519"
        for subject, lines in ((ordinary, ()), (f"{ordinary}, sealed", ("SealKeyHandle passphrase",))):
            label = f"{name}-{'sealed' if lines else 'unsealed'}"
            device = f"Device soft:{self._folder / name}-store"
            variables = self._environment(label, library, device, "Presence auto", *lines) | self._askpass()
            key = self._enroll(label, "ed25519", variables)
            against = {ordinary: "ordinary"} if lines else {}
            self._add_helper(subject, SEALED, key, self._request(key), against, name)

    def _add_guests(self, token: Key, address: str) -> None:
        """Add signatures by the same token at the address of a scheme of ours, and of another package's."""
        for neighbours in GUEST_NEIGHBOURS:
            tree = provider_tree.Tree(self._folder / f"guest-{neighbours}")
            (tree.folder / "pigeon_post.py").write_text(GUEST_TRANSPORT)
            self._add_metadata(tree, "pigeon_post", "[sk_provider.transports]\npigeon = pigeon_post\n")
            for number in range(neighbours):
                self._add_metadata(tree, f"other_{number}", f"[console_scripts]\nother{number} = other{number}:main\n")
            # The environment may not name another package's scheme otherwise.
            tree.append("config.py", "Configuration.is_limited = lambda self, address: False")
            tree.carry()
            compileall.compile_dir(tree.folder, quiet=1)
            beside = f", {neighbours} packages" if neighbours else ""
            ours = f"libpysk, unix:{beside}"
            for subject, device in (
                (ours, address),
                (f"libpysk, pigeon:{beside}", f"pigeon:{address.partition(':')[2]}"),
            ):
                label = f"guest-{neighbours}-{device.partition(':')[0]}"
                key = Key(token.path, self._environment(label, tree.library, f"Device {device}"))
                self._add_helper(
                    subject, GUEST, key, self._request(key), {} if subject == ours else {ours: "unix:"}, "libpysk"
                )

    @staticmethod
    def _add_metadata(tree: provider_tree.Tree, name: str, entry_points: str) -> None:
        metadata = tree.folder / f"{name}-1.dist-info"
        metadata.mkdir()
        (metadata / "entry_points.txt").write_text(entry_points)

    def _add_tpm(self, name: str, library: Path) -> None:
        """Add signatures by keys in swtpm, beside soft: and beside what the TPM itself and tpm2-pytss take."""
        if self._tpm is None:
            folder = self._folder / "tpm"
            folder.mkdir()
            self._tpm = self._running.enter_context(Swtpm(folder))
            alone: list[str | Path] = [
                sys.executable,
                "-I",
                Path(__file__).with_name("tpm_alone.py"),
                self._tpm.tcti,
                folder / "key",
            ]
            self._add(TPM_ALONE, TPM, alone, environment(self._folder), check=_check_tpm_alone)
        soft = f"{name}, soft: ecdsa"
        for subject, device in (
            (soft, f"soft:{self._folder / name}-beside-tpm"),
            (f"{name}, tpm:", f"{self._tpm.address}@{self._folder / name}-tpm"),
        ):
            label = f"{name}-tpm-group-{device.partition(':')[0]}"
            variables = self._environment(label, library, f"Device {device}", "Presence auto")
            key = self._enroll(label, "ecdsa", variables)
            against = {} if subject == soft else {soft: "soft:", TPM_ALONE: "alone"}
            self._add_helper(subject, TPM, key, self._request(key), against, name)

    def _add_resident(self, name: str, library: Path) -> None:
        store = self._folder / f"{name}-resident"
        for count, path in resident.make_stores(store, PIN, RESIDENT_KEYS).items():
            variables = self._environment(f"{name}-resident-{count}", library, f"Device soft:{path}", "Presence auto")
            request = sk_helper.capture(["ssh-keygen", "-K"], variables | self._askpass(), self._folder)

            def check(reply: bytes, count: int = count) -> None:
                assert resident.count_loaded(sk_helper.payload(reply, sk_helper.LOAD_RESIDENT)) == count

            first = f"{name}, soft: 1"
            self._add(
                f"{name}, soft: {count}", RESIDENT, [sk_helper.HELPER], variables, sent=request, check=check,
                against={} if count == 1 else {first: "1 key"}, of=name,
            )  # fmt: skip

    def _add_selection(self, name: str) -> None:
        self._slow_tokens = self._slow_tokens or self._tokens([TOKEN_MS] * max(TOKENS))
        for count in TOKENS:
            label = f"{name}-{count}-tokens"
            devices = f"Device {' '.join(self._slow_tokens[-count:])}"
            key = Key(self._folder / f"{name}-token", self._environment(label, self._libraries[name], devices))
            self._add_helper(
                f"{name}, {count} of unix:", SELECTION, key, self._request(key),
                {} if count == 1 else {f"{name}, 1 of unix:": "1 token"}, name,
            )  # fmt: skip

    def _add_built_in(self, token: Key, delay_ms: int) -> None:
        """Add the provider that ssh has built in, and ours, on a token that takes its time for each message."""
        (address,) = self._tokens([delay_ms])
        hidraw = compile_tool("hidraw", self._folder, "-shared", "-fPIC")
        # It stands in for the kernel alone, but both are to have what it costs to load.
        shared = {"LD_PRELOAD": str(hidraw), "BENCH_TOKEN": address.removeprefix("unix:")}
        built_in = f"built-in, {delay_ms} ms a message"
        subjects = {built_in: environment(self._folder, SSH_SK_PROVIDER="internal", **shared)}
        for name, library in self._libraries.items():
            variables = self._environment(f"{name}-{delay_ms}-ms", library, f"Device {address}")
            subjects[f"{name}, {delay_ms} ms a message"] = variables | shared
        for subject, variables in subjects.items():
            key = Key(token.path, variables)

            def check(armoured: bytes, key: Key = key) -> None:
                sk_helper.verify_armoured(armoured, key.public, self._data)

            of = subject.partition(",")[0]
            self._add(
                subject, BUILT_IN, _sign(key), variables, sent=DOCUMENT, check=check,
                against={} if subject == built_in else {built_in: "built-in"},
                of="libpysk" if subject == built_in else of,
            )  # fmt: skip

    def _askpass(self) -> dict[str, str]:
        program = self._folder / "askpass"
        if not program.exists():
            program.touch(mode=0o700)
            program.write_text(f"#!/bin/sh\necho '{PIN}'\n")
        return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":nowhere"}


def _check_tpm_alone(output: bytes) -> None:
    """Make sure that what was signed verifies."""
    x, y, r, s = (int(each, 16) for each in output.split())
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), bytes(32), ec.ECDSA(Prehashed(hashes.SHA256())))


def _check_source(counter: int, name: str) -> None:
    """Make sure that the signature is by whom it is measured for."""
    if (counter == libraries.NULL_COUNTER) != (name == NULL):
        raise BenchError(f"the signature of {name} is by another provider")


def _sign(key: Key) -> list[str | Path]:
    return ["ssh-keygen", "-q", "-Y", "sign", "-n", "bench", "-f", key.path]


def _keygen(path: Path, kind: str) -> list[str | Path]:
    return ["ssh-keygen", "-q", "-t", f"{kind}-sk", "-N", "", "-C", "", "-f", path]


def _run(command: Sequence[str | Path], variables: Mapping[str, str], folder: Path) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        env=dict(variables), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=PATIENCE_S, umask=0o077,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, command))} failed: {done.stderr.strip()}")
