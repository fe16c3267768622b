"""Fuzz one target with atheris: guided.py TARGET, and libFuzzer's options and corpus folders. It ends when they say."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

# What is not instrumented runs many times faster. Each message to the engine has the whole store read, which is CBOR;
# that reader has a target of its own.
READERS = ["sk_provider.ctap.cbor", "sk_provider.authenticator.state", "sk_provider.authenticator.store"]
PACKAGES, EXCEPT = {
    "engine": (["sk_provider"], READERS),
    "provider": (["sk_provider", "fido2"], []),
}.get(sys.argv[1], (["sk_provider"], []))

with atheris.instrument_imports(include=PACKAGES, exclude=EXCEPT, enable_loader_override=False):
    import sk_provider.authenticator
    import sk_provider.authenticator.commands
    import sk_provider.ctap

    # What the engine imports when it first needs it would not be instrumented.
    for package in (sk_provider.authenticator, sk_provider.authenticator.commands, sk_provider.ctap):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.ispkg:
                importlib.import_module(module.name)
    from fuzz.targets import TARGETS

from fuzz.mutation import mutate  # noqa: E402  (it is not to be instrumented)


def mutate_messages(data: bytes, max_size: int, seed: int) -> bytes:
    return mutate(data, max_size, seed, atheris.Mutate)


if __name__ == "__main__":
    target = sys.argv.pop(1)
    if target in ("engine", "provider"):  # whose events are, most of them, a byte and canonical CBOR
        atheris.Setup(sys.argv, TARGETS[target], custom_mutator=mutate_messages)
    else:
        atheris.Setup(sys.argv, TARGETS[target])
    atheris.Fuzz()
