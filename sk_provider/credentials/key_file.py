"""Private-key files of security keys, as ssh-keygen writes them (PROTOCOL.key; PROTOCOL.u2f for what is inside).

They hold no private key, but the key handle that makes an authenticator use one.
"""

from __future__ import annotations

import errno
import os

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, APPLICATION_PREFIX, FLAG_RESIDENT_KEY
from sk_provider.errors import SecurityKeyError

from . import openssh_key, whole_file
from .directory import record as records
from .openssh_key import string, take_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .directory.record import Record

_BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----"
_END = "-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"
_NONE = b"none"
_WIDTH = 70
_BLOCK = 8
"""Bytes, which a section that is not encrypted is padded to as well."""

_NAMES = {ALGORITHM_ECDSA: "id_ecdsa_sk_rk", ALGORITHM_ED25519: "id_ed25519_sk_rk"}
"""By sk-api's number of an algorithm, what the names of files begin with that ssh-keygen -K makes."""

_MAX_APPLICATION = 100
"""Characters of an application that are part of a file's name."""

_MAX_NAME = 251
"""Bytes of a file's name that leave room for ".pub"."""

MAX_SIZE = 1 << 20
"""Bytes of the largest file that is read."""

_PATIENCE = 60
"""Seconds that ssh-keygen has to decrypt a file."""


class KeyFileRefused(SecurityKeyError):
    """A file is no private-key file of a security key that can be read."""


class KeyFilesNotWritten(SecurityKeyError):
    """Files of keys cannot be written, and none is."""


def serialize(record: Record) -> bytes:
    """Return the file, not encrypted, of a record's key."""
    blob = record.blob()
    check = os.urandom(4)
    section = (
        check
        + check
        # The fields of the public key are those that begin the private one.
        + blob
        + bytes((record.flags,))
        + string(record.key_handle)
        + string(b"")  # reserved
        + string(record.comment.encode())
    )
    return _armoured(blob, section)


def name(record: Record) -> str:
    """Return a file's name for a record's key, as ssh-keygen -K makes one of application and user id.

    The key handle's digest is in the place of the user id, and what could be a path is replaced.
    """
    application = record.application.removeprefix(APPLICATION_PREFIX).removeprefix("//")[:_MAX_APPLICATION]
    legal = "".join(each if (each.isascii() and each.isalnum()) or each in "-+@_." else "_" for each in application)
    return "_".join((_NAMES[record.algorithm], *([legal] if legal else []), record.handle_digest()))


def name_of_download(record: Record, user_id: bytes) -> str:
    """Return the file's name that ssh-keygen -K makes for a resident key.

    One that no file can have is made legal, and ends with the key handle's digest.
    """
    application = record.application.removeprefix(APPLICATION_PREFIX)
    if application != record.application:
        application = application.removeprefix("//")
    if padded := user_id.rstrip(b"\0"):
        application = f"{application}_{legible(padded)}" if application else legible(padded)
    name = f"{_NAMES[record.algorithm]}_{application}" if application else _NAMES[record.algorithm]
    legal = "".join(each if each.isprintable() and each != "/" else "_" for each in name)
    if legal == name and len(name.encode()) <= _MAX_NAME:
        return name
    return f"{legal[:_MAX_APPLICATION]}_{record.handle_digest()}"


def legible(user_id: bytes) -> str:
    """Return a user id as ssh-keygen writes it: in hex if it could be a path, or has what is not printable.

    user_id: without the zeros that ssh-keygen pads it with.
    """
    try:
        text = user_id.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        return user_id.hex()
    return text if text.isprintable() and not any(each in text for each in ("/", "..", "\\")) else user_id.hex()


def check_folder(folder: str) -> None:
    """Raise KeyFilesNotWritten if write_all() could write no file, as far as that can be told beforehand."""
    path = f"{folder}/id" if os.path.isdir(folder) else folder
    try:
        whole_file.check(os.path.abspath(path))
    except OSError as error:
        raise _not_written(folder, error) from None


def write_all(folder: str, records: list[tuple[str, Record]], replaced: list[str]) -> list[str]:
    """Write a private-key file of that name and a .pub file for each record, and return the paths of the former.

    folder: is made if it is missing; replaced: the paths of files that there may be, which are replaced.

    Raises KeyFilesNotWritten if another file is there already, or one cannot be written; then no new one is left.
    """
    is_made = False
    files: list[tuple[str, bytes, int]] = []
    for name, record in records:
        path = f"{folder}/{name}"
        files += [(path, serialize(record), 0o600), (f"{path}.pub", f"{record.public_line()}\n".encode(), 0o644)]
    try:
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
            is_made = True
        whole_file.put_all(files, replaced)
    except OSError as error:
        if is_made:
            os.rmdir(folder)
        if isinstance(error, FileExistsError):
            raise KeyFilesNotWritten(f"{error.filename} exists", "move it away, or name another folder") from None
        raise _not_written(error.filename, error) from None
    return [f"{folder}/{name}" for name, _ in records]


def _not_written(path: str, error: OSError) -> KeyFilesNotWritten:
    remedy = "name another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"free some space, or {remedy}"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"correct its folder's permissions, or {remedy}"
    return KeyFilesNotWritten(f"{path} cannot be written ({error.strerror})", remedy)


def is_encrypted(content: bytes, path: str) -> bool:
    """Return whether a file wants a passphrase. path: what errors call it. Raises KeyFileRefused if it is none."""
    cipher, _, _ = _opened(content, path)
    return cipher != _NONE


def public_blob(content: bytes, path: str) -> bytes:
    """Return the public key in a file, be it encrypted or not, of any type. Raises KeyFileRefused as is_encrypted()."""
    _, blob, _ = _opened(content, path)
    return blob


def decrypted(content: bytes, path: str, passphrase: str) -> bytes:
    """Return what an encrypted file would be without a passphrase.

    ssh-keygen does it, which knows every cipher and key derivation that it has ever written, in memory that is no
    file of any folder's.

    Raises KeyFileRefused if the passphrase is wrong or ssh-keygen cannot read the file.
    """
    import subprocess

    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)  # as ssh-keygen wants it of every file
        _write(descriptor, content)
        try:
            done = subprocess.run(
                ["ssh-keygen", "-p", "-N", "", "-f", f"/proc/self/fd/{descriptor}"],
                # In a session without a terminal, and with no other program to ask by, it reads what it is given.
                input=f"{passphrase}\n".encode(),
                env={"PATH": os.environ.get("PATH", os.defpath), "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"},
                start_new_session=True,
                pass_fds=[descriptor],
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KeyFileRefused(
                f"ssh-keygen cannot be run to decrypt {path} ({error.__class__.__name__})", "install openssh-client"
            ) from None
        if b"incorrect passphrase" in done.stderr:
            raise KeyFileRefused(f"wrong passphrase for {path}", "try again")
        if done.returncode != 0:
            raise KeyFileRefused(f"ssh-keygen cannot read {path}", "see what ssh-keygen -y -f says of it")
        return os.pread(descriptor, MAX_SIZE, 0)
    finally:
        os.close(descriptor)


def parse(content: bytes, path: str, user: str) -> Record:
    """Return the key in a file that is not encrypted, as a user's record. path: what errors call the file.

    Raises KeyFileRefused if it is none of a security key, or encrypted, and RecordRefused if no directory may have it.
    """
    key = _private(content, path)
    return records.checked(
        user,
        key.application,
        key.algorithm,
        key.public_key,
        key.key_handle,
        key.flags & records.FLAGS,
        key.comment.decode(errors="replace"),
    )


def is_resident(content: bytes, path: str) -> bool:
    """Return whether the key in a file that is not encrypted stays on its authenticator. The rest as in parse()."""
    return bool(_private(content, path).flags & FLAG_RESIDENT_KEY)


def with_key_handle(content: bytes, path: str, key_handle: bytes) -> bytes:
    """Return a file that is not encrypted with another key handle, and all else as it was. The rest as in parse()."""
    key = _private(content, path)
    # Whatever stands behind the key handle are strings, before the padding.
    section = key.before + string(key_handle) + string(key.reserved) + string(key.comment)
    return _armoured(key.blob, section)


class _Private:
    """What a file says that is not encrypted. blob: the public key; before: what the section begins with, up to the key
    handle; the rest by its names in PROTOCOL.u2f.
    """

    def __init__(self, path: str, blob: bytes, section: bytes) -> None:
        """Read a section that is not encrypted. path: what errors call the file.

        Raises KeyFileRefused if it is damaged, or not the key of a security key.
        """
        try:
            self.algorithm, self.public_key, self.application = openssh_key.parse_public_blob(blob)
        except ValueError:
            raise KeyFileRefused(
                f"{path} is not the key of a security key", "use one that ssh-keygen -t ed25519-sk or ecdsa-sk has made"
            ) from None
        try:
            start = 8 + len(blob)
            if section[:4] != section[4:8] or section[8:start] != blob:
                raise ValueError
            self.flags = section[start]
            self.key_handle, rest = take_string(section[start + 1 :])
            self.reserved, rest = take_string(rest)
            self.comment, padding = take_string(rest)
            if padding != bytes(range(1, 1 + len(padding))):
                raise ValueError
        except (ValueError, IndexError):
            raise _damaged(path) from None
        self.blob = blob
        self.before = section[: start + 1]


def _private(content: bytes, path: str) -> _Private:
    """Return what a file says. Raises KeyFileRefused if it is encrypted, and as _Private does."""
    cipher, untrusted_blob, section = _opened(content, path)
    if cipher != _NONE:
        raise KeyFileRefused(f"{path} is encrypted", "give its passphrase")
    return _Private(path, untrusted_blob, section)


def _armoured(blob: bytes, section: bytes) -> bytes:
    """Return the file, not encrypted, of a public key and the section about the private one, without its padding."""
    from binascii import b2a_base64

    section += bytes(range(1, 1 + -len(section) % _BLOCK))
    whole = (
        _MAGIC + string(_NONE) + string(_NONE) + string(b"") + (1).to_bytes(4, "big") + string(blob) + string(section)
    )
    encoded = b2a_base64(whole, newline=False).decode()
    lines = [encoded[start : start + _WIDTH] for start in range(0, len(encoded), _WIDTH)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def _opened(content: bytes, path: str) -> tuple[bytes, bytes, bytes]:
    """Return the cipher, the public key and the section that may be encrypted."""
    from binascii import a2b_base64

    text = content.decode("ascii", "replace")
    if not text.startswith(_BEGIN):
        if text.startswith(tuple(openssh_key.TYPES.values())):
            raise KeyFileRefused(f"{path} is a public key", "use the private-key file, without .pub")
        raise KeyFileRefused(f"{path} is not an OpenSSH private-key file", "use one that ssh-keygen has made")
    try:
        encoded, end, _ = text[len(_BEGIN) :].partition(_END)
        if not end:
            raise ValueError
        whole = a2b_base64(encoded)
        if not whole.startswith(_MAGIC):
            raise ValueError
        cipher, rest = take_string(whole[len(_MAGIC) :])
        _, rest = take_string(rest)
        _, rest = take_string(rest)
        if rest[:4] != (1).to_bytes(4, "big"):
            raise ValueError
        blob, rest = take_string(rest[4:])
        section, _ = take_string(rest)
    except ValueError:
        raise _damaged(path) from None
    return cipher, blob, section


def _damaged(path: str) -> KeyFileRefused:
    return KeyFileRefused(f"{path} is damaged", "use a copy of it, or enroll another key")


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
