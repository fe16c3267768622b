"""pysk_config, as real files."""

from __future__ import annotations

import fnmatch
import os
import posix
import pwd
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sk_provider import config
from sk_provider.asking import confirmation
from sk_provider.config import Use
from sk_provider.errors import ConfigurationError, PresenceDenied
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.config import Configuration

    Write = Callable[[str], Configuration]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    path = tmp_path / "pysk_config"
    monkeypatch.setenv("PYSK_CONFIG", str(path))
    # posix.environ is a snapshot of the start of the process.
    monkeypatch.setitem(posix.environ, b"PYSK_CONFIG", os.fsencode(path))

    def write_and_load(text: str) -> Configuration:
        path.write_text(text)
        path.chmod(0o600)
        return config.load()

    return write_and_load


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("home", ["", "elsewhere"])
def test_the_file_that_is_missed_is_named_where_home_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, exists: bool
) -> None:
    # The user's home is the password database's, which the test leaves alone.
    monkeypatch.setattr(config, "home_directory", lambda: str(tmp_path))
    monkeypatch.delitem(posix.environ, b"PYSK_CONFIG", raising=False)
    monkeypatch.setitem(posix.environ, b"HOME", os.fsencode(tmp_path / home))
    path = tmp_path / ".ssh" / "pysk_config"
    if exists:
        path.parent.mkdir()
        path.touch(mode=0o600)
    for trusts_environment in (False, True):
        aside = config.load(trusts_environment=trusts_environment).aside()
        if home and not exists and trusts_environment:
            assert aside == f" (and {path}, which is read whatever HOME is, does not exist)"
            with pytest.raises(PresenceDenied, match=re.escape(f"no SSH_ASKPASS){aside}")):
                confirm_where_nobody_can_be_asked(aside, monkeypatch)
        else:
            assert aside == ""


def confirm_where_nobody_can_be_asked(aside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "_open_terminal", lambda: None)
    confirmation.confirm("Sign?", Operation(1), trusts_environment=False, aside=aside)


def test_the_first_value_of_a_keyword_stays(load: Write) -> None:
    configuration = load("Presence auto\npresence deny\nTimeout 5\nTimeout 9\n")
    assert (configuration.presence, configuration.timeout) == ("auto", 5)


def test_an_empty_file_asks_for_presence_and_names_no_device(load: Write) -> None:
    configuration = load("")
    assert (configuration.presence, configuration.timeout, configuration.devices("ssh:")) == ("ask", 60, [])


@pytest.mark.parametrize(
    "line", ["Presence=auto", "Presence = auto", "  PRESENCE\tAuto", "Presence =auto", "Presence= auto"]
)
def test_keywords_are_written_as_in_ssh_config(load: Write, line: str) -> None:
    assert load(f"# a comment\n\n{line}\n").presence == "auto"


def test_the_first_device_line_that_applies_counts(load: Write) -> None:
    configuration = load(
        "Match application ssh:work*,!ssh:work-old\nDevice soft:/work soft:/other\nMatch all\nDevice soft:\n"
    )
    assert configuration.devices("ssh:work") == ["soft:/work", "soft:/other"]
    assert configuration.devices("ssh:work-old") == ["soft:"]
    assert configuration.devices("ssh:") == ["soft:"]
    assert configuration.devices(None) == ["soft:"]
    assert configuration.all_devices() == ["soft:/work", "soft:/other", "soft:"]


@pytest.mark.parametrize(
    ("line", "addresses"),
    [
        ('Device "soft:/a b" soft:/c', ["soft:/a b", "soft:/c"]),
        ('Device="soft:/a  b"', ["soft:/a  b"]),
        ('Device = "soft:/a\tb"\t"soft:/c"', ["soft:/a\tb", "soft:/c"]),
        ('Device "soft:/a"', ["soft:/a"]),
        # What no quotation mark begins is as it always was.
        ('Device soft:/a"b soft:"/c soft:d"', ['soft:/a"b', 'soft:"/c', 'soft:d"']),
        ("Device soft:/a%20b soft:'/c soft:/d\\ soft:e'", ["soft:/a%20b", "soft:'/c", "soft:/d\\", "soft:e'"]),
        ("Device soft:~/a pigeon:$HOME/%u#x", ["soft:~/a", "pigeon:$HOME/%u#x"]),
    ],
)
def test_an_address_with_spaces_is_quoted_and_nothing_else_is_changed(
    load: Write, line: str, addresses: list[str]
) -> None:
    assert load(line).devices("ssh:") == addresses


@pytest.mark.parametrize("line", ['Device "soft:/a b', 'Device "soft:/a" "', 'Device "soft:/a"b', 'Device ""soft:/a'])
def test_a_quotation_mark_at_a_wrong_place_is_told(load: Write, line: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r'line 1: Device has a quotation mark where .*; write .* as "one two"'
    ):
        load(line)


def test_quotation_marks_of_ldap_filters_are_the_directorys(load: Write) -> None:
    assert load('KeyDirectoryLdapFilter (cn=Jane "J" Doe)\n').ldap == {"filter": '(cn=Jane "J" Doe)'}


def test_each_address_is_told_once_whether_or_not_its_line_applies(load: Write) -> None:
    configuration = load("Device usb: nfc:\nDevice nfc: soft:\nMatch application x\nDevice unix:/x usb:\n")
    assert configuration.all_devices() == ["usb:", "nfc:", "soft:", "unix:/x"]
    assert load("").all_devices() == []


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("ssh:", "ssh:", True),
        ("ssh:", "*", True),
        ("", "*", True),
        ("", "?", False),
        ("ssh:a", "ssh:?", True),
        ("ssh:ab", "ssh:?", False),
        ("ssh:a.b", "*.b", True),
        ("aaab", "*a*b", True),
        ("aaac", "*a*b", False),
        ("[x]", "[x]", True),
    ],
)
def test_patterns_are_those_of_ssh_config(text: str, pattern: str, matches: bool) -> None:
    assert config.match_pattern_list(text, [pattern]) is matches


def test_a_pattern_takes_no_exponential_time() -> None:
    assert not config.match_pattern_list("a" * 2000, ["*a" * 200 + "b"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Presense auto", "line 1: unknown keyword Presense"),
        ("\nPresence maybe", "line 2: Presence cannot be maybe"),
        ("Presence", "Presence takes one argument"),
        ("Presence auto ask", "Presence takes one argument"),
        ("Device", "Device names no authenticator"),
        ("\nDevice usb: soft", "line 2: soft is not an authenticator's address; write one such as usb: or soft:"),
        ("Device /tmp/a:b", "line 1: /tmp/a:b is not an authenticator's address"),
        ("KeyDirectory", "KeyDirectory names no directory"),
        ("Timeout 0", "Timeout cannot be 0"),
        ("Timeout " + 5000 * "9", "Timeout cannot be 9"),
        ("Timeout 1e3", "Timeout cannot be 1e3"),
        ("Timeout 99999", "Timeout cannot be 99999"),
        ("Match host x", "Match takes"),
        ("Match application a\nTimeout 5", "Timeout is not allowed in a Match block"),
        ("Notify", "Notify takes one or more of terminal, desktop"),
        ("Notify no desktop", "Notify takes one or more of terminal, desktop"),
        ("Notify command /bin/true", "may not name a program"),
        ("PinPrompt", "PinPrompt takes one or more of host, terminal, askpass, pinentry"),
        ("PinPrompt host agent", "PinPrompt takes one or more of host, terminal, askpass, pinentry"),
        ("SealKeyHandle", "SealKeyHandle takes one argument"),
        ("SealKeyHandle yes", "SealKeyHandle cannot be yes"),
        ("RememberPin", "RememberPin takes one argument"),
        ("RememberPin -1", "RememberPin cannot be -1"),
        ('RememberPin ""', "RememberPin cannot be ;"),
        ("RememberPin 8d", "RememberPin cannot be 8d; write a whole number and s, m, h, d or w, at most 7d, or 0"),
        ("Deny", "Deny takes one argument"),
        ("Deny maybe", "Deny cannot be maybe"),
        ("LogFile /tmp/x", "may not set LogFile"),
        ("LogLevel trace", "may not set LogLevel"),
    ],
)
def test_a_bad_line_is_named(load: Write, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load(text + "\n")


def test_key_directories_are_those_of_the_first_line(load: Write) -> None:
    text = "KeyDirectory file:/keys ldaps://host/\nKeyDirectory file:/other\nKeyDirectoryUser alice\n"
    configuration = load(f"{text}KeyDirectoryTimeout 9\nKeyDirectoryMaxAge 36h\nKeyDirectoryMaxAge 1d\n")
    assert configuration.key_directories == ["file:/keys", "ldaps://host/"]
    assert configuration.directory_user == "alice"
    assert configuration.directory_timeout == 9
    assert configuration.directory_max_age == 36 * 3600
    configuration = load("KeyDirectory none\nKeyDirectory file:/keys\n")
    assert configuration.key_directories == []
    assert configuration.directory_user is None
    assert (configuration.directory_timeout, configuration.directory_max_age) == (5, 7 * 86400)


@pytest.mark.parametrize(
    ("argument", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("5m", 300), ("7d", 604800), ("7D", 604800), ("2w", 1209600)],
)
def test_an_age_has_a_unit(load: Write, argument: str, seconds: int) -> None:
    assert load(f"KeyDirectoryMaxAge {argument}\n").directory_max_age == seconds


@pytest.mark.parametrize("argument", ["d", "-1d", "1.5d", "1d2h", "1y", "4000d", "1" * 5000 + "d", "٣d", "x"])
def test_what_is_no_age_is_named(load: Write, argument: str) -> None:
    with pytest.raises(ConfigurationError, match="line 1: KeyDirectoryMaxAge cannot be"):
        load(f"KeyDirectoryMaxAge {argument}\n")


def test_directories_of_a_file_named_by_the_environment_are_limited(load: Write) -> None:
    assert load("KeyDirectory file:/keys pigeon:x\n").is_limited("pigeon:x")
    assert not load("KeyDirectory file:/keys\nKeyDirectory pigeon:x\n").is_limited("pigeon:x")


def test_addresses_of_a_file_named_by_the_environment_are_limited(load: Write) -> None:
    assert load("Device other:x\n").is_limited("other:x")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(load: Write, tmp_path: Path, mode: int) -> None:
    load("")
    (tmp_path / "pysk_config").chmod(mode)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        config.load()


def test_a_named_file_that_is_missing_is_an_error(load: Write) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        config.load()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting(load: Write, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "pysk_config")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        config.load()


@pytest.mark.parametrize("content", [b"Device \xff\n", b"Device soft:/a\0b\n"])
def test_what_is_no_text_is_refused(load: Write, tmp_path: Path, content: bytes) -> None:
    load("")
    (tmp_path / "pysk_config").write_bytes(content)
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        config.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(load: Write, tmp_path: Path) -> None:
    load("")
    os.chown(tmp_path / "pysk_config", 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to user 12345"):
        config.load()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home of whom nothing is known but the files that a test writes; also the system's."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setattr(config, "home_directory", lambda: str(folder))
    monkeypatch.setattr(config, "SYSTEM_FILE", str(tmp_path / "etc" / "pysk_config"))
    monkeypatch.delitem(posix.environ, b"PYSK_CONFIG", raising=False)
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def user_file(home: Path, text: str) -> Path:
    return write(home / ".ssh" / "pysk_config", text)


def system_file(home: Path, text: str) -> Path:
    return write(home.parent / "etc" / "pysk_config", text)


def test_without_files_there_are_defaults(home: Path) -> None:
    configuration = config.load()
    assert (configuration.presence, configuration.timeout, configuration.log_file) == ("ask", 60, None)
    assert configuration.known_keys == f"{home}/.local/share/pysk/known_keys"
    assert configuration.missing_file == f"{home}/.ssh/pysk_config"
    assert configuration.trusts_environment
    assert not config.load(trusts_environment=False).trusts_environment


def test_the_users_file_comes_before_the_systems(home: Path) -> None:
    user_file(home, "Timeout 5\nDevice unix:/user\n")
    system_file(home, "Timeout 9\nPresence deny\nDevice unix:/system\nMatch application ssh:x\nDevice unix:/x\n")
    configuration = config.load()
    assert (configuration.timeout, configuration.presence) == (5, "deny")
    assert configuration.devices("ssh:x") == configuration.devices(None) == ["unix:/user"]
    assert configuration.missing_file is None
    assert not configuration.is_limited("unix:/user")
    assert not configuration.is_limited("unix:/system")


def test_a_match_block_ends_with_its_file(home: Path) -> None:
    user_file(home, "Match application ssh:x\nDevice unix:/x\n")
    system_file(home, "Timeout 9\nDevice unix:/system\n")
    configuration = config.load()
    assert configuration.devices("ssh:x") == ["unix:/x"]
    assert configuration.devices("ssh:") == configuration.devices(None) == ["unix:/system"]


def test_only_addresses_of_the_file_that_the_environment_names_are_limited(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = write(home / "named", "Match application ssh:x\nDevice pigeon:a\n")
    user_file(home, "Device pigeon:user\nTimeout 5\n")
    system_file(home, "Device pigeon:system\nKnownKeys /known\n")
    monkeypatch.setitem(posix.environ, b"PYSK_CONFIG", os.fsencode(named))
    configuration = config.load()
    assert configuration.devices("ssh:x") == ["pigeon:a"]
    assert configuration.devices("ssh:") == ["pigeon:system"]
    assert [configuration.is_limited(f"pigeon:{name}") for name in ("a", "system", "user")] == [True, False, False]
    assert (configuration.timeout, configuration.known_keys, configuration.missing_file) == (60, "/known", None)
    # Where the environment is not trusted it names nothing.
    configuration = config.load(trusts_environment=False)
    assert configuration.timeout == 5
    assert not configuration.is_limited("pigeon:a")
    monkeypatch.setitem(posix.environ, b"PYSK_CONFIG", b"")
    assert config.load().timeout == 5


def test_nothing_of_a_file_is_told_where_the_environment_is_not_trusted(home: Path) -> None:
    path = user_file(home, "\nSecret words\n")
    with pytest.raises(ConfigurationError, match="line 2: unknown keyword Secret; see pysk_config") as caught:
        config.load()
    with pytest.raises(ConfigurationError) as caught:
        config.load(trusts_environment=False)
    assert str(caught.value) == f"{path} line 2 cannot be used; correct the line"


def test_no_pin_is_remembered_in_the_keyring_of_whoever_started_a_program_that_has_more_rights(home: Path) -> None:
    user_file(home, "Match application ssh:x\nRememberPin 1h\n")
    system_file(home, "RememberPin 10m\n")
    assert config.load().remember_pin == 600
    configuration = config.load(trusts_environment=False)
    assert configuration.remember_pin == 0
    configuration.settle(Use("ssh:x"))
    assert configuration.remember_pin == 0


def test_files_are_named_by_absolute_paths(home: Path) -> None:
    for keyword, name in (("LogFile", "log_file"), ("KnownKeys", "known_keys")):
        user_file(home, f"{keyword} /var/file\n")
        assert getattr(config.load(), name) == "/var/file"
        user_file(home, f"{keyword} ~/file\n")
        assert getattr(config.load(), name) == f"{home}/file"
        for path in ("file", "~user/file", "./file"):
            user_file(home, f"{keyword} {path}\n")
            with pytest.raises(ConfigurationError, match=f"{keyword} is not an absolute path; begin it with"):
                config.load()


def test_an_audit_log_that_is_required_is_named_wherever_that_is(home: Path) -> None:
    system_file(home, "AuditLogRequired yes\n")
    with pytest.raises(ConfigurationError, match="AuditLogRequired has no log to write to; name one with AuditLog in"):
        config.load()
    user_file(home, "AuditLog /var/audit\n")
    configuration = config.load()
    assert (configuration.audit_log, configuration.is_audit_required) == ("/var/audit", True)
    user_file(home, "AuditLog none\n")
    with pytest.raises(ConfigurationError, match="AuditLogRequired has no log to write to"):
        config.load()


def test_a_trace_wants_a_log_file_wherever_that_is_named(home: Path) -> None:
    assert config.load().log_level == "error"
    user_file(home, "LogLevel Trace\n")
    with pytest.raises(ConfigurationError, match="LogLevel trace has no file to write to; name one with LogFile in"):
        config.load()
    system_file(home, "LogLevel error\nLogFile /var/file\n")
    configuration = config.load()
    assert (configuration.log_level, configuration.log_file) == ("trace", "/var/file")
    user_file(home, "LogLevel debug\n")
    with pytest.raises(ConfigurationError, match="LogLevel cannot be debug; use one of error, trace"):
        config.load()


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("AuditLog", "none"),
        ("AuditLog", "syslog"),
        ("AuditLogRequired", "no"),
        ("Deny", "yes"),
        ("KeyDirectory", "none"),
        ("KeyDirectoryCache", "none"),
        ("KeyDirectoryMaxAge", "5w"),
        ("KnownKeys", "none"),
        ("LogLevel", "error"),
        ("Match", "all"),
        ("Notify", "no"),
        ("Notify", "terminal desktop"),
        ("PinPrompt", "host pinentry"),
        ("Presence", "auto"),
        ("RememberPin", "10m"),
        ("RememberPin", "no"),
        ("SealKeyHandle", "passphrase"),
    ],
)
def test_words_are_written_in_any_case(home: Path, keyword: str, words: str) -> None:
    def members(line: str) -> dict[str, object]:
        user_file(home, f"{line}\n")
        return {name: value for name, value in vars(config.load()).items() if name != "_use"}

    assert members(f"{keyword} {words.upper()}") == members(f"{keyword.upper()} {words}")


@pytest.mark.parametrize("word", ["none", "None"])
def test_keys_need_not_be_remembered(home: Path, word: str) -> None:
    user_file(home, f"KnownKeys {word}\n")
    assert config.load().known_keys is None
    # That is a value too, after which others do not count.
    system_file(home, "KnownKeys /known\n")
    assert config.load().known_keys is None


def test_a_home_is_written_as_a_tilde(home: Path) -> None:
    assert config.expand_home("~") == str(home)
    assert config.expand_home("~/a~/b") == f"{home}/a~/b"
    for path in ("~user", "/~/x", "x", ""):
        assert config.expand_home(path) == path


def test_the_home_is_the_password_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.home_directory() == pwd.getpwuid(os.geteuid()).pw_dir
    monkeypatch.setattr(posix, "geteuid", lambda: 0x7FFFFFF0)
    with pytest.raises(ConfigurationError, match="user 2147483632 is not in the password database; name a config"):
        config.home_directory()


@pytest.mark.parametrize(("word", "seconds"), [("1", 1), ("600", 600), ("099", 99)])
def test_a_timeout_is_of_1_to_600_seconds(load: Write, word: str, seconds: int) -> None:
    assert load(f"Timeout {word}\n").timeout == seconds


@pytest.mark.parametrize("word", ["0", "601", "-1", "+1", "1.5", "0000000001", "\u00b2"])
def test_another_timeout_is_none(load: Write, word: str) -> None:
    with pytest.raises(ConfigurationError, match="write whole seconds from 1 to 600"):
        load(f"Timeout {word}\n")


@pytest.mark.parametrize("word", ["auto", "ask", "deny", "DENY"])
def test_presence_is_one_of_three(load: Write, word: str) -> None:
    assert load(f"Presence {word}\n").presence == word.lower()


@pytest.mark.parametrize(
    "line",
    [
        "Match",
        "Match application",
        "Match application a b",
        "Match all b",
        "Match all application a",
        "Match applications a",
        "Match application a namespace",
        "Match none",
    ],
)
def test_a_match_is_of_criteria_with_patterns_or_of_all(load: Write, line: str) -> None:
    pairs = "application, namespace, user, hostkey, host-program"
    with pytest.raises(
        ConfigurationError, match=f"Match takes `all`, or pairs of {pairs} and a PATTERN; correct the line"
    ):
        load(f"{line}\n")


def test_what_stands_below_a_match_line_is_for_uses_that_meet_all_of_it(load: Write) -> None:
    configuration = load(
        "Match namespace git application ssh:work*\nPresence auto\nNotify no\nRememberPin 10m\nDevice unix:/git\n"
        "Match user root HostKey SHA256:a* host-program agent,ssh\nDeny yes\nPinPrompt pinentry HOST\n"
        "Match all\nPresence deny\nDeny no\nRememberPin 5\nDevice unix:/all\n"
    )
    seen = []
    for use in (
        Use("ssh:work", namespace="git"),
        Use("ssh:home", namespace="git"),
        Use("ssh:work"),
        Use(user="root", host_key="SHA256:abc", host_program="agent"),
        Use(user="root", host_key="SHA256:abc"),
        Use(),
    ):
        configuration.settle(use)
        seen.append(
            (
                configuration.presence,
                configuration.notices,
                configuration.remember_pin,
                configuration.devices(use.application),
                (configuration.denied or "").rpartition(" ")[2],
                configuration.pin_prompts,
            )
        )
    both, host = ("terminal", "desktop"), ("host",)
    other = ("deny", both, 5, ["unix:/all"], "", host)
    assert seen == [
        ("auto", (), 600, ["unix:/git"], "", host),
        other,
        other,
        ("deny", both, 5, ["unix:/all"], "7", ("pinentry", "host")),
        other,
        other,
    ]


@pytest.mark.parametrize(
    ("text", "differs"),
    [
        ("Presence auto\nDevice soft:\n", False),
        ("Deny no\n", False),
        ("Deny yes\n", True),
        ("Match application a\nDevice soft:\n", True),
        ("Match user a\nMatch all\nDevice soft:\n", False),
    ],
)
def test_few_files_want_to_know_what_an_operation_is_for(load: Write, text: str, differs: bool) -> None:
    assert load(text).differs_between_uses() is differs


def test_of_another_application_devices_are_as_its_own_lines_have_them(load: Write) -> None:
    configuration = load("Match application a namespace git\nDevice unix:/git\nMatch application b\nDevice unix:/b\n")
    configuration.settle(Use("a", namespace="git"))
    assert [configuration.devices(name) for name in ("a", "b", None)] == [["unix:/git"], ["unix:/b"], []]


def test_a_program_that_tells_of_touches_is_named_by_its_path(home: Path) -> None:
    user_file(home, "Notify command ~/bin/tell -x %s\n")
    configuration = config.load()
    assert (configuration.notices, configuration.notice_command) == ((), [f"{home}/bin/tell", "-x", "%s"])
    for line in ("Notify command", "Notify command tell"):
        user_file(home, f"{line}\n")
        with pytest.raises(ConfigurationError, match="names no program by its absolute path"):
            config.load()


def test_a_match_may_have_several_patterns_and_is_written_in_any_case(load: Write) -> None:
    configuration = load("MATCH Application ,ssh:a,,ssh:b\nDevice unix:/ab\nMatch ALL\nTimeout 5\nDevice unix:/all\n")
    devices = [configuration.devices(application) for application in ("ssh:a", "ssh:b", "", "ssh:c", None)]
    assert devices == [["unix:/ab"]] * 2 + [["unix:/all"]] * 3
    assert configuration.timeout == 5


def test_without_a_line_that_applies_no_device_is_named(load: Write) -> None:
    configuration = load("Match application ssh:a\nDevice unix:/a\n")
    assert configuration.devices("ssh:b") == configuration.devices(None) == []


@pytest.mark.parametrize(
    ("patterns", "matches"),
    [
        (["a"], True),
        (["b", "a"], True),
        (["a", "!b"], True),
        (["!b"], False),
        (["!a", "a"], False),
        (["a", "!a"], False),
        (["!*", "a"], False),
        ([], False),
        (["*a*"], True),
        (["**"], True),
        (["?*?"], False),
        (["a?"], False),
        (["?a"], False),
    ],
)
def test_a_negated_pattern_excludes(patterns: list[str], matches: bool) -> None:
    assert config.match_pattern_list("a", patterns) is matches


@given(st.text("ab", max_size=8), st.text("ab*?", max_size=8))
def test_a_pattern_matches_what_a_shells_does(text: str, pattern: str) -> None:
    assert config.match_pattern_list(text, [pattern]) is fnmatch.fnmatchcase(text, pattern)


def test_a_file_has_at_most_a_megabyte(load: Write, tmp_path: Path) -> None:
    line = "Timeout 7\n"
    assert load(line + (config.MAX_FILE_SIZE - len(line)) * "\n").timeout == 7
    assert config.MAX_FILE_SIZE == 1 << 20
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/pysk_config is larger than 1048576 bytes; shorten it"):
        load((config.MAX_FILE_SIZE + 1) * "\n")


def test_what_cannot_be_opened_is_told(home: Path) -> None:
    loop = home / ".ssh" / "pysk_config"
    loop.symlink_to(loop)
    with pytest.raises(ConfigurationError, match=r"pysk_config cannot be read \(.*symbolic.*\); correct its perm"):
        config.load()


def test_what_is_below_a_file_does_not_exist(home: Path) -> None:
    (home / ".ssh").rmdir()
    (home / ".ssh").write_text("")
    assert config.load().missing_file == f"{home}/.ssh/pysk_config"


def test_a_file_that_others_can_write_is_told_with_the_command_that_mends_it(home: Path) -> None:
    path = user_file(home, "Timeout 5\n")
    path.chmod(0o666)
    with pytest.raises(ConfigurationError) as caught:
        config.load()
    subprocess.run(["sh", "-c", caught.value.remedy.removeprefix("run: ")], check=True, timeout=60)
    assert config.load().timeout == 5


def test_no_file_stays_open(load: Write) -> None:
    before = len(os.listdir("/proc/self/fd"))
    load("Timeout 5\n")
    with pytest.raises(ConfigurationError):
        load("Timeout \0\n")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("home", "is_elsewhere"), [("/home/a", False), ("/home/a/", False), ("/home", True)])
def test_a_home_is_another_by_its_name(home: str, is_elsewhere: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = config.Configuration()
    monkeypatch.setitem(posix.environ, b"HOME", os.fsencode(home))
    assert configuration.aside() == ""
    configuration.missing_file = "/home/a/.ssh/pysk_config"
    assert bool(configuration.aside()) is is_elsewhere


def test_lines_are_words_and_comments(load: Write) -> None:
    configuration = load("#Timeout 1\n  # Timeout 2\n\n \t\nDevice=unix:/a unix:/b\nTimeout = 5\n")
    assert (configuration.devices(None), configuration.timeout) == (["unix:/a", "unix:/b"], 5)
    assert load("Device = unix:/a unix:/b\n").devices(None) == ["unix:/a", "unix:/b"]
    assert load("Device =unix:/a=x\n").devices(None) == ["unix:/a=x"]
    for line in ("Timeout=", "Timeout = ", "Timeout =", "=5", "Timeout==5"):
        with pytest.raises(ConfigurationError):
            load(f"{line}\n")


def test_answers_of_directories_are_cached_in_the_home_unless_something_else_is_said(home: Path) -> None:
    assert config.load().directory_cache == f"{home}/.cache/pysk"
    user_file(home, "KeyDirectoryCache /var/cache/keys\n")
    assert config.load().directory_cache == "/var/cache/keys"
    user_file(home, "KeyDirectoryCache none\n")
    assert config.load().directory_cache is None


def test_a_file_that_the_environment_names_has_answers_cached_where_it_says_alone(load: Write) -> None:
    assert load("").directory_cache is None
    assert load("KeyDirectoryCache /var/cache/keys").directory_cache == "/var/cache/keys"
    with pytest.raises(ConfigurationError, match="KeyDirectoryCache is not an absolute path"):
        load("KeyDirectoryCache cache")
    assert load("KeyDirectoryCA /etc/ca.pem").directory_ca == "/etc/ca.pem"


def test_what_is_said_of_ldap_goes_to_the_end_of_the_line_and_the_first_value_stays(load: Write) -> None:
    loaded = load(
        "KeyDirectoryLdapBase ou=our people,dc=example\nkeydirectoryldapfilter=(uid=%u)\n"
        "KeyDirectoryLdapBase dc=other\n"
    )
    assert loaded.ldap == {"base": "ou=our people,dc=example", "filter": "(uid=%u)"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("KeyDirectoryLdapBase", "has no value"),
        ("KeyDirectoryLdapElse x", "unknown keyword"),
        ("base x", "unknown keyword"),
        ("KeyDirectoryCA ca.crt", "not an absolute path"),
        # Its first line would be sent to whatever server the same file names.
        ("KeyDirectoryLdapPasswordFile /etc/secret", "a file named in PYSK_CONFIG may not set"),
    ],
)
def test_a_bad_line_about_a_directory_is_named(load: Write, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load(text)


def test_key_handles_are_sealed_for_the_applications_that_say_so(load: Write) -> None:
    configuration = load("Match application ssh:work\nSealKeyHandle passphrase\nMatch all\nSealKeyHandle no\n")
    assert configuration.differs_between_uses()
    for application, is_sealed in (("ssh:work", True), ("ssh:", False)):
        configuration.settle(Use(application))
        assert configuration.seals_key_handles is is_sealed
    assert load("SealKeyHandle Passphrase\n").seals_key_handles
    assert not load("").seals_key_handles


def test_a_member_that_is_ignored_has_its_default_for_all_uses(load: Write) -> None:
    configuration = load("SealKeyHandle passphrase\nRememberPin 10m\n")
    configuration.ignore("seals_key_handles")
    configuration.settle(Use("ssh:"))
    assert (configuration.seals_key_handles, configuration.remember_pin) == (False, 600)
