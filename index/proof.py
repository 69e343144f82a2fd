"""Proofs of what was removed: JSON that says whether it was changed since, put on the disk whole or not at all."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from index.parts import flush_path


class ProofError(Exception):
    """A proof that could not be written, or that would replace another one."""


def signed(content: Mapping[str, Any]) -> str:
    """JSON with the sha256 of all the rest of it, by which a later change shows."""
    return json.dumps({**content, "sha256": _digest_of(content)}, indent=1, sort_keys=True) + "\n"


def read_proof(path: Path) -> dict[str, Any] | None:
    """What a proof says, or None where it is not there, is none, or was changed since it was signed."""
    try:
        content = json.loads(path.read_bytes())
        return dict(content) if content.pop("sha256") == _digest_of(content) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def require_writable(path: Path, index: Path) -> None:
    """Before anything is removed: its proof can be written, and not into what is removed. Raises `ProofError`."""
    if path.resolve().is_relative_to(index.resolve()):
        raise ProofError(f"{path} lies in the index; write it elsewhere")
    if path.is_dir():
        raise ProofError(f"{path} is a folder; give the name of a file")
    probe = _beside(path)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ProofError(f"{path}: cannot be written ({error.strerror})") from error


def write_proof(path: Path, text: str) -> None:
    """Put it on the disk, in place of what is there: after a power cut one of the two is there, whole. Raises `ProofError`."""
    pending = _beside(path)
    try:
        handle = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        pending.replace(path)
        flush_path(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            pending.unlink(missing_ok=True)
        raise ProofError(f"{path}: cannot be written ({error.strerror})") from error


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
