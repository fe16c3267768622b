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
whoever reads them, and be writable by nobody else.
"""

from __future__ import annotations

import posix
from binascii import b2a_base64

from sk_provider.credentials import openssh_key
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
            if line.partition("#")[0] and line.split(None, 1)[:1] == [user]:
                try:
                    found.append(parse(line))
                except RecordRefused as error:
                    tell(f"{each} line {number}: {error.happened}, and is left out; {error.remedy}")
    return found


def parse(untrusted_line: str) -> Record:
    """Return the record of a line. Raises RecordRefused if it is none."""
    fields = untrusted_line.split(None, 5)
    if len(fields) < 5:
        raise RecordRefused("a record has too few fields", "write user, options, type, public key and key handle")
    user, options, type_name, public_key, key_handle = fields[:5]
    try:
        algorithm, key, application = openssh_key.parse_public_blob(from_base64(public_key))
    except ValueError:
        raise RecordRefused(
            "a record has no public key of a security key", "copy type and key of a .pub file"
        ) from None
    if openssh_key.TYPES[algorithm] != type_name:
        raise RecordRefused("a public key is not of the type before it", "copy type and key of a .pub file")
    try:
        handle = from_base64(key_handle)
    except ValueError:
        raise RecordRefused("a key handle is not base64", "correct that key's record") from None
    flags = flags_of([] if options == _NO_OPTIONS else options.split(","))
    return checked(user, application, algorithm, key, handle, flags, fields[5] if len(fields) > 5 else "")


def line_of(record: Record) -> str:
    """Return the line of a record, without its end. Raises DirectoryError if the user's name cannot stand in one."""
    if len(record.user.split()) != 1 or record.user.startswith("#"):
        raise DirectoryError(f'a file has no room for the user "{record.user}"', "use another kind of key directory")
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
    return [f"{path}/{name}" for name in sorted(names) if not name.startswith(".") and not name.endswith("~")]
