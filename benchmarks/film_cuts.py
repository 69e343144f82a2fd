"""Films that end within the lungs: how many are told of? Every second film of Hannover, whole and cut below.

python -m benchmarks.film_cuts
"""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from embed.film import cut_off_flags
from embed.film_lungs import FilmLungFinder
from embed.scan import Pixels

HANNOVER = Path(__file__).parents[2] / "shared" / "data" / "hannover"
SIDE = 640  # pixels, the shorter side
KEPT = (1.0, 0.65, 0.5)  # of the film's height, from the top


def outcome(finder: FilmLungFinder, grey: Pixels) -> str:
    lungs = finder.find(grey).lungs
    if lungs is None:
        return "no-lungs"
    return "lungs-cut-off" if cut_off_flags(lungs) else "neither flag"


def main() -> None:
    with (HANNOVER / "data.csv").open(newline="", encoding="utf-8") as table:
        names = [row["image_id"] for row in csv.DictReader(table)][::2]
    finder = FilmLungFinder()
    counts = {kept: Counter[str]() for kept in KEPT}
    for name in track(names, "films"):
        film = cv2.imread(str(HANNOVER / "png" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        scale = SIDE / min(film.shape)
        grey = cv2.resize(film, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        for kept in KEPT:
            counts[kept][outcome(finder, grey[: int(kept * len(grey))])] += 1
    for kept, found in counts.items():
        print(
            f"upper {kept:.0%} of {len(names)} films: "
            + ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
        )


if __name__ == "__main__":
    main()
