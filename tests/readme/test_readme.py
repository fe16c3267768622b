"""Every command block of the README, typed as it stands by somebody with a fresh account, in the order of its section.

A block is run, or put into the file that it is the content of. One with which nothing is done fails its section's
test, and a section that has blocks and no test fails as well.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import debian, manual_page, pcscd
from support.desktop import Desktop
from support.fresh import ACCOUNTS, Account, Machine, machine
from support.openssh import PIN
from support.provider_tree import REPOSITORY, copy_source, installed_library
from support.swtpm import Swtpm

from sk_provider.cli import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from support.terminal import Done

    Answers = Sequence[tuple[str, str]]

LIBRARY = "/usr/local/lib/pysk/libpysk.so"
SAVE = ("Enter file in which to save the key", "")
NO_PASSPHRASE = (("Enter passphrase", ""), ("Enter same passphrase again", ""))
CONFIRM = ("Press Enter to confirm", "")
NEW_KEY = (SAVE, *NO_PASSPHRASE)
PINENTRY = f"""#!/bin/sh
echo OK
while read -r request; do
  echo "$request" >>/home/alice/asked
  [ "$request" != GETPIN ] || echo 'D {PIN}'
  echo OK
done
"""


class Block:
    """The lines of a block, and whether a test has done something with it."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.is_done = False

    def run(
        self, account: Account, answers: Mapping[int, Answers] | None = None, lines: slice = slice(None)
    ) -> list[Done]:
        """Have an account type the lines, all of which must succeed; answers: what is asked by which of them."""
        self.is_done = True
        done = []
        for number in range(len(self.lines))[lines]:
            done.append(account.types(self.lines[number], (answers or {}).get(number, ())))
            assert done[-1].status == 0, f"{self.lines[number]}\n{done[-1]}"
        return done

    @property
    def text(self) -> str:
        """What stands in the file that the block is the content of."""
        self.is_done = True
        return "".join(f"{line}\n" for line in self.lines)


def readme() -> dict[str, list[Block]]:
    """Return the blocks of each section that has some."""
    found: dict[str, list[Block]] = {}
    section, is_in_block = "", False
    for line in (REPOSITORY / "README.md").read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        if not line.startswith("    "):
            is_in_block = False
            continue
        if not is_in_block:
            found.setdefault(section, []).append(Block([]))
        is_in_block = True
        found[section][-1].lines.append(line[4:])
    return found


@contextmanager
def section(name: str) -> Iterator[list[Block]]:
    """Yield the blocks of a section, and fail unless each of them is done with at the end of the context."""
    blocks = readme()[name]
    yield blocks
    for block in blocks:
        assert block.is_done, f"a block that nothing tries, in the section {name}:\n{block.text}"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What /usr/local is, once somebody has installed libpysk as the README says."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("only root that is not confined to a container can make a system in a folder")
    folder = tmp_path_factory.mktemp("local")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    with machine(folder) as fresh, section("Install") as (packages, install):
        person = Account(fresh, "alice")
        packages.run(person)
        copy_source(fresh.inside(person.home / "clone"))
        fresh.run(f"chown -R alice:alice {person.home}/clone")
        person.types("cd clone")
        (done,) = install.run(person)
        assert done.screen.splitlines()[-1] == LIBRARY
    return folder


@pytest.fixture
def fresh(local: Path) -> Iterator[Machine]:
    with machine(local) as made:
        made.serve()
        yield made


@pytest.fixture
def person(fresh: Machine) -> Account:
    account = Account(fresh, "alice")
    # They have used git before.
    for command in ("git config --global user.name Alice", "git config --global user.email alice@example.org"):
        assert account.types(command).status == 0
    return account


@contextmanager
def authenticator(account: Account, name: str = "token", *options: str) -> Iterator[str]:
    """Yield the address of an authenticator that is there while the context lasts, and touched whenever it waits."""
    path = account.home / f".{name}"
    command = " ".join(("/usr/local/bin/pysk", "serve", "--presence", "auto", *options, f"unix:{path}"))
    with account.runs(command, lambda: account.has(f".{name}")):
        yield f"unix:{path}"


@pytest.fixture
def plugged(fresh: Machine, person: Account) -> Iterator[None]:
    """Have an authenticator be the one that is used, as a USB one is that somebody plugs in."""
    with authenticator(person) as address:
        fresh.write(Path("/etc/ssh/pysk_config"), f"Device {address}\n")
        yield


@contextmanager
def card(account: Account) -> Iterator[None]:
    """Have a card lie on the only reader of a machine, whose pcscd runs while the context lasts."""
    place = account.machine
    root = debian.unpack("pcscd", "vsmartcard-vpcd")
    (library,) = root.glob("usr/lib/pcsc/drivers/serial/libifdvpcd.so.*.*")
    configuration = place.folder / "reader.conf"
    configuration.write_text(pcscd.READER.format(port=pcscd.PORT, library=library))
    place.run(f"busybox ifconfig lo 127.0.0.1 netmask 255.0.0.0 up; mkdir {pcscd.SOCKET.parent}")
    daemon = f"{root}/usr/sbin/pcscd --foreground --critical --config {configuration}"
    served = "pysk serve --presence auto vpcd:"
    with (
        place.runs(daemon, lambda: place.inside(pcscd.SOCKET).exists()),
        account.runs(served, lambda: "Virtual PCD" in account.types("pysk devices").screen),
    ):
        yield


def authorize(account: Account, key: str, at: Account | None = None) -> None:
    """Let whoever holds an account's key log in at the host."""
    (at or account).append(".ssh/authorized_keys", account.read(f"{key}.pub"))


def set_up(account: Account, provider: Block | None = None) -> None:
    """Do what comes first for everybody: make a key, and name the provider, as this block says."""
    make, _ = readme()["Two commands"][0].lines
    done = account.types(make, NEW_KEY)
    assert done.status == 0, done
    authorize(account, ".ssh/id_ed25519_sk")
    (provider or readme()["ssh and ssh-agent"][0]).run(account)


def test_every_section_with_a_block_has_a_test() -> None:
    tests = Path(__file__).read_text()
    assert [name for name in readme() if f'section("{name}")' not in tests] == []


def test_the_commands_of_pysk_are_all_named_and_no_others() -> None:
    table = (REPOSITORY / "README.md").read_text().partition("## The command pysk\n")[2].partition("\n## ")[0]
    named = re.findall(r"`pysk ([a-z]+)", "".join(line for line in table.splitlines(True) if line.startswith("| `")))
    assert sorted(named) == sorted(main.commands)


def test_two_commands(person: Account, plugged: None) -> None:
    with section("Two commands") as (commands,):
        commands.run(person, {0: NEW_KEY}, slice(1))
        authorize(person, ".ssh/id_ed25519_sk")
        log_in = commands.lines[1]
        assert person.types(f"{log_in} echo in").screen.splitlines()[-1] == "in"
        commands.run(person, {1: (("$ ", "exit"),)}, slice(1, None))


def test_two_commands_without_an_authenticator(person: Account) -> None:
    make, log_in = readme()["Two commands"][0].lines
    done = person.types("pysk try soft:", (CONFIRM,) * 4)
    assert done.status == 0, done
    done = person.types(f"{make} -O device=soft:", (CONFIRM, *NEW_KEY))
    assert done.status == 0, done
    authorize(person, ".ssh/id_ed25519_sk")
    done = person.types(f"{log_in} echo in", (CONFIRM,))
    assert done.screen.splitlines()[-1] == "in", done


def test_ssh_and_ssh_agent(person: Account, plugged: None) -> None:
    with section("ssh and ssh-agent") as (provider, diagnosis, agent, resident):
        set_up(person, provider)
        doctor, _ = diagnosis.run(person)
        assert "nothing to do" in doctor.screen
        agent.run(person, {2: (("$ ", "exit"),)})
        person.types(f"printf '{PIN}\\n' | pysk pin set")
        resident.run(person, {0: (("Enter PIN", PIN), *NO_PASSPHRASE), 1: (("Enter PIN", PIN),)})
        assert "ssh:work" in person.types("pysk keys list", (("PIN", PIN),)).screen


def commit(account: Account, name: str) -> None:
    """Have an account commit something."""
    done = account.types(f"git commit -q --allow-empty -m {name}")
    assert done.status == 0, done


def test_git(person: Account, plugged: None) -> None:
    set_up(person)
    assert person.types("git init -q -b main repository && cd repository").status == 0
    with section("git") as (signing, verifying, desktop, rebase):
        signing.run(person)
        commit(person, "first")
        assert person.types("git tag -m release v1").status == 0
        *_, commit_verified, log = verifying.run(person)
        for done in (commit_verified, log, person.types("git verify-tag v1")):
            assert 'Good "git" signature for alice@example.org' in done.screen + done.errors

        # What the desktop starts has not read ~/.profile.
        without = "env --unset=SSH_SK_PROVIDER git commit -q --allow-empty -m second"
        done = person.types(without)
        assert done.status != 0
        assert "device not found?" in done.errors
        desktop.run(person)
        assert person.types(without).status == 0

        assert person.types("git checkout -q -b topic HEAD~1").status == 0
        commit(person, "third")
        commit(person, "fourth")
        rebase.run(person, lines=slice(1))
        assert person.types("git log --format=%G? main.. | cat").screen.split() == ["N", "N"]
        rebase.run(person, lines=slice(1, None))
        assert person.types("git log --format=%G? | cat").screen.split() == ["G"] * 4


def test_git_without_a_terminal_asks_by_an_agent(person: Account, fresh: Machine) -> None:
    set_pin = person.types("pysk pin set soft:", (("PIN", PIN), ("PIN", PIN)))
    assert set_pin.status == 0, set_pin
    make = readme()["Two commands"][0].lines[0]
    done = person.types(f"{make} -O device=soft: -O verify-required", (CONFIRM, *NEW_KEY))
    assert done.status == 0, done
    signing, _, desktop, _ = readme()["git"]
    signing.run(person)
    desktop.run(person)
    person.write(
        "askpass", f'#!/bin/sh\necho "$SSH_ASKPASS_PROMPT: $1" >>~/asked\ncase $1 in *PIN*) echo {PIN} ;; esac\n', 0o700
    )
    assert person.types('eval "$(SSH_ASKPASS=~/askpass DISPLAY=:0 ssh-agent)"').status == 0
    assert person.types(f"ssh-add -S {LIBRARY} ~/.ssh/id_ed25519_sk").status == 0
    assert person.types("git init -q repository && cd repository").status == 0
    done = person.types("setsid --wait git commit -q --allow-empty -m first </dev/null")
    assert done.status == 0, done
    assert "none: Confirm user presence for key" in person.read("asked")
    assert "Enter PIN" in person.read("asked")


def play_pinentry(machine: Machine) -> None:
    """Have a machine's /usr/bin/pinentry answer with the PIN, and note each request."""
    machine.write(Path("/run/programs/pinentry"), PINENTRY, 0o755)
    machine.run("mount -t overlay overlay -o lowerdir=/run/programs:/usr/bin /usr/bin")


@contextmanager
def desktop_and_agent(account: Account) -> Iterator[Desktop]:
    """Have an account a session bus, and an agent that knows of nothing but the folder of both, as systemd's does."""
    place = account.machine
    folder = Path("/run/user", str(ACCOUNTS[account.name]))
    place.run(f"mkdir -p {folder} && chown {account.name}:{account.name} {folder} && chmod 700 {folder}")
    variables = {"XDG_RUNTIME_DIR": str(folder), **debian.programs(place.environment(account.name)["PATH"])}
    bare = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in variables.items())])
    # As Debian's ssh-agent.service runs it in the end.
    start = f"{bare} ssh-agent -D -a {folder}/openssh_agent"
    wrapper = place.enter(user=account.name)
    with (
        Desktop(place.inside(folder), wrapper=wrapper, inside=folder) as desktop,
        account.runs(start, lambda: place.inside(folder / "openssh_agent").exists()),
    ):
        assert account.types(f"export XDG_RUNTIME_DIR={folder}").status == 0
        yield desktop


def test_touches_and_pins_where_there_is_no_terminal(fresh: Machine, person: Account) -> None:
    me = Account(fresh, "me")
    play_pinentry(fresh)
    with (
        authenticator(person, "token", "--presence", "after:1000") as address,
        section("Touches and PINs where there is no terminal") as (settings, agent, program, ansible, rules),
        desktop_and_agent(person) as desktop,
    ):
        fresh.write(Path("/etc/ssh/pysk_config"), f"Device {address}\n")
        assert person.types(f"pysk pin set {address}", (("PIN", PIN), ("PIN", PIN))).status == 0
        make, _ = readme()["Two commands"][0].lines
        assert person.types(f"{make} -O verify-required", NEW_KEY).status == 0
        for account in (person, me):
            authorize(person, ".ssh/id_ed25519_sk", account)
        readme()["ssh and ssh-agent"][0].run(person)
        signing, verifying, names_the_library, _ = readme()["git"]
        signing.run(person)
        names_the_library.run(person)
        person.write(".ssh/pysk_config", settings.text)
        agent.run(person)

        program.run(person)
        assert person.types("git init -q -b main repository && cd repository").status == 0
        # What the desktop starts has neither a terminal nor what a shell sets.
        without = "setsid --wait env --unset=SSH_SK_PROVIDER --unset=SSH_AUTH_SOCK"
        for name in ("first", "second"):
            done = person.types(f"{without} git commit -q --allow-empty -m {name} </dev/null")
            assert done.status == 0, done
        verifying.run(person)
        desktop.wait_for_withdrawal(2)
        touch = ("Security key", f"touch {address}\ngit signature, with a key for ssh:")
        assert desktop.shown == [touch, touch]
        assert person.read("asked").count("GETPIN") == 1
        assert "SETDESC git signature, with a key for ssh:" in person.read("asked")

        (arguments,) = re.findall("^ssh_args = (.*)$", ansible.text, re.MULTILINE)
        # Ansible adds where the connections are.
        ssh = f"setsid --wait ssh {arguments} -o ControlPath=~/.ssh/%r"
        both = f"for host in host server; do {ssh} $host echo in $host </dev/null & done; wait"
        for _ in range(2):
            done = person.types(both)
            assert sorted(done.screen.splitlines()) == ["in host", "in server"], done
        desktop.wait_for_withdrawal(4)
        purposes = [body.splitlines()[1] for _, body in desktop.shown[2:]]
        assert sorted(re.split(" at |,", purpose)[0] for purpose in purposes) == ["login as alice", "login as me"]
        assert person.read("asked").count("GETPIN") == 1

        person.append(".ssh/pysk_config", rules.text)
        person.prepend(".ssh/pysk_config", "LogFile ~/.ssh/pysk_log\n")
        fresh.write(Path("/root/.ssh/authorized_keys"), person.read(".ssh/id_ed25519_sk.pub"))
        done = person.types("setsid --wait ssh root@host </dev/null")
        assert done.status != 0
        assert "agent refused operation" in done.errors
        assert "/.ssh/pysk_config line 6 forbids this login as root" in person.read(".ssh/pysk_log")
        assert person.types("ssh host echo in").screen.splitlines()[-1] == "in"
        (line,) = person.read(".ssh/pysk_audit").splitlines()
        assert 'operation=sign purpose="login as alice' in line
        assert person.types("pysk forget").status == 0
        desktop.wait_for_withdrawal(len(desktop.shown))


def test_several_authenticators_several_keys(person: Account, plugged: None) -> None:
    set_up(person)
    with section("Several authenticators, several keys") as (naming, config):
        # A card would be one of a real pcscd, beside which tests/hardware/pcsc runs.
        naming.run(person, {1: (CONFIRM, *NO_PASSPHRASE)}, slice(1, None))
        with authenticator(person, "ssh/key.sock"):
            person.append(".ssh/pysk_config", config.text)
            done = person.types("ssh-keygen -t ecdsa-sk -N '' -f ~/.ssh/id_ecdsa_sk")
            assert done.status == 0, done


def test_nfc_and_contact_cards(fresh: Machine, person: Account, local: Path) -> None:
    told = person.types("pysk devices | cat").errors
    with section("NFC and contact cards") as (packages,):
        # Whoever may not write there is told to be somebody else.
        assert re.search(r"install it with: sudo (\S+)/bin/pip install pyscard\n", told), told
        person.append(".ssh/pysk_config", "Device nfc:\n")
        diagnosis = person.types("pysk doctor | cat").screen
        assert re.search(r"run: sudo \S+/bin/pip install pyscard\n", diagnosis), diagnosis
        packages.run(person)
    # The driver of the virtual reader listens at all addresses.
    with machine(local, has_net=False) as unreachable:
        holder = Account(unreachable, "alice")
        with card(holder):
            done = holder.types(f"ssh-keygen -t ed25519-sk -w {LIBRARY} -O device=nfc: -N '' -f id && touch file")
            assert done.status == 0, done
            done = holder.types(f"SSH_SK_PROVIDER={LIBRARY} ssh-keygen -Y sign -n file -f id file")
            assert done.status == 0, done


def test_keys_in_the_machines_tpm(fresh: Machine, person: Account, tpm: Swtpm) -> None:
    with section("Keys in the machine's TPM") as (packages, make):
        # What pip would make anew in a minute: that of the tests' own environment, which is for the same Python.
        installed = installed_library().parents[1]
        (packages_there,) = fresh.inside(Path("/usr/local/lib/pysk")).glob("versions/*/lib/python*/site-packages")
        for path in (each for name in ("tpm2_pytss", "packaging") for each in installed.glob(f"{name}*")):
            shutil.copytree(path, packages_there / path.name)
        # The groups of the fresh machine are this one's, and stay as they are.
        packages.run(person, lines=slice(2))
        (command,) = make.lines
        make.is_done = True
        # There is a TPM, and not at /dev/tpmrm0.
        done = person.types(command.replace("tpm:", tpm.address), (CONFIRM, *NO_PASSPHRASE))
        assert done.status == 0, done
        person.append(".ssh/pysk_config", f"Device {tpm.address}\nPresence auto\n")
        sign = f"SSH_SK_PROVIDER={LIBRARY} ssh-keygen -Y sign -n file -f ~/.ssh/id_tpm file"
        done = person.types(f"echo text >file && {sign}")
        assert done.status == 0, done
        assert f"{tpm.address} " in person.types("pysk devices | cat").screen


def test_an_authenticator_on_another_machine(fresh: Machine, person: Account, plugged: None) -> None:
    me = Account(fresh, "me")
    assert person.types("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519").status == 0
    authorize(person, ".ssh/id_ed25519", me)
    # The one that is plugged in is so in the laptop.
    person.write(".ssh/pysk_config", fresh.inside(Path("/etc/ssh/pysk_config")).read_text())
    fresh.write(Path("/etc/ssh/pysk_config"), "")
    with section("An authenticator on another machine") as (share, forward, use):
        (command,) = share.lines
        share.is_done = use.is_done = True
        with person.runs(command, lambda: person.has(".ssh/key.sock")):
            name, protect, make = use.lines
            # As a login on Debian may have it, where each account has a group of its own.
            typed = [("$ ", each) for each in ("umask 002", name, protect, make)]
            forward.run(person, {0: (*typed, *NEW_KEY, ("$ ", "exit"))})
    assert me.has(".ssh/id_ed25519_sk.pub")


def test_ci(person: Account) -> None:
    with section("CI") as (recipe,):
        recipe.run(person)
        authorize(person, ".ssh/id_ed25519_sk")
        done = person.types(f"ssh -o SecurityKeyProvider={LIBRARY} host echo in")
        assert done.screen.splitlines()[-1] == "in", done


def test_sshd_with_a_host_key_on_an_authenticator(fresh: Machine, person: Account, plugged: None) -> None:
    set_up(person)
    with section("sshd with a host key on an authenticator") as (make, config):
        make.run(person)
        with fresh.config.open("a") as sshd_config:
            sshd_config.write(config.text.replace("HostKey", "HostKeyAlgorithms sk-ssh-ed25519@openssh.com\nHostKey"))
        fresh.trust(fresh.folder / "ssh/ssh_host_ed25519_sk_key.pub")
        fresh.serve()
        done = person.types("ssh -v -o HostKeyAlgorithms=sk-ssh-ed25519@openssh.com host echo in")
        assert done.screen.splitlines()[-1] == "in", done
        assert "Server host key: sk-ssh-ed25519@openssh.com" in done.errors


def test_keys_without_key_files(fresh: Machine, person: Account, plugged: None) -> None:
    with section("Keys without key files") as (add, config, adds):
        set_up(person)
        assert person.types("rm ~/.ssh/authorized_keys; cd ~/.ssh").status == 0
        add.run(person)
        with fresh.config.open("a") as sshd_config:
            sshd_config.write(config.text)
        fresh.serve()
        assert person.types("rm id_ed25519_sk*").status == 0
        assert person.types('eval "$(ssh-agent)"').status == 0
        adds.run(person, {0: (("Enter PIN", ""),)})
        done = person.types("ssh host echo in")
        assert done.screen.splitlines()[-1] == "in", done


def transport_page(account: Account) -> list[Block]:
    """Return the blocks of pysk_transport(7), which are there as well for whoever copies them from the shown page."""
    installed = "/usr/local/share/man/man7/pysk_transport.7"
    mandoc = debian.unpack("mandoc") / "usr/bin/mandoc"
    # Where it is unpacked nobody but root may be let in.
    shown = re.sub(".\b", "", account.machine.run(f"{mandoc} -T utf8 {installed}")).splitlines()
    blocks = [Block(lines) for lines in manual_page.blocks(account.machine.run(f"cat {installed}"))]
    for block in blocks:
        assert [line for line in block.lines if line and f"{' ' * 11}{line}" not in shown] == []
    return blocks


def test_the_page_on_writing_a_transport_leads_from_nothing_to_a_login(fresh: Machine, person: Account) -> None:
    show, project, module, _, install, _, serve, look, enroll, log_in, quoted, *_ = transport_page(person)
    assert person.types("export PAGER=cat").status == 0
    (shown,) = show.run(person)
    assert "Carry out one CTAPHID command" in shown.screen
    person.write("pysk-door/pyproject.toml", project.text)
    person.write("pysk-door/pysk_door.py", module.text)
    install.run(person)
    (command,) = serve.lines
    with person.runs(command, lambda: person.has("door.sock")):
        devices, tried = look.run(person)
        assert "soft" in devices.screen
        assert "verify" in tried.screen
        enroll.run(person)
        authorize(person, ".ssh/id_door")
        (command,) = log_in.lines
        done = person.types(f"{command} echo in")
        assert done.screen.splitlines()[-1] == "in", done
        # That it was this package which signed: without it, nobody does.
        fresh.run("/usr/local/lib/pysk/bin/pip uninstall -q -y pysk-door")
        done = person.types(f"{command} echo in")
        assert "there is no transport door:" in done.errors
        install.run(person)
    done = person.types(f"{command} echo in")
    assert "nobody is behind door:/home/alice/door.sock (No such file or directory)" in done.errors
    # The line of a location that has a space.
    person.write(".ssh/pysk_config", quoted.text.replace(" usb:", ""))
    done = person.types(f"{command} echo in")
    assert "nobody is behind door:/run/my door.sock (No such file or directory)" in done.errors


def test_from_the_built_in_provider_and_back(person: Account, plugged: None) -> None:
    set_up(person)
    with section("From the built-in provider, and back") as (back,):
        # It finds nothing, as no hardware is there, which is to say that it was it that was asked.
        (command,) = back.lines
        back.is_done = True
        done = person.types(f"{command} echo in")
        assert done.status != 0
        assert "device not found" in done.errors
        assert "libpysk:" not in done.errors


def failures() -> dict[str, str]:
    """Return the messages of the table in the section on failures, and what is said to be done about each."""
    section = (REPOSITORY / "README.md").read_text().partition("## When it fails\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {message.strip(): remedy for message, _, remedy in rows}


def test_programs_say_what_the_table_of_failures_names(fresh: Machine, person: Account) -> None:
    def says(command: str, *answers: tuple[str, str], line: bool | None = None) -> str:
        """Return what a command says that fails; line: whether one of ours is to be there."""
        done = person.types(command, answers)
        assert done.status != 0, done
        said = done.screen + done.errors
        assert line is None or ("libpysk: " in said) == line, said
        return said

    assert person.types("mkdir -m 700 .ssh; cd .ssh; echo Presence auto >pysk_config; date >file").status == 0
    make = f"ssh-keygen -q -w {LIBRARY} -N ''"
    for name in ("id", "gone -O device=soft:/home/alice/gone"):
        done = person.types(f"{make} -t ecdsa-sk -f {name} {'' if 'device' in name else '-O device=soft:'}")
        assert done.status == 0, done
    sign = "ssh-keygen -Y sign -n file -f"
    provider = f"SSH_SK_PROVIDER={LIBRARY}"
    said = {
        "`device not found`, no line of libpysk": says(f"{sign} id file", line=False),
        "`device not found`, with its line": says(f"{provider} {sign} gone file", line=True),
    }
    assert person.types("echo Presence deny >pysk_config").status == 0
    said["`invalid format`"] = says(f"{provider} {sign} id file", line=True)
    assert person.types('eval "$(ssh-agent)" && echo Presence ask >pysk_config').status == 0
    elsewhere = f"cp {LIBRARY} . && ssh-add -S $PWD/libpysk.so id"
    said["`agent refused operation`, when adding"] = says(elsewhere)
    assert person.types(f"ssh-add -S {LIBRARY} id").status == 0
    said["`agent refused operation`, when signing"] = says(f"{sign} id file")
    assert person.types("ssh-add -D; echo Presence auto >pysk_config").status == 0
    with authenticator(person, "token", "--profile", "es256-only") as address:
        said["`requested feature not supported`"] = says(f"{make} -t ed25519-sk -O device={address} -f new", line=True)
    assert person.types("pysk pin set soft:", (("PIN", PIN), ("PIN", PIN))).status == 0
    assert person.types(f"{make} -t ecdsa-sk -O verify-required -O device=soft: -f verified").status == 0
    wrong = ("Enter PIN", "not " + PIN)
    said["`incorrect passphrase supplied`"] = says(f"{provider} {sign} verified file", wrong, line=True)
    said["`is not an OpenSSH FIDO library`"] = says(f"SSH_SK_PROVIDER=/usr/lib/libpysk.so {sign} id file")
    older = LIBRARY.replace(".so", "-skapi7.so")
    said["`unsupported version`"] = says(f"SSH_SK_PROVIDER={older} {sign} id file")
    assert said.keys() == failures().keys()
    for message, text in said.items():
        assert message.split("`")[1] in text, f"{message}: {text}"
