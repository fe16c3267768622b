"""Key files on a real exFAT, which has neither links nor permissions of each file, as a memory stick has it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from support import debian
from support.openssh import PIN, PIN_PROMPT, KeyFile, Person

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.geteuid() != 0, reason="only root that is not confined to a container can make a system in a folder"
    ),
]

# What is mounted, and the loop device, end with the namespace.
MOUNTING = """
set -e
PATH=$PATH:/usr/sbin:/sbin
device=$(losetup --find --show "$1")
LD_LIBRARY_PATH="$2" "$3" "$device" "$4" -o umask=077 >/dev/null 2>&1
losetup --detach "$device"
cd "$4"
status=0
sh -ec "$5" || status=$?
cd /
umount "$4"
exit $status
"""


def on_exfat(person: Person, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the shell in the folder of a new exFAT; what it leaves is copied to the folder kept."""
    packages = debian.unpack("exfat-fuse", "exfatprogs", "libfuse2")
    image, mounted, kept = (person.folder / name for name in ("image", "mounted", "kept"))
    mounted.mkdir()
    image.touch()
    os.truncate(image, 16 << 20)
    subprocess.run([packages / "usr/sbin/mkfs.exfat", image], check=True, capture_output=True, timeout=60)
    (libraries,) = {str(path.parent) for path in packages.glob("lib/*/libfuse.so.2")}
    program = str(packages / "sbin/mount.exfat-fuse")
    script += f"\ncp -r . {shlex.quote(str(kept))}"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", MOUNTING, "sh", image, libraries, program, mounted, script],
        env=person.environment, cwd=person.folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_keys_are_exported_sealed_and_kept_where_no_file_has_two_names(person: Person) -> None:
    person.set_pin(PIN)
    done, resident = person.enroll("resident", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    done, key = person.enroll("id", "ed25519-sk", "application=ssh:other")
    assert done.status == 0, done
    records = person.folder / "mounted/records"
    person.configure("Presence auto", f"KeyDirectory file:{records}", "KeyDirectoryUser me")
    pysk, pin = shlex.quote(str(person.pysk)), shlex.quote(PIN)
    done_there = on_exfat(
        person,
        f"""
touch there
! ln there link 2>/dev/null
echo {pin} | {pysk} keys export
echo {pin} | {pysk} keys export --yes
! {{ echo {pin}; echo n; }} | {pysk} keys export
cp {key} {key}.pub .
echo passphrase | {pysk} seal id
cp id sealed
{{ echo passphrase; echo {pin}; }} | {pysk} unseal id
{pysk} directory add id
{pysk} directory export --output .
! {pysk} directory export --output .
""",
    )
    assert done_there.returncode == 0, done_there
    kept = {path.name: path for path in Path(person.folder / "kept").iterdir()}
    (exported,) = (name for name in kept if name.startswith("id_ed25519_sk_rk_") and not name.endswith(".pub"))
    names = ["id", "id.pub", "id_ed25519_sk_rk", "id_ed25519_sk_rk.pub", exported, f"{exported}.pub", "records"]
    assert sorted(kept) == sorted([*names, "sealed", "there"])
    handle = KeyFile(key).key_handle
    assert [KeyFile(kept[name]).key_handle for name in ("id", exported)] == [handle, handle]
    assert KeyFile(kept["sealed"]).key_handle != handle
    assert KeyFile(kept["id_ed25519_sk_rk"]).key_handle == KeyFile(resident).key_handle
