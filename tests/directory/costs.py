"""Print what a look-up costs in OpenLDAP servers with 100 to 100,000 users, each of whom has two keys:

    .venv/bin/python tests/directory/costs.py [USERS ...]

Of each size the time is printed that slapadd takes to load it, and of a look-up the median, in milliseconds: "library"
is by python-ldap in a process that has it loaded, with a connection for each user; "host" is as ssh-add -K pays for it,
in a process that is started for it; "no index" is the first again, in a server that has no index of uid.
"""
# ruff: noqa: T201  (it prints what it finds)

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.new_keys import record
from support.slapd import Slapd, person

from sk_provider.api import ALGORITHM_ECDSA
from sk_provider.config import Configuration
from sk_provider.credentials.directory import ldap, look_up
from sk_provider.credentials.directory.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (100, 1_000, 10_000, 100_000)
ROUNDS = 30
DEADLINE_S = 60


def median_ms(look_up_one: Callable[[str], int], users: int) -> float:
    """Return the median of looking up so many users by chance, each of whom has to have two keys."""
    chosen = random.Random(users)
    times = []
    for _ in range(ROUNDS):
        user = f"user{chosen.randrange(users)}"
        began = time.perf_counter()
        count = look_up_one(user)
        times.append((time.perf_counter() - began) * 1000)
        assert count == 2, user
    return statistics.median(times)


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    values = [ldap.value_of(record("x")).decode(), ldap.value_of(record("x", ALGORITHM_ECDSA)).decode()]
    print(f"{'users':>8} {'slapadd':>10} {'library':>10} {'host':>10} {'no index':>10}")
    for users in sizes:
        row = []
        for has_index in (True, False):
            entries = (
                person(f"user{number}", ldap.OBJECT_CLASS, attributes={ldap.ATTRIBUTE: values})
                for number in range(users)
            )
            with tempfile.TemporaryDirectory(prefix="pysk-") as folder:
                began = time.perf_counter()
                slapd = Slapd(Path(folder), entries, has_index=has_index)
                loaded = time.perf_counter() - began
                with slapd:
                    settings = Settings(DEADLINE_S, 0, ca=str(slapd.ca))

                    def by_library(user: str, slapd: Slapd = slapd, settings: Settings = settings) -> int:
                        return len(ldap.look_up(slapd.ldaps, user, settings, print))

                    configuration = Configuration()
                    configuration.key_directories = [slapd.ldaps]
                    configuration.directory_timeout = DEADLINE_S
                    configuration.directory_ca = str(slapd.ca)

                    def by_host(user: str, configuration: Configuration = configuration) -> int:
                        return len(look_up.look_up(user, configuration, print).records)

                    if has_index:
                        row += [loaded * 1000, median_ms(by_library, users), median_ms(by_host, users)]
                    else:
                        row.append(median_ms(by_library, users))
        print(f"{users:>8}" + "".join(f" {value:>10.1f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
