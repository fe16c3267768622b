"""pysk directory: the keys that directories have outside of authenticators, for sshd, for ssh, and kept there."""

from __future__ import annotations

import click

from .output import json_option, print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from sk_provider.config import Configuration
    from sk_provider.credentials.directory.look_up import Found
    from sk_provider.credentials.directory.record import Record
    from sk_provider.errors import SecurityKeyError

_PATIENCE = 60
"""Seconds in which sshd is answered: half of what it gives a login by default (LoginGraceTime)."""


@click.group()
def directory() -> None:
    """List, export, add, remove and seal keys in key directories.

    Key directories are the files and servers that KeyDirectory in pysk_config(5) names. KEY is the first word of a line
    of `pysk directory list`, or a fingerprint as `ssh-keygen -l` prints it. USER is by default KeyDirectoryUser of
    pysk_config(5), or else your own name.
    """


@directory.command("authorized-keys")
@click.argument("user")
def authorized_keys(user: str) -> None:
    """Print a user's keys as lines of authorized_keys.

    They are for sshd. In sshd_config, with the path that pysk has:

    \b
        AuthorizedKeysCommand /usr/local/lib/pysk/bin/pysk directory authorized-keys %u
        AuthorizedKeysCommandUser nobody

    An unknown user has no keys, which is no error. Failures go to the system's log, or to LogFile of pysk_config(5).
    The exit status is 1 if a directory failed and there is no key to print.
    """  # noqa: D301 - click lets lines be where it finds this character
    import signal

    from sk_provider import config, errors

    configuration = None
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_PATIENCE)
    try:
        configuration = config.load()
        told: list[str] = []
        found = _look_up(user, configuration, told.append)
        content = "".join(f"{record.authorized_keys_line()}\n" for record in found.records).encode()
    except Exception as error:  # noqa: BLE001 - nobody would see a traceback
        failure = error if isinstance(error, errors.SecurityKeyError) else _failure(user, error)
        _log(str(failure), configuration)
        raise failure from None
    signal.alarm(0)
    for sentence in (*told, *map(str, found.failures.values())):
        _log(sentence, configuration)
        _say(sentence)
    click.echo(content, nl=False)
    if found.failures and not found.records:
        raise click.exceptions.Exit(1)


@directory.command("list")
@click.argument("user", required=False)
@json_option
def list_records(user: str | None, *, as_json: bool) -> None:
    """Print a user's keys.

    Each line has KEY, type, application, options, fingerprint and comment.

    --json prints a list of objects with the members key, type, application, options, fingerprint, comment, key_handle
    (in hex) and public_key.
    """
    from sk_provider import config

    found = _look_up(user, config.load(), _say)
    if as_json:
        print_json([_members(record) for record in found.records])
    else:
        columns = ("Key", "Type", "Application", "Options", "Fingerprint", "Comment")
        print_table(columns, [_row(record) for record in found.records])
    _tell_failures(found)


@directory.command()
@click.argument("user", required=False)
@click.option("--output", metavar="FOLDER", help="Write each key and its .pub file into FOLDER.")
@click.option("--key", metavar="KEY", help="Export this key only.")
def export(user: str | None, output: str | None, key: str | None) -> None:
    """Write a user's keys as private-key files.

    They are such as ssh-keygen writes. Without --output, one key is written to standard output. Keys of all
    applications are exported, with all flags. To add one to the agent:

    \b
        pysk directory export | ssh-add -S "$(pysk path)" -
    """  # noqa: D301
    from sk_provider import config
    from sk_provider.credentials import key_file
    from sk_provider.errors import DirectoryError

    found = _look_up(user, config.load(), _say)
    records = [record for record in found.records if key is None or _is_meant(record, key)]
    if not records:
        _tell_failures(found)
        raise DirectoryError("no key directory has that key", _see_list(user))
    if output is not None:
        for path in key_file.write_all(output, _named(records), []):
            click.echo(path)
    elif len(records) > 1:
        raise DirectoryError(
            f"there are {len(records)} keys, and standard output takes one",
            "name one with --key, or a folder with --output",
        )
    else:
        click.echo(key_file.serialize(records[0]), nl=False)
    _tell_failures(found)


@directory.command()
@click.argument("key_files", metavar="[KEYFILE]...", nargs=-1, type=click.Path())
@click.option("--user", metavar="USER", help="The user whose keys they are.")
@click.option("--url", metavar="URL", help="The directory to write to, if several can be written.")
@click.option(
    "--resident", metavar="[ADDRESS]", is_flag=False, flag_value="", help="Add an authenticator's resident keys."
)
@click.option(
    "--all", "all_applications", is_flag=True, help="With --resident: also keys of other applications than ssh."
)
def add(
    key_files: tuple[str, ...], user: str | None, url: str | None, resident: str | None, *, all_applications: bool
) -> None:
    """Add keys to a key directory.

    They are those of private-key files, or an authenticator's resident keys. The files are not changed. Only key
    handles, public keys, flags and comments are copied.
    """
    from sk_provider import config
    from sk_provider.credentials.directory import look_up

    if not key_files and resident is None:
        raise click.UsageError("give key files, or --resident")
    configuration = config.load()
    target = _writable(url, configuration)
    name = _own_name(configuration) if user is None else user
    look_up.check(target, name, "", configuration)
    records = [_read_key_file(path, name) for path in key_files]
    if resident is not None:
        records += _resident_records(resident or None, name, all_applications=all_applications)
    for record in records:
        look_up.add(target, record, configuration)
        click.echo(f"{record.handle_digest()} added to {target}", err=True)


@directory.command()
@click.argument("key", metavar="KEY")
@click.argument("user", required=False)
@click.option("--url", metavar="URL", help="The directory to remove it from, if several can be written.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(key: str, user: str | None, url: str | None, *, yes: bool) -> None:
    """Remove a key from a key directory.

    Where sshd looks keys up in that directory, the key can no longer log in.
    """
    from sk_provider import config
    from sk_provider.credentials.directory import look_up

    from .reset import confirm

    configuration = config.load()
    target = _writable(url, configuration)
    for record in _meant(key, user, target, configuration):
        if not yes:
            look_up.check(target, record.user, "", configuration)
            confirm(f"Remove {record.user}'s key {'  '.join(_row(record))}?")
        look_up.remove(target, record.user, record.handle_digest(), configuration)
        click.echo(f"{record.handle_digest()} removed from {target}", err=True)


@directory.command("seal")
@click.argument("key", metavar="KEY")
@click.argument("user", required=False)
@click.option("--url", metavar="URL", help="The directory to write to, if several can be written.")
@click.option("--change", is_flag=True, help="Give a key that is sealed another passphrase.")
def seal_record(key: str, user: str | None, url: str | None, *, change: bool) -> None:
    """Seal a key in a key directory under a passphrase.

    It is as for `pysk seal`, which see. The public key stays as it is, and with it each login. KEY is another
    afterwards, and is printed. Copies of the key in files stay as they are.

    Name the key by its fingerprint. The first word of its line from before, wherever that is kept, tells a right
    passphrase from a wrong one once the key is sealed.

    Do not seal resident keys, which a directory does not tell from others: `ssh-keygen -K` gives them without the
    passphrase.
    """
    from .seal import sealed_handle

    record, target = _the_only_one(key, user, url)
    name, check = record.handle_digest(), _check_of(record, target, tells_of_resident_keys=not change)
    handle, kind = sealed_handle(record, name, "pysk directory seal", check, change=change)
    name = _replace_handle(record, handle, target)
    # Not what named it before, which would tell which guess of the passphrase is right.
    click.echo(f"{name} in {target} ({record.fingerprint()}) is sealed; kind of key handle: {kind}", err=True)


@directory.command("unseal")
@click.argument("key", metavar="KEY")
@click.argument("user", required=False)
@click.option("--url", metavar="URL", help="The directory to write to, if several can be written.")
def unseal_record(key: str, user: str | None, url: str | None) -> None:
    """Remove the passphrase of a key in a key directory.

    It is as for `pysk unseal`, which see. KEY is another afterwards, but for the fingerprint, which is printed.
    """
    from .seal import opened_handle

    record, target = _the_only_one(key, user, url)
    check = _check_of(record, target)
    _replace_handle(record, opened_handle(record, record.handle_digest(), "pysk directory seal", check), target)
    # Not what names it now, which would tell who has a copy from before which guess of the passphrase is right.
    click.echo(f"{record.fingerprint()} in {target} is not sealed any more", err=True)


class _TooLateError(Exception):
    """sshd was to be answered by now."""


def _failure(user: str, error: Exception) -> SecurityKeyError:
    from sk_provider.errors import DirectoryError

    if isinstance(error, _TooLateError):
        return DirectoryError(
            f"{user} was not looked up within {_PATIENCE} seconds", "set a shorter KeyDirectoryTimeout"
        )
    return DirectoryError(f"{user} cannot be looked up ({type(error).__name__})", "reinstall libpysk")


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise _TooLateError


def _log(sentence: str, configuration: Configuration | None) -> None:
    """Write a sentence where whoever looks after sshd finds it: what sshd starts has no standard error."""
    import syslog

    from sk_provider.reporting import Reporter, write_stderr

    syslog.openlog("pysk", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    reporter = Reporter(write_stderr, lambda line: syslog.syslog(syslog.LOG_ERR, line.decode()))
    reporter.log_file = configuration.log_file if configuration else None
    reporter.log(sentence)


def _say(sentence: str) -> None:
    from sk_provider.reporting import printable

    click.echo(f"pysk: {printable(sentence)}", err=True)


def _look_up(user: str | None, configuration: Configuration, tell: Callable[[str], object]) -> Found:
    from sk_provider.credentials.directory import look_up
    from sk_provider.errors import ConfigurationError

    if not configuration.key_directories:
        raise ConfigurationError(
            "no key directory is configured", "write KeyDirectory and a URL into ~/.ssh/pysk_config"
        )
    return look_up.look_up(_own_name(configuration) if user is None else user, configuration, tell)


def _own_name(configuration: Configuration) -> str:
    from sk_provider.directory_keys import user

    return user(configuration)


def _tell_failures(found: Found) -> None:
    """Tell why directories could not be asked, and end the program if there are any."""
    for failure in found.failures.values():
        _say(str(failure))
    if found.failures:
        raise click.exceptions.Exit(1)


def _members(record: Record) -> dict[str, object]:
    """Return what is known of a key, as JSON has it."""
    from sk_provider.credentials import openssh_key

    return {
        "key": record.handle_digest(),
        "type": openssh_key.KEYGEN_TYPES[record.algorithm],
        "application": record.application,
        "options": record.options(),
        "fingerprint": record.fingerprint(),
        "comment": record.comment,
        "key_handle": record.key_handle.hex(),
        "public_key": record.public_line(),
    }


def _row(record: Record) -> list[str]:
    from sk_provider.credentials import openssh_key

    kind = openssh_key.KEYGEN_TYPES[record.algorithm]
    options = ",".join(record.options()) or "-"
    return [record.handle_digest(), kind, record.application, options, record.fingerprint(), record.comment or "-"]


def _see_list(user: str | None) -> str:
    """Return the remedy for a key that is not there. user: as it was given."""
    import shlex

    return "see: pysk directory list" + (f" {shlex.quote(user)}" if user is not None else "")


def _is_meant(record: Record, key: str) -> bool:
    return key in (record.handle_digest(), record.fingerprint())


def _meant(key: str, user: str | None, target: str, configuration: Configuration) -> list[Record]:
    """Return the records of a user's key in one directory. user: as it was given. Raises DirectoryError for none."""
    from sk_provider.errors import DirectoryError

    name = _own_name(configuration) if user is None else user
    configuration.key_directories = [target]
    found = _look_up(name, configuration, _say)
    meant = [record for record in found.records if _is_meant(record, key)]
    if not meant:
        _tell_failures(found)
        raise DirectoryError(f"{target} has no key {key} of {name}", _see_list(user))
    return meant


def _the_only_one(key: str, user: str | None, url: str | None) -> tuple[Record, str]:
    """Return the record of a user's key, and the directory to change it in. The arguments are as they were given.

    Raises DirectoryError if there is none, or more than one.
    """
    from sk_provider import config
    from sk_provider.errors import DirectoryError

    configuration = config.load()
    target = _writable(url, configuration)
    meant = _meant(key, user, target, configuration)
    if len(meant) > 1:
        raise DirectoryError(f"{target} has {len(meant)} keys of that fingerprint", _see_list(user))
    return meant[0], target


def _check_of(record: Record, target: str, *, tells_of_resident_keys: bool = False) -> Callable[[], None]:
    """Return what raises SecurityKeyError if a record in a directory cannot be replaced.

    tells_of_resident_keys: whether it also tells the person which keys not to seal.
    """
    from sk_provider import config
    from sk_provider.credentials.directory import look_up

    def check() -> None:
        look_up.check(target, record.user, record.handle_digest(), config.load())
        if tells_of_resident_keys:
            _say(
                "a directory does not tell whether a key is resident; do not seal a resident one, for ssh-keygen -K "
                "gives it without the passphrase"
            )

    return check


def _replace_handle(record: Record, key_handle: bytes, target: str) -> str:
    """Give a record in a directory another key handle, and return what names it then."""
    from sk_provider import config
    from sk_provider.credentials.directory import look_up
    from sk_provider.credentials.directory.record import checked

    from .seal import remember_renamed

    new = checked(
        record.user,
        record.application,
        record.algorithm,
        record.public_key,
        key_handle,
        record.flags,
        record.comment,
    )
    look_up.replace(target, record.handle_digest(), new, config.load())
    remember_renamed(record, key_handle)
    return new.handle_digest()


def _writable(url: str | None, configuration: Configuration) -> str:
    """Return the directory that is named, or else the only one of those that are configured that can be written.

    Raises ConfigurationError if there is none, or more than one.
    """
    from sk_provider.credentials.directory import load, split
    from sk_provider.errors import ConfigurationError

    if url is not None:
        return url
    found = [
        each
        for each in configuration.key_directories
        if hasattr(load(split(each)[0], own_only=configuration.is_limited(each)), "add")
    ]
    if not found:
        raise ConfigurationError("no key directory that can be written is configured", "name one with --url")
    if len(found) > 1:
        raise ConfigurationError("several key directories can be written", f"add --url and one of: {' '.join(found)}")
    return found[0]


def _read_key_file(path: str, user: str) -> Record:
    """Return a key file's record, for which the person may be asked for a passphrase. Raises KeyFileRefused."""
    from sk_provider.credentials import key_file
    from sk_provider.credentials.key_file import KeyFileRefused
    from sk_provider.errors import PinInvalid

    from .pin import read_secret

    try:
        with open(path, "rb") as file:
            content = file.read(key_file.MAX_SIZE)
    except OSError as error:
        raise KeyFileRefused(f"{path} cannot be read ({error.strerror})", "name a file that you can read") from None
    if key_file.is_encrypted(content, path):
        try:
            passphrase = read_secret(f"Passphrase of {path}", "passphrase")
        except PinInvalid:
            raise KeyFileRefused(f"the passphrase of {path} is not text", "try again") from None
        content = key_file.decrypted(content, path, passphrase)
    return key_file.parse(content, path, user)


def _resident_records(address: str | None, user: str, *, all_applications: bool) -> list[Record]:
    """Return an authenticator's resident keys, for which it may ask the person for its PIN."""
    from sk_provider.api import FLAG_USER_PRESENCE
    from sk_provider.credentials.directory.record import checked

    from .keys import keys_of, listed, management_of

    with management_of(address) as (management, token, operation):
        found = listed(management, token, operation, all_applications=all_applications)
        return [
            checked(
                user,
                key.application,
                key.algorithm,
                key.public_key,
                key.key_handle,
                FLAG_USER_PRESENCE | key.flags,
            )
            for key in keys_of(found, operation)
        ]


def _named(records: list[Record]) -> list[tuple[str, Record]]:
    """Return the records with the names of their files, no two of which are the same."""
    from sk_provider.credentials import key_file

    named: dict[str, Record] = {}
    for record in records:
        name = key_file.name(record)
        while name in named:
            name += "_"
        named[name] = record
    return list(named.items())
