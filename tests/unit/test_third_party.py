"""What is told of another package's code that fails."""

from __future__ import annotations

import json

import pytest

from sk_provider import third_party

STANDARD_LIBRARY = json.__file__.removesuffix("json/__init__.py")


def raised_in(*paths: str) -> KeyError:
    """Return an error that came about in the last of some files, each of which has called the next."""
    source = "raise KeyError('secret')"
    for path in reversed(paths):
        source = f"exec(compile({source!r}, {path!r}, 'exec'))"
    with pytest.raises(KeyError) as caught:
        exec(source, {})
    error = caught.value
    for _ in range(2):  # what stands here
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next
    return error


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_a_package_in_pythons_own_folder_is_no_part_of_python(folder: str) -> None:
    error = raised_in(third_party.__file__, f"{STANDARD_LIBRARY}{folder}/owl/deeds.py", f"{STANDARD_LIBRARY}json/x.py")
    assert str(third_party.blame("the transport owl:", error)) == (
        "the transport owl: failed (KeyError in deeds.py line 1); report this to its authors"
    )
