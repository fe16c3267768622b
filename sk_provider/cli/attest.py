"""pysk attest: what an authenticator has attested of a new key, shown and verified."""

from __future__ import annotations

import click

from .output import json_option, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.credentials.attestation_file import Attestation

_MAX_SIZE = 1 << 20
"""Bytes of the largest challenge or public-key file that is read."""


@click.group()
def attest() -> None:
    """Show and verify the attestation of a new key.

    FILE is what `ssh-keygen -O write-attestation=FILE` has written when the key was made. With it an authenticator
    signs that it has made the key, and many have a certificate that says who made the authenticator.
    """
    import warnings

    # Authenticators' certificates have serial numbers and dates that cryptography warns of.
    warnings.simplefilter("ignore")


@attest.command()
@click.argument("file", metavar="FILE")
@click.option("--application", metavar="NAME", default="ssh:", help="The key's application, ssh: by default.")
@json_option
def show(file: str, application: str, *, as_json: bool) -> None:
    """Print what an attestation says, without verifying any of it.

    FILE has a hash of the application alone, so that the key's fingerprint is known only with the right --application.

    --json prints an object with the members format (packed, fido-u2f, self or none), aaguid, model, user_present,
    user_verified, counter, type, application, fingerprint, application_hash and certificate (subject, issuer, serial,
    not_before, not_after, organizational_unit, is_ca, version), which are null where something is not there.
    """
    members = _members(_read(file), application)
    if as_json:
        print_json(members)
        return
    certificate = members.pop("certificate") or {}
    for name, value in (*members.items(), *((f"certificate {name}", value) for name, value in certificate.items())):
        _print(name, value)


@attest.command()
@click.argument("file", metavar="FILE")
@click.option("--key", "key_file", metavar="FILE", required=True, help="The key's .pub file.")
@click.option("--challenge", "challenge_file", metavar="FILE", required=True, help="What -O challenge was given.")
@click.option("--application", metavar="NAME", help="The application that the key must be for.")
@click.option("--roots", metavar="FILE", multiple=True, help="Certificates (PEM) of makers to trust, more than once.")
@click.option("--mds", metavar="FILE", help="The blob of the FIDO Metadata Service, as it is downloaded.")
@click.option("--mds-root", metavar="FILE", help="The certificate that the signature of --mds goes back to.")
@json_option
def verify(
    file: str,
    key_file: str,
    challenge_file: str,
    application: str | None,
    roots: tuple[str, ...],
    mds: str | None,
    mds_root: str | None,
    *,
    as_json: bool,
) -> None:
    """Verify that an authenticator has made a key for a challenge.

    The attestation must be of that very key and application, and its signature must include the challenge: then the
    key was made after the challenge was known. Who made the authenticator is verified only with --roots or --mds, and
    is not known otherwise: what it says of its model is its own word. An attestation of the format "self" is signed by
    the key itself, and proves no more than that somebody has this key. Whether a certificate has expired, or its maker
    has revoked it, is not looked at. Nothing is fetched from the network.

    The exit status is 0 if all was verified that was asked for, 1 if not.

    \b
        head -c 32 /dev/urandom > challenge
        ssh-keygen -t ed25519-sk -O challenge=challenge -O write-attestation=attestation -f id
        pysk attest verify attestation --key id.pub --challenge challenge --roots maker.pem

    --json prints an object with the members of `pysk attest show --json` and with maker, which is null if it was not
    verified and else has the members verified_by (roots or mds), name, statuses and next_update.
    """  # noqa: D301 - click lets lines be where it finds this character
    from sk_provider.credentials import attestation_file
    from sk_provider.credentials.attestation_file import AttestationRefused

    if (mds is None) != (mds_root is None):
        raise click.UsageError("give --mds and --mds-root together")
    attested = _read(file)
    algorithm, public_key, key_application = attestation_file.read_public_key(_content(key_file, _MAX_SIZE), key_file)
    if application is not None and application != key_application:
        raise AttestationRefused(
            f"{key_file} is for another application than {application}", "give another key, or leave out --application"
        )
    challenge = _content(challenge_file, _MAX_SIZE)
    statement_format, client_data_hash = attestation_file.verify(
        attested, file, (algorithm, public_key), key_application, challenge
    )
    arguments = (attested, file, statement_format, client_data_hash)
    maker = _maker_by_roots(arguments, roots) if roots else None
    if mds is not None and mds_root is not None:
        maker = _maker_by_metadata(arguments, mds, mds_root)
    members = {**_members(attested, key_application), "format": statement_format, "maker": maker}
    if as_json:
        print_json(members)
        return
    by = "the key itself" if statement_format == attestation_file.SELF else "the authenticator's attestation key"
    _print("signature", f"good, by {by} ({statement_format})")
    _print("key", f"{members['fingerprint']}, the one in {key_file}")
    _print("application", key_application)
    _print("challenge", f"the one in {challenge_file}")
    for name in ("user_present", "user_verified"):
        _print(name, members[name])
    if maker is None:
        _print("model", f"{members['aaguid']} {members['model'] or ''}".rstrip() + " (not verified)")
        _print("maker", "not verified; that takes --roots or --mds")
    else:
        _print("model", f"{members['aaguid']} {members['model'] or ''}".rstrip())
        _print("maker", f"verified by {maker['verified_by']}: {maker['name']}")
        for status in maker["statuses"] or []:
            _print("status", status)


def _maker_by_roots(arguments: tuple[Attestation, str, str, bytes], roots: tuple[str, ...]) -> dict[str, Any]:
    from sk_provider.credentials import attestation_trust

    trusted = [
        each
        for path in roots
        for each in attestation_trust.read_certificates(_content(path, attestation_trust.MAX_SIZE), path)
    ]
    root = attestation_trust.verify_by_roots(*arguments, trusted)
    return {
        "verified_by": "roots",
        "name": root.subject.rfc4514_string(),
        "statuses": None,
        "next_update": None,
    }


def _maker_by_metadata(arguments: tuple[Attestation, str, str, bytes], mds: str, mds_root: str) -> dict[str, Any]:
    import datetime as dt

    from sk_provider.credentials import attestation_trust
    from sk_provider.credentials.attestation_file import AttestationRefused
    from sk_provider.reporting import printable

    roots = attestation_trust.read_certificates(_content(mds_root, _MAX_SIZE), mds_root)
    if len(roots) != 1:
        raise AttestationRefused(f"{mds_root} has {len(roots)} certificates", "give one with the root alone")
    metadata = attestation_trust.read_metadata(_content(mds, attestation_trust.MAX_SIZE), mds, roots[0])
    model = attestation_trust.verify_by_metadata(*arguments, metadata)
    if model.next_update < dt.datetime.now(dt.timezone.utc).date():
        sentence = f"{mds} was to be updated on {model.next_update}; get a newer one to know of what was revoked since"
        click.echo(f"pysk: {printable(sentence)}", err=True)
    return {
        "verified_by": "mds",
        "name": model.description,
        "statuses": model.statuses,
        "next_update": str(model.next_update),
    }


def _read(path: str) -> Attestation:
    from sk_provider.credentials import attestation_file

    return attestation_file.parse(_content(path, attestation_file.MAX_SIZE), path)


def _content(path: str, max_size: int) -> bytes:
    """Return what a file has. Raises AttestationRefused if it cannot be read, or is larger."""
    from sk_provider.credentials.attestation_file import AttestationRefused

    try:
        with open(path, "rb") as file:
            content = file.read(max_size + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file has that name"
        raise AttestationRefused(f"{path} cannot be read ({reason})", "name a file that you can read") from None
    if len(content) > max_size:
        raise AttestationRefused(f"{path} is larger than {max_size} bytes", "give another file")
    return content


def _members(attested: Attestation, application: str) -> dict[str, Any]:
    """Return what an attestation says, as JSON has it."""
    from sk_provider.credentials import attestation_trust, models, openssh_key

    data = attested.authenticator_data
    aaguid = bytes(data.credential_data.aaguid) if data is not None and data.credential_data is not None else None
    key = attested.public_key()
    # What is not printable is not text that can be compared, either.
    is_known = application.isprintable() and attested.is_for(application)
    blob = openssh_key.public_blob(*key, application) if key is not None and is_known else None
    return {
        "format": attested.format,
        "aaguid": None if aaguid is None else models.text(aaguid),
        "model": models.model(aaguid) or None if aaguid is not None else None,
        "user_present": None if data is None else data.is_user_present(),
        "user_verified": None if data is None else data.is_user_verified(),
        "counter": None if data is None else data.counter,
        "type": None if key is None else openssh_key.KEYGEN_TYPES[key[0]],
        "application": application if is_known else None,
        "fingerprint": None if blob is None else openssh_key.fingerprint(blob),
        "application_hash": None if data is None else data.rp_id_hash.hex(),
        "certificate": attestation_trust.describe(attested.certificate) if attested.certificate else None,
    }


def _print(name: str, value: object) -> None:
    from sk_provider.reporting import printable

    text = {None: "-", True: "yes", False: "no"}.get(value) if value is None or isinstance(value, bool) else str(value)
    click.echo(f"{name.replace('_', ' ')}: {printable(text or '-')}")
