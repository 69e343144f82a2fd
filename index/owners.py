"""Whose a file is, for messages of who was not let in: nearly always the command was run as another user than the build's."""

import os
import pwd
from pathlib import Path


def not_let_in(path: Path) -> str:
    """Why a path may not be read or written, and what to do, as the end of a sentence."""
    shut = _outermost_shut(path)
    try:
        owner = shut.owner()
        mode = shut.stat().st_mode & 0o7777
    except (OSError, KeyError):
        return f"permission denied to you, {me()}"
    if owner == me():
        return f"permission denied: {shut} is yours, {owner}, but of mode {mode:04o}; chmod it"
    return (
        f"permission denied: {shut} belongs to {owner} (mode {mode:04o}), you are {me()}; "
        f"run this as {owner}, or chown it if that is the wrong owner"
    )


def me() -> str:
    """The name of the user that this process is, whatever the environment says."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _outermost_shut(path: Path) -> Path:
    """The first folder on the way that may not be entered, or the path itself where it is there, or the folder it would be in."""
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK):
            return folder
    return path if path.exists() else path.parent
