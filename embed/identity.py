"""By what the same picture is known again: an exact hash of the stored values, and a perceptual one of what they show."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np

from embed.dicom import Stored
from embed.prepare import grey_slices
from embed.scan import PixelIdentity, Pixels, Scan

SIDE = 64  # pixels: what remains of the picture before its frequencies are taken
FREQUENCIES = 16  # a side; their signs make 16 × 16 = 256 bits
BITS = FREQUENCIES**2


def identity_of(stored: Stored, grey: Pixels) -> PixelIdentity:
    """The identity of a picture from its stored values, at full size, and its grey picture (rows, columns)."""
    return PixelIdentity(exact_hash(stored), perceptual_hash(grey))


def with_identity(scan: Scan) -> Scan:
    """A volume with the identity of the slices that were decoded, its middle one standing for the picture."""
    grey = grey_slices(scan)
    return replace(scan, identity=identity_of(np.rint(scan.pixels * 16).astype(np.int32), grey[len(grey) // 2]))


def exact_hash(stored: Stored) -> str:
    """SHA-256 of the shape and the values: the same for every lossless way of storing them, whatever their byte order."""
    digest = hashlib.sha256(repr(stored.shape).encode())
    values = stored if stored.dtype.itemsize == 2 else stored.astype("<i4" if stored.dtype.itemsize == 4 else "<u2")
    digest.update(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).data)
    return digest.hexdigest()


def perceptual_hash(grey: Pixels) -> str:
    """256 bits as hex: which low frequencies of the picture lie above their median (the DCT hash of C. Zauner, 2010)."""
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    spectrum = cv2.dct(small)[1 : FREQUENCIES + 1, 1 : FREQUENCIES + 1]
    bits = (spectrum > np.median(spectrum)).ravel()
    return np.packbits(bits).tobytes().hex()


def hash_distance(first: str, second: str) -> int:
    """How many of the 256 bits of two perceptual hashes differ: 0 for the same picture, about 128 for strangers."""
    return (int(first, 16) ^ int(second, 16)).bit_count()
