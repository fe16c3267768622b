"""Keys in the TPM of a machine, through its kernel's resource manager: a virtual machine whose TPM is swtpm."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import debian, vm
from support.openssh import provider_lines
from support.swtpm import PACKAGES

PATIENCE_S = 300
AT_ONCE = 3

SCRIPT = """
set -u
cd {folder}
export HOME=/root SSH_SK_PROVIDER={provider} PYSK_CONFIG={folder}/config
echo Presence auto >config
echo a message >document
echo "no TPM:"
ssh-keygen -q -t ecdsa-sk -N '' -f none -O device=tpm:
LD_LIBRARY_PATH={libraries} {root}/usr/bin/swtpm chardev --vtpm-proxy --tpm2 --tpmstate dir={memory} \\
  --flags startup-clear >/dev/null 2>&1 &
for _ in $(seq 100); do [ -e /dev/tpmrm0 ] && break; sleep 0.2; done
echo "made:"
ssh-keygen -q -t ecdsa-sk -N '' -f id -O device=tpm: && echo enrolled
echo "at once:"
signing=
for number in {numbers}; do
  cp document document$number
  ssh-keygen -q -Y sign -n file -f id document$number & signing="$signing $!"
done
wait $signing
echo "someone $(cat id.pub)" >allowed
for number in {numbers}; do
  ssh-keygen -Y verify -n file -I someone -f allowed -s document$number.sig <document
done
echo "forbidden:"
chmod 000 /dev/tpmrm0
rm document1.sig
setpriv --bounding-set=-dac_override,-dac_read_search ssh-keygen -q -Y sign -n file -f id document1
exit 0
"""


@pytest.mark.long
def test_the_machines_own_tpm_needs_no_configuration(
    provider: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "MODULES", (*vm.MODULES, "tpm_vtpm_proxy"))
    monkeypatch.setattr(vm, "RECIPE", vm.RECIPE + "-tpm")
    root = debian.unpack(*PACKAGES)
    libraries = {str(path.parent) for name in ("libswtpm_libtpms.so.0", "libtpms.so.0") for path in root.rglob(name)}
    memory = tmp_path / "memory"
    memory.mkdir()
    script = SCRIPT.format(
        folder=tmp_path, provider=provider, root=root, memory=memory, libraries=":".join(libraries),
        numbers=" ".join(map(str, range(1, AT_ONCE + 1))),
    )  # fmt: skip
    done = vm.run(["sh", "-c", script], tmp_path, PATIENCE_S)
    assert done.returncode == 0, done
    parts = done.stdout.replace("\r", "")
    said = {name: parts.partition(f"{name}:\n")[2].partition(":\n")[0] for name in ("no TPM", "made", "at once")}
    assert "libpysk: there is no TPM 2.0 at /dev/tpmrm0; " in said["no TPM"], done
    assert "enrolled" in said["made"], done
    assert provider_lines(said["made"]) == provider_lines(said["at once"]) == [], done
    assert parts.count('Good "file" signature') == AT_ONCE, done
    forbidden = parts.partition("forbidden:\n")[2]
    assert "libpysk: this account may not use the TPM (/dev/tpmrm0); run: sudo usermod" in forbidden, done
