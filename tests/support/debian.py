"""Where packages of Debian lie that tests use and never install: unpacked below .build.

The variable OPENSSH_RELEASE may name another release of Debian than this machine's. Its OpenSSH is then used in the
place of this machine's, and runs on its own C library if that is newer.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGES = ("openssh-server", "openssh-sftp-server", "openssh-tests")
CACHE = Path(__file__).resolve().parents[2] / ".build" / "debian"
DOWNLOAD_S = 300
RELEASE = os.environ.get("OPENSSH_RELEASE")
# Where the programs of OpenSSH are in its packages.
PROGRAMS = ("usr/bin", "usr/sbin", "usr/lib/openssh")
# What they need of libraries that are not installed here lies beside them, in a folder of this name.
LIBRARIES = "libraries"


# For sh: run a command in a chroot, which is $0, with mounts that end with it. Nothing of the caller's /dev, /run and
# /tmp is seen there.
ENTER = """
mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/tmp" &&
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$0/dev/pts" && exec chroot "$0" "$@"
"""


class UnpackError(Exception):
    """The packages cannot be had here; the message says why and what to do."""


def unpacked() -> Path:
    """Return the folder below which Debian's OpenSSH server and its suite are unpacked, as they would be below /.

    If another release is named, all of its OpenSSH is there. If not, they are those of the installed openssh-client,
    whose ssh-sk-helper sshd and the suite call: of the very same version if the archive still has it, else of another
    Debian revision of the same release, with the same sk-api.
    Downloads them on the first call; any number of processes may call at once.

    :raises UnpackError: if this is no Debian-like system, or the archive has no such packages or cannot be reached.
    """
    if RELEASE:
        return _release(RELEASE)
    version = _client_version()

    def fill(folder: Path) -> None:
        _download_openssh(version, folder)
        extract(folder)
        _complete(folder)

    return made_once(CACHE / ("openssh-" + version.partition(":")[2]), fill)


def programs(path: str = os.defpath) -> dict[str, str]:
    """Return the environment variables by which OpenSSH's programs are found before what else is on a PATH.

    :raises UnpackError: if another release is named and cannot be unpacked.
    """
    if not RELEASE:
        return {"PATH": path}
    root = unpacked()
    return {"PATH": f"{root}/usr/bin:{path}", "SSH_SK_HELPER": f"{root}/usr/lib/openssh/ssh-sk-helper"}


def libraries() -> dict[str, str]:
    """Return the environment variables by which unpacked programs find the libraries that are not installed here.

    :raises UnpackError: as unpacked() does.
    """
    folder = unpacked() / LIBRARIES
    return {"LD_LIBRARY_PATH": str(folder)} if folder.is_dir() else {}


def unpack(*packages: str) -> Path:
    """Return the folder below which packages of the archive are unpacked, as they would be below /, without others.

    Downloads them on the first call; any number of processes may call at once.

    :raises UnpackError: if the archive has no such packages or cannot be reached.
    """

    def fill(folder: Path) -> None:
        download(packages, folder)
        extract(folder)

    return made_once(CACHE / "-".join(packages), fill)


def made_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Return a folder below .build, which fill makes if it is not there.

    It is made whole beside its place and then renamed: nobody ever sees half of it, and the first of several wins.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix="making-"))
    try:
        fill(scratch)
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError as failure:
            if failure.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        if scratch.exists():
            shutil.rmtree(scratch)
    return folder


def download(packages: tuple[str, ...], folder: Path) -> None:
    """Fetch packages into a folder, as the archive offers them now.

    :raises UnpackError: if the archive has no such packages or cannot be reached.
    """
    # apt would otherwise complain that its sandbox user may not write here.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages]
    try:
        _run(command, folder)
    except UnpackError:
        # A system without package lists, as a minimal container is.
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "-q", "update"], folder)
        _run(command, folder)


def depends(package: str) -> list[str]:
    """Return the names of the packages that a package of the archive depends on.

    :raises UnpackError: if the archive has no such package or cannot be reached.
    """
    command = ["apt-cache", "depends", "--important", package]
    try:
        shown = _run(command, Path("/"))
    except UnpackError:
        # A system without package lists, as a minimal container is.
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "-q", "update"], Path("/"))
        shown = _run(command, Path("/"))
    return [line.split()[1] for line in shown.splitlines() if line.startswith("  Depends: ")]


def extract(folder: Path) -> None:
    """Put what the packages in a folder contain in their place."""
    for archive in folder.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(archive), str(folder)], folder)
        archive.unlink()


def mirror() -> str:
    """Return the archive that this machine's own packages come from."""
    mirrors = re.findall(r"(https?://\S+/debian) ", _run(["apt-cache", "policy"], Path("/")))
    return mirrors[0] if mirrors else "http://deb.debian.org/debian"


def _release(name: str) -> Path:
    """Return the folder below which a release's OpenSSH is unpacked, with the libraries that it runs on."""
    place = CACHE / f"openssh-of-{name}"

    def fill(folder: Path) -> None:
        _download_release(name, folder)
        extract(folder)
        _settle(folder, place)

    return made_once(place, fill)


def _download_release(name: str, folder: Path) -> None:
    """Fetch a release's OpenSSH and the libraries that it runs on into a folder, past what is installed here."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        apt = Path(scratch)
        for made in ("state/lists/partial", "cache/archives/partial"):
            (apt / made).mkdir(parents=True)
        (apt / "status").touch()
        (apt / "sources.list").write_text(f"deb {mirror()} {name} main\n")
        options = {
            "Dir::State": f"{apt}/state", "Dir::State::status": f"{apt}/status", "Dir::Cache": f"{apt}/cache",
            "Dir::Etc::SourceList": f"{apt}/sources.list", "Dir::Etc::SourceParts": "-", "Acquire::Languages": "none",
            "APT::Install-Recommends": "false", "APT::Sandbox::User": "root",
        }  # fmt: skip
        command = ["apt-get", "-q", "-y", *(word for option in options.items() for word in ("-o", "=".join(option)))]
        _run([*command, "update"], apt)
        _run([*command, "install", "--download-only", "openssh-client", "openssh-server", "openssh-sftp-server"], apt)
        # What this one depends on, its scripts that load a provider do not call.
        _run([*command, "download", "openssh-tests"], folder)
        for archive in (apt / "cache/archives").glob("*.deb"):
            if archive.name.startswith(("lib", "openssh-")):
                archive.rename(folder / archive.name)


def _settle(folder: Path, place: Path) -> None:
    """Let the programs in a folder run on the libraries there once it is at its place.

    On an older C library than this machine's, no provider that was built here can be loaded. Then they run on this
    machine's libraries, and on those there that it has not.
    """
    libc = next(path for below in ("usr/lib", "lib") for path in folder.glob(f"{below}/*/libc.so.6"))
    if _release_of(libc.read_bytes()) < _release_of(f"release version {os.confstr('CS_GNU_LIBC_VERSION')}".encode()):
        _settle_on_ours(folder, place)
        return
    libraries = place / libc.parent.relative_to(folder)
    for program in _programs(folder):
        # None has the rights of root here, where its libraries are anybody's.
        program.chmod(0o755)
        try:
            loader = _run(["patchelf", "--print-interpreter", str(program)], folder).strip()
        except UnpackError:
            continue  # a library, which is found by what loads it
        change = ["--set-interpreter", f"{place}/usr{loader}", "--force-rpath", "--set-rpath", str(libraries)]
        _run(["patchelf", *change, str(program)], folder)


def _release_of(libc: bytes) -> tuple[int, int]:
    found = re.search(rb"release version (?:glibc )?(\d+)\.(\d+)", libc)
    assert found is not None
    return int(found[1]), int(found[2])


def _settle_on_ours(folder: Path, place: Path) -> None:
    (folder / LIBRARIES).mkdir()
    while lacking := _lacking(folder):
        for name in lacking:
            shutil.copy(next(folder.glob(f"**/{name}")), folder / LIBRARIES)
    for program in _programs(folder):
        program.chmod(0o755)
        _run(["patchelf", "--force-rpath", "--set-rpath", str(place / LIBRARIES), str(program)], folder)


def _programs(folder: Path) -> Iterator[Path]:
    """Yield the programs in a folder that are machine code."""
    for path in (path for below in PROGRAMS for path in (folder / below).rglob("*")):
        is_program = path.is_file() and not path.is_symlink() and os.access(path, os.X_OK)
        if is_program and path.read_bytes()[:4] == b"\x7fELF":
            yield path


def _complete(folder: Path) -> None:
    """Put the libraries that the programs in a folder need, and this machine has not, beside them.

    :raises UnpackError: if the archive has them not or cannot be reached.
    """
    if not _lacking(folder):
        return
    would_be = ["apt-get", "-q", "--simulate", "--no-install-recommends", "install", *PACKAGES[:2]]
    # What would be upgraded has the installed version in brackets.
    packages = re.findall(r"^Inst (lib\S+) \(", _run(would_be, folder), re.MULTILINE)
    (folder / LIBRARIES).mkdir()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        download(tuple(packages), Path(scratch))
        extract(Path(scratch))
        for library in Path(scratch).rglob("lib*.so.*"):
            shutil.copy(library, folder / LIBRARIES)
    if lacking := _lacking(folder):
        names = ", ".join(sorted(lacking))
        raise UnpackError(f"OpenSSH's packages depend on none that has {names}; upgrade this system")


def _lacking(folder: Path) -> set[str]:
    """Return the names of the libraries that the programs in a folder need and the dynamic linker does not find."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder / LIBRARIES), "LC_ALL": "C"}
    names: set[str] = set()
    for program in _programs(folder):
        shown = subprocess.run(
            ["ldd", program], env=environment, capture_output=True, text=True, check=False, timeout=DOWNLOAD_S
        )
        names.update(re.findall(r"^\s+(\S+) => not found$", shown.stdout, re.MULTILINE))
    return names


def _client_version() -> str:
    try:
        return _run(["dpkg-query", "--show", "--showformat=${Version}", "openssh-client"], Path("/")).strip()
    except FileNotFoundError:
        raise UnpackError("this is no Debian-like system, so Debian's OpenSSH server cannot be unpacked") from None


def _download_openssh(version: str, folder: Path) -> None:
    """Fetch the packages into a folder, the client's own version first, then whatever revision the archive has."""
    try:
        download(tuple(f"{package}={version}" for package in PACKAGES), folder)
    except UnpackError:
        pass
    else:
        return
    download(PACKAGES, folder)
    for archive in folder.glob("*.deb"):
        offered = _run(["dpkg-deb", "--field", str(archive), "Version"], folder).strip()
        if offered.partition("-")[0] != version.partition("-")[0]:
            raise UnpackError(f"openssh-client is {version} here and {offered} in the archive; upgrade openssh-client")


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=DOWNLOAD_S, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise UnpackError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
