"""How the library is built: its C for every API major, and what it needs of a Python."""

from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import CodeType

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.slow

CBUILD = Path(__file__).resolve().parents[2] / "cbuild"
API_MAJORS = (0x00040000, 0x00050000, 0x00070000, 0x00090000, 0x000A0000)


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_libpysk", CBUILD / "build_libpysk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("major", API_MAJORS, ids=hex)
def test_the_c_files_compile_without_a_warning(builder: ModuleType, major: int, tmp_path: Path) -> None:
    builder.write_headers(str(tmp_path), "module", major)
    command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-c"]
    command += [f"-I{folder}" for folder in (tmp_path, CBUILD, sysconfig.get_path("include"))]
    for source in sorted(CBUILD.glob("*.c")):
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "object"), str(source)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def test_a_build_has_a_name_of_its_own_unless_the_same_is_to_come_of_the_same(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert builder._build_name() != builder._build_name()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    name = builder._build_name()
    assert name == builder._build_name()
    monkeypatch.setenv("LIBPYSK_SITE_PACKAGES", "/elsewhere")
    assert builder._build_name() != name


def python_with(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    real = sysconfig.get_config_vars()
    monkeypatch.setattr(sysconfig, "get_config_vars", lambda: {**real, **variables})


def test_a_python_without_a_shared_library_is_told_what_to_install(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    python_with(monkeypatch, Py_ENABLE_SHARED=0)
    with pytest.raises(builder.SetupError, match=r"no shared libpython.*apt-get install libpython3\.\d+-dev"):
        builder._shared_libpython()


def test_a_missing_shared_library_is_told_by_name(builder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    python_with(monkeypatch, INSTSONAME="libpython3.0.so.9")
    with pytest.raises(builder.SetupError, match=r"libpython3\.0\.so\.9, .* is not in .*: install it"):
        builder._shared_libpython()


def test_missing_headers_are_told(builder: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    with pytest.raises(builder.SetupError, match=r"no C headers: .*apt-get install libpython3\.\d+-dev"):
        builder._shared_libpython()


def test_this_python_will_do(builder: ModuleType) -> None:
    library, _folder = builder._shared_libpython()
    assert library.startswith(f"python{sys.version_info.major}.{sys.version_info.minor}")


def make_package(folder: Path, **sources: str) -> str:
    """Write a package sk_provider of packages a and b, in which there are modules, such as a_x; return its folder."""
    package = folder / "sk_provider"
    for name in ("", "a", "b"):
        (package / name).mkdir()
        (package / name / "__init__.py").touch()
    for name, source in sources.items():
        parent, module = name.split("_")
        (package / parent / f"{module}.py").write_text(source)
    return str(package)


def test_modules_are_carried_once_and_after_what_they_import(builder: ModuleType, tmp_path: Path) -> None:
    package = make_package(
        tmp_path,
        a_x="from sk_provider.b import y\nimport select, json",
        a_z="def later():\n    from ..b import unseen",
        b_y="from sk_provider.a import z",
        b_w="from . import y",
        b_unseen="",
    )
    first, second, third = builder._imported(package, ["a.x"], [], ["b.y", "b.w"])
    assert first == [f"sk_provider{name}" for name in ("", ".a", ".b", ".a.z", ".b.y", ".a.x")]
    assert (second, third) == ([], ["sk_provider.b.w"])


def test_a_module_that_wants_more_than_the_standard_library_is_not_built(builder: ModuleType, tmp_path: Path) -> None:
    package = make_package(tmp_path, a_x="import cffi")
    with pytest.raises(builder.SetupError, match=r"cannot be imported \(ModuleNotFoundError: No module named 'cffi'\)"):
        builder._imported(package, ["a.x"])


def test_what_is_only_for_type_checkers_is_not_carried_but_what_takes_its_place(
    builder: ModuleType, tmp_path: Path
) -> None:
    source = "if TYPE_CHECKING:\n    import typing\nelse:\n    Protocol = object\nx: int = 1\n"
    package = make_package(tmp_path, a_x=source)
    ((name, is_package, size, code),) = builder._compiled(package, ["sk_provider.a.x"])
    carried: dict[str, object] = {}
    exec(code, carried)
    assert (name, is_package, size, code.co_filename) == ("sk_provider.a.x", False, len(source), "sk_provider/a/x.py")
    assert carried["Protocol"] is object
    assert "typing" not in carried


def test_no_module_that_is_carried_asks_for_its_file(builder: ModuleType, tmp_path: Path) -> None:
    builder.write_carried_modules(builder._PACKAGE, str(tmp_path), "build")
    carried: dict[str, CodeType] = {}
    for file in (builder.CARRIED_FILE, builder.CARRIED_SOFT_FILE):
        content = marshal.loads((tmp_path / file).read_bytes().partition(b"\n")[2])
        at_once, on_demand = content[:2] if isinstance(content, tuple) else (content, {})
        carried |= {name: code for name, _, _, code in at_once}
        carried |= {name: marshal.loads(code) for name, (_, _, code) in on_demand.items()}
    assert {"sk_provider.sign", "sk_provider.third_party", "sk_provider.authenticator.store"} < set(carried)
    assert [name for name, code in carried.items() if wants(code, "__file__")] == []


def wants(code: CodeType, name: str) -> bool:
    """Return whether a name is used in a module's code, or in what is defined there."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return name in code.co_names or any(wants(each, name) for each in inner)


def test_whoever_must_install_the_library_again_is_told_its_name_and_not_one_of_the_ways_to_install_it() -> None:
    sources = [*CBUILD.rglob("*.[ch]"), *CBUILD.rglob("*.py"), *(CBUILD.parent / "sk_provider").rglob("*.py")]
    assert len(sources) > 100
    assert [path.name for path in sources if "install sk-provider" in path.read_text()] == []
