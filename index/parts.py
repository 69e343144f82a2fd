"""Finished parts of an unfinished build: what was read stays read, though the build be killed."""

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index.readings import SCHEMA, Reading, Seen, table_of

PARTS = "parts"
PART_SCANS = 256  # a kill costs at most the reading of so many
READINGS, SIGNATURES = "readings.parquet", "signatures.npy"
FINGERPRINT = b"fingerprint"
UNFINISHED = "."  # how the name of a part begins that is being written
PART_SCHEMA = SCHEMA.append(pa.field("preview", pa.binary()))

Outcome = tuple[Seen, Reading | None]  # no reading of what was rejected


class PartWriter:
    """Gathers what was read and writes it down, a part at a time."""

    def __init__(self, building: Path, fingerprint: str) -> None:
        self._folder = building / PARTS
        self._fingerprint = fingerprint
        self._held: list[Outcome] = []
        self.written = 0

    def add(self, outcome: Outcome) -> None:
        """Raises OSError."""
        self._held.append(outcome)
        if len(self._held) >= PART_SCANS:
            self.flush()

    def flush(self) -> None:
        """Write what is held. Raises OSError; then it is held still."""
        if not self._held:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{len(list(self._folder.iterdir())):06}-{secrets.token_hex(4)}"
        target = self._folder / f"{UNFINISHED}{name}"
        try:
            target.mkdir()
            self._write(target)
            flush_tree(target)
            target.rename(self._folder / name)
            flush_path(self._folder)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        self.written += 1
        self._held.clear()

    def forget(self) -> None:
        """Give up what is held."""
        self._held.clear()

    def _write(self, target: Path) -> None:
        read = [reading for _, reading in self._held if reading]
        numbers = iter(range(len(read)))
        seen = [(one, next(numbers) if reading else None) for one, reading in self._held]
        previews = pa.array([reading.preview if reading else None for _, reading in self._held], pa.binary())
        table = table_of(seen).append_column("preview", previews)
        table = table.replace_schema_metadata({FINGERPRINT: self._fingerprint.encode()})
        pq.write_table(table, target / READINGS)
        rows = np.stack([reading.signature for reading in read]) if read else np.zeros((0, 0), np.float32)
        np.save(target / SIGNATURES, rows.astype(np.float32))


def finished_parts(building: Path, fingerprint: str, *, clear: bool = True) -> list[Path]:
    """The parts of builds with this encoder; with `clear`, what others or killed writers left is removed."""
    folder = building / PARTS
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _is_of(path, fingerprint):
            found.append(path)
        elif clear:
            shutil.rmtree(path, ignore_errors=True)
    return found


def remove_parts(building: Path) -> None:
    shutil.rmtree(building / PARTS, ignore_errors=True)


def _is_of(path: Path, fingerprint: str) -> bool:
    if path.name.startswith(UNFINISHED):
        return False
    try:
        metadata = pq.read_schema(path / READINGS).metadata or {}
        return metadata.get(FINGERPRINT) == fingerprint.encode() and (path / SIGNATURES).is_file()
    except (OSError, pa.ArrowException):
        return False


def flush_tree(folder: Path) -> None:
    """fsync every file and folder of a tree, so that a power cut finds it whole."""
    for path in [*_walk(folder), folder]:
        flush_path(path)


def flush_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _walk(folder: Path) -> Sequence[Path]:
    return sorted(folder.rglob("*"), reverse=True)
