"""pysk_config, as real files."""

from __future__ import annotations

import os
import posix
import re
from pathlib import Path

import pytest

from sk_provider import config
from sk_provider.asking import confirmation
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
        ("Timeout 0", "Timeout cannot be 0"),
        ("Timeout " + 5000 * "9", "Timeout cannot be 9"),
        ("Timeout 1e3", "Timeout cannot be 1e3"),
        ("Timeout 99999", "Timeout cannot be 99999"),
        ("Match host x", "Match takes"),
        ("Match application a\nPresence auto", "Presence cannot stand in a Match block"),
        ("LogFile /tmp/x", "may not set LogFile"),
    ],
)
def test_a_bad_line_is_named(load: Write, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load(text + "\n")


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
