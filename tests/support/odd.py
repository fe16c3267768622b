"""Another package, odd-post, whose transport misbehaves as its location says: odd:KIND.PLACE/path of a store.

What is done when it is imported, before there is a location, is in the scheme: odd_KIND:none.none/path. Only
odd_holder: has open_holder().
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.provider_tree import Tree

PACKAGE = "odd-post"
PLACES = ("import", "discover", "open_holder", "open", "call", "close")
# What each does besides what it should, and the word for it.
KINDS = (
    "raises", "returns", "prints", "reads", "writes", "closes", "threads", "asyncio", "children", "exits", "signals",
    "hangs",
)  # fmt: skip
# These are tried where they differ, and not everywhere.
MORE_KINDS = (
    "leaves", "fails", "floods", "escapes", "alarms", "locks", "stops", "pipes", "clings", "pools", "steps", "repeats",
)  # fmt: skip
# Nothing is seen of these.
UNSEEN_KINDS = ("quits", "switches", "redirects", "moves", "warns", "hooks", "forks")


_DEEDS = """
import os
import sys


def do(kind):
    deed = globals().get(kind)
    if deed is not None:
        deed()


def raises():
    raise KeyError("secret")


def prints():
    print("a print")
    print("an error", file=sys.stderr, flush=True)


def reads():
    assert sys.stdin is None or sys.stdin.read() == ""
    assert os.read(0, 100) == b""


def writes():
    os.write(1, b"noise" * 100)


def closes():
    for descriptor in (0, 1):
        try:
            os.close(descriptor)
        except OSError:  # it was, by the call before
            pass


def threads():
    import threading

    # Of such a thread as we are called in, a child would be a daemon.
    threading.Thread(target=threading.Event().wait, daemon=False).start()
    failing = threading.Thread(target=raises)
    failing.start()
    failing.join()


def asyncio():
    import asyncio

    async def main():
        process = await asyncio.create_subprocess_exec("true")
        await asyncio.gather(process.wait(), asyncio.sleep(0.01))

    asyncio.run(main())


def children():
    import subprocess

    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600; true"], stdout=subprocess.DEVNULL, start_new_session=True)


def exits():
    os._exit(7)


def signals():
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def hangs():
    import threading

    threading.Event().wait()


def leaves():
    sys.exit("secret")


def fails():
    from sk_provider.errors import SecurityKeyError

    class Hollow(SecurityKeyError):
        def __init__(self):
            pass

    raise Hollow


def escapes():
    os.closerange(3, 1024)


def alarms():
    import signal

    signal.setitimer(signal.ITIMER_REAL, 0.01)
    hangs()


def pipes():
    reader, writer = os.pipe()
    os.close(reader)
    os.write(writer, b"x")


def clings():
    children()
    hangs()


def pools():
    import threading
    from concurrent.futures import ThreadPoolExecutor

    ThreadPoolExecutor(1).submit(threading.Event().wait)


def locks():
    import re

    open(os.environ["HOME"] + "/locked", "w").close()
    re.match("(x+x+)+y", "x" * 100)


def stops():
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def quits():
    import threading

    quitting = threading.Thread(target=sys.exit, args=("secret",))
    quitting.start()
    quitting.join()


def steps():
    import threading

    def step(frame, event, argument):
        raise KeyError("secret")

    threading.settrace(step)
    threading.setprofile(step)
    sys.setprofile(step)
    sys.settrace(step)


def switches():
    sys.setswitchinterval(600)


def redirects():
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def moves():
    import locale
    import tempfile
    import time

    os.chdir("/proc")
    os.umask(0o777)
    locale.setlocale(locale.LC_ALL, "C")
    os.environ.clear()
    os.environ["TZ"] = "x"
    time.tzset()
    tempfile.tempdir = "/proc"


def warns():
    import warnings

    warnings.simplefilter("error")


def hooks():
    import builtins
    import threading

    sys.excepthook = sys.unraisablehook = threading.excepthook = sys.displayhook = raises
    sys.stdout = sys.stderr = sys.stdin = None
    builtins.print = raises
    threads()


def forks():
    os.fork()


def repeats():
    import threading

    for _ in range(500):
        failing = threading.Thread(target=raises)
        failing.start()
        failing.join()
"""

_TRANSPORT = """
import os

from sk_provider.transports import soft

from . import deeds


class Channel:
    def __init__(self, channel, kind, place):
        self.capabilities = channel.capabilities
        self._channel, self._kind, self._place = channel, kind, place

    def call(self, cmd, data=b"", event=None, on_keepalive=None):
        if self._place == "call":
            deeds.do(self._kind)
            if self._kind == "returns":
                return "no bytes"
        return self._channel.call(cmd, data, event, on_keepalive)

    def close(self):
        self._channel.close()
        if self._place == "close":
            deeds.do(self._kind)
            if self._kind == "returns":
                return 5


def parts(location):
    what, slash, path = location.partition("/")
    return *what.split("."), slash + path


def discover(location):
    kind, place, _ = parts(location)
    if place == "discover":
        deeds.do(kind)
        if kind == "returns":
            return None
        if kind == "floods":
            return (location + str(number) for number in iter(int, 1))
    return [location]


def open(location, configuration, operation, *, may_create):
    kind, place, path = parts(location)
    if place == "open":
        deeds.do(kind)
        if kind == "returns":
            return None
    return Channel(soft.open(path, configuration, operation, may_create=may_create), kind, place)
"""

_HOLDER = """
from sk_provider.errors import CredentialNotFound
from sk_provider.transports import soft

from . import deeds
from .transport import Channel, discover, open, parts


def open_holder(key_handle, locations, configuration, operation):
    for location in locations:
        kind, place, path = parts(location)
        if place == "open_holder":
            deeds.do(kind)
        try:
            _, channel = soft.open_holder(key_handle, [path], configuration, operation)
        except CredentialNotFound:
            if kind == "returns":
                return []
            continue
        return 5 if kind == "returns" else location, Channel(channel, kind, place)
"""


def install(tree: Tree) -> None:
    """Put the package into a tree of packages."""
    kinds = KINDS + MORE_KINDS + UNSEEN_KINDS
    metadata = tree.folder / "odd_post-1.dist-info"
    metadata.mkdir()
    lines = [f"odd_{kind} = odd_post.imported_{kind}:transport" for kind in kinds]
    (metadata / "entry_points.txt").write_text(
        "\n".join(["[sk_provider.transports]", "odd = odd_post.transport", "odd_holder = odd_post.holder", *lines, ""])
    )
    package = tree.folder / "odd_post"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "deeds.py").write_text(_DEEDS)
    (package / "transport.py").write_text(_TRANSPORT)
    (package / "holder.py").write_text(_HOLDER)
    for kind in kinds:
        (package / f"imported_{kind}.py").write_text(
            f"from . import deeds, transport as _transport\ndeeds.do({kind!r})\n"
            f"{'transport = None' if kind == 'returns' else 'transport = _transport'}\n"
        )


def scheme(kind: str, place: str) -> str:
    """Return the scheme of the one that misbehaves so."""
    return f"odd_{kind}" if place == "import" else "odd_holder" if place == "open_holder" else "odd"


def address(kind: str, place: str, store: object) -> str:
    """Return the address of the one that misbehaves so, and holds its keys in a store."""
    return f"{scheme(kind, place)}:{'none.none' if place == 'import' else f'{kind}.{place}'}{store}"
