"""Modules of other packages: those for schemes that are none of ours, and how to get those that are used if there.

The former are named by entry points. importlib.metadata finds those, too, but takes longer than a signature to load.
"""

from __future__ import annotations

import _thread
import posix
import sys
import time

from . import errors
from .errors import ERR_CREDENTIAL_EXISTS, ERR_GENERAL, ConfigurationError, SecurityKeyError, TransportDefect, defect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Any, Final, TypeVar

    Result = TypeVar("Result")

PATIENCE: Final = 5.0
"""Seconds for what nobody need come for: to load a module, to find authenticators, to close a channel."""
GRACE: Final = 1.0
"""Seconds in which what is waited for must end once waiting makes no sense any more."""
_TICK: Final = 0.1
_METADATA: Final = (".dist-info", ".egg-info")
_MAX_SIZE: Final = 1 << 16
"""Bytes of a file of entry points that are read."""
_MAX_NAMES: Final = 20
"""Other packages' schemes that are told."""
_CODES: Final = range(ERR_CREDENTIAL_EXISTS, ERR_GENERAL + 1)
_PARTING: Final = 0.5
"""Seconds in which a child process ends when it is told to."""
_TOLD_AGAIN: Final = 1.0
"""Seconds after which the same is told again."""
_SIGTERM: Final = 15
_SIGKILL: Final = 9  # signal takes its time to import
_MAX_STEPS: Final = 40
"""Calls that led to a failure of which a trace tells."""

_FOLDER: Final = sys.modules["sk_provider"].__path__[0]
_OURS: Final = (f"{_FOLDER}/", "sk_provider/")
"""Where our code is, the latter for what the library carries."""
_PYTHONS: Final = f"{sys.modules['encodings'].__path__[0].rpartition('/')[0]}/"
"""The folder of Python's own code."""
_INSTALLED: Final = ("site-packages/", "dist-packages/")
"""Folders of packages, which may be in Python's own."""

trace: Callable[[str], object] | None = None
"""What is told how a failure came about. A program, or an operation, that is traced sets it."""

_NOTHING: Final = object()

was_loaded = False
"""Whether code of another package has run here."""

_told_beside: dict[str, float] = {}
"""When it was told last what has failed where nobody waits for it: that may be so without end."""

_stuck: set[str] = set()
"""Modules whose loading has not ended: to wait for it once is enough."""


class EntryPoint:
    """What a package has registered. package: its name; name: of what it is; target: `module` or `module:attribute`;
    folder: where the package's files are.
    """

    def __init__(self, package: str, name: str, target: str, folder: str) -> None:
        self.package = package
        self.name = name
        self.target = target
        self.folder = folder


def load(
    group: str, scheme: str, what: str, own: Iterable[str], *, named_where: str, own_only: bool
) -> tuple[str, Any]:
    """Return the name of the package that has registered a scheme in a group of entry points, and what that is.

    what: what it is to a person, such as "transport"; own: our own schemes; named_where: where a person may name it;
    own_only: refuse it, because of who named it.

    Raises ConfigurationError if there is none, or none that may be used, or more than one, and TransportDefect if it
    cannot be loaded.
    """
    registered = list(_entry_points(group))
    found = {each.package: each for each in registered if each.name == scheme}
    if len(found) > 1:
        raise ConfigurationError(
            f"the packages {' and '.join(sorted(found))} both have a {what} {scheme}:", "uninstall one of them"
        )
    for entry_point in found.values():
        if own_only:
            raise ConfigurationError(
                f"{scheme}: is another package's {what}, which a file named in PYSK_CONFIG may not use",
                f"name it {named_where}",
            )
        return entry_point.package, _load_in_time(
            entry_point, f"the {what} {scheme}: of the package {entry_point.package}"
        )
    others = sorted({each.name for each in registered if not own_only and each.name.isidentifier()})
    known = ", ".join(f"{name}:" for name in (*own, *others[:_MAX_NAMES]))
    raise ConfigurationError(
        f"there is no {what} {scheme}:",
        f"use one of {known} or install the package that has it, as pysk_transport(7) says",
    )


def by_apt(module: str, package: str) -> str | None:
    """Return what installs a module where we are a package of Debian, which refers to where the named one has it."""
    try:
        posix.readlink(f"{_FOLDER.rpartition('/')[0]}/{module}")
    except OSError:
        return None
    return f"install it with: apt install {package}"


def by_pip(package: str) -> str:
    """Return the command that installs a package where we are installed, which is not always where the program is."""
    import shlex

    environment = _FOLDER.rsplit("/", 4)[0]
    pip = f"{environment}/bin/pip"
    try:
        posix.stat(pip)
    except OSError:
        return f"pip install {package}"
    sudo = "" if posix.access(environment, posix.W_OK) else "sudo "
    return f"{sudo}{shlex.quote(pip)} install {package}"


def blame(whose: str, error: BaseException, called: str = "") -> TransportDefect:
    """Return the error for what another package's code has raised: its kind, and where, but none of its values.

    whose: such as "the transport exec: of the package pysk-exec". called: see run_in_time().
    """
    _trace(whose, error)
    return TransportDefect(f"{whose} failed ({_kind_and_place(error, called=called)})", "report this to its authors")


def blame_beside(failure: Any) -> SecurityKeyError | None:
    """Return the error for what was raised where nobody waits for it, ours or another's.

    None if it is no failure, or another's that was told within the last second.

    failure: see sys.unraisablehook() and threading.excepthook().
    """
    error: BaseException | None = failure.exc_value
    if error is None or isinstance(error, SystemExit):
        return None
    if _is_ours(error):
        _trace("libpysk", error)
        return defect(error)
    whose = "what another package has begun"
    _trace(whose, error)
    what = f"{whose} failed ({_kind_and_place(error, folders=1)})"
    now = time.monotonic()
    if now - _told_beside.get(what, -_TOLD_AGAIN) < _TOLD_AGAIN:
        return None
    _told_beside[what] = now
    return TransportDefect(what, "report this to the authors of that file")


def end_children(spared: Collection[int]) -> None:
    """End the child processes of this one, and theirs, but for some that are spared, and what these have begun."""
    left = children(spared)
    for number in (_SIGTERM, _SIGKILL):
        for pid in left:
            try:
                posix.kill(pid, number)
            except OSError:  # it has ended, or has more rights than we
                pass
        ends = time.monotonic() + _PARTING
        while (left := [pid for pid in left if _is_running(pid)]) and time.monotonic() < ends:
            time.sleep(0.01)


def children(spared: Collection[int] = ()) -> list[int]:
    """Return the child processes of this one, and theirs, as far as the system tells, but for the spared and theirs."""
    found: list[int] = []
    parents = [posix.getpid()]
    for parent in parents:
        for thread in _listed(f"/proc/{parent}/task"):
            listed = map(int, _read(f"/proc/{parent}/task/{thread}/children").split())
            pids = [pid for pid in listed if pid not in spared]
            found += pids
            parents += pids
    return found


def _is_running(pid: int) -> bool:
    try:
        return posix.waitpid(pid, posix.WNOHANG)[0] == 0
    except OSError:  # it is no child of ours
        pass
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"])


def run_in_time(
    function: Callable[[], Result],
    is_over: Callable[[], bool],
    whose: str,
    *,
    called: str = "",
    call_off: Callable[[], None] | None = None,
    discard: Callable[[Result], object] | None = None,
) -> Result:
    """Return what a function of another package returns, which runs in a thread.

    is_over: whether waiting for it makes no sense any more; if it has not ended GRACE later, it is left behind.
    called: the name of their function, to tell where no line of theirs has failed, such as if it does not take the
    arguments. call_off: tells the function to end, as whoever waits for it cannot any more, such as after Ctrl-C; it
    has GRACE for that. discard: is given, in whichever thread, what it returns when nobody waits for it any more.

    Raises what SecurityKeyError it raises, TransportDefect for what else, and StuckError if it is left behind.
    """
    result: list[Result] = []
    raised: list[SecurityKeyError] = []
    lock = _thread.allocate_lock()
    lock.acquire()
    # Whoever takes it first, the function that has ended or who waits no more, decides whose the result is.
    verdict = _thread.allocate_lock()

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - another package's
            raised.append(_told(whose, error, called))
        try:
            if not verdict.acquire(blocking=False):
                _discard(result, discard)
        finally:
            lock.release()

    _thread.start_new_thread(run, ())
    ends: float | None = None
    try:
        while not lock.acquire(timeout=_TICK):
            if ends is None and is_over():
                ends = time.monotonic() + GRACE
            if ends is not None and time.monotonic() >= ends and verdict.acquire(blocking=False):
                raise StuckError
    except StuckError:
        raise
    except BaseException:
        if call_off is not None:
            call_off()
        has_returned = not verdict.acquire(blocking=False)
        lock.acquire(timeout=GRACE)
        if has_returned:
            _discard(result, discard)
        raise
    if raised:
        # What is raised here and kept here as well would refer to itself, and stay.
        raise raised.pop()
    return result[0]


def _told(whose: str, error: BaseException, called: str) -> SecurityKeyError:
    """Return the error to raise for another package's, whose class may have code that runs as it is looked at."""
    try:
        ours = _as_ours(error) if isinstance(error, SecurityKeyError) else None
        return ours or blame(whose, error, called)
    except BaseException:  # noqa: BLE001 - it ran their code
        return TransportDefect(f"{whose} failed", "report this to its authors")


def _discard(result: list[Result], discard: Callable[[Result], object] | None) -> None:
    """Let go of what nobody waits for, if it is there. Raises nothing."""
    if discard is not None and result:
        try:
            discard(result.pop())
        except BaseException:  # noqa: BLE001, S110 - nobody is left to be told
            pass


class StuckError(Exception):
    """What another package was asked for has not ended in time."""


def _as_ours(error: SecurityKeyError) -> SecurityKeyError | None:
    """Return an error of our own class with what another package's says, None if that cannot be told.

    Theirs may say something else, or run without end, when it is looked at again.
    """
    try:
        happened, remedy, code = error.happened, error.remedy, int.__index__(error.code)
        if not (isinstance(happened, str) and isinstance(remedy, str) and code in _CODES):
            return None
        kind = next(each for each in type(error).__mro__ if vars(errors).get(each.__name__) is each)
        ours: SecurityKeyError = kind(str.__str__(happened), str.__str__(remedy))
    except BaseException:  # noqa: BLE001 - it runs their code
        return None
    ours.code = code
    return ours


def _kind_and_place(error: BaseException, folders: int = 0, called: str = "") -> str:
    """Return the class of an error and where it came about.

    folders: how many the file's name begins with; called: see run_in_time().
    """
    kind, steps = type(error).__name__, _steps(error)
    # Where they call us, or Python's own library, is where their authors look first.
    theirs = [step for step in steps if not (step[0].startswith(_OURS) or _is_pythons(step[0]))]
    if called and not theirs:
        return f"{kind} in calling {called}()"
    path, line = _unreadable(error) or (theirs or steps or [("", 0, "")])[-1][:2]
    return f"{kind} in {'/'.join(path.split('/')[-1 - folders :])} line {line}" if path else kind


def _unreadable(error: BaseException) -> tuple[str, int] | None:
    """Return the place in a source at which Python could not read it, which no call has led to."""
    if type(error) not in (SyntaxError, IndentationError, TabError):  # one of theirs may run code of theirs
        return None
    path, line = error.filename, error.lineno  # type: ignore[attr-defined]
    return (path, line) if type(path) is str and type(line) is int else None


def _is_ours(error: BaseException) -> bool:
    """Return whether no other package has a part in what nobody waited for, but those that we stand on."""
    beyond_python = [path for path, _, _ in _steps(error) if not _is_pythons(path)]
    return not was_loaded or (bool(beyond_python) and all(path.startswith(_OURS) for path in beyond_python))


def _is_pythons(path: str) -> bool:
    return path.startswith(_PYTHONS) and not path[len(_PYTHONS) :].startswith(_INSTALLED)


def _steps(error: BaseException) -> list[tuple[str, int, str]]:
    """Return the calls that led to an error, the outermost first: the file, the line, the function."""
    traceback, steps = error.__traceback__, []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith("<frozen "):
            steps.append((code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return steps


def _trace(whose: str, error: BaseException) -> None:
    """Tell the trace, if there is one, how an error came about, without its values."""
    if trace is None:
        return
    trace(f"{whose} has raised {type(error).__name__}, the last call last:")
    for path, line, function in _steps(error)[-_MAX_STEPS:]:
        trace(f"  {path} line {line} in {function}")


def _load_in_time(entry_point: EntryPoint, whose: str) -> Any:
    global was_loaded  # noqa: PLW0603 - of the process
    was_loaded = True
    ends = time.monotonic() + PATIENCE
    slow = TransportDefect(f"{whose} cannot be loaded, which does not end", "report this to its authors")
    if entry_point.target in _stuck:
        raise slow
    try:
        return run_in_time(lambda: _load(entry_point, whose), lambda: time.monotonic() >= ends, whose)
    except StuckError:
        _stuck.add(entry_point.target)
        raise slow from None


def _load(entry_point: EntryPoint, whose: str) -> Any:
    module, _, attributes = entry_point.target.partition(":")
    top = module.partition(".")[0]
    remedy = "install another release of it, or tell its authors"
    if top in sys.stdlib_module_names:  # whoever wants Python's later would get theirs
        raise TransportDefect(f"{whose} is in a module {top}, which is the name of one of Python's own", remedy)
    finder = _Finder(entry_point.folder, top)
    # The list itself stays as it is: other threads, which import something else, are somewhere in it.
    sys.meta_path = [finder, *sys.meta_path]
    try:
        try:
            __import__(module)
        except ModuleNotFoundError:
            # Python's site module, which we do without, adds the folders of packages that are edited where they are.
            if not _add_edited(entry_point.folder):
                raise
            __import__(module)
        target: Any = sys.modules[module]
        for attribute in attributes.split(".") if attributes else []:
            target = getattr(target, attribute, _NOTHING)
    except ModuleNotFoundError as error:
        _trace(whose, error)
        missing = error.name or ""
        if missing == module or module.startswith(f"{missing}."):
            raise TransportDefect(
                f"{whose} has no module {missing} here", "install that package again, and not with pip install -e"
            ) from None
        if missing.startswith("sk_provider."):
            raise TransportDefect(f"{whose} needs {missing}, which libpysk does not have", remedy) from None
        raise TransportDefect(f"{whose} needs the Python package {missing}", "install that as well") from None
    except BaseException as error:  # noqa: BLE001 - another package's code
        _trace(whose, error)
        raise TransportDefect(f"{whose} cannot be loaded ({_kind_and_place(error)})", remedy) from None
    finally:
        sys.meta_path = [each for each in sys.meta_path if each is not finder]
    if target is _NOTHING:
        raise TransportDefect(f"{whose} has no {attributes} in its module {module}", remedy)
    return target


class _Finder:
    """Stands before Python's finders (importlib.abc), to have a package's module from where the package is.

    They list Python's own folders before that one, which takes longer than all else about a small module.
    """

    def __init__(self, folder: str, module: str) -> None:
        self._folder = folder
        self._module = module

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """Find the module, unless others may have parts of it (a namespace package, PEP 420)."""
        if name != self._module:
            return None
        finder = sys.modules["_frozen_importlib_external"].PathFinder  # importlib takes its time to import
        spec = finder.find_spec(name, [self._folder])
        return spec if spec and spec.loader else None


def _add_edited(folder: str) -> bool:
    """Let the folders be searched that .pth files in one name, and return whether there are any.

    Lines of code in them are not run.
    """
    added = False
    for name in _listed(folder):
        if name.endswith(".pth"):
            for line in _read(f"{folder}/{name}").splitlines():
                path = line.strip()
                if path.startswith("/") and path not in sys.path and _listed(path):
                    sys.path.append(path)
                    added = True
    return added


def _entry_points(group: str) -> Iterator[EntryPoint]:
    for folder in sys.path:
        if _is_pythons(f"{folder}/"):  # where no packages are installed
            continue
        for name in _listed(folder):
            if not name.endswith(_METADATA):
                continue
            text = _read(f"{folder}/{name}/entry_points.txt")
            if group in text:
                package = name.rpartition(".")[0].partition("-")[0].replace("_", "-")
                for registered, target in _registered(text, group):
                    yield EntryPoint(package, registered, target, folder)


def _registered(text: str, group: str) -> Iterator[tuple[str, str]]:
    """Yield the names and targets that a file of entry points has in a group, see the packaging specifications."""
    section = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[]").strip()
        elif section == group and not stripped.startswith(("#", ";")):
            name, equals, target = stripped.partition("=")
            if equals:
                yield name.strip(), "".join(target.partition("[")[0].split())


def _listed(folder: str) -> list[str]:
    try:
        return posix.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> str:
    """Return the text of a file, "" if there is none or it cannot be read."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return posix.read(descriptor, _MAX_SIZE).decode(errors="replace")
    except OSError:
        return ""
    finally:
        posix.close(descriptor)
