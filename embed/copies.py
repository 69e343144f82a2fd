"""Which of many archived pictures are copies of one: all of them compared exactly, most of them by a bound that is cheap."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embed.identity import BITS, SAME_PICTURE_DISTANCE, WindowBits, bit_distances, hash_bits, window_bits
from embed.scan import Pixels

CHUNK = 16  # bits that one look-up judges: 65,536 entries fit the cache, and fewer bits bound too loosely
CHUNKS = BITS // CHUNK


class KnownPictures:
    """The perceptual hashes of archived pictures, held so that copies of a new one are found in milliseconds."""

    def __init__(self, hashes: Sequence[str | None]) -> None:
        """`hashes` as `embed.identity.perceptual_hash` made them, None where a case has none."""
        self._count = len(hashes)
        self._rows = np.array([row for row, one in enumerate(hashes) if one is not None], np.int64)
        self._bits = np.packbits(hash_bits([one for one in hashes if one is not None]), axis=1)  # (hashed, 32) uint8
        self._chunks = np.ascontiguousarray(self._bits.view(np.uint16).T)  # (16, hashed)

    def copies_of(self, grey: Pixels) -> npt.NDArray[np.bool_]:
        """Which of the pictures (n,) lie within `SAME_PICTURE_DISTANCE` of `grey` (rows, columns) by `picture_distances`."""
        copies = np.zeros(self._count, bool)
        if not len(self._rows):
            return copies
        asked = window_bits(grey)
        near = np.flatnonzero(self._least_distances(asked) <= SAME_PICTURE_DISTANCE)
        known = np.unpackbits(self._bits[near], axis=1).astype(bool)
        copies[self._rows[near[bit_distances(asked, known) <= SAME_PICTURE_DISTANCE]]] = True
        return copies

    def _least_distances(self, asked: WindowBits) -> npt.NDArray[np.uint8]:
        """A lower bound on each picture's distance (hashed,): chunk by chunk, the window nearest in that chunk alone."""
        nearest = _distance_tables(np.packbits(asked, axis=1).view(np.uint16))
        bound = np.zeros(len(self._rows), np.uint8)
        for chunk, values in enumerate(self._chunks):
            bound += nearest[values, chunk]
        return bound


def _distance_tables(chunks: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """How many bits each value of 16 bits lies from the nearest of `chunks` (windows, 16), in each column (65536, 16).

    At most 15, so that the 16 columns add up within 8 bits.
    """
    tables = np.full((2**CHUNK, CHUNKS), CHUNK - 1, np.uint8)
    tables[chunks, np.arange(CHUNKS)] = 0
    for bit in range(CHUNK):  # after which a value has heard of all that differ in the bits so far
        pairs = tables.reshape(-1, 2, CHUNKS << bit)
        clear, set_ = pairs[:, 0], pairs[:, 1]
        farther = np.minimum(set_, clear + 1)
        np.minimum(clear, set_ + 1, out=clear)
        set_[:] = farther
    return tables
