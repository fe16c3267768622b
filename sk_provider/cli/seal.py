"""pysk seal and pysk unseal: a passphrase for a key handle that exists, in a key file or in a directory."""

from __future__ import annotations

import os
import stat
import sys

import click

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.credentials.directory.record import Record
    from sk_provider.credentials.key_file import KeyFileRefused
    from sk_provider.credentials.sealing import Layout

_FILE_TYPE = click.Path()


@click.command()
@click.argument("key_file", metavar="KEYFILE", type=_FILE_TYPE)
@click.option("--change", is_flag=True, help="Give a key that is sealed another passphrase.")
def seal(key_file: str, *, change: bool) -> None:
    """Seal the key handle in a key file under a passphrase.

    KEYFILE is the private-key file of a security key, without .pub. The public key stays as it is, and with it all
    authorized_keys and certificates. ssh asks for the passphrase from then on; without it the key is lost. Whoever has
    a copy of the file from before needs none.

    Give a file that `pysk directory export` has written another name: the digest at the end of its name tells a right
    passphrase from a wrong one.

    The kind of the key handle is printed: of an unknown one it cannot be promised that nothing in it tells a right
    passphrase from a wrong one.

    With --change, the authenticator must be connected: nothing else tells whether the old passphrase is right.

    For a key in a key directory, see `pysk directory seal`.
    """
    from sk_provider.credentials import sealing

    file = _KeyFile(key_file)
    if file.is_resident:
        raise sealing.resident_error("enroll another key without -O resident")
    handle, kind = sealed_handle(file.record, key_file, "pysk seal", file.check, change=change)
    file.write(handle)
    click.echo(f"{key_file} is sealed; kind of key handle: {kind}", err=True)


@click.command()
@click.argument("key_file", metavar="KEYFILE", type=_FILE_TYPE)
def unseal(key_file: str) -> None:
    """Remove the passphrase from a key file that is sealed.

    KEYFILE is as for `pysk seal`. ssh asks for no passphrase any more. The authenticator must be connected: nothing
    else tells whether the passphrase is right.

    For a key in a key directory, see `pysk directory unseal`.
    """
    file = _KeyFile(key_file)
    file.write(opened_handle(file.record, key_file, "pysk seal", file.check))
    click.echo(f"{key_file} is not sealed any more", err=True)


def sealed_handle(
    record: Record, name: str, command: str, check: Callable[[], object], *, change: bool
) -> tuple[bytes, str]:
    """Return a record's key handle, sealed under a passphrase that the person enters, and what is told of its kind.

    name: the key's, for the person; command: which seals it; check: raises what keeps the new key handle from being
    written. Raises SecurityKeyError.
    """
    from sk_provider.credentials import sealing
    from sk_provider.errors import InvalidRequest

    if sealing.is_sealed(record.key_handle) and not change:
        raise InvalidRequest(f"{name} is sealed", f"give it another passphrase with: {command} --change {name}")
    if change:
        handle = opened_handle(record, name, command, check)
    else:
        check()
        handle = record.key_handle
    kind = _told(sealing.layout_of(handle, record.application))
    return sealing.seal(handle, record.application, record.algorithm, _read_new_passphrase()), kind


def opened_handle(record: Record, name: str, command: str, check: Callable[[], object]) -> bytes:
    """Return a sealed key handle opened by a passphrase that the person enters, and the authenticator proves right.

    The arguments and errors are those of sealed_handle().
    """
    from sk_provider import config
    from sk_provider.credentials import sealing
    from sk_provider.errors import CredentialNotFound, InvalidRequest
    from sk_provider.operation import Operation
    from sk_provider.proof import prove, refuse_if_absent

    from .pin import read_secret

    if not sealing.is_sealed(record.key_handle):
        raise InvalidRequest(f"{name} is not sealed", f"seal it with: {command}")
    sealed = sealing.parse(record.key_handle, record.application, record.algorithm)
    check()
    configuration = config.load()
    # Some key handles tell whose they are by what is not sealed of them.
    unopened = sealed.open(bytes(sealed.key_stream_length))
    refuse_if_absent(record, unopened, configuration, Operation(configuration.timeout))
    handle = sealed.open(sealed.key_stream(read_secret("Passphrase", "passphrase")))
    try:
        prove(record, handle, configuration, Operation(configuration.timeout), lambda: read_secret("PIN"))
    except CredentialNotFound as error:
        raise CredentialNotFound(
            f"the passphrase is wrong, or {error.happened}", f"try again, or {error.remedy}"
        ) from None
    return handle


def remember_renamed(record: Record, key_handle: bytes) -> None:
    """Have a record's public key be known by another key handle, and by the record's own no more.

    The name of a key handle that is not sealed any more would tell which guess of a passphrase is right.
    """
    from sk_provider import config
    from sk_provider.credentials import known_keys

    known_keys.remember(
        config.load().known_keys,
        [(record.application, key_handle, record.algorithm, record.public_key)],
        (record.application, record.key_handle),
    )


class _KeyFile:
    """A key file that is not encrypted, and that may be written."""

    def __init__(self, path: str) -> None:
        """Read it. Raises KeyFileRefused if it is none of these, and RecordRefused if its key is of no use."""
        import shlex

        from sk_provider.credentials import key_file
        from sk_provider.credentials.key_file import KeyFileRefused

        self._path = path
        # A link stays one. Below a working folder that is gone there is nothing to be found.
        try:
            self._target = os.path.realpath(path)
        except FileNotFoundError:
            self._target = path
        self._content, status = self._read()
        self._mode = status.st_mode & 0o777
        if status.st_uid != os.geteuid():
            raise KeyFileRefused(f"{path} belongs to another user", "run this as the one whose key it is")
        if not self._mode & 0o200:
            raise KeyFileRefused(f"{path} is read-only", f"make it writable: chmod u+w {shlex.quote(path)}")
        if key_file.is_encrypted(self._content, path):
            raise KeyFileRefused(
                f"{path} is encrypted", "remove its passphrase with ssh-keygen -p, and set it again afterwards"
            )
        self.record: Record = key_file.parse(self._content, path, "user")
        self.is_resident = key_file.is_resident(self._content, path)

    def _read(self) -> tuple[bytes, os.stat_result]:
        """Return what the file has, and its status. Raises KeyFileRefused if it cannot be read."""
        from sk_provider.credentials import key_file
        from sk_provider.credentials.key_file import KeyFileRefused

        try:
            # Of a FIFO or a device nothing is read.
            descriptor = os.open(self._target, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                return file.read(key_file.MAX_SIZE) if stat.S_ISREG(status.st_mode) else b"", status
        except OSError as error:
            raise KeyFileRefused(
                f"{self._path} cannot be read ({error.strerror})", "name a file that you can read"
            ) from None

    def check(self) -> None:
        """Raise KeyFileRefused if it cannot be written, before the person is asked for anything."""
        from sk_provider.credentials import whole_file

        try:
            whole_file.check(self._target)
        except OSError as error:
            raise self._not_written(error) from None

    def write(self, key_handle: bytes) -> None:
        """Have another key handle in it.

        Raises KeyFileRefused if it cannot be written, or somebody else has written it; then it is as it was.
        """
        from sk_provider.credentials import key_file, whole_file
        from sk_provider.credentials.key_file import KeyFileRefused

        # While the person was asked, ssh-keygen may have encrypted it.
        if self._read()[0] != self._content:
            raise KeyFileRefused(f"{self._path} was changed meanwhile", "try again")
        content = key_file.with_key_handle(self._content, self._path, key_handle)
        try:
            whole_file.replace(self._target, content, self._mode)
        except OSError as error:
            raise self._not_written(error) from None
        remember_renamed(self.record, key_handle)

    def _not_written(self, error: OSError) -> KeyFileRefused:
        from sk_provider.credentials.key_file import KeyFileRefused

        return KeyFileRefused(
            f"{self._path} cannot be written ({error.strerror})", "correct its folder's permissions, or make room"
        )


def _told(layout: Layout) -> str:
    if layout.is_certain:
        return layout.name
    return f"{layout.name}; it cannot be promised that nothing in it tells a right passphrase from a wrong one"


def _read_new_passphrase() -> str:
    from sk_provider.errors import InvalidRequest

    from .pin import read_secret

    passphrase = read_secret("New passphrase", "passphrase")
    if not passphrase:
        raise InvalidRequest("no passphrase was entered", "try again")
    if sys.stdin.isatty() and read_secret("New passphrase again", "passphrase") != passphrase:
        raise InvalidRequest("the two passphrases differ", "try again")
    return passphrase
