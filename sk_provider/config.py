"""pysk_config(5): which files are read, whom they must belong to, and what they may say."""

from __future__ import annotations

import posix

from .errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    _Criteria = list[tuple[str, list[str]]]
    """Keys of _CRITERIA, each with the patterns of which it must match one."""

SYSTEM_FILE: Final = "/etc/ssh/pysk_config"
VARIABLE: Final = "PYSK_CONFIG"

PRESENCE_AUTO: Final = "auto"
PRESENCE_ASK: Final = "ask"
PRESENCE_DENY: Final = "deny"

LOG_LEVEL_ERROR: Final = "error"
LOG_LEVEL_TRACE: Final = "trace"

PIN_PROMPTS: Final = ("host", "terminal", "askpass", "pinentry")
NOTICES: Final = ("terminal", "desktop")
AUDIT_SYSLOG: Final = "syslog"
MAX_REMEMBERED: Final = 7 * 86400
"""Seconds."""

DEFAULT_TIMEOUT: Final = 60
"""Seconds that a person may take."""
MAX_TIMEOUT: Final = 600

DEFAULT_DIRECTORY_TIMEOUT: Final = 5
DEFAULT_DIRECTORY_MAX_AGE: Final = 7 * 86400
"""Seconds."""
MAX_DIRECTORY_MAX_AGE: Final = 3650 * 86400
LDAP_KEYWORDS: Final = ("attributes", "base", "bind", "domain", "filter", "passwordfile")
"""How the keywords go on that begin with KeyDirectoryLdap."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

MAX_FILE_SIZE: Final = 1 << 20

ADDRESS_REMEDY: Final = "write one such as usb: or soft:"


_CRITERIA: Final = {
    "application": "application",
    "namespace": "namespace",
    "user": "user",
    "hostkey": "host_key",
    "host-program": "host_program",
}
"""What a Match line may name, and the member of a Use that it is compared with."""

_DEFAULTS: Final[dict[str, Any]] = {
    "denied": None,
    "notices": NOTICES,
    "notice_command": [],
    "pin_prompts": PIN_PROMPTS[:1],
    "presence": PRESENCE_ASK,
    "remember_pin": 0,
    "seals_key_handles": False,
}
_BELOW_MATCH: Final = ("deny", "device", "notify", "pinprompt", "presence", "rememberpin", "sealkeyhandle")


class Use:
    """What an operation is for, as far as Match lines can tell it from others. What is not known is None.

    application: the RP ID; namespace, user: see credentials.purpose.Purpose; host_key: the server's fingerprint,
    SHA256:…; host_program: the name of the program that asks, "agent" for ssh-agent, which any program can take.
    """

    __slots__ = ("application", "host_key", "host_program", "namespace", "user")

    def __init__(
        self,
        application: str | None = None,
        *,
        namespace: str | None = None,
        user: str | None = None,
        host_key: str | None = None,
        host_program: str | None = None,
    ) -> None:
        self.application = application
        self.namespace = namespace
        self.user = user
        self.host_key = host_key
        self.host_program = host_program


class Configuration:
    """What the files say, first value first.

    What may stand below Match lines is as they have it for the operation that settle() was told of, or for none in
    particular: denied: where the operation is forbidden, as "FILE line N", or None; notices: in which ways a person is
    told that a touch is waited for, of NOTICES, the first that works; notice_command: the program and arguments that
    tell it instead, or []; pin_prompts: in which ways a PIN is asked for, of PIN_PROMPTS; remember_pin: for how many
    seconds a PIN, or a passphrase, is remembered, 0 for not at all; presence: PRESENCE_…; seals_key_handles: whether
    new key handles are sealed under a passphrase.

    timeout: seconds; log_file: a path or None; log_level: LOG_LEVEL_…, with LOG_LEVEL_TRACE there is a log_file;
    audit_log: a path, AUDIT_SYSLOG, or None; is_audit_required: whether nothing may be done that cannot be recorded
    there; known_keys: the path of the file in which public keys are remembered, or None; missing_file: the user's file
    if there is none, or None; trusts_environment: whether variables may say what is done: not in a program that has
    more rights than whoever started it.

    key_directories: URLs, see credentials.directory; directory_user: whose keys are looked up there, None for the
    effective user's; directory_timeout: the seconds that each may take; directory_max_age: for how many seconds a
    cached answer is good where its server cannot be asked; directory_ca: the path of the certificates by which
    servers are verified, None for the system's; directory_cache: the path of the folder of such answers, or None;
    ldap: what the KeyDirectoryLdap… lines say, by LDAP_KEYWORDS.
    """

    def __init__(self) -> None:
        self.presence: str
        self.denied: str | None
        self.notices: tuple[str, ...]
        self.notice_command: list[str]
        self.pin_prompts: tuple[str, ...]
        self.remember_pin: int
        self.seals_key_handles: bool
        self.timeout = DEFAULT_TIMEOUT
        self.log_file: str | None = None
        self.log_level = LOG_LEVEL_ERROR
        self.audit_log: str | None = None
        self.is_audit_required = False
        self.known_keys: str | None = None
        self.missing_file: str | None = None
        self.trusts_environment = True
        self.key_directories: list[str] = []
        self.directory_user: str | None = None
        self.directory_timeout = DEFAULT_DIRECTORY_TIMEOUT
        self.directory_max_age = DEFAULT_DIRECTORY_MAX_AGE
        self.directory_cache: str | None = None
        self.directory_ca: str | None = None
        self.ldap: dict[str, str] = {}
        self._rules: dict[str, list[tuple[_Criteria, Any]]] = {}
        self.settle(Use())
        self._limited_addresses: list[str] = []
        self.already_set: list[str] = []

    def add_rule(self, name: str, criteria: _Criteria, value: Any) -> None:
        """Add what a line says of what may stand below Match lines; criteria: its block's, or []."""
        self._rules.setdefault(name, []).append((criteria, value))

    def ignore(self, name: str) -> None:
        """Have no line count for a member that may differ between uses."""
        self._rules = {each: rules for each, rules in self._rules.items() if each != name}
        self.settle(self._use)

    def differs_between_uses(self) -> bool:
        """Return whether what is settled may not be the same for all operations, or forbids some."""
        return self.denied is not None or any(criteria for rules in self._rules.values() for criteria, _ in rules)

    def settle(self, use: Use) -> None:
        """Let the members that may differ between uses be those of an operation for this one."""
        self._use = use
        for name, default in _DEFAULTS.items():
            setattr(self, name, next(_applying(self._rules.get(name, []), use), default))

    def devices(self, application: str | None) -> list[str]:
        """Return the addresses of the first Device line that applies, [] if none does.

        application: the RP ID, or None where an operation concerns no particular one: then only lines outside of
        Match blocks apply. Of the application that settle() was told of, all that is known counts.
        """
        use = self._use if application == self._use.application else Use(application)
        return list(next(_applying(self._rules.get("devices", []), use), []))

    def all_devices(self) -> list[str]:
        """Return the addresses of all Device lines, whether or not they apply, each once."""
        return list(dict.fromkeys(address for _, addresses in self._rules.get("devices", []) for address in addresses))

    def device_lines(self) -> list[tuple[list[tuple[str, str]], list[str]]]:
        """Return what the Match line of each Device line says, as lines_of() does, and its addresses."""
        return self.lines_of("devices")

    def lines_of(self, name: str) -> list[tuple[list[tuple[str, str]], Any]]:
        """Return what the Match line says above each line that says something of a member, and what that says.

        name: "devices", or a member that may differ between uses. A Match line is its pairs of a keyword and patterns;
        outside of a block there are none.
        """
        return [
            ([(keyword, ",".join(patterns)) for keyword, patterns in criteria], value)
            for criteria, value in self._rules.get(name, [])
        ]

    def aside(self) -> str:
        """Return what is to be said of the user's file where its settings are missed: nothing, as a rule.

        Where HOME is another than the password database's, as in containers, the file may have been written there.
        """
        home = posix.environ.get(b"HOME", b"").decode("utf-8", "surrogateescape")
        if (
            self.missing_file is None
            or not self.trusts_environment
            or not home
            or self.missing_file == f"{home.rstrip('/')}/.ssh/pysk_config"
        ):
            return ""
        return f" (and {self.missing_file}, which is read whatever HOME is, does not exist)"

    def is_limited(self, address: str) -> bool:
        """Return whether the address, or a key directory's URL, comes from a file that the environment named.

        Then it must not choose code.
        """
        return address in self._limited_addresses

    def limit(self, addresses: list[str]) -> None:
        """Remember that the environment named the file that these come from."""
        self._limited_addresses += addresses

    def permit(self, address: str) -> None:
        """Note that the person has named the address as well, who may choose code."""
        self._limited_addresses = [each for each in self._limited_addresses if each != address]


def _applying(rules: list[tuple[_Criteria, Any]], use: Use) -> Iterator[Any]:
    """Yield the values of the rules all of whose criteria the use meets. What is not known meets none."""
    for criteria, value in rules:
        for keyword, patterns in criteria:
            known = getattr(use, _CRITERIA[keyword])
            if known is None or not match_pattern_list(known, patterns):
                break
        else:
            yield value


def is_address(text: str) -> bool:
    """Return whether a text has the form of an authenticator's address: a scheme and a colon, or a device file."""
    scheme, colon, _ = text.partition(":")
    return text.startswith("/dev/") or bool(colon and scheme.isidentifier())


def home_directory() -> str:
    """Return the effective user's home as the password database has it: $HOME differs in agents, sudo and sshd.

    Raises ConfigurationError if that user is in no password database.
    """
    import pwd

    try:
        return pwd.getpwuid(posix.geteuid()).pw_dir
    except KeyError:
        raise ConfigurationError(
            f"user {posix.geteuid()} is not in the password database", f"name a configuration file in {VARIABLE}"
        ) from None


def expand_home(path: str) -> str:
    """Return path with a leading `~/` replaced by home_directory()."""
    return home_directory() + path[1:] if path == "~" or path.startswith("~/") else path


def load(*, trusts_environment: bool = True) -> Configuration:
    """Read the user's file and then the system's.

    trusts_environment: see Configuration; where it is not trusted, an error quotes nothing of a file, which whoever
    started the program may not be allowed to read.

    Raises ConfigurationError if one of them exists and cannot be used, or if the environment names one that does not.
    """
    configuration = Configuration()
    configuration.trusts_environment = trusts_environment
    named = posix.environ.get(VARIABLE.encode()) if trusts_environment else None
    if named:
        path = named.decode("utf-8", "surrogateescape")
        text = _read(path)
        if text is None:
            raise ConfigurationError(f"{path} does not exist", f"correct or unset {VARIABLE}")
        _Reader(configuration, path, is_limited=True).read(text)
    else:
        home = home_directory()
        configuration.known_keys = home + "/.local/share/pysk/known_keys"
        configuration.directory_cache = home + "/.cache/pysk"
        path = home + "/.ssh/pysk_config"
        text = _read(path)
        if text is not None:
            _Reader(configuration, path, is_limited=False).read(text)
        else:
            configuration.missing_file = path
    read_system_file(configuration)
    if not trusts_environment:
        # The kernel's keyring of the user is that of whoever started the program, who would be told a PIN there.
        configuration.ignore("remember_pin")
    if configuration.log_level == LOG_LEVEL_TRACE and configuration.log_file is None:
        raise ConfigurationError("LogLevel trace has no file to write to", "name one with LogFile in pysk_config")
    if configuration.is_audit_required and configuration.audit_log is None:
        raise ConfigurationError("AuditLogRequired has no log to write to", "name one with AuditLog in pysk_config")
    return configuration


def read_system_file(configuration: Configuration) -> bool:
    """Add what the system's file says, and return whether there is one. Raises ConfigurationError as load() does."""
    text = _read(SYSTEM_FILE)
    if text is None:
        return False
    _Reader(configuration, SYSTEM_FILE, is_limited=False).read(text)
    return True


def match_pattern_list(text: str, patterns: list[str]) -> bool:
    """Return whether text matches one of the patterns and none of the negated ones (ssh_config(5), PATTERNS)."""
    matched = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if _match_pattern(text, pattern[1:]):
                return False
        elif _match_pattern(text, pattern):
            matched = True
    return matched


def _match_pattern(text: str, pattern: str) -> bool:
    """Match `*` and `?`, going back to the last `*` alone, so that no pattern takes exponential time."""
    position = index = 0
    star = resume = -1
    while position < len(text):
        if index < len(pattern) and pattern[index] == "*":
            star, resume = index, position
            index += 1
        elif index < len(pattern) and pattern[index] in ("?", text[position]):
            index += 1
            position += 1
        elif star >= 0:
            resume += 1
            position, index = resume, star + 1
        else:
            return False
    return pattern[index:].strip("*") == ""


def _read(path: str) -> str | None:
    """Return the text of a file that only root or the effective user can have written, None if there is none."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})", "correct its permissions") from None
    try:
        status = posix.fstat(descriptor)
        if status.st_mode & 0o170000 != 0o100000:
            raise ConfigurationError(f"{path} is not a regular file", "replace it by one")
        if status.st_uid not in (0, posix.geteuid()):
            raise ConfigurationError(
                f"{path} belongs to user {status.st_uid}", "it must belong to you or to root: chown it"
            )
        if status.st_mode & 0o022:
            import shlex

            raise ConfigurationError(f"{path} can be written by others", f"run: chmod go-w {shlex.quote(path)}")
        if status.st_size > MAX_FILE_SIZE:
            raise ConfigurationError(f"{path} is larger than {MAX_FILE_SIZE} bytes", "shorten it")
        content = b""
        while len(content) <= status.st_size:
            piece = posix.read(descriptor, status.st_size + 1 - len(content))
            if not piece:
                break
            content += piece
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})", "check the file") from None
    finally:
        posix.close(descriptor)
    try:
        if b"\0" in content:
            raise ValueError
        return content.decode()
    except ValueError:
        raise ConfigurationError(f"{path} is not UTF-8 text", "correct it with an editor") from None


class _Reader:
    """Reads one file into a configuration in which the first value of a keyword stays."""

    def __init__(self, configuration: Configuration, path: str, *, is_limited: bool) -> None:
        self._configuration = configuration
        self._path = path
        self._is_limited = is_limited
        self._line = 0
        self._criteria: _Criteria = []

    def read(self, text: str) -> None:
        for line in text.split("\n"):
            self._line += 1
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            keyword = stripped.split(None, 1)[0].partition("=")[0]
            # ssh_config(5) also allows `Keyword=value` and `Keyword = value`.
            rest = stripped[len(keyword) :].lstrip().removeprefix("=")
            self._apply(keyword, self._arguments(keyword, rest))
        self._configuration.settle(Use())

    def _arguments(self, keyword: str, rest: str) -> list[str]:
        """Return the words of what follows a keyword: one that begins with a quotation mark ends at the next one."""
        # In an LDAP directory's names and filters these are characters like any other.
        if '"' not in rest or keyword.lower().startswith("keydirectoryldap"):
            return rest.split()
        arguments = []
        rest = rest.lstrip()
        while rest:
            if rest.startswith('"'):
                argument, closing, rest = rest[1:].partition('"')
                if not closing or rest[:1].strip():
                    raise self._error(
                        f"{keyword} has a quotation mark where no argument begins or ends",
                        'write an argument that has spaces as "one two"',
                    )
            else:
                argument = rest.split(None, 1)[0]
                rest = rest[len(argument) :]
            arguments.append(argument)
            rest = rest.lstrip()
        return arguments

    def _error(self, happened: str, remedy: str) -> ConfigurationError:
        where = f"{self._path} line {self._line}"
        if not self._configuration.trusts_environment:
            return ConfigurationError(f"{where} cannot be used", "correct the line")
        return ConfigurationError(f"{where}: {happened}", remedy)

    def _apply(self, keyword: str, arguments: list[str]) -> None:
        name = keyword.lower()
        if name == "match":
            self._criteria = self._criteria_of(arguments)
            return
        if name in _BELOW_MATCH:
            self._apply_to_uses(name, keyword, arguments)
            return
        if self._criteria:
            raise self._error(f"{keyword} is not allowed in a Match block", "move it above the first Match line")
        if name == "keydirectory":
            self._set_key_directories(arguments)
            return
        if name.startswith("keydirectoryldap") and name[len("keydirectoryldap") :] in LDAP_KEYWORDS:
            self._set_ldap(keyword, arguments)
            return
        if len(arguments) != 1:
            raise self._error(f"{keyword} takes one argument", "correct the line")
        argument = arguments[0]
        if name == "timeout":
            self._set("timeout", self._seconds(keyword, argument))
        elif name == "logfile":
            if self._is_limited:
                raise self._error(f"a file named in {VARIABLE} may not set LogFile", "move it to ~/.ssh/pysk_config")
            self._set("log_file", self._path_of(keyword, argument))
        elif name == "loglevel":
            if self._is_limited:
                raise self._error(f"a file named in {VARIABLE} may not set LogLevel", "move it to ~/.ssh/pysk_config")
            self._set("log_level", self._one_of(keyword, argument, (LOG_LEVEL_ERROR, LOG_LEVEL_TRACE)))
        elif name == "auditlog":
            self._set("audit_log", self._audit_log(keyword, argument))
        elif name == "auditlogrequired":
            self._set("is_audit_required", self._one_of(keyword, argument, ("yes", "no")) == "yes")
        elif name == "knownkeys":
            self._set("known_keys", None if argument.lower() == "none" else self._path_of(keyword, argument))
        elif name == "keydirectoryuser":
            self._set("directory_user", argument)
        elif name == "keydirectorytimeout":
            self._set("directory_timeout", self._seconds(keyword, argument))
        elif name == "keydirectorymaxage":
            self._set("directory_max_age", self._age(keyword, argument))
        elif name == "keydirectorycache":
            self._set("directory_cache", None if argument.lower() == "none" else self._path_of(keyword, argument))
        elif name == "keydirectoryca":
            self._set("directory_ca", self._path_of(keyword, argument))
        else:
            raise self._error(f"unknown keyword {keyword}", "see pysk_config(5) for those that exist")

    def _set_key_directories(self, urls: list[str]) -> None:
        if not urls:
            raise self._error("KeyDirectory names no directory", "write a URL after it, such as file:/etc/ssh/sk_keys")
        if "key_directories" not in self._configuration.already_set and self._is_limited:
            self._configuration.limit(urls)
        self._set("key_directories", [] if [url.lower() for url in urls] == ["none"] else urls)

    def _set_ldap(self, keyword: str, arguments: list[str]) -> None:
        if not arguments:
            raise self._error(f"{keyword} has no value", "write a value after it, or remove the line")
        # A distinguished name may have spaces in it.
        value = " ".join(arguments)
        name = keyword[len("keydirectoryldap") :].lower()
        if name == "passwordfile":
            if self._is_limited:
                raise self._error(f"a file named in {VARIABLE} may not set {keyword}", "move it to ~/.ssh/pysk_config")
            value = self._path_of(keyword, value)
        self._configuration.ldap.setdefault(name, value)

    def _set(self, name: str, value: object) -> None:
        if name not in self._configuration.already_set:
            self._configuration.already_set.append(name)
            setattr(self._configuration, name, value)

    def _apply_to_uses(self, name: str, keyword: str, arguments: list[str]) -> None:
        """Apply a line of what may stand below Match lines."""
        configuration = self._configuration

        def add(member: str, value: object) -> None:
            configuration.add_rule(member, self._criteria, value)

        if name == "device":
            if not arguments:
                raise self._error("Device names no authenticator", "write an address after it, such as usb:")
            for address in arguments:
                if not is_address(address):
                    raise self._error(f"{address} is not an authenticator's address", ADDRESS_REMEDY)
            add("devices", arguments)
            if self._is_limited:
                configuration.limit(arguments)
        elif name == "notify":
            ways, command = self._notices(arguments)
            add("notices", ways)
            add("notice_command", command)
        elif name == "pinprompt":
            ways = tuple(argument.lower() for argument in arguments)
            if not ways or any(way not in PIN_PROMPTS for way in ways):
                raise self._error(f"{keyword} takes one or more of {', '.join(PIN_PROMPTS)}", "correct the line")
            add("pin_prompts", ways)
        elif len(arguments) != 1:
            raise self._error(f"{keyword} takes one argument", "correct the line")
        elif name == "presence":
            add("presence", self._one_of(keyword, arguments[0], (PRESENCE_AUTO, PRESENCE_ASK, PRESENCE_DENY)))
        elif name == "sealkeyhandle":
            add("seals_key_handles", self._one_of(keyword, arguments[0], ("passphrase", "no")) == "passphrase")
        elif name == "deny":
            is_denied = self._one_of(keyword, arguments[0], ("yes", "no")) == "yes"
            add("denied", f"{self._path} line {self._line}" if is_denied else None)
        else:
            never = arguments[0].lower() == "no"
            add("remember_pin", 0 if never else self._age(keyword, arguments[0], MAX_REMEMBERED))

    def _notices(self, arguments: list[str]) -> tuple[tuple[str, ...], list[str]]:
        """Return what a Notify line names: ways, or a program with its arguments."""
        words = tuple(argument.lower() for argument in arguments)
        if words == ("no",):
            return (), []
        if words[:1] == ("command",):
            if self._is_limited:
                raise self._error(
                    f"a file named in {VARIABLE} may not name a program", "move the line to ~/.ssh/pysk_config"
                )
            if len(arguments) < 2 or not arguments[1].startswith(("/", "~/")):
                raise self._error("Notify command names no program by its absolute path", "write it after command")
            return (), [expand_home(arguments[1]), *arguments[2:]]
        if not words or any(word not in NOTICES for word in words):
            raise self._error(
                f"Notify takes one or more of {', '.join(NOTICES)}, or command PROGRAM, or no", "correct the line"
            )
        return words, []

    def _criteria_of(self, arguments: list[str]) -> _Criteria:
        words = [argument.lower() for argument in arguments]
        if words == ["all"]:
            return []
        if not words or len(words) % 2 or any(word not in _CRITERIA for word in words[::2]):
            raise self._error(
                f"Match takes `all`, or pairs of {', '.join(_CRITERIA)} and a PATTERN", "correct the line"
            )
        return [
            (word, [pattern for pattern in patterns.split(",") if pattern])
            for word, patterns in zip(words[::2], arguments[1::2], strict=True)
        ]

    def _audit_log(self, keyword: str, argument: str) -> str | None:
        if argument.lower() in (AUDIT_SYSLOG, "none"):
            return AUDIT_SYSLOG if argument.lower() == AUDIT_SYSLOG else None
        if self._is_limited:
            raise self._error(f"a file named in {VARIABLE} may not set {keyword}", "move it to ~/.ssh/pysk_config")
        return self._path_of(keyword, argument)

    def _path_of(self, keyword: str, argument: str) -> str:
        path = expand_home(argument)
        if not path.startswith("/"):
            raise self._error(f"{keyword} is not an absolute path", "begin it with / or ~/")
        return path

    def _one_of(self, keyword: str, argument: str, choices: tuple[str, ...]) -> str:
        if argument.lower() not in choices:
            raise self._error(f"{keyword} cannot be {argument}", f"use one of {', '.join(choices)}")
        return argument.lower()

    def _seconds(self, keyword: str, argument: str) -> int:
        is_short = len(argument) <= len(str(MAX_TIMEOUT))
        if not is_short or not self._is_number(argument) or not 1 <= int(argument) <= MAX_TIMEOUT:
            raise self._error(f"{keyword} cannot be {argument}", f"write whole seconds from 1 to {MAX_TIMEOUT}")
        return int(argument)

    def _age(self, keyword: str, argument: str, most: int = MAX_DIRECTORY_MAX_AGE) -> int:
        """Return the seconds of a time with a unit (sshd_config(5), TIME FORMATS), of which there is one."""
        unit = _UNITS.get(argument[-1:].lower(), 0)
        number = argument[:-1] if unit else argument
        seconds = int(number) * (unit or 1) if self._is_number(number) else -1
        if not 0 <= seconds <= most:
            raise self._error(
                f"{keyword} cannot be {argument}",
                f"write a whole number and s, m, h, d or w, at most {most // 86400}d, or 0 for none",
            )
        return seconds

    def _is_number(self, argument: str) -> bool:
        # Python takes no number of thousands of digits.
        return argument.isascii() and argument.isdecimal() and len(argument) <= 9
