"""pysk_config: which files are read, what they say or why they are refused, and the files that they name."""

from __future__ import annotations

import os
import shlex
import stat

from sk_provider import config, third_party, transports
from sk_provider.asking import pins, session_bus
from sk_provider.config import Configuration
from sk_provider.credentials import directory
from sk_provider.errors import ConfigurationError, SecurityKeyError

from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "pysk_config"

_TELLING = ("usb:", "nfc:", "/dev/")
"""What addresses begin with that tell of a product, and of nobody's folders or machines."""


def loaded() -> Configuration:
    """Return the settings, or those of no file where one cannot be used: that is told by check()."""
    try:
        return config.load()
    except ConfigurationError:
        return Configuration()


def is_usable() -> bool:
    """Return whether the files can be used: if not, that is told by check()."""
    try:
        config.load()
    except ConfigurationError:
        return False
    return True


def check(account: Account) -> Iterator[Finding]:
    """Look at each file by itself, and at the settings that they have together."""
    named = account.variable(config.VARIABLE)
    if named is not None:
        yield Finding(
            SUBJECT, f"{config.VARIABLE} names {named}, which is read instead of ~/.ssh/pysk_config", private=(named,)
        )
    elif account.home is None:
        return
    try:
        configuration = config.load()
    except ConfigurationError as error:
        yield _refused(error)
        # The error may be the user's file's, and then the system's was not read.
        if config.SYSTEM_FILE not in error.happened:
            yield from _check_system_file()
        return
    yield from _tell_files(account, named, configuration)
    yield from _tell_settings(configuration)
    yield from _check_addresses(configuration)
    yield from _check_asking(configuration)
    yield from _check_log_file(configuration)
    yield from _check_audit_log(configuration)
    yield from _check_known_keys(account, configuration)
    yield from _check_key_directories(configuration)


def _refused(error: ConfigurationError) -> Finding:
    """Return the finding for a file that is refused. What an error quotes of it may be anything, a secret too."""
    place, colon, quoted = error.happened.partition(": ")
    return Finding(SUBJECT, error.happened, error.remedy, private=(quoted,) if colon and " line " in place else ())


def _check_system_file() -> Iterator[Finding]:
    try:
        if config.read_system_file(Configuration()):
            yield Finding(SUBJECT, f"{config.SYSTEM_FILE} can be used")
    except ConfigurationError as error:
        yield _refused(error)


def _tell_files(account: Account, named: str | None, configuration: Configuration) -> Iterator[Finding]:
    own = named or "~/.ssh/pysk_config"
    is_there = configuration.missing_file is None
    read = [*([own] if is_there else []), *([config.SYSTEM_FILE] if os.path.exists(config.SYSTEM_FILE) else [])]
    missing = "" if is_there else f" ({account.shown(configuration.missing_file or '')} does not exist)"
    yield Finding(
        SUBJECT,
        f"read: {', '.join(read) or 'no file'}{missing}{configuration.aside()}",
        private=[path for path in (named, account.environment.get("HOME")) if path and path != "/"],
    )


def _as_written(argument: str) -> str:
    return f'"{argument}"' if len(argument.split()) > 1 else argument


def _block(criteria: list[tuple[str, str]]) -> str:
    """Return what is told of the Match block that a line stands in."""
    words = " ".join(f"{keyword} {_as_written(patterns)}" for keyword, patterns in criteria)
    return f" (Match {words})" if criteria else ""


def _tell_settings(configuration: Configuration) -> Iterator[Finding]:
    for criteria, addresses in configuration.device_lines():
        yield Finding(
            SUBJECT,
            f"Device {' '.join(map(_as_written, addresses))}{_block(criteria)}",
            private=[
                *(patterns for _, patterns in criteria),
                *(each.partition(":")[2] for each in addresses if not each.startswith(_TELLING)),
            ],
        )
    if not configuration.device_lines():
        yield Finding(
            SUBJECT,
            "there is no Device line: the USB security key that is plugged in is used, or else a card on a reader",
        )
    yield Finding(
        SUBJECT,
        f"Presence {configuration.presence}, Timeout {configuration.timeout}, LogLevel {configuration.log_level}",
    )
    yield from _tell_asking(configuration)
    for url in configuration.key_directories:
        yield Finding(SUBJECT, f"KeyDirectory {url}", private=(url.partition(":")[2],))
    if configuration.key_directories:
        yield Finding(
            SUBJECT,
            f"KeyDirectoryUser {configuration.directory_user or 'none'}, "
            f"KeyDirectoryTimeout {configuration.directory_timeout}, "
            f"KeyDirectoryMaxAge {configuration.directory_max_age}, "
            f"KeyDirectoryCache {configuration.directory_cache or 'none'}, "
            f"KeyDirectoryCA {configuration.directory_ca or 'none'}",
            private=[
                each
                for each in (configuration.directory_user, configuration.directory_cache, configuration.directory_ca)
                if each
            ],
        )
    for name, value in configuration.ldap.items():
        yield Finding(SUBJECT, f"KeyDirectoryLdap{name.capitalize()} {value}", private=(value,))


def _tell_asking(configuration: Configuration) -> Iterator[Finding]:
    """Tell how a person is asked and told, for operations of no purpose in particular and below each Match line."""
    yield Finding(
        SUBJECT,
        f"Notify {_notify(configuration.notices, configuration.notice_command)}, "
        f"PinPrompt {' '.join(configuration.pin_prompts)}, RememberPin {configuration.remember_pin or 'no'}",
        private=configuration.notice_command,
    )
    lines = configuration.lines_of
    told = [
        *((criteria, f"Deny {'yes' if where else 'no'}", []) for criteria, where in lines("denied")),
        *(
            (criteria, f"Notify {_notify(ways, command)}", command)
            for (criteria, ways), (_, command) in zip(lines("notices"), lines("notice_command"), strict=True)
        ),
        *((criteria, f"PinPrompt {' '.join(ways)}", []) for criteria, ways in lines("pin_prompts")),
        *((criteria, f"Presence {presence}", []) for criteria, presence in lines("presence")),
        *((criteria, f"RememberPin {seconds or 'no'}", []) for criteria, seconds in lines("remember_pin")),
    ]
    for criteria, line, private in told:
        if criteria or line.startswith("Deny"):
            yield Finding(SUBJECT, f"{line}{_block(criteria)}", private=[*(each for _, each in criteria), *private])


def _notify(ways: tuple[str, ...], command: list[str]) -> str:
    return f"command {' '.join(command)}" if command else " ".join(ways) or "no"


def _check_asking(configuration: Configuration) -> Iterator[Finding]:
    """Look whether there is what a person is asked with, and told by."""
    if any("pinentry" in ways for _, ways in configuration.lines_of("pin_prompts")) and not os.access(
        pins.PINENTRY, os.X_OK
    ):
        yield Finding(
            SUBJECT,
            f"PinPrompt names pinentry, and there is no {pins.PINENTRY}",
            "install one (Debian: sudo apt-get install pinentry-gnome3)",
        )
    ways = [configuration.notices, *(ways for _, ways in configuration.lines_of("notices"))]
    if any("desktop" in each for each in ways) and session_bus.address() is None:
        yield Finding(SUBJECT, "Notify desktop shows nothing here: there is no session bus")


def _check_audit_log(configuration: Configuration) -> Iterator[Finding]:
    path = configuration.audit_log
    required = ", AuditLogRequired" if configuration.is_audit_required else ""
    if path is None or path == config.AUDIT_SYSLOG:
        yield Finding(SUBJECT, f"AuditLog {path or 'none'}{required}")
        return
    reason = _not_written(path)
    if reason is None:
        yield Finding(SUBJECT, f"AuditLog {path}{required}", private=(path,))
    else:
        effect = "nothing is done with authenticators" if configuration.is_audit_required else "nothing is recorded"
        yield Finding(
            SUBJECT,
            f"AuditLog {path} cannot be used, because {reason}: {effect}",
            "name a file of your own in a folder that exists",
            private=(path,),
        )


def _check_addresses(configuration: Configuration) -> Iterator[Finding]:
    for address in configuration.all_devices():
        try:
            scheme, _ = transports.split(address)
            transports.load(scheme, own_only=configuration.is_limited(address))
        except SecurityKeyError as error:
            yield Finding(SUBJECT, f"Device: {error.happened}", error.remedy, private=(address,))


def _check_log_file(configuration: Configuration) -> Iterator[Finding]:
    path = configuration.log_file
    if path is None:
        return
    reason = _not_written(path)
    if reason is None:
        yield Finding(SUBJECT, f"LogFile {path}", private=(path,))
    else:
        yield Finding(
            SUBJECT,
            f"LogFile {path} cannot be used, because {reason}: failures go to the system's log instead",
            "name a file of your own in a folder that exists",
            private=(path,),
        )


def _check_known_keys(account: Account, configuration: Configuration) -> Iterator[Finding]:
    path = configuration.known_keys
    if path is None:
        yield Finding(SUBJECT, "KnownKeys is none, so no public keys are remembered")
        return
    reason = _not_ours(path, may_be_roots=False)
    if reason is not None:
        yield Finding(
            SUBJECT, f"KnownKeys {path} is ignored, because {reason}", f"run: rm {shlex.quote(path)}", private=(path,)
        )
    else:
        state = "" if os.path.exists(path) else ", which does not exist yet"
        yield Finding(SUBJECT, f"KnownKeys {account.shown(path)}{state}", private=(path,))


def _not_ours(path: str, *, may_be_roots: bool) -> str | None:
    """Return why a file is not trusted that is to be nobody else's, None if it is, or is not there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_uid != os.geteuid() and not (may_be_roots and status.st_uid == 0):
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & 0o022:
        return "others can write to it"
    return None


def _not_written(path: str) -> str | None:
    """Return why a log is not written to a path, None if it is."""
    reason = _not_ours(path, may_be_roots=True)
    if reason is None and not os.access(path if os.path.exists(path) else os.path.dirname(path), os.W_OK):
        reason = "you may not write to it"
    return reason


def _check_key_directories(configuration: Configuration) -> Iterator[Finding]:
    from importlib.util import find_spec

    kinds = set()
    for url in configuration.key_directories:
        try:
            scheme, _ = directory.split(url)
        except ConfigurationError as error:
            yield Finding(SUBJECT, f"KeyDirectory: {error.happened}", error.remedy, private=(url,))
        else:
            kinds.add(directory.KINDS.get(scheme))
    if "ldap" in kinds and find_spec("ldap") is None:
        yield Finding(
            SUBJECT,
            "KeyDirectory names an LDAP server, which needs the Python package python-ldap",
            third_party.by_apt("ldap", "python3-ldap") or f"run: {third_party.by_pip('python-ldap')}",
        )
