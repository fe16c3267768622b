"""The package is rooms in order: a module imports from the rooms before its own, and no imports go round in a circle.

Every import counts, those in functions and those for type checking, too.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "sk_provider"

# From the bottom to the top: the modules that share a room, or the package that is one.
IN_ORDER = (
    {"__init__", "bytecode", "library"},
    {"errors"},
    {"reporting"},
    {"api", "config", "isolated", "operation", "peers", "third_party", "trace"},
    {"transport_api"},
    {"ctap"},
    {"credentials"},
    {"authenticator"},
    {"tpm"},
    {"asking"},
    {"transports"},
    {"client"},
    {
        "audit",
        "directory_keys",
        "enroll",
        "pin_prompts",
        "policy",
        "proof",
        "resident",
        "sealed_keys",
        "sign",
        "touch_notices",
        "trial",
    },
    {"embed"},
)

# The rooms beside these, and which they stand on.
BESIDE = {
    "device_side": {"ctap"},
    "virtual_key": {"device_side", "authenticator", "asking"},
    "share": {"device_side", "client"},
    "doctor": {"client"},
    "testing": {"virtual_key", "transports"},
    "cli": {"virtual_key", "share", "doctor", "embed"},
}


def rooms_below() -> dict[str, set[str]]:
    """Return from which names in IN_ORDER and BESIDE each of them may import, its own room's included."""
    allowed: dict[str, set[str]] = {}
    lower: set[str] = set()
    for room in IN_ORDER:
        lower = lower | room
        allowed |= dict.fromkeys(room, lower)
    for name, floors in BESIDE.items():
        allowed[name] = {name}.union(*(allowed[floor] for floor in floors))
    return allowed


def imports(package: Path) -> dict[str, set[str]]:
    """Return whom each module imports of its package, by their names within it."""
    paths = {_module_name(path.relative_to(package)): path for path in package.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in paths.items():
        folder = (package.name, *path.relative_to(package).parent.parts)
        targets = [target for node in ast.walk(ast.parse(path.read_text())) for target in _targets(node, folder)]
        within = [target.partition(".")[2] for target in targets if target.split(".")[0] == package.name]
        # What is no module is a name that the package before it has.
        found[name] = {each if each in paths else each.rpartition(".")[0] or "__init__" for each in within}
    return found


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _targets(node: ast.AST, folder: tuple[str, ...]) -> list[str]:
    """Return the full names that a statement imports in a module of that package."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        origin = folder[: len(folder) + 1 - node.level] if node.level else ()
        base = [*origin, *([node.module] if node.module else [])]
        return [".".join([*base, alias.name]) for alias in node.names]
    return []


def upwards(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return the imports from a room that is not below."""
    allowed = rooms_below()
    return {
        (name, other)
        for name, others in graph.items()
        for other in others
        if other.split(".")[0] not in allowed[name.split(".")[0]]
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the names along a circle of imports, [] if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in reversed(error.args[1])]
    return []


def without(graph: dict[str, set[str]], left_out: set[tuple[str, str]]) -> dict[str, set[str]]:
    return {name: {other for other in others if (name, other) not in left_out} for name, others in graph.items()}


def test_every_module_is_in_a_room() -> None:
    assert {name.split(".")[0] for name in imports(PACKAGE)} == set(rooms_below())


def test_modules_import_from_the_rooms_below_and_not_in_circles() -> None:
    graph = imports(PACKAGE)
    assert upwards(graph) == set()
    assert circle(graph) == []


def test_no_module_of_the_authenticator_imports_the_engine_which_finds_commands_by_name() -> None:
    users = {name for name, others in imports(PACKAGE).items() if "authenticator.engine" in others}
    assert not [name for name in users if name.split(".")[0] == "authenticator"]


def test_every_kind_of_import_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("import os\nimport package.b\nfrom . import VERSION\nfrom .inner import NUMBER")
    (package / "b.py").write_text("if TYPE_CHECKING:\n    from package.inner.c import C\n    from .inner.d import D")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "c.py").write_text(
        "def later():\n    from .. import a\n    from ..b import B\n    from . import d"
    )
    (package / "inner" / "d.py").write_text("from os import path")
    graph = imports(package)
    assert graph == {
        "__init__": set(),
        "a": {"b", "__init__", "inner"},
        "b": {"inner.c", "inner.d"},
        "inner": set(),
        "inner.c": {"a", "b", "inner.d"},
        "inner.d": set(),
    }
    assert set(circle(graph)) >= {"b", "inner.c"}
    assert circle(without(graph, {("b", "inner.c")})) == []
