"""Makes the mean frontal chest film that `embed.quality` compares with, from the demonstration archive.

    python -m benchmarks.frontal_template [FOLDER of the archive]

Every second virtual patient's frontal films, cropped, shrunk, blurred and averaged with their mirror image; nobody's real film.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from embed.quality import SIDE, TEMPLATE, coarse
from embed.read import read_scan


def main(archive: Path) -> None:
    with (archive / "truth.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "archive" and row["view"] in ("PA", "AP")]
    if not TEMPLATE.exists():
        np.save(TEMPLATE, np.zeros((SIDE, SIDE), np.float32))  # reading a film asks for it
    chosen = set(sorted({row["patient_id"] for row in rows})[::2])
    films = [
        coarse(read_scan(archive / row["file"], side=256).pixels[0]) for row in rows if row["patient_id"] in chosen
    ]
    mean = np.mean(films, axis=0)
    np.save(TEMPLATE, ((mean + mean[:, ::-1]) / 2).astype(np.float32))
    print(f"{TEMPLATE.name}: the mean of {len(films)} films of {len(chosen)} virtual patients")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/demo/archive"))
