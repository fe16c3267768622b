"""`make demo` and the README's recipe for CI where only make is installed, by root and by a user without sudo."""

from __future__ import annotations

import re
import shutil

import pytest
from support.minimal import USER, minimal, where_it_can_be_made
from support.provider_tree import REPOSITORY

SUCCESS = "All of it worked."


def block(heading: str) -> str:
    """Return the commands that the README has after a line that ends so."""
    found = re.search(rf"{heading}\n\n((?:    .*\n)+)", (REPOSITORY / "README.md").read_text())
    assert found is not None
    return found[1]


@pytest.mark.timeout(900)
@where_it_can_be_made
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_the_demo_works_on_a_minimal_system(release: str) -> None:
    demo = ("make", "--no-print-directory", "-C", f"/home/{USER}/clone", "demo")
    with minimal(release) as system:
        clone = system.clone()
        told = system.run(*demo, user=USER)
        assert told.status != 0, told.output
        (packages,) = re.findall(r"^    sudo apt-get install --no-install-recommends (.*)$", told.output, re.MULTILINE)

        done = system.run(*demo)
        assert done.status == 0, done.output
        assert SUCCESS in done.output
        # All that was asked of the user, and nothing after it.
        assert re.findall(r"installing (.*)", done.output) == [packages]

        # What was built stays. What was unpacked is unpacked again, by the user.
        shutil.rmtree(clone / ".build")
        done = system.run(*demo, user=USER)
        assert done.status == 0, done.output
        assert SUCCESS in done.output

        recipe = block("let it ask nobody:")
        done = system.run("sh", "-e", "-c", f"PATH=~/clone/.venv/bin:$PATH\n{recipe}", user=USER)
        assert done.status == 0, done.output
        assert (system.home(USER) / ".ssh/id_ed25519_sk.pub").exists()

        system.run("usermod", "--shell", "/nonexistent", USER)
        done = system.run(*demo, user=USER)
        assert done.status != 0, done.output
        assert re.search(r"^The demo failed: .*; sshd's log:\n(.*\n)*.*shell /nonexistent", done.output, re.MULTILINE)

        lines = block("a C compiler. On Debian:").partition("    sudo make install")[0]
        lines = lines.replace("sudo apt-get", "apt-get -y --no-install-recommends")
        # What compiles is no longer wanted then.
        done = system.run("sh", "-e", "-c", f"{lines}\napt-get autoremove -y gcc python3-dev")
        assert done.status == 0, done.output
        done = system.run("clone/.venv/bin/pysk", "path", user=USER)
        assert done.status == 0, done.output
