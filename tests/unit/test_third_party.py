"""What is told of another package's code that fails, and what is ended that it has begun."""

from __future__ import annotations

import _thread
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sk_provider import third_party
from sk_provider.errors import ConfigurationError, TransportDefect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD_LIBRARY = json.__file__.removesuffix("json/__init__.py")


def raised_in(*paths: str) -> KeyError:
    """Return an error that came about in the last of some files, each of which has called the next."""
    source = "raise KeyError('secret')"
    for path in reversed(paths):
        source = f"exec(compile({source!r}, {path!r}, 'exec'))"
    with pytest.raises(KeyError) as caught:
        exec(source, {})
    error = caught.value
    for _ in range(2):  # what stands here
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next
    return error


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_a_package_in_pythons_own_folder_is_no_part_of_python(folder: str) -> None:
    error = raised_in(third_party.__file__, f"{STANDARD_LIBRARY}{folder}/owl/deeds.py", f"{STANDARD_LIBRARY}json/x.py")
    assert str(third_party.blame("the transport owl:", error)) == (
        "the transport owl: failed (KeyError in deeds.py line 1); report this to its authors"
    )


OWL = f"{STANDARD_LIBRARY}site-packages/owl/deeds.py"
THREADING = f"{STANDARD_LIBRARY}threading.py"
OURS = "unexpected KeyError in {} line 1; please report this as a bug of libpysk"
THEIRS = "what another package has begun failed (KeyError in {} line 1); report this to the authors of that file"


@pytest.mark.parametrize(
    ("was_loaded", "paths", "told"),
    [
        (False, [THREADING, third_party.__file__], OURS.format("third_party.py")),
        (False, [THREADING, f"{STANDARD_LIBRARY}site-packages/fido2/hid.py"], OURS.format("hid.py")),
        (True, [THREADING, third_party.__file__], OURS.format("third_party.py")),
        (True, [THREADING, "sk_provider/ctap/hid.py"], OURS.format("hid.py")),
        (True, [THREADING, third_party.__file__, OWL], THEIRS.format("owl/deeds.py")),
        (True, [THREADING, OWL, third_party.__file__], THEIRS.format("owl/deeds.py")),
        (True, [THREADING], THEIRS.format(f"{Path(STANDARD_LIBRARY).name}/threading.py")),
    ],
)
def test_what_fails_beside_is_anothers_only_where_another_has_a_part_in_it(
    monkeypatch: pytest.MonkeyPatch, was_loaded: bool, paths: list[str], told: str
) -> None:
    monkeypatch.setattr(third_party, "was_loaded", was_loaded)
    monkeypatch.setattr(third_party, "_told_beside", {})
    assert str(third_party.blame_beside(SimpleNamespace(exc_value=raised_in(*paths)))) == told
    assert third_party.blame_beside(SimpleNamespace(exc_value=SystemExit())) is None


def test_what_a_spared_process_begins_later_is_spared_too() -> None:
    worker = subprocess.Popen(
        ["sh", "-c", "read _; sleep 600 & echo $!; wait"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        spared = third_party.children()
        assert worker.pid in spared
        worker.stdin.write(b"\n")
        later = int(worker.stdout.readline())
        assert later in third_party.children()
        begun = subprocess.Popen(["sleep", "600"])
        third_party.end_children(spared)
        left = third_party.children()
        assert later in left
        assert begun.pid not in left
        begun.wait(60)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate()


def load_owl() -> ModuleType:
    """Return what a package that is installed has registered as the transport owl:."""
    own = ("usb", "unix")
    package, module = third_party.load(
        "sk_provider.transports", "owl", "transport", own, named_where="", own_only=False
    )
    assert package == "owl-post"
    assert isinstance(module, ModuleType)
    return module


def install_owl(folder: Path, target: str) -> None:
    metadata = folder / "owl_post-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "entry_points.txt").write_text(f"[sk_provider.transports]\nowl = {target}\n")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Two folders of packages, of which Python searches the first one first."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (second, first):
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    finders = list(sys.meta_path)
    yield first, second
    assert sys.meta_path == finders
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_is_the_one_that_is_installed_with_its_package(folders: tuple[Path, Path]) -> None:
    first, second = folders
    (first / "owl_post.py").write_text("raise KeyError")
    install_owl(second, "owl_post")
    (second / "owl_post.py").write_text("")
    assert load_owl().__file__ == str(second / "owl_post.py")


def test_a_package_of_which_others_have_parts_is_found_whole(folders: tuple[Path, Path]) -> None:
    first, second = folders
    install_owl(first, "post.owl")
    for folder, name, text in ((first, "parcels", ""), (second, "owl", "import post.parcels")):
        (folder / "post").mkdir()
        (folder / "post" / f"{name}.py").write_text(text)
    assert load_owl().__file__ == str(second / "post" / "owl.py")


def test_a_module_that_fails_leaves_nothing_in_the_way_of_imports(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    traced: list[str] = []
    monkeypatch.setattr(third_party, "trace", traced.append)
    install_owl(folders[0], "owl_post")
    (folders[0] / "owl_post.py").write_text("raise KeyError")
    with pytest.raises(TransportDefect, match=r"cannot be loaded \(KeyError in owl_post.py line 1\)"):
        load_owl()
    assert traced[0] == "the transport owl: of the package owl-post has raised KeyError, the last call last:"


def test_who_imports_something_else_meanwhile_finds_the_finders_as_they_were(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be anywhere in the list, and would pass over one if another was taken away before."""
    before = list(sys.meta_path)
    monkeypatch.setattr(sys, "owl", sys.meta_path, raising=False)
    install_owl(folders[0], "owl_post")
    (folders[0] / "owl_post.py").write_text("import sys\nassert sys.meta_path[1:] == sys.owl\nfound = list(sys.owl)\n")
    assert vars(load_owl())["found"] == before


def test_a_module_may_replace_the_finders(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", sys.meta_path)
    own = list(sys.meta_path)
    monkeypatch.setattr(sys, "owl", own, raising=False)
    install_owl(folders[0], "owl_post")
    (folders[0] / "owl_post.py").write_text("import sys\nsys.meta_path = list(sys.owl)\n")
    load_owl()
    assert sys.meta_path == own


def test_a_scheme_that_nobody_has_registered_is_told_with_those_that_are_known() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_owl()
    assert str(caught.value) == (
        "there is no transport owl:; "
        "use one of usb:, unix: or install the package that has it, as pysk_transport(7) says"
    )


@pytest.mark.parametrize(
    ("target", "text", "told"),
    [
        ("owl_post", None, "has no module owl_post here; install that package again, and not with pip install -e"),
        ("owl_post.owl", None, "has no module owl_post here; install that package again, and not with pip install -e"),
        ("owl_post", "import owl_feed.seeds", "needs the Python package owl_feed; install that as well"),
    ],
)
def test_a_module_that_is_not_there_is_told_from_one_that_it_needs(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, target: str, text: str | None, told: str
) -> None:
    install_owl(folders[0], target)
    if text is not None:
        (folders[0] / "owl_post.py").write_text(text)
    traced: list[str] = []
    monkeypatch.setattr(third_party, "trace", traced.append)
    with pytest.raises(TransportDefect) as caught:
        load_owl()
    assert str(caught.value) == f"the transport owl: of the package owl-post {told}"
    assert traced[0].endswith(" has raised ModuleNotFoundError, the last call last:")


def test_what_ends_at_the_last_moment_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    running = _thread._count()
    ends = threading.Event()
    looked: list[float] = []

    def look() -> float:
        looked.append(0.0)
        if len(looked) > 1:
            ends.set()
            while _thread._count() > running:
                time.sleep(0.001)
            return third_party.GRACE
        return 0.0

    monkeypatch.setattr(third_party, "time", SimpleNamespace(monotonic=look))
    assert third_party.run_in_time(lambda: ends.wait(60), lambda: True, "the transport owl:")


def test_what_a_package_is_installed_with_is_what_we_are_installed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / "our own"
    packages = environment / "lib/python3/site-packages"
    packages.mkdir(parents=True)
    monkeypatch.setattr(third_party, "_FOLDER", f"{packages}/sk_provider")
    assert third_party.by_apt("smartcard", "python3-pyscard") is None
    assert third_party.by_pip("pyscard") == "pip install pyscard"
    (environment / "bin").mkdir()
    (environment / "bin/pip").touch()
    assert third_party.by_pip("pyscard") == f"'{environment}/bin/pip' install pyscard"
    (packages / "smartcard").symlink_to("/nowhere")
    assert third_party.by_apt("smartcard", "python3-pyscard") == "install it with: apt install python3-pyscard"
