"""By what the same picture is known again: an exact hash of the stored values, and a perceptual one of what they show.

A crop moves everything, and a few per cent change a third of such a hash. So what is stored is the hash of a window inside
the picture, and the picture asked about is hashed in many windows: one of them shows what the stored one showed.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
import xxhash

from embed.border import crop_border
from embed.prepare import grey_slices, stretch
from embed.scan import PixelIdentity, Pixels, Scan, Stored

WindowBits = npt.NDArray[np.bool_]  # (windows, 256)

SIDE = 128  # pixels: what remains of the picture before its frequencies are taken
FREQUENCIES = 16  # a side; their signs make 16 × 16 = 256 bits
BITS = FREQUENCIES**2
MARGIN = 0.10  # of each side, outside the window that is stored
MARGINS = (0.06, 0.08, 0.10, 0.12, 0.14)  # of each side, of the 625 windows that are tried: copies cropped by up to 4 %

SAME_PICTURE_DISTANCE = 30
"""At most this many bits apart by `picture_distances`, two pictures are one film.

Set on the 243 Hannover films, so no estimate for others. tests/test_embed_identity.py holds that of every sixth film's copies (JPEG
quality 60, resized, windowed, gamma, cropped by 2 and 4 %, framed, and all at once) none is missed, and that no two different
films, of one patient or of two, match.
"""


def identity_of(stored: Stored, grey: Pixels) -> PixelIdentity:
    """The identity of a picture from its stored values, at full size, and its grey picture (rows, columns)."""
    return PixelIdentity(exact_hash(stored), perceptual_hash(grey))


def with_identity(scan: Scan) -> Scan:
    """A volume with the identity of the slices that were decoded, its middle one standing for the picture."""
    grey = grey_slices(scan)
    return replace(scan, identity=identity_of(np.rint(scan.pixels * 16).astype(np.int32), grey[len(grey) // 2]))


def exact_hash(stored: Stored) -> str:
    """XXH3 of the shape and the values: the same for every lossless way of storing them, whatever their byte order.

    It tells pictures apart, not forgeries; SHA-256 would take a third of the time of reading a film.
    """
    digest = xxhash.xxh3_128(repr(stored.shape).encode())
    values = stored if stored.dtype.itemsize == 2 else stored.astype("<i4" if stored.dtype.itemsize == 4 else "<u2")
    digest.update(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).data)
    return digest.hexdigest()


def perceptual_hash(grey: Pixels) -> str:
    """256 bits as hex: which low frequencies of the picture, less a tenth at each side, lie above their median.

    The DCT hash of C. Zauner (2010), of the stretched picture (rows, columns).
    """
    (bits,) = _bits(grey, _waves(MARGIN, MARGIN)[None])
    return np.packbits(bits).tobytes().hex()


def picture_distances(grey: Pixels, stored: Sequence[str]) -> npt.NDArray[np.int64]:
    """How many of the 256 bits of each stored perceptual hash differ from `grey` in the window where fewest do.

    A copy of the same picture, cropped by up to 4 % more or less than the stored one, lies within `SAME_PICTURE_DISTANCE`.
    """
    return bit_distances(window_bits(grey), hash_bits(stored))


def window_bits(grey: Pixels) -> WindowBits:
    """The bits of `grey` in each of the 625 windows."""
    return _bits(grey, ALL_WAVES)


def hash_bits(stored: Sequence[str]) -> npt.NDArray[np.bool_]:
    """The bits of perceptual hashes (n, 256)."""
    packed = np.frombuffer(bytes.fromhex("".join(stored)), np.uint8).reshape(len(stored), BITS // 8)
    return np.unpackbits(packed, axis=1).astype(bool)


def bit_distances(asked: WindowBits, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Of each row of `known` (n, 256), the bits that differ from the window where fewest do (n,)."""
    likeness = (2 * known.astype(np.float32) - 1) @ (2 * asked.astype(np.float32) - 1).T
    return np.rint((BITS - likeness.max(axis=1)) / 2).astype(np.int64)


def _bits(grey: Pixels, waves: Pixels) -> npt.NDArray[np.bool_]:
    """The bits of `grey` in each of the windows that a pair of `waves` (choices, frequencies, pixels) spans: (windows, 256)."""
    small = cv2.resize(grey, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_AREA)
    inside = crop_border(stretch(small)).pixels  # again: another window may have hidden the border from `embed.border`
    picture = cv2.resize(inside, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    flat = waves.reshape(-1, SIDE)
    spectra = (flat @ picture @ flat.T).reshape(len(waves), FREQUENCIES, len(waves), FREQUENCIES)
    spectra = spectra.transpose(0, 2, 1, 3).reshape(-1, BITS)
    middle = np.sort(spectra, axis=1)[:, BITS // 2 - 1 : BITS // 2 + 1]  # np.median takes six times as long
    above: npt.NDArray[np.bool_] = spectra > middle.mean(axis=1, keepdims=True)
    return above


def _waves(before: float, after: float) -> Pixels:
    """The cosines 1 to 16 of the DCT-II (frequencies, pixels) over the window between two margins, 0 outside it."""
    first, beyond = before * SIDE, (1 - after) * SIDE
    pixel = np.arange(SIDE)
    covered = np.clip(np.minimum(pixel + 1, beyond) - np.maximum(pixel, first), 0, 1)
    phase = np.pi * (pixel + 0.5 - first) / (beyond - first)
    waves: Pixels = (np.cos(np.arange(1, FREQUENCIES + 1)[:, None] * phase) * covered).astype(np.float32)
    return waves


ALL_WAVES = np.stack([_waves(before, after) for before, after in product(MARGINS, MARGINS)])
