"""Addresses, and the transports that they name: our own, and those of other packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import third_party as third_party_package

from sk_provider import transports
from sk_provider.authenticator.key_handle import MARK
from sk_provider.authenticator.store import Store, StoreMissing
from sk_provider.config import Configuration
from sk_provider.ctap.commands import GET_INFO
from sk_provider.ctap.framing import CBOR
from sk_provider.errors import ConfigurationError, Interrupted, StoreUnusable, TransportDefect
from sk_provider.operation import Operation
from sk_provider.transports import pcsc, soft, udp


def test_an_address_is_a_scheme_and_a_location() -> None:
    assert transports.split("soft:") == ("soft", "")
    assert transports.split("soft:/a:b") == ("soft", "/a:b")
    assert transports.join("soft", "/a:b") == "soft:/a:b"


def test_a_device_file_is_an_address_of_usb_as_it_stands() -> None:
    assert transports.split("/dev/hidraw3") == ("usb", "/dev/hidraw3")
    assert transports.join("usb", "/dev/hidraw3") == "/dev/hidraw3"
    assert transports.join("serial", "/dev/ttyUSB0") == "serial:/dev/ttyUSB0"
    assert transports.join("usb", "") == "usb:"


@pytest.mark.parametrize("address", ["soft", "", ":", ":/x", "../x:y", "carrier-pigeon:x", "1x:", "so ft:"])
def test_what_has_no_scheme_is_no_address(address: str) -> None:
    with pytest.raises(ConfigurationError, match="not an authenticator's address"):
        transports.split(address)


def test_an_unknown_scheme_is_told_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"no transport carrier_pigeon:; use one of .*soft:"):
        transports.load("carrier_pigeon", own_only=False)


@pytest.mark.parametrize("location", ["", "~/x", "%41$HOME", "a b", " a\t", 'say "x"', ":x:", "é\n"])
def test_a_location_is_what_the_person_wrote(location: str) -> None:
    assert transports.split(f"pigeon:{location}") == ("pigeon", location)
    assert transports.join("pigeon", location) == f"pigeon:{location}"


def test_our_own_transports_all_load() -> None:
    for scheme in transports.SCHEMES:
        module = transports.load(scheme, own_only=True)
        assert callable(module.open)
        assert callable(module.discover)


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third_party_package.install(tmp_path, monkeypatch)


@pytest.mark.usefixtures("third_party")
def test_another_package_can_bring_a_transport() -> None:
    assert transports.load("pigeon", own_only=False).discover("x") == ["x"]


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize("scheme", ["Pigeon", "PIGEON"])
def test_a_scheme_is_compared_as_it_is_written(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match=f"there is no transport {scheme}:"):
        transports.load(scheme, own_only=False)


def test_what_is_registered_may_be_an_object_in_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_another(tmp_path, "rook_post", "rook_object:shed.rook", monkeypatch)
    (tmp_path / "rook_object.py").write_text(
        "class Rook:\n    def discover(self, location): return [location]\n    def open(self): pass\n"
        "class Shed: rook = Rook()\nshed = Shed()\n"
    )
    monkeypatch.delitem(sys.modules, "rook_object", raising=False)
    assert transports.load("crow", own_only=False).discover("x") == ["x"]


@pytest.mark.usefixtures("third_party")
def test_whoever_sets_the_environment_cannot_choose_another_packages_code() -> None:
    with pytest.raises(ConfigurationError, match="another package's transport"):
        transports.load("pigeon", own_only=True)
    assert not third_party_package.is_loaded()


@pytest.mark.usefixtures("third_party")
def test_what_another_package_brings_for_others_is_no_transport() -> None:
    with pytest.raises(
        ConfigurationError,
        match="there is no transport owl:; use one of nfc:, soft:, tpm:, udp:, unix:, usb:, lame:, pigeon: or install "
        r"the package that has it, as pysk_transport\(7\) says",
    ):
        transports.load("owl", own_only=False)


@pytest.mark.usefixtures("third_party")
def test_a_transport_that_may_not_be_used_is_not_offered() -> None:
    with pytest.raises(ConfigurationError, match="tpm:, udp:, unix:, usb: or install"):
        transports.load("owl", own_only=True)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def discover(): return []\nopen = print\n", "TypeError in calling discover"),
        ("discover = str.splitlines\ndef open(location): pass\n", "TypeError in calling open"),
    ],
)
def test_a_function_that_does_not_take_its_arguments_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    install_another(tmp_path, "rook_post", "uncallable_rook", monkeypatch)
    (tmp_path / "uncallable_rook.py").write_text(source)
    monkeypatch.delitem(sys.modules, "uncallable_rook", raising=False)
    rook = transports.load("crow", own_only=False)
    whose = "the transport crow: of the package rook-post"
    with pytest.raises(TransportDefect, match=rf"{whose} failed \({told}\(\)\); report this to its authors"):
        rook.open(rook.discover("x")[0], Configuration(), Operation(1, tell=print), may_create=False)


def test_a_module_of_the_name_of_one_of_pythons_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mailbox.py").write_text("def discover(location): return [location]\ndef open(): pass\n")
    install_another(tmp_path, "rook_post", "mailbox", monkeypatch)
    monkeypatch.delitem(sys.modules, "mailbox", raising=False)
    with pytest.raises(TransportDefect, match="is in a module mailbox, which is the name of one of Python's own; inst"):
        transports.load("crow", own_only=False)
    assert "mailbox" not in sys.modules


def install_another(folder: Path, package: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package that registers a target for the scheme crow."""
    metadata = folder / f"{package}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "entry_points.txt").write_text(
        f"[other]\ncrow = wrong\n\n[ sk_provider.transports ]\n# a comment\ncrow={target} [extra]\n"
    )
    monkeypatch.syspath_prepend(str(folder))


def test_two_packages_with_one_scheme_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("rook_post", "raven_post"):
        install_another(tmp_path / package, package, "os", monkeypatch)
    with pytest.raises(ConfigurationError, match="the packages raven-post and rook-post both have a transport crow:"):
        transports.load("crow", own_only=False)


def test_another_packages_transport_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_another(tmp_path, "rook_post", "once_rook", monkeypatch)
    (tmp_path / "once_rook.py").write_text("def discover(location): return [location]\ndef open(): pass\n")
    first = transports.load("crow", own_only=False)
    (tmp_path / "rook_post-1.dist-info/entry_points.txt").unlink()
    assert transports.load("crow", own_only=False) is first
    with pytest.raises(ConfigurationError):
        transports.load("crow", own_only=True)


def test_a_package_that_is_on_the_path_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        install_another(tmp_path / folder, "rook_post", "cffi", monkeypatch)
    with pytest.raises(TransportDefect, match="rook-post has no function discover"):
        transports.load("crow", own_only=False)


def test_a_package_that_is_edited_where_it_is_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_another(tmp_path / "site", "rook_post", "edited_rook", monkeypatch)
    source = tmp_path / "source"
    source.mkdir()
    (source / "edited_rook.py").write_text("def discover(location): return [location]\ndef open(): pass\n")
    before = sys.path[:]
    with pytest.raises(TransportDefect, match="has no module edited_rook here; install that package again, and not"):
        transports.load("crow", own_only=False)
    (tmp_path / "site/__editable__.rook.pth").write_text(f"import nothing_at_all\n{source}\n")
    try:
        assert transports.load("crow", own_only=False).discover("x") == ["x"]
    finally:
        sys.path[:] = before


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_dependency\n", "needs the Python package no_such_dependency; install that as well"),
        ("raise SystemError('secret')\n", r"cannot be loaded \(SystemError in rook_module.py line 1\)"),
        ("raise SystemExit('secret')\n", r"cannot be loaded \(SystemExit in rook_module.py line 1\)"),
        ("import json\njson.loads('secret')\n", r"cannot be loaded \(JSONDecodeError in rook_module.py line 2\)"),
        ("\n1 +\n", r"cannot be loaded \(SyntaxError in rook_module.py line 2\)"),
        ("import sk_provider.nest\n", "needs sk_provider.nest, which libpysk does not have; install another release"),
        ("", "has no Transport in its module rook_module; install another release"),
    ],
)
def test_a_module_that_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    install_another(tmp_path, "rook_post", "rook_module:Transport", monkeypatch)
    (tmp_path / "rook_module.py").write_text(source)
    monkeypatch.delitem(sys.modules, "rook_module", raising=False)
    with pytest.raises(TransportDefect, match=f"the transport crow: of the package rook-post {told}") as caught:
        transports.load("crow", own_only=False)
    assert "secret" not in str(caught.value)


def test_a_module_whose_loading_does_not_end_is_told_and_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_another(tmp_path, "rook_post", "hanging_rook", monkeypatch)
    (tmp_path / "hanging_rook.py").write_text("import threading\nthreading.Event().wait(60)\n")
    for patience in (0.1, 60):
        monkeypatch.setattr("sk_provider.third_party.PATIENCE", patience)
        monkeypatch.setattr("sk_provider.third_party.GRACE", patience)
        with pytest.raises(
            TransportDefect, match="the transport crow: of the package rook-post cannot be loaded, which"
        ):
            transports.load("crow", own_only=False)


def test_a_trace_tells_how_a_failure_came_about_but_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_another(tmp_path, "rook_post", "rook_module", monkeypatch)
    (tmp_path / "rook_module.py").write_text("def f(x):\n    raise KeyError(x)\nf('secret')\n")
    monkeypatch.delitem(sys.modules, "rook_module", raising=False)
    traced: list[str] = []
    monkeypatch.setattr("sk_provider.third_party.trace", traced.append)
    with pytest.raises(TransportDefect):
        transports.load("crow", own_only=False)
    assert traced[0] == "the transport crow: of the package rook-post has raised KeyError, the last call last:"
    assert traced[-2:] == [
        f"  {tmp_path}/rook_module.py line 3 in <module>",
        f"  {tmp_path}/rook_module.py line 2 in f",
    ]
    assert "secret" not in "".join(traced)


@pytest.mark.usefixtures("third_party")
def test_a_transport_that_cannot_be_loaded_is_told() -> None:
    with pytest.raises(TransportDefect, match="the transport lame: of the package pigeon has no module no_such here"):
        transports.load("lame", own_only=False)


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "x", "9" * 5000])
def test_a_port_is_a_number_of_16_bits(port: str) -> None:
    with pytest.raises(ConfigurationError, match="not an authenticator's address"):
        udp.open(f"127.0.0.1:{port}", Configuration(), Operation(1), may_create=False)


def test_the_mark_of_soft_key_handles_is_the_authenticators() -> None:
    assert transports.schemes_marked(MARK + bytes(20)) == ["soft"]
    assert transports.schemes_marked(bytes(20)) == []


def test_a_store_has_an_absolute_path() -> None:
    assert soft.store_path("/x") == "/x"
    assert soft.store_path("~/x").startswith("/")
    with pytest.raises(ConfigurationError, match="not an absolute path"):
        soft.store_path("x")


def test_what_is_wrong_with_a_store_is_told_in_the_stores_own_words(tmp_path: Path) -> None:
    path = tmp_path / "one; two"
    Store.create(str(path))
    (path / "state").chmod(0o640)
    with pytest.raises(StoreUnusable) as caught:
        soft.open(str(path), Configuration(), Operation(1), may_create=False)
    assert caught.value.happened == f"{path}/state is open to other users"
    # A shell takes what is to be run as it stands.
    subprocess.run(["sh", "-c", caught.value.remedy.removeprefix("run: ")], check=True, timeout=60)
    soft.open(str(path), Configuration(), Operation(1), may_create=False).close()


def test_pyscard_is_installed_by_the_pip_that_installed_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)
    with pytest.raises(ConfigurationError) as caught:
        pcsc.Context()
    command = caught.value.remedy.removeprefix("install it with: ")
    done = subprocess.run(
        ["sh", "-c", f"{command} --dry-run"], check=False, capture_output=True, text=True, timeout=300
    )
    assert "Requirement already satisfied: pyscard" in done.stdout, done


def test_what_has_ended_a_call_to_a_store_explains_why_it_failed(tmp_path: Path) -> None:
    operation = Operation(9)
    channel = soft.open(f"{tmp_path}/store", Configuration(), operation, may_create=True)
    (tmp_path / "store" / "state").unlink()
    get_info = bytes([GET_INFO])
    with pytest.raises(StoreMissing):
        channel.call(CBOR, get_info, operation)
    operation.call_off()
    with pytest.raises(Interrupted):
        channel.call(CBOR, get_info, operation)
