"""The system's OpenSSH takes the library for its own major of the sk-api, and says of any other that it does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.openssh import Person

MAJORS = (4, 5, 7, 9, 10)


def library(person: Person, *arguments: str) -> Path:
    done = subprocess.run(
        [person.pysk, "path", *arguments],
        env=person.environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Path(done.stdout.strip())


def test_the_library_that_pysk_names_is_the_one_that_this_ssh_loads(person: Person) -> None:
    person.environment["SSH_SK_PROVIDER"] = str(library(person))
    done, path = person.enroll("id", "ed25519-sk")
    assert done.status == 0, done
    assert path.exists()


def test_each_library_for_another_major_is_refused_with_its_version(person: Person) -> None:
    own = library(person)
    for major in MAJORS:
        other = library(person, "--api", str(major))
        if other == own:
            continue
        person.environment["SSH_SK_PROVIDER"] = str(other)
        done, path = person.enroll("id", "ed25519-sk")
        assert done.status != 0
        assert not path.exists()
        assert f'Provider "{other}" implements unsupported version 0x{major << 16:08x}' in done.errors
