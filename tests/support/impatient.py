"""A copy of the installed package that waits less than ours for what does not come, for tests of what happens then."""

from __future__ import annotations

import sys
from pathlib import Path

from support.provider_tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.openssh import Person

SILENCE_S = 1.0
RESET_WINDOW_S = 1.0
# Later than a token that waits for nobody is given up, and in time for a person
LATE_TOUCH = "after:1500"

# By the module's file, the constants that last longer where people are.
_SHORTER = {
    "ctap/hid.py": f"SILENCE = {SILENCE_S}",
    "client/token.py": "PROBE_PATIENCE = 2",
    "device_side/stdio.py": "WRITE_PATIENCE = 0.5",
    "device_side/unix.py": "LOCK_PATIENCE = 0.5",
    "share/server.py": "_IDLE_PATIENCE = 1.0",
    "virtual_key/key.py": f"RESET_WINDOW = {RESET_WINDOW_S}",
}


class Impatient:
    """The copy, in a folder. pysk: its command."""

    def __init__(self, folder: Path) -> None:
        tree = Tree(folder / "tree")
        for module, shorter in _SHORTER.items():
            name = shorter.partition(" =")[0]
            assert f"\n{name} = " in (tree.package / module).read_text(), f"{module} has no {name} any more"
            tree.append(module, shorter)
        tree.carry()
        self._library = tree.library
        self.pysk = folder / "pysk"
        self.pysk.write_text(
            f"#!{sys.executable} -I\n"
            f"import sys\nsys.path.insert(0, {str(tree.folder)!r})\nfrom sk_provider.cli import main\nmain()\n"
        )
        self.pysk.chmod(0o755)

    def give(self, person: Person) -> None:
        """Have a person use it."""
        person.provider = self._library
        person.environment["SSH_SK_PROVIDER"] = str(self._library)
        person.pysk = self.pysk
