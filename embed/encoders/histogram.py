"""Grey-level histograms of a grid of cells: no weights, quick, and honest about knowing nothing. For tests and baselines."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embed.encoder import PREPARATION, EncoderError
from embed.prepare import encoder_view
from embed.scan import Pixels, Scan
from embed.signature import unit

CELLS = 4
BINS = 8


class HistogramEncoder:
    """4×4 cells of 8 grey levels; the square root of each share, so that the dot product is the Bhattacharyya overlap."""

    fingerprint = f"histogram-{CELLS}x{CELLS}x{BINS}:{PREPARATION}"
    dim = CELLS * CELLS * BINS
    side = 128

    def encode(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]:
        if not scans:
            return np.empty((0, self.dim), np.float32)
        return unit(np.stack([self._histograms(scan) for scan in scans]))

    def _histograms(self, scan: Scan) -> npt.NDArray[np.float32]:
        return np.mean(
            [self._of_slice(seen.picture) for seen in encoder_view(scan, side=self.side)], axis=0, dtype=np.float32
        )

    def _of_slice(self, picture: Pixels) -> npt.NDArray[np.float32]:
        level = np.clip((picture * BINS).astype(np.int64), 0, BINS - 1)
        cells = level.reshape(CELLS, self.side // CELLS, CELLS, self.side // CELLS).swapaxes(1, 2).reshape(CELLS**2, -1)
        counts = np.stack([np.bincount(cell, minlength=BINS) for cell in cells])
        return np.sqrt(counts / cells.shape[1]).astype(np.float32).ravel()


def load(argument: str) -> HistogramEncoder:
    if argument:
        raise EncoderError(f"the histogram encoder takes no argument, got {argument!r}")
    return HistogramEncoder()
