"""Builds libpysk.so: CFFI generates the bridge to Python, our C files hold the exported functions and the start."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import marshal
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig

import cffi
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType
    from typing import Any

# The major of sk-api.h that each library answers to: hosts accept their own alone. The first is the newest.
LIBRARIES = {
    "libpysk": 0x000A0000,
    "libpysk-skapi9": 0x00090000,
    "libpysk-skapi7": 0x00070000,
    "libpysk-skapi5": 0x00050000,
    "libpysk-skapi4": 0x00040000,
}

# A signature's modules, in files of their own: Python takes a tenth of a millisecond to find and open each by itself.
# Those that every signature runs come first, each after what it imports; the rest of the file is what the transports
# want, and the second file is the software authenticator's. Which they are is recorded as these are imported: what a
# signature imports inside functions is named here, for it is not seen then.
CARRIED_FILE = "carried.bin"
CARRIED_SOFT_FILE = "carried-soft.bin"
_EVERY_SIGNATURE = ("embed", "sign")
_SOME_SIGNATURES = ("client.candidates", "client.probe", "credentials.known_keys", "transports.guarded")
_SOFT = ("authenticator.engine", "authenticator.store", "authenticator.commands.get_assertion")

# What Python itself imports as it starts; to read them from the standard library's files takes a tenth of that time.
FROZEN_MODULES = ("encodings", "encodings.aliases", "encodings.utf_8")

# The variable that has the libraries look for their packages in this folder, wherever they are loaded from themselves.
_SITE_PACKAGES = "LIBPYSK_SITE_PACKAGES"

_IMPORT_PATIENCE_S = 120

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.join(os.path.dirname(_HERE), "sk_provider")


def write_carried_modules(
    package: str,
    output: str,
    build: str,
    at_once: Iterable[str] = _EVERY_SIGNATURE,
    transports: Iterable[str] | None = None,
    soft: Iterable[str] = _SOFT,
) -> None:
    """Compile the modules of the folder package, which is sk_provider, and write them to the CARRIED files in output.

    build: the source_hash() of the library's build, which accepts no other; at_once, transports, soft: the modules to
    carry, together with what they import, by their names within the package: those for every signature; those for some,
    by default what chooses between tokens, what guards another package's transport, and our transports but the
    fallback; those for soft, in the second file.

    Each file is a line with the magic number of the running Python's bytecode, whether that Python has a GIL, build,
    and the length of the rest, which is marshalled. Raises SetupError if one of the modules cannot be imported.
    """
    if transports is None:
        # Whoever waits for a card does not notice the time that its transport's files take.
        schemes = [scheme for scheme in _transports(package, "SCHEMES") if scheme != _transports(package, "FALLBACK")]
        transports = [*_SOME_SIGNATURES, *(f"transports.{scheme}" for scheme in schemes)]
    every, some, second = _imported(package, at_once, transports, soft)
    contents: dict[str, Any] = {
        CARRIED_FILE: (list(_compiled(package, every)), _marshalled(package, some), second, CARRIED_SOFT_FILE),
        CARRIED_SOFT_FILE: list(_compiled(package, second)),
    }
    gil = "free-threading" if sysconfig.get_config_var("Py_GIL_DISABLED") else "gil"
    for name, content in contents.items():
        marshalled = marshal.dumps(content)
        with open(os.path.join(output, name), "wb") as file:
            file.write(f"{importlib.util.MAGIC_NUMBER.hex()} {gil} {build} {len(marshalled)}\n".encode())
            file.write(marshalled)


def _transports(package: str, constant: str) -> Any:
    return _constant(os.path.join(package, "transports", "__init__.py"), constant)


def source_hash() -> str:
    """Return a hash of all that a build is made from, by which its parts know each other."""
    digest = hashlib.sha256()
    for root in (_HERE, _PACKAGE):
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(name for name in names if name.endswith((".py", ".c", ".h"))):
                path = os.path.join(folder, name)
                digest.update(f"{os.path.relpath(path, os.path.dirname(root))} {os.path.getsize(path)}\n".encode())
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


def _build_name() -> str:
    """Return what CFFI tells copies of the library by that meet in one process: another for each build.

    A build that is to be reproducible, as SOURCE_DATE_EPOCH tells, is another one if it is made from anything else.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return secrets.token_hex(8)
    return hashlib.sha256(
        f"{epoch} {sys.version} {os.environ.get(_SITE_PACKAGES)} {source_hash()}".encode()
    ).hexdigest()[:16]


def _imported(package: str, *groups: Iterable[str]) -> list[list[str]]:
    """Import modules of the package, and return for each group the full names of those that it was the first to want.

    None stands before one that it imports. Raises SetupError if a module cannot be imported.
    """
    program = os.path.join(_HERE, "record_imports.py")
    # Isolated, and without site-packages: what is carried must not depend on what happens to be installed.
    command = [sys.executable, "-I", "-S", "-B", program, os.path.dirname(os.path.abspath(package))]
    command += [",".join(group) for group in groups]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_IMPORT_PATIENCE_S)
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise SetupError(f"the modules of {package} that a signature needs cannot be imported ({reason})")
    return [line.split() for line in done.stdout.split("\n")[: len(groups)]]


def _source_of(package: str, name: str) -> tuple[str, bool]:
    """Return the file of a module, by its full name, and whether it is a package."""
    path = os.path.join(package, *name.split(".")[1:])
    is_package = os.path.isdir(path)
    return os.path.join(path, "__init__.py") if is_package else f"{path}.py", is_package


def _compiled(package: str, names: Iterable[str]) -> Iterator[tuple[str, bool, int, CodeType]]:
    """Yield of each of sk_provider's modules its full name, whether it is a package, its size, and its code."""
    for name in names:
        path, is_package = _source_of(package, name)
        code = _compile(path, os.path.relpath(path, os.path.dirname(package)))
        yield name, is_package, os.path.getsize(path), code


def _marshalled(package: str, names: Iterable[str]) -> dict[str, tuple[bool, int, bytes]]:
    """Return by its full name whether each of the modules is a package, its size, and its code."""
    return {name: (is_package, size, marshal.dumps(code)) for name, is_package, size, code in _compiled(package, names)}


class _Stripped(ast.NodeTransformer):
    """Leaves out of a module what is there for its readers and their tools, but would be carried out at each start."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _compile(path: str, shown: str, more: str = "") -> CodeType:
    """Compile a file, and more after it, without annotations and docstrings; shown: its path in a traceback."""
    with open(path, encoding="utf-8") as source:
        tree = ast.fix_missing_locations(_Stripped().visit(ast.parse(source.read() + more)))
    code: CodeType = compile(tree, shown, "exec", dont_inherit=True, optimize=2)
    return code


def write_headers(folder: str, module: str, api_major: int) -> None:
    """Write the headers that the C files take from a build: what it knows of itself and of the running Python."""
    paths = _python_paths()
    definitions = {
        "PYSK_MODULE": module,
        "PYSK_STDLIB": paths["stdlib"],
        "PYSK_DYNLOAD": os.path.join(paths["platstdlib"], "lib-dynload"),
        "PYSK_PREFIX": sys.base_prefix,
        "PYSK_EXEC_PREFIX": sys.base_exec_prefix,
    }
    if _SITE_PACKAGES in os.environ:
        definitions["PYSK_SITE_PACKAGES"] = os.environ[_SITE_PACKAGES]
    with open(os.path.join(folder, "pysk-build.h"), "w", encoding="utf-8") as header:
        header.write("/* What this build knows of itself and of the Python that it was made for. */\n")
        header.write(f"#define PYSK_API_MAJOR {api_major:#010x}\n")
        header.writelines(f"#define {name} {_c_string(value)}\n" for name, value in definitions.items())
    with open(os.path.join(folder, "pysk-frozen.h"), "w", encoding="utf-8") as header:
        header.write("/* Modules that this build's Python needs before it can look for any. */\n")
        header.write(_frozen_modules())


def _frozen_modules() -> str:
    """Return FROZEN_MODULES as a table for PyImport_FrozenModules, in C."""
    code, table = "", ""
    for name in FROZEN_MODULES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SetupError(f"Python's standard library has no {name}")
        is_package = spec.submodule_search_locations is not None
        with open(spec.origin, "rb") as source:
            marshalled = marshal.dumps(compile(source.read(), f"<frozen {name}>", "exec", dont_inherit=True))
        array = "code_of_" + name.replace(".", "_")
        code += f"static const unsigned char {array}[] = {{ {', '.join(map(str, marshalled))} }};\n"
        table += f"\t{{ .name = {_c_string(name)}, .code = {array}, .size = sizeof({array})"
        table += f", .is_package = {int(is_package)} }},\n"
    return f"{code}static const struct _frozen frozen_modules[] = {{\n{table}\t{{ .name = NULL }},\n}};\n"


def _constant(path: str, name: str) -> Any:
    """Return what a module assigns to a name as a literal. Raises SetupError if it does not."""
    with open(path, encoding="utf-8") as source:
        for node in ast.parse(source.read()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return ast.literal_eval(node.value)
    raise SetupError(f"{path} has no {name}")


def _shared_libpython() -> tuple[str, str | None]:
    """Return the name to link libpython by, and its folder unless the dynamic linker knows that folder itself.

    Raises SetupError if this Python has no shared libpython to embed, or no headers.
    """
    variables = sysconfig.get_config_vars()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        raise SetupError(
            f"Python {version} has no C headers: install them (Debian: apt-get install libpython{version}-dev)"
        )
    if not variables.get("Py_ENABLE_SHARED"):
        raise SetupError(
            f"{sys.executable} has no shared libpython, which libpysk.so needs to start Python inside ssh: use a "
            f"Python that has one (Debian: apt-get install libpython{version}-dev; pyenv: build with "
            'PYTHON_CONFIGURE_OPTS="--enable-shared")'
        )
    libdir = str(variables["LIBDIR"])
    multiarch = str(variables.get("MULTIARCH") or "")
    library = str(variables["INSTSONAME"])
    for folder in (os.path.join(libdir, multiarch), libdir):
        if os.path.exists(os.path.join(folder, library)):
            is_system = folder.startswith(("/usr/lib", "/lib"))
            return f"python{variables['LDVERSION']}", None if is_system else folder
    raise SetupError(
        f"{library}, the shared library of {sys.executable}, is not in {libdir}: install it "
        f"(Debian: apt-get install libpython{version}-dev)"
    )


def _python_paths() -> dict[str, str]:
    """Return the folders of the Python that virtual environments share, by sysconfig's names."""
    return sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})


def _c_string(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class BuildLibpysk(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Compiles the placeholder extension of pyproject.toml as embedding libraries, one for each major of the API."""

    def finalize_options(self) -> None:
        """See setuptools. An embedding library is never a module that Python could import by name."""
        self.distribution.ext_modules = [Extension(f"sk_provider.{name}", []) for name in LIBRARIES]
        self.parallel = os.cpu_count()
        super().finalize_options()
        self.inplace = False

    def get_ext_filename(self, fullname: str) -> str:
        """Return the file that an extension becomes: hosts know it by this name, with no tag of Python's."""
        return os.path.join(*fullname.split(".")) + ".so"

    def get_source_files(self) -> list[str]:
        """Return what a source distribution needs for a build, besides the package: see setuptools."""
        folder = os.path.basename(_HERE)
        return [
            os.path.join(folder, name)
            for name in sorted(os.listdir(_HERE))
            if os.path.isfile(os.path.join(_HERE, name))
        ]

    def run(self) -> None:
        """Build the libraries, and what they carry beside them."""
        super().run()
        write_carried_modules(_PACKAGE, os.path.join(self.build_lib, "sk_provider"), source_hash())

    def build_extension(self, ext: Extension) -> None:
        """Generate what the library is made of below the build folder, then compile and link it."""
        library, library_dir = _shared_libpython()
        api_major = LIBRARIES[ext.name.rpartition(".")[2]]
        folder = os.path.join(self.build_temp, ext.name)
        os.makedirs(folder, exist_ok=True)
        module = f"_pysk_{api_major >> 16}_{_build_name()}"
        write_headers(folder, module, api_major)
        # Each library has copies of its own, for their object files lie beside each other and differ by the major.
        copies = [
            shutil.copy(os.path.join(_HERE, name), folder)
            for name in ("provider.c", "interpreter.c", "interrupt.c", "tell.c")
        ]
        ext.sources = [self._generate_bridge(folder, module, api_major), *copies]
        ext.depends = [os.path.join(_HERE, name) for name in os.listdir(_HERE)]
        ext.include_dirs = [folder, _HERE]
        ext.libraries = [library, "dl", "pthread"]
        ext.py_limited_api = False
        ext.extra_compile_args = ["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden", "-Wall", "-Wextra"]
        if sys.platform == "linux":
            # The interpreter outlives the host's dlclose(), so its code must stay mapped.
            ext.extra_link_args = ["-Wl,-z,nodelete", "-Wl,-z,defs", "-Wl,-z,relro", "-Wl,-z,now"]
        if library_dir is not None:
            ext.library_dirs = [library_dir]
            ext.runtime_library_dirs = [library_dir]
        super().build_extension(ext)

    def _generate_bridge(self, folder: str, module: str, api_major: int) -> str:
        declarations = os.path.join(folder, "sk-api.i")
        self.compiler.preprocess(
            os.path.join(_HERE, "sk-api.h"),
            declarations,
            macros=[("PYSK_CDEF", "1"), ("PYSK_API_MAJOR", f"{api_major:#010x}")],
            extra_postargs=["-P"],
        )
        ffi = cffi.FFI()
        ffi.embedding_api("")
        for path in (declarations, os.path.join(_HERE, "python-calls.h")):
            with open(path, encoding="utf-8") as source:
                ffi.cdef(source.read())
        arguments = (
            api_major,
            source_hash(),
            CARRIED_FILE,
            f"sk_provider-{_constant(os.path.join(_PACKAGE, '__init__.py'), '__version__')}.dist-info/RECORD",
            os.path.join(_python_paths()["stdlib"], "encodings"),
        )
        call = f"\nfrom {module} import ffi, lib\nstart(ffi, lib, {', '.join(map(repr, arguments))})\n"
        compiled = marshal.dumps(_compile(os.path.join(_HERE, "start.py"), "start.py", call))
        # CFFI has Python compile this text at each start, which would take the longer, the more there is of it.
        ffi.embedding_init_code(
            f"import marshal\nfrom {module} import ffi, lib\n"
            "exec(marshal.loads(ffi.buffer(lib.pysk_start_code(), lib.pysk_start_code_size())))"
        )
        ffi.set_source(
            module,
            '#include <stdlib.h>\n#include "pysk.h"\nint pysk_start_cffi(void) { return cffi_start_python(); }\n'
            f"static const char start_code[] = {{ {', '.join(str(byte) for byte in compiled)} }};\n"
            "const char *pysk_start_code(void) { return start_code; }\n"
            "size_t pysk_start_code_size(void) { return sizeof(start_code); }\n",
        )
        bridge = os.path.join(folder, "bridge.c")
        ffi.emit_c_code(bridge)
        return bridge
