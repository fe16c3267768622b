"""A virtual machine with the host's files and a kernel of its own, for what the host's kernel lacks: /dev/uhid.

Debian's kernel runs in QEMU without KVM, so neither root nor /dev/kvm is needed. The guest sees the host's file system
read-only, with a RAM disk over it for what it writes. What it is made from is cached below .build/vm.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from support import debian

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CACHE = debian.CACHE.parent / "vm"
MODULES = (
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "virtio_console",
    "uhid",
    "hid-generic",
    "usbhid",
    "dummy_hcd",
    "usb_f_hid",
)
TOOLS = os.environ["PATH"] + ":/usr/sbin:/sbin"  # where depmod and modprobe lie for an ordinary user
XZ_MAGIC = b"\xfd7zXZ\0"

# The guest's first process. It may use nothing but busybox, until the host's root file system is there.
INIT = """#!/bin/busybox sh
exec 2>/dev/console
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
while read -r module; do $b insmod "/modules/$module"; done </modules/order
options=trans=virtio,version=9p2000.L,msize=512000
$b mount -t 9p -o "$options,cache=loose,ro" root /host
$b mount -t tmpfs -o size=75% tmpfs /written
$b mkdir /written/files /written/work
$b mount -t overlay -o lowerdir=/host,upperdir=/written/files,workdir=/written/work overlay /root
for kind in proc sys dev; do $b mount --move /$kind /root/$kind; done
$b mkdir -p /root/dev/pts /root/dev/shm
$b mount -t devpts -o ptmxmode=666 devpts /root/dev/pts
$b mount -t tmpfs tmpfs /root/dev/shm
$b mount -t tmpfs tmpfs /root/run
$b ln -s /proc/self/fd /root/dev/fd
$b mount -t 9p -o "$options,cache=none" shared /shared
read -r path </shared/path
$b mount -o bind /shared "/root$path"
$b ifconfig lo 127.0.0.1 netmask 255.0.0.0 up
$b hostname vm
$b stty -F /root/dev/hvc0 -opost -echo
$b chroot /root /bin/sh "$path/command" </root/dev/null >/root/dev/hvc0 2>&1
$b echo $? >/shared/status
$b reboot -f
"""
RECIPE = hashlib.sha256(repr((INIT, MODULES)).encode()).hexdigest()[:8]  # another recipe makes another machine


class VmError(Exception):
    """The machine cannot be made here, or gave no answer; the message says why."""


def run(
    command: list[str], shared: Path, timeout: float, devices: Sequence[str] = (), told: str = ""
) -> subprocess.CompletedProcess[str]:
    """Boot the machine, run a command in it in the present directory, and return its output (both kinds) and status.

    :param shared: a directory that the guest shares with the host, at the same path; what it writes elsewhere is lost.
    :param timeout: in seconds, for all of it.
    :param devices: what QEMU is told of devices that the machine has besides; told: what Linux is, on its command line.
    :raises VmError: if the machine does not come to the command's end.
    """
    machine = debian.made_once(CACHE / f"{_kernel_package()}-{RECIPE}", _make)
    exports = [f"export {name}={shlex.quote(os.environ[name])}" for name in ("HOME", "PATH") if name in os.environ]
    lines = [f"cd {shlex.quote(os.getcwd())}", *exports, shlex.join(command)]
    (shared / "command").write_text("\n".join(lines) + "\n")
    (shared / "path").write_text(f"{shared.resolve()}\n")
    (shared / "status").unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [*_qemu(machine, shared, told), *devices],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        shown = error.stdout.decode(errors="replace") if error.stdout else ""
        raise VmError(f"the machine did not end within {timeout:.0f} s; it had printed:\n{shown}") from None
    try:
        status = int((shared / "status").read_text())
    except (OSError, ValueError):
        raise VmError(
            f"the machine gave no exit status; QEMU ({done.returncode}):\n{done.stdout}{done.stderr}"
        ) from None
    return subprocess.CompletedProcess(command, status, done.stdout, done.stderr)


def _qemu(machine: Path, shared: Path, told: str) -> list[str]:
    def export(name: str, path: Path, options: str) -> list[str]:
        return [
            "-fsdev", f"local,id={name},path={path},security_model=none,{options}",
            "-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}",
        ]  # fmt: skip

    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "1024",
        "-kernel", str(machine / "vmlinux"), "-initrd", str(machine / "initrd.gz"),
        # Where each run of a program lies elsewhere in memory, the emulator translates its code anew each time.
        "-append", f"console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off norandmaps {told}",
        "-serial", f"file:{shared}/console",
        "-device", "virtio-serial-pci",
        "-chardev", "stdio,id=output,signal=off", "-device", "virtconsole,chardev=output",
        *export("root", Path("/"), "readonly=on,multidevs=remap"),
        *export("shared", shared, "multidevs=remap"),
    ]  # fmt: skip


def _kernel_package() -> str:
    """Return the name of the package with the kernel that the distribution has now, linux-image-VERSION."""
    if platform.machine() != "x86_64":
        raise VmError("the virtual machine is made for x86-64 alone")
    packages = debian.depends("linux-image-amd64")
    return packages[0]


def _make(folder: Path) -> None:
    """Put vmlinux and initrd.gz into a folder."""
    package = _kernel_package()
    version = package.removeprefix("linux-image-")
    root = folder / "root"
    root.mkdir()
    debian.download((package,), root)
    debian.extract(root)
    _call(["depmod", "-b", str(root), version])
    # Decompressing the kernel here saves the guest, whose processor is emulated, some seconds of each boot.
    image = (root / "boot" / f"vmlinuz-{version}").read_bytes()
    start = image.find(XZ_MAGIC)
    if start >= 0:
        image = lzma.LZMADecompressor().decompress(image[start:])
    (folder / "vmlinux").write_bytes(image)
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        for directory in ("bin", "modules", "proc", "sys", "dev", "host", "written", "root", "shared"):
            (tree / directory).mkdir()
        shutil.copy("/bin/busybox", tree / "bin")
        order = []
        for module in _modules(root, version):
            shutil.copy(module, tree / "modules")
            order.append(module.name)
        (tree / "modules" / "order").write_text("\n".join(order) + "\n")
        (tree / "init").write_text(INIT)
        (tree / "init").chmod(0o755)
        archive = f"find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >{shlex.quote(str(folder))}/initrd.gz"
        _call(["sh", "-c", f"cd {shlex.quote(name)} && {archive}"])
    shutil.rmtree(root)


def _modules(root: Path, version: str) -> list[Path]:
    """Return the files of the modules that the guest needs, each after those that it depends on."""
    files: dict[Path, None] = {}
    for module in MODULES:
        shown = _call(["modprobe", "-d", str(root), "-S", version, "--show-depends", module])
        files.update((Path(line.split()[1]), None) for line in shown.splitlines() if line.startswith("insmod "))
    return list(files)


def _call(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PATH": TOOLS}
        )
    except FileNotFoundError:
        raise VmError(f"{command[0]} is missing; install what the tests need with: tests/setup test") from None
    if done.returncode != 0:
        raise VmError(f"{shlex.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
