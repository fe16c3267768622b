"""How a person is asked, and told: on the terminal, by SSH_ASKPASS, by pinentry, or on the desktop."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DEFAULT_ASKPASS: Final = "/usr/bin/ssh-askpass"
"""What asks where SSH_ASKPASS names nothing else, as Debian's ssh has it."""
