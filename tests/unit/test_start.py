"""What the library takes for the modules that were installed with it."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType

import pytest

START = Path(__file__).resolve().parents[2] / "cbuild" / "start.py"
SIZE = 7


@pytest.fixture
def start() -> ModuleType:
    spec = importlib.util.spec_from_file_location("start", START)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one module, which an installer has dated now."""
    package = tmp_path / "sk_provider"
    package.mkdir()
    for path in (package / "module.py", package / "carried", tmp_path / "RECORD"):
        path.write_text("x" * SIZE)
    return package


def is_installed(start: ModuleType, package: Path) -> bool:
    installed = start._Installed(str(package), "carried", str(package.parent / "RECORD"))
    return installed.changed("sk_provider.module", is_package=False, size=SIZE) is None


def test_a_module_of_the_same_size_and_no_later_date_is_the_installed_one(start: ModuleType, package: Path) -> None:
    assert is_installed(start, package)
    os.utime(package / "module.py", (0, 0))
    assert is_installed(start, package)


def test_one_of_another_size_is_not(start: ModuleType, package: Path) -> None:
    (package / "module.py").write_text("x" * (SIZE + 1))
    os.utime(package / "module.py", (0, 0))
    assert not is_installed(start, package)


def test_one_of_a_later_date_is_not(start: ModuleType, package: Path) -> None:
    record = package.parent / "RECORD"
    os.utime(record, ns=(0, (package / "module.py").stat().st_mtime_ns - 10**6))
    assert not is_installed(start, package)


def test_one_that_came_to_its_place_later_is_not_whatever_its_date(
    start: ModuleType, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = package / "other.py"
    other.write_text("y" * SIZE)
    os.utime(other, (0, 0))
    monkeypatch.setattr(start, "_PLACED_WITHIN_S", 0)
    # The clock of a file system may stand still for some milliseconds.
    while other.stat().st_ctime <= (package / "carried").stat().st_ctime:
        os.utime(other, (0, 0))
    os.replace(other, package / "module.py")
    assert not is_installed(start, package)


def test_without_a_record_a_minute_counts_from_the_file_of_carried_modules(start: ModuleType, package: Path) -> None:
    (package.parent / "RECORD").unlink()
    carried = (package / "carried").stat().st_mtime
    for after, expected in ((0, True), (59, True), (61, False)):
        os.utime(package / "module.py", (0, carried + after))
        assert is_installed(start, package) is expected


def test_a_missing_module_is_not_the_installed_one(start: ModuleType, package: Path) -> None:
    (package / "module.py").unlink()
    assert not is_installed(start, package)


def test_a_carried_module_that_fails_leaves_no_half_of_it(start: ModuleType, package: Path) -> None:
    installed = start._Installed(str(package), "carried", str(package.parent / "RECORD"))
    name = "sk_provider.module"
    failing = [(name, False, SIZE, compile("half = 1\nraise MemoryError", "module.py", "exec"))]
    with pytest.raises(MemoryError):
        start._import_carried(installed, failing, [])
    assert name not in sys.modules


def test_a_thread_that_wants_a_carried_module_while_another_imports_them_gets_all_of_it(
    start: ModuleType, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (package / "other.py", package.parent / "RECORD"):
        path.write_text("x" * SIZE)
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, "begun_and_go_on", ModuleType("begun_and_go_on"))
    vars(sys.modules["begun_and_go_on"]).update(begun=begun, go_on=go_on)
    slow = "from begun_and_go_on import begun, go_on\nbegun.set()\ngo_on.wait(10)\nwhole = True"
    codes = {"module": slow, "other": "whole = True"}
    root = ModuleType("sk_provider")
    root.__path__ = []
    monkeypatch.setitem(sys.modules, "sk_provider", root)
    for name in codes:
        monkeypatch.delitem(sys.modules, f"sk_provider.{name}", raising=False)
    carried = [(f"sk_provider.{name}", False, SIZE, compile(code, name, "exec")) for name, code in codes.items()]
    monkeypatch.setattr(start, "_read", lambda *_: carried)
    installed = start._Installed(str(package), "carried", str(package.parent / "RECORD"))
    notes: list[str] = []
    finder = start._Finder(installed, {}, [name for name, *_ in carried], "more", "build", notes)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])

    def is_whole(name: str) -> bool:
        return getattr(importlib.import_module(f"sk_provider.{name}"), "whole", False)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(is_whole, "module")
        assert begun.wait(10)
        others = [pool.submit(is_whole, name) for name in codes]
        # So that they come while the first is at it; if they come later, this has tried less.
        wait(others, timeout=0.2)
        go_on.set()
        assert [each.result(60) for each in (first, *others)] == [True] * 3
    assert notes == []
    for name in codes:
        monkeypatch.delitem(sys.modules, f"sk_provider.{name}")
