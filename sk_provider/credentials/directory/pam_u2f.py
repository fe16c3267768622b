"""A directory that is an authfile of pam_u2f, as pamu2fcfg writes it: pam-u2f:~/.config/Yubico/u2f_keys

    alice:KEYHANDLE,PUBLICKEY,TYPE,OPTIONS[:KEYHANDLE,PUBLICKEY,TYPE,OPTIONS…]

Of several lines for a user the last one counts, as it does for pam_u2f. Files from before pam-u2f 1.1.0 have key handle
and public key alone. `?origin=ID` after the path is what pam_u2f is given as origin, which is the key's application;
without it that is pam://HOSTNAME. `&appid=ID` is the application of the keys from before 1.1.0, if it is another one.

A key wants a touch in any case: whether pam_u2f asks for one is a setting of its own, beside the file.
"""

from __future__ import annotations

import posix
from binascii import unhexlify

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.errors import DirectoryError

from . import local_file, split
from .record import RecordRefused, checked, from_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .record import Record
    from .settings import Settings

_ALGORITHMS = {"es256": ALGORITHM_ECDSA, "eddsa": ALGORITHM_ED25519}
_RESIDENT = "*"
_VERIFYING = ("verification", "pin")
"""The options of a key for whose use the person is verified."""

_COMMENT = "pam-u2f"


def look_up(url: str, user: str, _settings: Settings, tell: Callable[[str], object]) -> list[Record]:
    """See Kind."""
    location, origin, appid = parse_url(url)
    path = local_file.path_of(location)
    last = None
    for number, line in local_file.lines(path):
        if line.partition(":")[0] == user:
            last = number, line
    if last is None:
        return []
    number, line = last
    found = []
    for credential in line.split(":")[1:]:
        if credential:
            try:
                found.append(parse(credential, user, origin, appid))
            except RecordRefused as error:
                tell(f"{path} line {number}: {error.happened}, and is left out; {error.remedy}")
    return found


def parse_url(url: str) -> tuple[str, str, str]:
    """Return a URL's path, the application of its keys, and that of those that are older than pam-u2f 1.1.0.

    Raises DirectoryError if there is anything else in it.
    """
    from urllib.parse import unquote

    location, _, query = split(url)[1].partition("?")
    given = {}
    for each in query.split("&") if query else ():
        name, _, value = each.partition("=")
        if name not in ("origin", "appid") or not value:
            raise DirectoryError(f"{url} has other parts than a path, origin and appid", "correct it in KeyDirectory")
        given[name] = unquote(value)
    origin = given.get("origin") or f"pam://{posix.uname().nodename}"
    return location, origin, given.get("appid") or origin


def parse(untrusted_credential: str, user: str, origin: str, appid: str) -> Record:
    """Return the record of what stands between two colons. Raises RecordRefused if ssh cannot use it."""
    fields = untrusted_credential.strip().split(",")
    handle = fields[0]
    if handle == _RESIDENT:
        raise RecordRefused(
            "a resident key is without its key handle", "register it again without --resident to use it by ssh"
        )
    if len(fields) < 2:
        raise RecordRefused("a key has no public key", "register it again with pamu2fcfg")
    try:
        if len(fields) == 2:
            # The old tool wrote U2F's key handles in the alphabet for URLs, and without padding.
            padded = handle.rstrip("=") + "=" * (-len(handle.rstrip("=")) % 4)
            handle_bytes = from_base64(padded.replace("-", "+").replace("_", "/"))
            return checked(
                user, appid, ALGORITHM_ECDSA, _old_public_key(fields[1]), handle_bytes, FLAG_USER_PRESENCE, _COMMENT
            )
        type_name = fields[2].lower()
        if type_name not in _ALGORITHMS:
            raise RecordRefused(
                "a key is of a type that ssh does not support", "register another of the type es256 or eddsa"
            )
        public_key = from_base64(fields[1])
        handle_bytes = from_base64(handle)
    except ValueError:
        raise RecordRefused("a key is not in base64", "register it again with pamu2fcfg") from None
    algorithm = _ALGORITHMS[type_name]
    if algorithm == ALGORITHM_ECDSA:
        public_key = b"\x04" + public_key
    # There may be a field more, of which ssh needs nothing.
    options = fields[3].split("+") if len(fields) > 3 else []
    verifies = any(option in _VERIFYING for option in options)
    flags = FLAG_USER_PRESENCE | (FLAG_USER_VERIFICATION if verifies else 0)
    return checked(user, origin, algorithm, public_key, handle_bytes, flags, _COMMENT)


def _old_public_key(untrusted: str) -> bytes:
    """Return a point that is in hexadecimal. Raises ValueError if it is not."""
    return unhexlify(untrusted)
