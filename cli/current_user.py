"""The person who runs a command, for the promotion history."""

from __future__ import annotations

import getpass
import os


def current_user() -> str:
    """The name of the user who runs this process, or `uid 1234` if the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):  # which of them depends on the version of Python
        return f"uid {os.getuid()}"
