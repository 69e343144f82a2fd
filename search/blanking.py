"""Does the likeness live in the lungs? Every film signed again with its lungs blanked, and with all but its lungs blanked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from embed.encoder import Encoder
from embed.prepare import lung_box, stretch
from embed.read import ReadRequest, read_request
from embed.sandbox import IsolatedWorkers
from embed.scan import Scan, ScanError
from search.baselines import LUNGS_ALONE, LUNGS_BLANKED, VectorSpace, centred_space
from search.evaluated import Evaluated

GREY = np.float32(0.5)  # of 0 to 1: a mean would still tell how dense the lungs are


def without_lungs(scan: Scan) -> Scan:
    """The crop that an encoder sees, with its lungs grey and the contrast of what lies around them; their outline remains."""
    assert scan.lungs is not None
    picture = scan.pixels[0]
    inside = _mask(scan)
    box = lung_box(scan.lungs, *picture.shape)
    toned = stretch(picture[box], inside=~inside[box])
    return replace(scan, pixels=np.where(inside[box], GREY, toned).astype(np.float32)[None], lungs=None)


def lungs_alone(scan: Scan) -> Scan:
    """The film with everything but the lungs at the lungs' mean."""
    inside = _mask(scan)
    picture = scan.pixels[0]
    return replace(scan, pixels=np.where(inside, picture, picture[inside].mean()).astype(np.float32)[None])


def blanked_spaces(
    cases: Evaluated, files: Sequence[Sequence[str]], encoder: Encoder, progress: Callable[[int], None]
) -> tuple[list[VectorSpace], dict[str, int]]:
    """(the two spaces, how many cases were left out by reason): films whose files can be read and whose lungs were found.

    `files` are each case's, in the order of the rows. `progress` is told of each case that was looked at.
    """
    reasons: dict[str, int] = {}
    rows, blanked, alone = [], [], []
    for row, scan in _scans(cases, files, encoder.side, progress):
        if isinstance(scan, str):
            reasons[scan] = reasons.get(scan, 0) + 1
        else:
            rows.append(row)
            blanked.append(encoder.encode([without_lungs(scan)])[0])
            alone.append(encoder.encode([lungs_alone(scan)])[0])
    if not rows:
        return [], reasons
    covers = np.zeros(len(cases.patients), bool)
    covers[rows] = True
    spaces = []
    for name, signed in ((LUNGS_BLANKED, blanked), (LUNGS_ALONE, alone)):
        every = np.zeros((len(covers), len(signed[0])), np.float32)
        every[rows] = np.stack(signed)
        spaces.append(centred_space(name, f"films signed by the same encoder, {name}", every, covers))
    return spaces, reasons


def _scans(
    cases: Evaluated, files: Sequence[Sequence[str]], side: int, progress: Callable[[int], None]
) -> Iterator[tuple[int, Scan | str]]:
    """(a row, its film or the reason why there is none)."""
    with IsolatedWorkers(read_request, workers=1) as reader:
        for row in np.flatnonzero(cases.usable).tolist():
            paths = tuple(Path(name) for name in files[row])
            try:
                if not all(path.exists() for path in paths):
                    yield row, "the files are not where they were"
                else:
                    scan = reader.run(ReadRequest(paths, side)).scan
                    yield row, scan if scan.lungs is not None else "the lungs were not found"
            except ScanError as error:
                yield row, f"cannot be read: {error.reason}"
            progress(1)


def _mask(scan: Scan) -> npt.NDArray[np.bool_]:
    """Where the lungs are on the film's pixels (rows, columns)."""
    assert scan.lungs is not None
    grid = scan.lungs.both.astype(np.uint8)
    found: npt.NDArray[np.bool_] = cv2.resize(grid, scan.pixels[0].shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    return found
