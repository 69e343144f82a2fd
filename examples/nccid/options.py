"""What is to be written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

TREES = ("xray", "ct", "mri", "unknown")


@dataclass(frozen=True)
class Options:
    """Everything that an archive follows from: the same options write the same bytes."""

    patients: int = 200
    centres: int = 8
    seed: int = 7
    dirt: float = 0.35  # share of cells that are not written plainly
    first: date = date(2020, 3, 1)  # of infections and swabs; films go back three years before
    last: date = date(2021, 6, 30)
    trees: tuple[str, ...] = TREES  # which modality trees are there
    metadata: bool = True  # whether each has its tree of metadata JSON beside it
    training_level: bool = True  # training/xray/… or xray/…
    positive_share: float = 0.34
    broken_share: float = 0.01  # of each kind of file: images, metadata JSON, clinical JSON
    unpaired_share: float = 0.02  # patients whose images or whose clinical files are missing
    side: int = 16  # pixels a side; 0: headers without pixels

    def __post_init__(self) -> None:
        unknown = set(self.trees) - set(TREES)
        if unknown:
            raise ValueError(f"trees {sorted(unknown)}: expected some of {', '.join(TREES)}")
        if self.last < self.first:
            raise ValueError(f"the last date {self.last} lies before the first, {self.first}")
        if self.patients < 1 or self.centres < 1:
            raise ValueError("an archive needs at least one patient and one centre")
