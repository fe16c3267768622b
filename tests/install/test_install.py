"""`make install` and `make uninstall`, by root in another user's clone, where the tests are run by root.

Those who use what is installed are another user then, too.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.openssh import Agent, Person, assert_signs, enrolled
from support.provider_tree import copy_source, installed_library
from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from support.terminal import Done

BASE_PYTHON = os.path.realpath(sys.executable)
PYTHON = f"PYTHON={BASE_PYTHON}"
# A Python whose environments get no pip, and which fails to make them: Debian's is one without python3-venv.
WITHOUT_VENV = """#!/bin/sh
[ "$3" != venv ] || {{ "{python}" -m venv --without-pip "$5"; exit 1; }}
exec "{python}" "$@"
"""
# What a build would take, or stumble over, if it happened in the clone.
PLANTED = ("build/lib/sk_provider/planted.py", "build/lib.linux-x86_64-cpython-311/sk_provider/planted.py")
STALE = "sk_provider.egg-info/SOURCES.txt"
MARK = ".made-by-libpysk"
SHARED = {
    f"share/{name}" for name in (
        "man/man1/pysk.1", "man/man5/pysk_config.5", "man/man7/pysk_transport.7", "man/man8/libpysk.8",
        "bash-completion/completions/pysk",
        "zsh/site-functions/_pysk", "fish/vendor_completions.d/pysk.fish",
    )
}  # fmt: skip
# Who uses an installation, and how root becomes them.
USER = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
AS_USER = ("setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--clear-groups") * (os.geteuid() == 0)
# Of what ssh-agent accepts libraries from, the folder that is not the distribution's.
ACCEPTED = "/usr/local/lib"


class Clone:
    """A clone, in a folder that everybody can reach, and whose owner is nobody in particular."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.folder = folder
        self.path = folder / "clone"
        copy_source(self.path)
        for name in (*PLANTED, STALE):
            planted = self.path / name
            planted.parent.mkdir(parents=True)
            planted.write_text("raise SystemExit\n")
        self.errors = ""
        self.home = folder / "home"
        self.home.mkdir()
        for path in (self.home, self.path, *self.path.rglob("*")):
            os.chown(path, USER.pw_uid, USER.pw_gid)

    def make(
        self, *arguments: str, umask: int = 0o022, by_owner: bool = False, variables: dict[str, str] | None = None
    ) -> str:
        """Return what make prints on standard output, run by who runs the tests or by the owner of the clone.

        variables are added to the environment. What is printed as errors is in errors then. Raises CalledProcessError,
        with that, if make fails.
        """
        user, group = (USER.pw_uid, USER.pw_gid) if by_owner else (None, None)
        done = subprocess.run(
            ("make", "--no-print-directory", "-C", str(self.path), PYTHON, *arguments),
            env={**os.environ, "HOME": str(self.home), **(variables or {})}, user=user, group=group, umask=umask,
            capture_output=True, text=True, check=True, timeout=280,
        )  # fmt: skip
        self.errors = done.stderr
        return done.stdout.rstrip("\n")

    def state(self) -> dict[str, tuple[int, ...]]:
        """Return what tells of each file and folder whether it is new or was changed."""
        found: dict[str, tuple[int, ...]] = {}
        for path in (self.path, *self.path.rglob("*")):
            status = path.lstat()
            found[str(path)] = (status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns)
        return found


class User(Person):
    """Somebody else than who installs."""

    def __init__(self, folder: Path, provider: Path) -> None:
        folder.mkdir()
        super().__init__(folder, provider)
        for path in (folder, *folder.iterdir()):
            os.chown(path, USER.pw_uid, USER.pw_gid)

    def run(
        self,
        *command: str,
        answers: Sequence[tuple[str, str]] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command at a terminal."""
        # Their own, as long as they have it.
        for path in self.folder.iterdir():
            os.chown(path, USER.pw_uid, USER.pw_gid)
        return super().run(*AS_USER, *command, answers=answers, environment=environment)

    def agent(self, folder: Path) -> Agent:
        """Return an agent of theirs that accepts what is in a folder, by its own rules if they say so."""
        agent = Agent(self)
        os.chown(Path(agent.environment["SSH_AUTH_SOCK"]).parent, USER.pw_uid, USER.pw_gid)
        pattern = () if folder.is_relative_to(ACCEPTED) else ("-P", f"{folder}/*")
        agent.command = [*AS_USER, *agent.command[: agent.command.index("-P")], *pattern]
        return agent


@pytest.fixture
def clone() -> Iterator[Clone]:
    with tempfile.TemporaryDirectory(prefix="pysk-install-") as folder:
        yield Clone(Path(folder))


@pytest.fixture
def accepted(clone: Clone) -> Iterator[Path]:
    """A folder where ssh-agent accepts libraries if root can make one there."""
    with tempfile.TemporaryDirectory(prefix="pysk-", dir=ACCEPTED if os.geteuid() == 0 else clone.folder) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def signing_slowly(person: User, key: Path, folder: Path) -> Iterator[None]:
    """Have a person asked for a signature before the context is entered, who agrees once it is left."""
    asked, agreed, document = (folder / name for name in ("asked", "agreed", "slow"))
    document.write_text("a message")
    config = folder / "pysk_config"
    config.write_text(person.config.read_text().replace("Presence auto", "Presence ask\nTimeout 600"))
    config.chmod(0o644)
    waiting = f"#!/bin/sh\ntouch {asked}\nwhile [ ! -e {agreed} ]; do sleep 0.1; done\n"
    askpass = {
        "SSH_ASKPASS": str(program(folder / "askpass", waiting)),
        "SSH_ASKPASS_REQUIRE": "force",
        "DISPLAY": ":0",
    }
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    process = subprocess.Popen(
        [*AS_USER, "ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, document],
        env={**person.environment, "PYSK_CONFIG": str(config), **askpass}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: asked.exists() or process.poll() is not None, "the question")
        yield
    finally:
        agreed.touch()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert person.verify(key, document.with_name("slow.sig")).returncode == 0


@contextmanager
def signing(person: Person, key: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Have a person sign all the time while the context lasts, and fail unless each signature is made."""
    stop = threading.Event()
    ends: list[Done] = []

    def sign() -> None:
        while not stop.is_set():
            ends.append(person.sign(key, environment=environment)[0])

    thread = threading.Thread(target=sign)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert ends
    assert [done for done in ends if done.status != 0] == []


def modes(folder: Path) -> set[tuple[str, str]]:
    """Return the kinds and the modes of what is in a folder, and of the folder, but for links."""
    statuses = [path.lstat() for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    return {
        ("folder" if stat.S_ISDIR(each.st_mode) else "file", f"{stat.S_IMODE(each.st_mode):o}") for each in statuses
    }


def program(path: Path, text: str) -> Path:
    """Make a program, in folders that may be missing, that everybody can run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def refusal(clone: Clone, target: str, prefix: Path) -> str:
    """Return what make prints as errors when it does not do it."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        clone.make(target, f"PREFIX={prefix}")
    message: str = caught.value.stderr
    return message


def environment_of_before(prefix: Path) -> Path:
    """Make what `make install` made before there were versions, and return the path of its library."""
    installed = installed_library().parents[1]
    subprocess.run((BASE_PYTHON, "-I", "-m", "venv", "--without-pip", prefix), check=True, timeout=60)
    (site_packages,) = prefix.glob("lib/python*/site-packages")
    for pattern in ("sk_provider*", "_cffi_backend*", "cryptography*", "fido2*"):
        for path in installed.glob(pattern):
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, site_packages / path.name)
    program(prefix / MARK, "").chmod(0o644)
    return site_packages / "sk_provider/libpysk.so"


@pytest.mark.timeout(900)
def test_an_agent_goes_on_signing_while_the_library_is_replaced_and_its_old_folder_removed(
    clone: Clone, accepted: Path
) -> None:
    prefix, ran = accepted / "pysk", clone.folder / "ran"
    touch = program(clone.folder / "touch", f"#!/bin/sh\ntouch {ran}\n")
    for settings in (".config", "xdg", "global"):
        program(clone.home / settings / "pip/pip.conf", f"[global]\npython = {touch}\n")
    config = {f"XDG_CONFIG_{name}": str(clone.home / value) for name, value in (("HOME", "xdg"), ("DIRS", "global"))}
    before = environment_of_before(prefix)
    person = User(clone.folder / "user", before)
    key = enrolled(person)
    # Alone, so that it is the agent that signs.
    public = Path(shutil.copy(key.with_name("id.pub"), clone.folder / "public.pub")).with_suffix("")
    with person.agent(accepted) as agent:

        def add(library: Path) -> None:
            done = agent.add("-S", str(library), str(key))
            assert done.status == 0, done

        def assert_agent_signs() -> None:
            done, signature = person.sign(public.with_suffix(".pub"), environment=agent.environment)
            assert done.status == 0, done
            assert person.verify(public, signature).returncode == 0

        def use(library: Path) -> None:
            person.provider = library
            person.environment["SSH_SK_PROVIDER"] = str(library)

        add(before)
        assert_agent_signs()
        # What others have done to it.
        (prefix / "pyvenv.cfg").chmod(0o666)
        (prefix / "bin/python").unlink()
        (prefix / "bin/python").symlink_to(touch)
        (before.parents[1] / "planted.pth").write_text(f"import os; os.mknod({str(ran)!r})\n")
        prefix.chmod(0o2750)
        # What the person had to do, then.
        links = clone.folder / "links"
        (links / "bin").mkdir(parents=True)
        (links / "bin/pysk").symlink_to(prefix / "bin/pysk")
        library = Path(clone.make("install", f"PREFIX={prefix}", f"LINKS={links}", umask=0o000, variables=config))
        assert library == prefix / "libpysk.so"
        assert not library.is_symlink()
        assert f"the library is now {library}; " in clone.errors
        assert f"{before} works only until Python is upgraded" in clone.errors
        assert not ran.exists()
        assert list(prefix.rglob("planted*")) == []
        assert modes(prefix) == {("folder", "755"), ("file", "644"), ("file", "755")}
        assert len(list(prefix.glob("versions/*"))) == 1
        assert_agent_signs()
        assert {path for path in links.rglob("*") if path.exists()} > {
            links / "bin/pysk",
            links / "share/man/man1/pysk.1",
        }
        agent.add("-D")
        add(library)

        with (clone.path / "sk_provider/embed.py").open("a") as module:
            module.write("# another build\n")
        use(library)
        (clone.folder / "slow").mkdir()
        # What is left of one that was killed.
        (prefix / "versions/killed").mkdir()
        with (
            signing(person, public.with_suffix(".pub"), agent.environment),
            signing_slowly(person, key, clone.folder / "slow"),
        ):
            clone.make("install", f"PREFIX={prefix}")
        assert clone.errors == ""
        assert list(links.rglob("*")) == [links / "bin"]
        old, new = sorted(prefix.glob("versions/*"))
        assert (prefix / "current").resolve() == new
        (embed,) = new.glob("lib/python*/site-packages/sk_provider/embed.py")
        assert embed.read_text().endswith("# another build\n")
        shutil.rmtree(old)
        assert_agent_signs()
    assert_signs(person, key)
    for program_of_ours in ("pysk", "pip", "python"):
        subprocess.run((prefix / "bin" / program_of_ours, "--version"), check=True, capture_output=True, timeout=60)
    command = "import sk_provider, sys; print(sys.prefix, sk_provider.__path__[0])"
    found = subprocess.run(
        (prefix / "bin/python", "-Ic", command), capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == [str(prefix), str(next(prefix.glob("lib/python*/site-packages/sk_provider")))]

    clone.make("uninstall", f"PREFIX={prefix}")
    assert list(accepted.iterdir()) == []


@pytest.mark.timeout(600)
def test_an_installation_is_of_the_source_alone_and_works_where_it_is_moved_to(clone: Clone) -> None:
    prefix, links, stage = (clone.folder / name for name in ("place/pysk", "links", "stage"))
    variables = (f"PREFIX={prefix}", f"LINKS={links}")
    ran = clone.folder / "ran"
    touch = program(clone.folder / "touch", f"#!/bin/sh\ntouch {ran}\n")
    without_venv = program(clone.folder / "without-venv", WITHOUT_VENV.format(python=BASE_PYTHON))
    before = clone.state()
    printed = clone.make("install", *variables, f"DESTDIR={stage}/", umask=0o077, variables={"PIP_PYTHON": str(touch)})
    assert printed == f"{prefix}/libpysk.so"
    assert not ran.exists()
    assert modes(stage) == {("folder", "755"), ("file", "644"), ("file", "755")}
    assert clone.state() == before
    assert list(stage.rglob("planted*")) == []
    assert {path.lstat().st_uid for path in stage.rglob("*")} == {os.geteuid()}
    assert not prefix.exists()
    assert not links.exists()

    naming = [path for path in stage.rglob("*") if path.is_file() and str(stage).encode() in path.read_bytes()]
    assert naming == []
    prefix.parent.mkdir()
    for path in (prefix, links):
        shutil.move(f"{stage}{path}", path)
    shutil.rmtree(stage)
    assert {str(path.relative_to(links)) for path in links.rglob("*") if path.is_symlink()} == {"bin/pysk", *SHARED}
    assert [path for path in links.rglob("*") if not path.exists()] == []
    program(clone.folder / "elsewhere/click.py", "raise RuntimeError\n")
    told = subprocess.run(
        (links / "bin/pysk", "path"), env={**os.environ, "PYTHONPATH": str(clone.folder / "elsewhere")},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert told.stderr == ""
    library = Path(told.stdout.rstrip("\n"))
    assert library == prefix / "libpysk.so"
    (package,) = prefix.glob("lib/python*/site-packages/sk_provider")
    assert {path.name for path in package.iterdir()} == {path.name for path in installed_library().parent.iterdir()}
    person = User(clone.folder / "user", library)
    assert_signs(person, enrolled(person))
    older = subprocess.run(
        (links / "bin/pysk", "path", "--api", "7"), capture_output=True, text=True, check=True, timeout=60
    )
    assert older.stdout == f"{prefix}/libpysk-skapi7.so\n"
    # Who names it where the package is has the same one, also in one process.
    compare = "import ctypes, sys; a, b = (ctypes.CDLL(each)._handle for each in sys.argv[1:]); sys.exit(a != b)"
    for name in ("libpysk.so", "libpysk-skapi7.so"):
        subprocess.run((BASE_PYTHON, "-Ic", compare, prefix / name, package / name), check=True, timeout=60)

    with pytest.raises(subprocess.CalledProcessError):
        clone.make(f"PYTHON={without_venv}", by_owner=True)
    made = Path(clone.make(by_owner=True))
    assert made.is_relative_to(clone.path / ".venv")
    assert made.exists()
    shutil.rmtree(clone.path / ".venv")
    os.utime(clone.path, ns=(0, before[str(clone.path)][-1]))
    assert clone.state() == before

    theirs = program(links / "bin/theirs", "")
    clone.make("uninstall", f"PREFIX={prefix}")
    assert list(prefix.parent.iterdir()) == []
    assert [path for path in links.rglob("*") if not path.is_dir()] == [theirs]
    assert [path for path in links.iterdir() if path.is_dir()] == [links / "bin"]


def test_links_are_made_where_they_are_asked_for_and_beside_the_usual_folder_alone(clone: Clone) -> None:
    def told(*variables: str) -> str:
        return clone.make("--dry-run", "install", *variables)

    assert 'LINKS="/usr/local" ' in told()
    assert 'LINKS="" ' in told("LINKS=")
    assert 'LINKS="" ' in told("PREFIX=/opt/pysk")
    assert 'LINKS="/opt" ' in told("PREFIX=/opt/pysk", "LINKS=/opt")


@pytest.mark.parametrize("is_link", [False, True])
def test_a_command_of_somebody_else_is_left_alone(clone: Clone, is_link: bool) -> None:
    prefix, links = clone.folder / "prefix", clone.folder / "links"
    theirs = program(links / "bin/pysk", "theirs")
    if is_link:
        theirs.rename(theirs.with_name("other"))
        theirs.symlink_to("other")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        clone.make("install", f"PREFIX={prefix}", f"LINKS={links}")
    assert f"{theirs} is not what 'make install' has made" in caught.value.stderr
    assert not prefix.exists()
    # Nor once it has taken the place of ours.
    program(prefix / MARK, f"{theirs}\n{links}\n")
    clone.make("uninstall", f"PREFIX={prefix}")
    assert not prefix.exists()
    assert theirs.read_text() == "theirs"


def test_a_package_that_is_not_the_locked_one_is_not_installed(clone: Clone) -> None:
    lock, prefix = clone.path / "cbuild/requirements.lock", clone.folder / "prefix"
    before, click, hashes = lock.read_text().partition("click==")
    lock.write_text(before + click + re.sub("sha256:[0-9a-f]{8}", "sha256:00000000", hashes))
    # What was installed before stays then.
    installed = {program(prefix / name, "") for name in ("versions/before/bin/pysk", "libpysk.so", MARK)}
    (prefix / "current").symlink_to("versions/before")
    (prefix / "bin").symlink_to("current/bin")
    refusal(clone, "install", prefix)
    assert {path for path in prefix.rglob("*") if path.is_file()} == installed
    clone.make("uninstall", f"PREFIX={prefix}")
    assert not prefix.exists()


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_folder_of_somebody_else_is_left_alone(target: str, clone: Clone) -> None:
    theirs = clone.folder / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "program").touch(mode=0o4700)
    assert "make install" in refusal(clone, target, theirs)
    assert modes(theirs) == {("folder", "700"), ("file", "4700")}


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_an_environment_of_somebody_else_is_left_alone(target: str, clone: Clone) -> None:
    theirs = clone.folder / "theirs"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", theirs), check=True, timeout=60)
    assert "what 'make install' has made" in refusal(clone, target, theirs)
    assert (theirs / "pyvenv.cfg").exists()


def test_nothing_is_installed_where_others_can_write(clone: Clone) -> None:
    prefix = clone.folder / "prefix"
    program(prefix / MARK, "")
    for mode in (0o757, 0o775):
        prefix.chmod(mode)
        assert "can be written by others than its owner; forbid that with chmod go-w" in refusal(
            clone, "install", prefix
        )
    assert [path.name for path in prefix.iterdir()] == [MARK]


def test_nothing_is_installed_into_a_folder_that_belongs_to_somebody_else(clone: Clone) -> None:
    prefix = clone.folder / "prefix"
    program(prefix / MARK, "")
    if os.geteuid() == 0:
        os.chown(prefix, pwd.getpwnam("nobody").pw_uid, -1)
    else:
        prefix = Path("/usr/lib")
    assert "belongs to somebody else; name another" in refusal(clone, "install", prefix)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_nothing_is_removed_that_somebody_else_says_was_made(clone: Clone) -> None:
    prefix, empty = clone.folder / "prefix", clone.folder / "empty"
    empty.mkdir()
    program(prefix / MARK, f"{empty}\n")
    os.chown(prefix, pwd.getpwnam("nobody").pw_uid, -1)
    assert "belongs to somebody else; remove it as the user whose it is" in refusal(clone, "uninstall", prefix)
    assert empty.is_dir()
    assert (prefix / MARK).exists()


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_what_came_into_the_folder_later_is_left_alone(target: str, clone: Clone) -> None:
    prefix = clone.folder / "prefix"
    program(prefix / MARK, "")
    program(prefix / "bin/pysk", "")
    for name in ("later", "other"):
        program(prefix / name / "file", "")
    told = re.search(r"holds what 'make install' has not made \((.*?)\)", refusal(clone, target, prefix))
    assert told is not None
    assert sorted(told[1].split(", ")) == ["later", "other"]
    assert (prefix / "later/file").exists()
    assert (prefix / "bin/pysk").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_what_is_left_of_a_failure_can_be_removed(clone: Clone, exists: bool) -> None:
    prefix = clone.folder / "prefix"
    if exists:
        prefix.mkdir(mode=0o755)
    without_venv = program(clone.folder / "without-venv", WITHOUT_VENV.format(python=BASE_PYTHON))
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            clone.make("install", f"PREFIX={prefix}", f"PYTHON={without_venv}")
    clone.make("uninstall", f"PREFIX={prefix}")
    assert not prefix.exists()
