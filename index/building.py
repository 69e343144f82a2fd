"""The folders under `building/`: each is locked for as long as its writer lives, and what a killed writer left is swept."""

import contextlib
import fcntl
import shutil
from pathlib import Path

LOCK = ".lock"


class BuildFolder:
    """`building/NAME`, made and held. The lock is the kernel's: it ends with this process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = path.with_name(path.name + LOCK)
        self._lock = self._lock_path.open("w")
        with contextlib.suppress(OSError):  # a file system without locks: no sweep can lock it either
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        path.mkdir()  # after the lock, so that no sweep finds it unlocked

    def release(self) -> None:
        """Remove the folder, if it still lies here, and the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        self._lock.close()


def sweep(building: Path) -> None:
    """Remove the folders whose writers no longer live."""
    for lock_path in building.glob(f"*{LOCK}"):
        with contextlib.suppress(OSError), lock_path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the writer lives
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink()
