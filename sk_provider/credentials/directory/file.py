"""A directory that is a file, or a folder of such files: file:/etc/ssh/sk_keys

Each line of a file is a record, in these fields with white space between them:

    alice  verify-required  sk-ssh-ed25519@openssh.com AAAAGn…  AZ3x…==  the blue token
    bob    -                sk-ecdsa-sha2-nistp256@openssh.com AAAAIn…  q83v…  example.com, by a browser

- the user's name;
- what the key wants beyond a touch, or less than that, as in authorized_keys: `verify-required`, `no-touch-required`,
  both with a comma between them, or `-` for neither;
- the type and the public key, two fields, as they stand in a .pub file: the application is part of it;
- the key handle, also called credential ID, in base64;
- and, to the end of the line, a comment, which may be missing.

Empty lines, and those that begin with `#`, are none. In a folder every file is read whose name does not begin with a
dot or end with `~`; what is added for a user goes to the file of that name. The files must belong to root or to
whoever reads them, and be writable by nobody else. Nothing in them is secret, and what sshd asks runs as another user:
so a new file can be read by all, and one that is changed by those that could read it before.
"""

from __future__ import annotations

import posix
from binascii import b2a_base64
from posixpath import dirname, exists, isdir, realpath

from sk_provider.credentials import openssh_key, whole_file
from sk_provider.errors import DirectoryError

from . import local_file, split
from .record import RecordRefused, checked, flags_of, from_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .record import Record
    from .settings import Settings

_NO_OPTIONS = "-"


def look_up(url: str, user: str, _settings: Settings, tell: Callable[[str], object]) -> list[Record]:
    """See Kind."""
    path = local_file.path_of(split(url)[1])
    found = []
    for each in _files(path):
        for number, line in local_file.lines(each):
            if _is_of(line, user):
                try:
                    found.append(parse(line))
                except RecordRefused as error:
                    tell(f"{each} line {number}: {error.happened}, and is left out; {error.remedy}")
    return found


def add(url: str, record: Record, _settings: Settings) -> None:
    """See Writable."""
    line = line_of(record)
    path = realpath(local_file.path_of(split(url)[1]))
    target = _target(path, record.user)

    def is_replaced(other: Record) -> bool:
        return (other.application, other.key_handle) == (record.application, record.key_handle)

    for each in _files(path) if exists(path) else ():
        if each != target:
            _change(each, record.user, is_replaced)
    _change(target, record.user, is_replaced, line)


def check(url: str, user: str, handle_digest: str, _settings: Settings) -> None:
    """See Writable."""

    def is_meant(record: Record) -> bool:
        return record.handle_digest() == handle_digest

    path = realpath(local_file.path_of(split(url)[1]))
    if handle_digest:
        lines = ((each, line) for each in _files(path) for _, line in local_file.lines(each))
        written = {each for each, line in lines if _is_of(line, user) and _is_meant(line, is_meant)}
    else:
        written = {_target(path, user)}
    for each in written:
        try:
            whole_file.check(each)
        except OSError as error:
            raise _not_written(each, error) from None


def _target(path: str, user: str) -> str:
    """Return the file that a user's records are added to. Raises DirectoryError if there can be none."""
    if not isdir(path):
        return path
    if "/" in user or not _is_read(user):
        raise DirectoryError(f'no file can be named after the user "{user}"', "name a file in KeyDirectory")
    return f"{path}/{user}"


def remove(url: str, user: str, handle_digest: str, _settings: Settings) -> bool:
    """See Writable."""

    def is_meant(record: Record) -> bool:
        return record.handle_digest() == handle_digest

    path = realpath(local_file.path_of(split(url)[1]))
    had_any = [_change(each, user, is_meant) for each in _files(path)]
    return any(had_any)


def replace(url: str, handle_digest: str, record: Record, _settings: Settings) -> bool:
    """See Writable."""
    line = line_of(record)

    def is_replaced(other: Record) -> bool:
        return other.handle_digest() == handle_digest and other.blob() == record.blob()

    path = realpath(local_file.path_of(split(url)[1]))
    had_any = [_change(each, record.user, is_replaced, instead=line) for each in _files(path)]
    return any(had_any)


def _change(
    path: str, user: str, is_meant: Callable[[Record], bool], added: str | None = None, *, instead: str | None = None
) -> bool:
    """Take those of a user's records that are meant out of a file, and tell if there were any.

    added: a line that comes to the others, or None; instead: one that takes the place of each, or None.

    Raises DirectoryError if the file cannot be read or written.
    """
    try:
        lock = whole_file.lock(dirname(path))
        try:
            is_there = added is None or exists(path)
            old = [line for _, line in local_file.lines(path)] if is_there else []
            left = [instead if _is_of(line, user) and _is_meant(line, is_meant) else line for line in old]
            kept = [line for line in left if line is not None]
            new = kept if added is None else [*kept, added]
            if new != old:
                content = "".join(f"{line}\n" for line in new).encode("utf-8", "surrogateescape")
                whole_file.replace(path, content, posix.stat(path).st_mode & 0o777 if is_there else 0o644)
        finally:
            posix.close(lock)
    except OSError as error:
        raise _not_written(path, error) from None
    return kept != old


def _not_written(path: str, error: OSError) -> DirectoryError:
    return DirectoryError(f"{path} cannot be written ({error.strerror})", "correct its permissions")


def _is_meant(line: str, is_meant: Callable[[Record], bool]) -> bool:
    try:
        return is_meant(parse(line))
    except RecordRefused:
        return False


def _is_of(line: str, user: str) -> bool:
    """Return whether a line is a record of the user's, of whatever content."""
    return line.split(None, 1)[:1] == [user] and not user.startswith("#")


def parse(untrusted_line: str) -> Record:
    """Return the record of a line. Raises RecordRefused if it is none."""
    fields = untrusted_line.split(None, 5)
    if len(fields) < 5:
        raise RecordRefused("a record has too few fields", "a record is: user, options, type, public key, key handle")
    user, options, type_name, public_key, key_handle = fields[:5]
    try:
        algorithm, key, application = openssh_key.parse_public_blob(from_base64(public_key))
    except ValueError:
        raise RecordRefused(
            "a record has no public key of a security key", "copy the type and the key from a .pub file"
        ) from None
    if openssh_key.TYPES[algorithm] != type_name:
        raise RecordRefused(
            "a public key does not match the type before it", "copy the type and the key from a .pub file"
        )
    try:
        handle = from_base64(key_handle)
    except ValueError:
        raise RecordRefused("a key handle is not base64", "correct that key's record") from None
    flags = flags_of([] if options == _NO_OPTIONS else options.split(","))
    return checked(user, application, algorithm, key, handle, flags, fields[5] if len(fields) > 5 else "")


def line_of(record: Record) -> str:
    """Return the line of a record, without its end. Raises DirectoryError if the user's name cannot stand in one."""
    if len(record.user.split()) != 1 or record.user.startswith("#"):
        raise DirectoryError(f'a file cannot hold the user "{record.user}"', "use another kind of key directory")
    options = ",".join(record.options()) or _NO_OPTIONS
    type_name, public_key, *_ = record.public_line().split(" ")
    key_handle = b2a_base64(record.key_handle, newline=False).decode()
    return f"{record.user} {options} {type_name} {public_key} {key_handle} {record.comment}".rstrip()


def _files(path: str) -> list[str]:
    """Return the file, or those in the folder, in the order of their names."""
    try:
        names = posix.listdir(path)
    except NotADirectoryError:
        return [path]
    except FileNotFoundError:
        raise DirectoryError(f"{path} does not exist", "make it, or correct KeyDirectory") from None
    except OSError as error:
        raise DirectoryError(f"{path} cannot be read ({error.strerror})", "correct its permissions") from None
    return [f"{path}/{name}" for name in sorted(names) if _is_read(name)]


def _is_read(name: str) -> bool:
    """Return whether a file of this name in a folder has records."""
    return not name.startswith(".") and not name.endswith("~")
