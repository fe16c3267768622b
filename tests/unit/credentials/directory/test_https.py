"""Key directories that are web servers: real ones by TLS, that answer well, badly, late or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import time
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import Authority
from support.sshd import free_port
from support.web import WebServer, drip, send

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.credentials import whole_file
from sk_provider.credentials.directory import cache, https
from sk_provider.credentials.directory.record import Record
from sk_provider.credentials.directory.settings import Settings
from sk_provider.errors import ConfigurationError, DirectoryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

pytestmark = pytest.mark.slow

DAY = 86400
# The base point of P-256
POINT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
BLUE = Record("alice", "ssh:", ALGORITHM_ED25519, bytes(range(32)), b"a key handle", FLAG_USER_PRESENCE, "blue")
RED = Record("alice", "example.com", ALGORITHM_ECDSA, POINT, b"another", FLAG_USER_VERIFICATION, "")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    return authority.issue()


@pytest.fixture
def web(certificate: Path) -> Iterator[WebServer]:
    with WebServer(certificate) as server:
        yield server


@pytest.fixture
def settings(authority: Authority, tmp_path: Path) -> Settings:
    return Settings(10, 7 * DAY, ca=str(authority.certificate), cache=str(tmp_path / "made" / "cache"))


def member(record: Record) -> dict[str, object]:
    return {
        "public_key": record.public_line(),
        "key_handle": b64encode(record.key_handle).decode(),
        "options": record.options(),
        "comment": record.comment,
    }


def look_up(url: str, settings: Settings, user: str = "alice") -> list[tuple[str, object, int, str]]:
    """Look a user up, about whom nothing is to be told."""
    return known(url, settings, [], user)


def known(url: str, settings: Settings, told: list[str], user: str = "alice") -> list[tuple[str, object, int, str]]:
    """Look a user up, and check what is told."""
    sentences: list[str] = []
    found = https.look_up(url, user, settings, sentences.append)
    assert len(sentences) == len(told), sentences
    for sentence, part in zip(sentences, told, strict=True):
        assert part in sentence
    assert all(record.user == user for record in found)
    return shown(*found)


def shown(*records: Record) -> list[tuple[str, object, int, str]]:
    return [(each.application, each.identity(), each.flags, each.comment) for each in records]


def test_a_document_has_the_keys_of_a_user(web: WebServer, settings: Settings) -> None:
    web.publish("alice", member(BLUE), member(RED))
    web.publish("bob")
    assert look_up(web.url(), settings) == shown(BLUE, RED)
    assert look_up(web.url(), settings, "bob") == []
    assert look_up(web.url(), settings, "carol") == []


def test_options_and_comment_may_be_left_out(web: WebServer, settings: Settings) -> None:
    public_key = BLUE.public_line().removesuffix(" blue")
    web.publish("alice", {"public_key": public_key, "key_handle": member(BLUE)["key_handle"], "serial": 12**300})
    assert look_up(web.url(), settings) == [(*shown(BLUE)[0][:3], "")]


@pytest.mark.parametrize("user", ["a/../bob", "..", ".", "a\\b", "...", "a\nb", ""])
def test_a_users_name_is_no_path(web: WebServer, settings: Settings, user: str) -> None:
    with pytest.raises(DirectoryError, match="is not the name of a user"):
        look_up(web.url("%u"), settings, user)
    assert web.asked == []


def test_a_users_name_is_no_more_than_a_part_of_the_path(web: WebServer, settings: Settings) -> None:
    for user in ("a?b#c", "%2e%2e", "a b", "ä", "a&user=b", "%u"):
        web.publish(user)
        assert look_up(web.url("x%20y/%u?user=%u"), settings, user) == []
    assert [path for path, _ in web.asked] == [
        f"/x%20y/{quoted}?user={quoted}"
        for quoted in ("a%3Fb%23c", "%252e%252e", "a%20b", "%C3%A4", "a%26user%3Db", "%25u")
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://%u.example/",
        "https://keys.example/",
        "https://user:password@keys.example/%u",
        "https:///%u",
        "https:%u",
        "https://keys.example:port/%u",
        "https://keys.example/ä/%u",
        "https://[::1/%u",
    ],
)
def test_what_is_no_template_is_told(settings: Settings, url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the URL of a key directory"):
        look_up(url, settings)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "did not answer with a list of keys"),
        (b"<html>", "did not answer with a list of keys"),
        (b"[" * 100_000, "did not answer with a list of keys"),
        (b"\xff", "did not answer with a list of keys"),
        (b"[]", "did not answer with a list of keys"),
        (b'{"user": "alice"}', "did not answer with a list of keys"),
        (b'{"user": "alice", "keys": {}}', "did not answer with a list of keys"),
        (b'{"user": "bob", "keys": []}', "answered with keys of another user than alice"),
        (b'{"user": ["alice"], "keys": []}', "answered with keys of another user than alice"),
        (b" " * (10 << 20), "answered with more than 1 MB"),
    ],
)
def test_what_is_no_document_is_told(web: WebServer, settings: Settings, content: bytes, sentence: str) -> None:
    web.documents["/alice.json"] = content
    with pytest.raises(DirectoryError, match=f"localhost {sentence}"):
        look_up(web.url(), settings)


def test_a_number_of_a_million_digits_takes_no_time(web: WebServer, settings: Settings) -> None:
    web.documents["/alice.json"] = b'{"user": "alice", "keys": [], "n": ' + b"1" * 1_000_000 + b"}"
    assert look_up(web.url(), settings) == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(list(member(BLUE).values())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.dictionaries(st.sampled_from(list(member(BLUE))), VALUES)


@given(st.lists(VALUES | KEYS | KEYS.map(lambda key: member(BLUE) | key), max_size=4))
def test_hostile_values_make_no_line_of_their_own(keys: list[object]) -> None:
    content = json.dumps({"user": "alice", "keys": keys}).encode()
    records, left_out = https._records(content, "alice", "keys.example")
    assert len(records) + len(left_out) == len(keys)
    for record in records:
        assert record.public_line().startswith(BLUE.public_line().removesuffix(" blue"))
        assert record.authorized_keys_line().isprintable()


def test_keys_that_cannot_be_used_are_left_out(web: WebServer, settings: Settings) -> None:
    blue = member(BLUE)
    wrong: dict[str, dict[str, object]] = {
        "no public key": {**blue, "public_key": "ssh-ed25519 AAAA"},
        "copy the type and the key": {
            **blue,
            "public_key": BLUE.public_line().replace("ssh-ed25519", "ecdsa-sha2-nistp256"),
        },
        "not base64": {**blue, "key_handle": "a,b"},
        "not a list of words": {**blue, "options": "verify-required"},
        'unknown option "command': {**blue, "options": ['command="x"']},
        "1 to 1023 bytes": {**blue, "key_handle": b64encode(bytes(2000)).decode()},
        "comment is not text": {**blue, "comment": ["x"]},
    }
    web.publish("alice", *wrong.values(), blue)
    assert known(web.url(), settings, list(wrong)) == shown(BLUE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_server_is_followed(web: WebServer, settings: Settings, status: int) -> None:
    web.publish("alice", member(BLUE))

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/alice.json":
            web.answer_with_document(handler)
        else:
            send(handler, status, Location="../alice.json")

    web.answer = answer
    assert look_up(web.url("old/%u"), settings) == shown(BLUE)


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/alice.json",
        "https://localhost/alice.json",
        "https://127.0.0.1:{port}/alice.json",
        "https://x@localhost:{port}/alice.json",
        "file:///alice.json",
        "//keys.example/alice.json",
        "/alice json",
        "",
    ],
)
def test_a_redirect_elsewhere_is_not_followed(web: WebServer, settings: Settings, location: str) -> None:
    web.publish("alice", member(BLUE))
    web.answer = lambda handler: send(handler, 302, Location=location.format(port=web.port))
    with pytest.raises(DirectoryError, match="localhost redirects to another server"):
        look_up(web.url("old/%u"), settings)
    assert {path for path, _ in web.asked} == {"/old/alice"}


def test_wrong_certificates_are_told(authority: Authority, settings: Settings, tmp_path: Path) -> None:
    for each in ("other", "unknown"):
        (tmp_path / each).mkdir()
    stranger = Authority(tmp_path / "unknown").issue()
    for certificate, reason in (
        (authority.issue(expired_days_ago=1), "certificate has expired"),
        (authority.issue("keys.example"), "Hostname mismatch"),
        (stranger, "unable to get"),
    ):
        with WebServer(certificate) as web, pytest.raises(DirectoryError, match="is not trusted") as caught:
            look_up(web.url(), settings)
        assert reason in str(caught.value)
        # Nothing was said to it.
        assert web.asked == []


def test_the_systems_authorities_are_asked_where_none_is_named(
    web: WebServer, settings: Settings, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.publish("alice", member(BLUE))
    settings.ca = None
    # Not even so is another one trusted.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with pytest.raises(DirectoryError, match=r"the certificate of localhost is not trusted \(.*; .* KeyDirectoryCA"):
        look_up(web.url(), settings)


def test_authorities_that_cannot_be_read_are_told(web: WebServer, settings: Settings, tmp_path: Path) -> None:
    for name, content in (("missing", None), ("empty", b""), ("wrong", b"x")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        settings.ca = str(path)
        with pytest.raises(ConfigurationError, match=r"cannot be read as certificates .*; correct KeyDirectoryCA"):
            look_up(web.url(), settings)


def test_a_server_without_tls_is_told(settings: Settings) -> None:
    with WebServer(None) as web, pytest.raises(DirectoryError, match="no TLS connection to localhost can be made"):
        look_up(web.url(), settings)
    assert web.asked == []


def test_a_server_that_is_not_there_is_told(settings: Settings) -> None:
    with pytest.raises(DirectoryError, match=r"localhost cannot be reached \(Connection refused\)"):
        look_up(f"https://localhost:{free_port()}/%u", settings)
    with pytest.raises(DirectoryError, match=r"no-such-host.invalid cannot be reached"):
        look_up("https://no-such-host.invalid/%u", settings)


def test_a_silent_server_is_left_in_time(settings: Settings) -> None:
    settings.deadline = 1
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/%u"
        with pytest.raises(DirectoryError, match="localhost did not answer within 1 second"):
            look_up(url, settings)


def test_a_server_that_sends_a_byte_now_and_then_is_left_in_time(web: WebServer, settings: Settings) -> None:
    settings.deadline = 1
    web.answer = drip
    with pytest.raises(DirectoryError, match="localhost did not answer within 1 second"):
        look_up(web.url(), settings)


@pytest.mark.parametrize(
    ("greeting", "sentence"),
    [
        (b"", "localhost cannot be reached|does not answer like a web server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer like a web server"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", "does not answer like a web server"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
            "does not answer like a web server|not answer with a list of keys",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "does not answer like a web server"),
    ],
)
def test_a_server_that_speaks_no_http_is_told(
    web: WebServer, settings: Settings, greeting: bytes, sentence: str
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(greeting)
        handler.close_connection = True

    web.answer = answer
    with pytest.raises(DirectoryError, match=sentence):
        look_up(web.url(), settings)


def test_the_server_is_asked_each_time_and_sends_what_is_new(web: WebServer, settings: Settings) -> None:
    web.publish("alice", member(BLUE), member(RED))
    assert look_up(web.url(), settings) == shown(BLUE, RED)
    assert look_up(web.url(), settings) == shown(BLUE, RED)
    first, second = (tag for _, tag in web.asked)
    assert not first
    assert second
    web.publish("alice", member(RED))
    assert look_up(web.url(), settings) == shown(RED)


def test_a_server_that_cannot_be_asked_locks_nobody_out(web: WebServer, settings: Settings) -> None:
    web.publish("alice", member(BLUE))
    assert look_up(web.url(), settings) == shown(BLUE)
    web.answer = lambda handler: send(handler, 503)
    for answer, reason in (
        (lambda handler: send(handler, 503), "localhost answered with status 503"),
        (lambda handler: send(handler, 200, b"<html>"), "localhost did not answer with a list of keys"),
        (
            lambda handler: send(handler, 302, Location="https://login.example/"),
            "localhost redirects to another server",
        ),
    ):
        web.answer = answer
        assert known(web.url(), settings, [f"{reason}, so its answer of "]) == shown(BLUE)
    web.__exit__()
    try:
        refused = "localhost cannot be reached (Connection refused), so its answer of "
        assert known(web.url(), settings, [refused]) == shown(BLUE)
        # It is hers alone, and that server's.
        with pytest.raises(DirectoryError, match="cannot be reached"):
            look_up(web.url(), settings, "bob")
        with pytest.raises(DirectoryError, match="cannot be reached"):
            look_up(web.url("other/%u.json"), settings)
    finally:
        web.__enter__()


def test_a_silent_server_locks_nobody_out(web: WebServer, settings: Settings) -> None:
    web.publish("alice", member(BLUE))
    assert look_up(web.url(), settings) == shown(BLUE)
    settings.deadline = 1
    web.answer = drip
    assert known(web.url(), settings, ["did not answer within 1 second, so its answer of "]) == shown(BLUE)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_gone_does_not_live_on_in_the_cache(web: WebServer, settings: Settings, status: int) -> None:
    web.publish("alice", member(BLUE))
    assert look_up(web.url(), settings) == shown(BLUE)
    web.answer = lambda handler: send(handler, status)
    refusal = rf"localhost does not give alice's keys to this machine \(status {status}\)"
    if status in (401, 403):
        with pytest.raises(DirectoryError, match=refusal):
            look_up(web.url(), settings)
    else:
        assert look_up(web.url(), settings) == []
    assert list(Path(str(settings.cache)).iterdir()) == []
    web.answer = lambda handler: send(handler, 500)
    with pytest.raises(DirectoryError, match="status 500"):
        look_up(web.url(), settings)


def test_a_key_that_was_removed_does_not_live_on_in_the_cache(web: WebServer, settings: Settings) -> None:
    for left in ([RED], []):
        web.publish("alice", member(BLUE), member(RED))
        web.answer = web.answer_with_document
        assert look_up(web.url(), settings) == shown(BLUE, RED)
        web.publish("alice", *(member(record) for record in left))
        assert look_up(web.url(), settings) == shown(*left)
        web.answer = lambda handler: send(handler, 500)
        assert known(web.url(), settings, ["so its answer of "]) == shown(*left)


def test_a_cached_answer_is_used_for_so_long_and_no_longer(
    web: WebServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.publish("alice", member(BLUE))
    now = time.time()
    at = [now]
    monkeypatch.setattr(time, "time", lambda: at[0])
    assert look_up(web.url(), settings) == shown(BLUE)
    at[0] = now + 6 * DAY
    # That it has not changed is as good as a new answer.
    assert look_up(web.url(), settings) == shown(BLUE)
    web.answer = lambda handler: send(handler, 500)
    at[0] = now + 12 * DAY
    assert known(web.url(), settings, ["so its answer of "]) == shown(BLUE)
    for moment in (now + 13 * DAY + 1, now - 1):
        at[0] = moment
        with pytest.raises(DirectoryError, match="status 500"):
            look_up(web.url(), settings)


def test_nothing_is_cached_where_nothing_may_be(web: WebServer, settings: Settings, tmp_path: Path) -> None:
    web.publish("alice", member(BLUE))
    folder = settings.cache
    for max_age, cached in ((0, folder), (DAY, None), (DAY, "/proc/no such folder")):
        settings.max_age, settings.cache = max_age, cached
        for _ in range(2):
            assert look_up(web.url(), settings) == shown(BLUE)
    assert {tag for _, tag in web.asked} == {""}
    assert not Path(str(folder)).exists()


def test_the_file_is_nobody_elses(web: WebServer, settings: Settings) -> None:
    web.publish("alice", member(BLUE))
    look_up(web.url(), settings)
    (path,) = Path(str(settings.cache)).iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    web.answer = lambda handler: send(handler, 500)
    path.chmod(0o620)
    with pytest.raises(DirectoryError, match="status 500"):
        look_up(web.url(), settings)


def test_a_file_of_another_user_or_url_is_not_used(web: WebServer, settings: Settings) -> None:
    folder = str(settings.cache)
    web.publish("alice", member(BLUE))
    look_up(web.url(), settings)
    (path,) = Path(folder).iterdir()
    other = Path(cache._path(folder, web.url(), "bob"))
    other.write_bytes(path.read_bytes())
    other.chmod(0o600)
    assert cache.recall(folder, web.url(), "alice", DAY) is not None
    assert cache.recall(folder, web.url(), "bob", DAY) is None
    assert cache.recall(folder, web.url("other"), "alice", DAY) is None


@given(st.data())
def test_a_damaged_file_is_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = str(tmp_path_factory.getbasetemp() / "damaged")
    answer = cache.Answer(b'{"user": "alice", "keys": []}', '"tag"', int(time.time()))
    cache.remember(folder, "https://keys.example/%u", "alice", answer)
    path = Path(cache._path(folder, "https://keys.example/%u", "alice"))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    recalled = cache.recall(folder, "https://keys.example/%u", "alice", DAY)
    assert recalled is None or recalled.content == answer.content


def test_no_more_than_so_many_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 5)
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "somebody's").touch()
    for number in range(cache.MAX_FILES + 3):
        cache.remember(str(folder), "https://keys.example/%u", str(number), cache.Answer(b"", "", time.time()))
    assert len(list(folder.iterdir())) == cache.MAX_FILES + 1
    assert cache.recall(str(folder), "https://keys.example/%u", "0", DAY) is None
    assert cache.recall(str(folder), "https://keys.example/%u", str(cache.MAX_FILES + 2), DAY) is not None


def remembered(folder: Path) -> cache.Answer | None:
    return cache.recall(str(folder), "https://keys.example/%u", "alice", DAY)


def remember(folder: Path, content: bytes) -> None:
    cache.remember(str(folder), "https://keys.example/%u", "alice", cache.Answer(content, "", int(time.time())))


def test_a_file_of_another_version_is_not_used(tmp_path: Path) -> None:
    remember(tmp_path, b"first")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"version 1", b"version 2", 1))
    assert remembered(tmp_path) is None


def test_an_answer_that_cannot_be_kept_leaves_no_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(tmp_path, b"first")
    assert remembered(tmp_path) is not None

    def fail(path: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_file, "replace", fail)
    remember(tmp_path, b"second")
    assert remembered(tmp_path) is None


def test_a_link_to_nothing_keeps_no_answer_from_being_kept(tmp_path: Path) -> None:
    (tmp_path / "x.answer").symlink_to(tmp_path / "nothing")
    remember(tmp_path, b"first")
    assert remembered(tmp_path) is not None
