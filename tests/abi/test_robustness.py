"""Whatever goes wrong in Python or is missing of it, the host lives on and the person reads one sentence."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from support import sk_host
from support.openssh import Person, provider_lines
from support.provider_tree import Tree, interpreters, is_of_our_version
from support.terminal import Done

PYTHON_HOST: Final = Path(__file__).with_name("python_host.py")

PYTHON: Final = f"python{sys.version_info[0]}.{sys.version_info[1]}"
STDLIB: Final = sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix})

SECRET: Final = "what nobody must read"

# Bodies of sign(), and what the sentence must say of each.
FAILURES: Final = {
    "exception": (f"raise ValueError({SECRET!r})", "ValueError"),
    "exception_without_text": ("raise Broken", "Broken"),
    "exception_of_two_lines": ("raise type('A\\nB', (Exception,), {})", ""),
    "chain_of_exceptions": (f"try: 1 / 0\n    except ArithmeticError: raise KeyError({SECRET!r})", "KeyError"),
    "exit": ("raise SystemExit(0)", "SystemExit"),
    "exit_with_text": (f"raise SystemExit({SECRET!r})", "SystemExit"),
    "exit_by_function": ("import sys\n    sys.exit(3)", "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "generator_exit": ("raise GeneratorExit", "GeneratorExit"),
    "stop_iteration": ("next(iter(()))", "StopIteration"),
    "base_exception": ("raise BaseException", "BaseException"),
    "recursion": ("def deeper(): deeper()\n    deeper()", "RecursionError"),
    "recursion_of_repr": ("a = []\n    for _ in range(100000): a = [a]\n    repr(a)", "RecursionError"),
    "no_memory": ("bytearray(1 << 62)", "memory"),
    "import": ("import no_such_module", "no_such_module"),
    "import_of_name": ("from .errors import no_such_name", "ImportError"),
    "operating_system": (f"open({'/' + SECRET!r})", "FileNotFoundError"),
    "nothing_returned": ("return None", "AttributeError"),
    "text_returned": (f"return {SECRET!r}", "AttributeError"),
    "flags_too_big": ("return SignResponse(256, 1, bytes(64), b'')", "OverflowError"),
    "counter_negative": ("return SignResponse(1, -1, bytes(64), b'')", "OverflowError"),
    "signature_of_wrong_type": ("return SignResponse(1, 1, 5, b'')", "TypeError"),
    "lock_of_threads_left": ("import _thread\n    _thread.allocate_lock().acquire()\n    raise OSError", "OSError"),
}

SIGN: Final = """
class Broken(Exception):
    def __str__(self):
        raise self
    __repr__ = __str__

def sign(*_):
    {body}
"""


def assert_helper_survives(done: Done, mentions: str = "") -> None:
    """Fail unless ssh-keygen reports an ordinary error of the provider, after one sentence of ours and nothing else."""
    assert done.status == 255, done
    (sentence,) = provider_lines(done.errors)
    assert sk_host.SENTENCE.fullmatch(sentence + "\n"), done
    assert mentions in sentence
    assert SECRET not in done.errors
    for sign_of_death in ("helper exited", "unexpected internal error", "Traceback", "From cffi callback"):
        assert sign_of_death not in done.errors, done


@pytest.mark.parametrize("failure", FAILURES)
def test_any_failure_in_python_is_one_sentence_and_an_error(
    failure: str, tree: Tree, person: Person, key: Path, host: Path
) -> None:
    body, mentions = FAILURES[failure]
    tree.append("sign.py", SIGN.format(body=body))
    done, _ = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert_helper_survives(done, mentions)
    played = sk_host.play(host, "once", tree.library, "sign", env=person.environment)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "once", -1, mentions=mentions)
    assert SECRET not in played.stderr


def test_an_exception_is_in_the_log_file_as_well(tree: Tree, person: Person, key: Path) -> None:
    log = person.folder / "log"
    config = person.folder / ".ssh" / "pysk_config"
    config.parent.mkdir()
    config.touch(mode=0o600)
    config.write_text(f"{person.config.read_text()}LogFile {log}\n")
    # The user's home is the password database's, which the test leaves alone.
    tree.append("config.py", f"def home_directory(): return {str(person.folder)!r}")
    tree.append("sign.py", SIGN.format(body=f"raise ValueError({SECRET!r})"))
    del person.environment["PYSK_CONFIG"]
    done, _ = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert_helper_survives(done, "ValueError")
    # The others say that the tree's modules are not as they were installed, and not compiled.
    line, *_ = log.read_text().splitlines()
    assert "unexpected ValueError in sign.py line " in line
    assert SECRET not in line


# What the Python half gives back, and what the sentence must say of it.
RESULTS: Final = {
    "nothing attached": ("def attach(*_): pass", "without a response"),
    "0 without a response": ("_Boundary._carry_out = lambda *_: 0", "without a response"),
    "text": ("_Boundary._carry_out = lambda *_: 'text'", "TypeError"),
    "none": ("_Boundary._carry_out = lambda *_: None", "TypeError"),
    "too large": ("_Boundary._carry_out = lambda *_: 1 << 40", "OverflowError"),
    "above 0": ("_Boundary._carry_out = lambda *_: 1", "code 1"),
    "below -5": ("_Boundary._carry_out = lambda *_: -6", "code -6"),
}


@pytest.mark.parametrize("call", ["enroll", "sign"])
@pytest.mark.parametrize("result", RESULTS)
def test_no_result_of_python_can_be_taken_for_success(
    result: str, call: str, tree: Tree, person: Person, host: Path
) -> None:
    body, mentions = RESULTS[result]
    tree.append("embed.py", body)
    played = sk_host.play(host, "once", tree.library, call, env=person.environment)
    sk_host.assert_untouched(played)
    event = played.call("once")
    assert (event["rc"], event["cleared"]) == (-1, True)
    sentences = provider_lines(played.stderr)
    assert len(sentences) == 1
    assert mentions in sentences[0]
    # Only CFFI has something to say besides, where it finds nothing to call.
    assert (sk_host.SENTENCE.fullmatch(played.said("once")) is None) == (result == "nothing attached")


# What stands between the response and the end of a call, and fails there.
LATE: Final = """
def fail_late(*_):
    raise ValueError

_Allocations.{response} = lambda self, made, build=_Allocations.{response}: (
    setattr(_Boundary, "_end_what_others_began", fail_late), build(self, made)
)[1]
"""


@pytest.mark.parametrize(("call", "response"), [("enroll", "enroll_response"), ("load", "resident_keys")])
def test_a_call_that_fails_after_its_response_was_made_leaves_none(
    call: str, response: str, tree: Tree, person_with_pin: Person, host: Path
) -> None:
    env = person_with_pin.environment
    if call == "load":
        sk_host.play(host, "sequence", tree.library, "0", sk_host.PIN, env=env)
        tree.append("embed.py", f"_Boundary._pin = lambda *_: {sk_host.PIN!r}\n")
    tree.append("embed.py", LATE.format(response=response))
    played = sk_host.play(host, "once", tree.library, call, env=env)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "once", -1, mentions="ValueError")
    assert played.call("once")["cleared"]


DAMAGES: Final = {
    "syntax": ("sign.py", "def ("),
    "exit": ("sign.py", "raise SystemExit"),
    "exception": ("sign.py", f"raise ValueError({SECRET!r})"),
    "syntax_at_start": ("embed.py", "def ("),
    "interrupt_at_start": ("embed.py", "raise KeyboardInterrupt"),
    "long_exception_at_start": ("embed.py", f"raise ValueError({'two lines' + chr(10)!r} * 2000)"),
    "exit_at_start": ("errors.py", "raise SystemExit(5)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_module_is_one_sentence_and_an_error(damage: str, tree: Tree, person: Person, key: Path) -> None:
    tree.append(*DAMAGES[damage])
    done, _ = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert_helper_survives(done)


def test_the_helper_survives_when_even_the_report_fails(tree: Tree, person: Person, key: Path) -> None:
    tree.append("errors.py", "def report(*_): raise OSError")
    tree.append("sign.py", "def sign(*_): raise ValueError")
    done, _ = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert done.status == 255
    assert "helper exited" not in done.errors


@pytest.mark.parametrize(
    ("missing", "mentions"),
    [
        ("_cffi_backend*", "cffi"),
        ("cryptography", "cryptography"),
        ("sk_provider/sign.py", "sk_provider.sign"),
        ("sk_provider/errors.py", "sk_provider.errors"),
        ("sk_provider/embed.py", "embed"),
        ("sk_provider/ctap", "sk_provider.ctap"),
        ("sk_provider/authenticator", "sk_provider.authenticator"),
    ],
)
def test_a_missing_part_is_named_in_one_sentence(
    missing: str, mentions: str, tree: Tree, person: Person, key: Path, host: Path
) -> None:
    tree.remove(missing)
    done, _ = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert_helper_survives(done, mentions)
    played = sk_host.play(host, "once", tree.library, "sign", env=person.environment)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "once")


def test_enrolment_without_fido2_names_the_package(tree: Tree, person: Person) -> None:
    tree.remove("fido2")
    command = ("ssh-keygen", "-q", "-t", "ed25519-sk", "-N", "", "-f", str(person.folder / "key"))
    done = person.run(*command, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert_helper_survives(done, "fido2")


def test_a_library_without_any_packages_says_what_is_missing(
    tmp_path: Path, library: Path, person: Person, host: Path
) -> None:
    alone = tmp_path / "alone" / library.name
    alone.parent.mkdir()
    shutil.copy(library, alone)
    played = sk_host.play(host, "once", alone, "enroll", env=person.environment)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "once", -1, mentions="cffi")


def test_every_call_after_a_failed_start_fails_with_the_same_sentence(tree: Tree, person: Person, host: Path) -> None:
    tree.remove("_cffi_backend*")
    played = sk_host.play(host, "failing", tree.library, env=person.environment)
    sk_host.assert_untouched(played)
    assert [event["rc"] for event in played.calls("failing")] == [-1] * 9
    sentences = played.noise.splitlines(keepends=True)
    assert len(sentences) == 9
    assert len(set(sentences)) == 1
    assert sk_host.SENTENCE.fullmatch(sentences[0])


def test_what_python_prints_does_not_disturb_the_host(tree: Tree, person: Person, key: Path, host: Path) -> None:
    noise = """
_sign = sign

def sign(*arguments):
    import sys
    print("noise")
    sys.stdout.write("noise\\n")
    sys.stdout.flush()
    return _sign(*arguments)
"""
    tree.append("sign.py", noise)
    played = sk_host.play(host, "keys", tree.library, env=person.environment)
    sk_host.assert_untouched(played)
    assert played.noise == "noise\n" * 4
    # The helper has led standard output elsewhere, so that not even this can be taken for its reply.
    tree.append(
        "sign.py", noise.replace("_sign", "_noisy_sign").replace('print("noise")', 'import os; os.write(1, b"n")')
    )
    signed, signature = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert signed.status == 0, signed
    assert person.verify(key, signature).returncode == 0


def test_a_thread_that_never_ends_does_not_keep_the_helper(tree: Tree, person: Person, key: Path) -> None:
    thread = """
_sign = sign

def sign(*arguments):
    import threading
    import time
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return _sign(*arguments)
"""
    tree.append("sign.py", thread)
    signed, signature = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert (signed.status, provider_lines(signed.errors)) == (0, [])
    assert person.verify(key, signature).returncode == 0


def remove_all(stdlib: Path) -> None:
    shutil.rmtree(stdlib)


def remove_codecs(stdlib: Path) -> None:
    shutil.rmtree(stdlib / "encodings")


def leave_codecs_alone(stdlib: Path) -> None:
    for entry in stdlib.iterdir():
        if entry.is_symlink():
            entry.unlink()
        elif entry.name != "encodings":
            shutil.rmtree(entry)


@dataclasses.dataclass(frozen=True)
class Relocated:
    """A library that was built for a Python whose standard library is in a folder of the test's."""

    stdlib: Path
    library: Path

    def lay(self) -> None:
        """Make the standard library whole: its codecs are copies, and everything else is links."""
        shutil.rmtree(self.stdlib, ignore_errors=True)
        self.stdlib.mkdir(parents=True)
        for path in Path(STDLIB).iterdir():
            if path.name == "encodings":
                shutil.copytree(path, self.stdlib / path.name)
            else:
                (self.stdlib / path.name).symlink_to(path)


@pytest.fixture(scope="session")
def relocated(tmp_path_factory: pytest.TempPathFactory) -> Relocated:
    prefix = tmp_path_factory.mktemp("prefix")
    tree = Tree(prefix / "packages")
    relocated = Relocated(prefix / "lib" / PYTHON, tree.library)
    relocated.lay()
    (prefix / "include").mkdir()
    (prefix / "include" / PYTHON).symlink_to(sysconfig.get_path("include"))
    tree.rebuild(os.path.realpath(sys.executable), PYTHONHOME=str(prefix))
    return relocated


@pytest.mark.parametrize("damage", [remove_all, remove_codecs, leave_codecs_alone])
def test_a_broken_standard_library_is_one_sentence_and_an_error(
    damage: Callable[[Path], None], relocated: Relocated, person: Person, key: Path, host: Path
) -> None:
    relocated.lay()
    played = sk_host.play(host, "keys", relocated.library, env=person.environment)
    assert sk_host.verify_every_signature(played) == 2

    damage(relocated.stdlib)
    signed, _ = person.sign(key, environment={"SSH_SK_PROVIDER": str(relocated.library)})
    assert_helper_survives(signed)
    played = sk_host.play(host, "once", relocated.library, "sign", env=person.environment)
    sk_host.assert_untouched(played)
    assert played.call("once")["rc"] == -1
    assert played.call("once")["cleared"]
    assert sk_host.SENTENCE.fullmatch(played.said("once"))


def test_codecs_that_are_not_built_into_the_library_are_found(tree: Tree, person: Person, key: Path) -> None:
    tree.append("sign.py", '"a".encode("cp037")\n')
    signed, signature = person.sign(key, environment={"SSH_SK_PROVIDER": str(tree.library)})
    assert (signed.status, provider_lines(signed.errors)) == (0, [])
    assert person.verify(key, signature).returncode == 0


def test_an_unusable_libpython_is_the_dynamic_linkers_error(
    tmp_path: Path, person: Person, key: Path, library: Path, host: Path
) -> None:
    (tmp_path / str(sysconfig.get_config_var("INSTSONAME"))).touch()
    variables = {"LD_LIBRARY_PATH": str(tmp_path)}
    signed, _ = person.sign(key, environment=variables)
    assert signed.status == 255
    assert "libpython" in signed.errors
    assert "helper exited abnormally" not in signed.errors
    played = sk_host.play(host, "once", library, "sign", env={**person.environment, **variables})
    assert played.status == 3
    assert "libpython" in played.stderr


def test_a_program_that_runs_a_python_of_its_own_in_private_can_be_the_host(
    person: Person, library: Path, host: Path
) -> None:
    libpython = str(sysconfig.get_config_var("INSTSONAME"))
    played = sk_host.play(host, "joined", library, libpython, env=person.environment)
    assert played.status == 0, played.stderr
    assert sk_host.verify_every_signature(played) == 2


def run_python_host(python: str, loader: str, library: Path, person: Person, *options: str) -> list[sk_host.Event]:
    done = subprocess.run(
        # Without site, so that no package of that Python's own stands before ours.
        (python, "-I", "-S", str(PYTHON_HOST), loader, str(library), *options),
        env=person.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [event for event in events if event.get("rc")]
    sentences = done.stderr.splitlines(keepends=True)
    assert len(sentences) == len(failed)
    assert all(sk_host.SENTENCE.fullmatch(sentence) for sentence in sentences), done.stderr
    assert all("Python" in sentence for sentence in sentences)
    return events


@pytest.mark.parametrize("loader", ["CDLL", "PyDLL"])
@pytest.mark.parametrize("python", interpreters())
def test_a_python_program_of_our_version_can_be_the_host_and_others_are_refused(
    python: str, loader: str, person: Person, library: Path
) -> None:
    events = run_python_host(python, loader, library, person)
    end = events.pop()
    assert not end["streams_changed"]
    assert not end["signals_changed"]
    assert len(events) == 10
    if is_of_our_version(python):
        assert sk_host.verify_every_signature(sk_host.Played(0, events, "")) == 5
    else:
        assert all(event["rc"] == -1 and event["cleared"] for event in events)


@pytest.mark.parametrize("loader", ["CDLL", "PyDLL"])
def test_a_python_program_with_two_interpreters_can_be_the_host(loader: str, person: Person, library: Path) -> None:
    events = run_python_host(sys.executable, loader, library, person, "two")
    assert sk_host.verify_every_signature(sk_host.Played(0, events[:-1], "")) == 5


OUR_VERSION: Final = sys.version.partition(" ")[0]


@pytest.mark.parametrize(
    "version",
    [
        "3.99.0 (main)",
        "2.7.18 (default)",
        "3.1.1 (main)",
        "",
        f"{OUR_VERSION} experimental free-threading build (main)",
        f"{OUR_VERSION} free-threading build (main)",
        f"{OUR_VERSION}a1 (main)",
        f"{OUR_VERSION}b2+ (main)",
        f"{OUR_VERSION}rc1 (main)",
    ],
)
def test_a_process_that_exports_another_pythons_symbols_is_refused(
    version: str, tmp_path: Path, person: Person, library: Path
) -> None:
    host = sk_host.compile_host(tmp_path, "-rdynamic", f'-DEXPORTED_PYTHON_VERSION="{version}"')
    played = sk_host.play(host, "once", library, "sign", env=person.environment)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "once", -1, mentions="Python")
