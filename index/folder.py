"""What an index folder is made of, and whether a folder is one: a slip in `--index` must not cost another folder's files."""

from pathlib import Path

from index.denied import DENIED
from index.snapshot import CURRENT, SNAPSHOTS

BUILDING = "building"
PENDING = ".new"  # how the name of a file ends that is about to replace another
FILES = (CURRENT, f"{CURRENT}{PENDING}", DENIED, f"{DENIED}{PENDING}")
HARMLESS = "lost+found"  # of a volume that holds nothing but the index


def is_index(folder: Path) -> bool:
    """Whether an index was ever built or restored there. Raises OSError where nobody may look."""
    snapshots = folder / SNAPSHOTS
    return snapshots.is_dir() and (
        any((folder / name).exists() for name in (BUILDING, CURRENT, DENIED)) or any(snapshots.glob("*/manifest.json"))
    )


def foreign_to(folder: Path) -> list[str]:
    """The names of what lies in a folder but is no index's. Raises OSError."""
    return sorted(path.name for path in folder.iterdir() if path.name not in (SNAPSHOTS, BUILDING, *FILES))


def may_become_index(folder: Path) -> bool:
    """Whether it is empty but for hidden files and what an index holds. Raises OSError."""
    return all(name == HARMLESS or name.startswith(".") for name in foreign_to(folder))
