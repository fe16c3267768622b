"""The authenticator whose keys are in a TPM: tpm: is this machine's, tpm:TCTI one as the TSS reaches it.

What belongs to the keys outside of the TPM is in a store in the home: tpm:/path or tpm:TCTI@/path name another.
"""

from __future__ import annotations

import errno
import posix

from sk_provider.config import expand_home, home_directory
from sk_provider.errors import AuthenticatorError, ConfigurationError, CredentialNotFound, DeviceNotFound, NotMadeYet

from . import soft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.authenticator.profiles import Profile
    from sk_provider.authenticator.store import Store
    from sk_provider.config import Configuration
    from sk_provider.operation import Operation
    from sk_provider.tpm.keeper import TpmKeepers

SCHEME = "tpm"

_DEVICE = "/dev/tpmrm0"
"""The resource manager of this machine's TPM."""
_MANAGED = "/dev/tpmrm"
"""What the kernel's resource manager serves begins with this. Debian's tpm-udev gives only that to the group tss."""
_SYSFS = "/sys/class/tpm/tpm0"

_TCTIS = ("device", "mssim", "swtpm", "tabrmd")
"""What a TCTI may begin with: others run programs, and a path would be loaded as a library."""
_SHARED_TCTIS = ("tabrmd",)

_MAX_TCTI = 100
_CALLED = "the TPM"
"""What a person is told that it is."""
AAGUID = bytes.fromhex("9c1dd5d86d1b4fd0a5f4a5d4ea9a2e63")
"""The model's identifier (CTAP 2.1 §6.4)."""


def tcti_of(location: str) -> str:
    """Return the TCTI's configuration that the location of a tpm: address means.

    Raises ConfigurationError if it is none of those that may be used.
    """
    tcti, _ = _split(location)
    if not tcti:
        return f"device:{_DEVICE}"
    kind, _, rest = tcti.partition(":")
    if kind not in _TCTIS or len(tcti) > _MAX_TCTI or not tcti.isprintable():
        raise ConfigurationError(
            f"tpm:{tcti} is not a TPM's address", "write tpm: for this machine's, or such as tpm:device:/dev/tpmrm1"
        )
    if kind == "device" and (not rest.startswith("/dev/tpm") or "/" in rest[5:]):
        raise ConfigurationError(f"tpm:{tcti} is not a TPM's device", "name one such as /dev/tpmrm0")
    return tcti


def store_path(location: str) -> str:
    """Return the path of the store that the location of a tpm: address means: where none is named, one for each TCTI.

    Raises ConfigurationError if that is not absolute, and as tcti_of() does.
    """
    tcti = tcti_of(location)
    _, path = _split(location)
    if path:
        path = expand_home(path)
        if not path.startswith("/"):
            raise ConfigurationError(f"tpm:{location} has no absolute path", "begin it with / or ~/")
        return path
    name = "tpm" if tcti == f"device:{_DEVICE}" else "tpm-" + "".join(map(_as_in_file_name, tcti))
    return f"{home_directory()}/.local/share/pysk/{name}"


def _split(location: str) -> tuple[str, str]:
    """Return the TCTI and the store's path that a location names, "" for what it does not."""
    if location.startswith(("/", "~")):
        return "", location
    tcti, _, path = location.partition("@")
    return tcti, path


def _as_in_file_name(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "=,.-"):
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def discover(location: str) -> list[str]:
    """Return the location, if there is such a device, or what is no device might be there.

    Raises ConfigurationError as tcti_of() does.
    """
    device = _device(tcti_of(location))
    if device is not None:
        try:
            posix.stat(device)
        except OSError:
            return []
    return [location]


def open(  # noqa: A001 - see Transport
    location: str, configuration: Configuration, operation: Operation, *, may_create: bool, may_reset: bool = False
) -> soft.SoftChannel:
    """Open the authenticator of a TPM's store, which is made if it is not there and may_create.

    may_reset: whether authenticatorReset is allowed, see soft.open(); then the store may be another TPM's, too.

    Raises DeviceNotFound if there is no TPM, NotMadeYet if there is no store, ConfigurationError if tpm2-pytss is
    missing or the location is none, StoreUnusable if the store cannot be used or is another TPM's, and
    AuthenticatorError if the TPM cannot.
    """
    from sk_provider.authenticator.store import Store, StoreMissing
    from sk_provider.tpm.state import TpmState

    path = store_path(location)
    keepers = _keepers(location, path, operation)
    try:
        try:
            store = Store.create(path, keepers.new_state, TpmState) if may_create else Store.open(path, TpmState)
        except StoreMissing:
            raise NotMadeYet(
                f"no key was made in the TPM yet: there is no {path}",
                f"enroll a key with -O device={_quoted(location)} to begin",
            ) from None
        return _channel(store, keepers, location, configuration, operation, may_reset=may_reset)
    except BaseException:
        keepers.idle()
        keepers.forget()
        raise


def check(location: str, operation: Operation) -> None:
    """Have the TPM answer as it must for a first key, which changes nothing. Raises as open() does."""
    keepers = _keepers(location, store_path(location), operation)
    try:
        keepers.tpm.primary_name()
    finally:
        keepers.forget()


def open_holder(
    key_handle: bytes, locations: list[str], configuration: Configuration, operation: Operation
) -> tuple[str, soft.SoftChannel] | None:
    """Open the authenticator of the store that made a key handle: at one of the locations, or else this machine's.

    Return its location as well. Raises CredentialNotFound if none of them did; the rest as in open().
    See transport_api.RecognizesKeyHandles.
    """
    from sk_provider.authenticator.store import Store
    from sk_provider.tpm.key_handle import store_id_of
    from sk_provider.tpm.state import TpmState

    for location in dict.fromkeys([*locations, ""]):
        path = store_path(location)
        store = Store.find(path, TpmState)
        if store is not None and store.store_id == store_id_of(key_handle):
            keepers = _keepers(location, path, operation)
            try:
                return location, _channel(store, keepers, location, configuration, operation)
            except BaseException:
                keepers.forget()
                raise
    raise CredentialNotFound(
        f"the key is in a TPM that is neither this machine's (tpm:) nor named by Device{configuration.aside()}",
        f"use it on the machine and in the account that it was enrolled on; if {store_path('')} was deleted there, "
        "enroll a new key",
    )


def _channel(
    store: Store,
    keepers: TpmKeepers,
    location: str,
    configuration: Configuration,
    operation: Operation,
    *,
    may_reset: bool = False,
) -> soft.SoftChannel:
    from sk_provider.authenticator.engine import Authenticator

    if may_reset:
        keepers.tpm.primary_name()
    else:
        keepers.check(store.read())
    keepers.idle()
    return soft.SoftChannel(
        Authenticator(
            store,
            soft.presence_of(configuration, operation, f"tpm:{location}", _CALLED),
            profile(),
            soft.boot_id(),
            lambda: may_reset,
            keepers,
        )
    )


def profile() -> Profile:
    """Return what the authenticator behaves as: a TPM has no Ed25519, and U2F needs a certificate for its keys."""
    from sk_provider.authenticator.profiles import Profile
    from sk_provider.ctap import ES256

    return Profile(
        "tpm", versions=("FIDO_2_0", "FIDO_2_1"), algorithms=(ES256,), transports=("internal",), aaguid=AAGUID
    )


def _keepers(location: str, path: str, operation: Operation) -> TpmKeepers:
    """Return the keepers of the TPM's keys.

    Raises DeviceNotFound if there is no such device, and AuthenticatorError if it may not be used or is no TPM 2.0.
    """
    from sk_provider.tpm.keeper import TpmKeepers
    from sk_provider.tpm.tss import Tpm

    tcti = tcti_of(location)
    device = _device(tcti)
    if device is not None:
        _check_device(device)
    is_shared = tcti.split(":")[0] in _SHARED_TCTIS or (device is not None and device.startswith(_MANAGED))
    return TpmKeepers(
        Tpm(tcti, operation, is_shared=is_shared), path, f"pysk reset {_quoted(location)}, and enroll new ones"
    )


def _quoted(location: str) -> str:
    import shlex

    return shlex.quote(f"tpm:{location}")


def device_file(location: str) -> str | None:
    """Return the path of the device that the location of an address means, None if it means none."""
    return _device(tcti_of(location))


def _device(tcti: str) -> str | None:
    """Return the path of the device that a TCTI means, None if it is none."""
    return tcti.partition(":")[2] if tcti.startswith("device:") else None


def _check_device(device: str) -> None:
    try:
        posix.close(posix.open(device, posix.O_RDWR | posix.O_CLOEXEC | posix.O_NONBLOCK))
    except FileNotFoundError:
        if _version() == "1":
            raise AuthenticatorError(
                "the machine's TPM is of version 1.2, which cannot make such keys",
                "see whether its firmware settings offer version 2.0, or use another authenticator",
            ) from None
        raise DeviceNotFound(
            f"there is no TPM 2.0 at {device}", "switch it on in the machine's firmware settings, or use another one"
        ) from None
    except PermissionError:
        remedy = 'run: sudo usermod --append --groups tss "$USER", and log in again'
        if not device.startswith(_MANAGED):
            remedy = f"name {_DEVICE} in its place, which is for accounts in the group tss"
        raise AuthenticatorError(f"this account may not use the TPM ({device})", remedy) from None
    except OSError as error:
        if error.errno == errno.EBUSY:
            return  # it is waited for when it is needed
        raise AuthenticatorError(
            f"the TPM ({device}) cannot be opened: {error.strerror}", "end what else uses it, and try again"
        ) from None


def _version() -> str:
    """Return the major version of the machine's TPM, "" if it has none or that is not known."""
    try:
        descriptor = posix.open(f"{_SYSFS}/tpm_version_major", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return posix.read(descriptor, 16).decode(errors="replace").strip()
    finally:
        posix.close(descriptor)
