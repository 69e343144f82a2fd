"""An encoder that signs each scan once, however often its question is asked again."""

import threading
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from embed.encoder import Encoder
from embed.scan import Scan


class OnceEncoder:
    """Keeps a scan's signature for as long as somebody holds the scan. Safe for threads."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.fingerprint, self.dim, self.side = encoder.fingerprint, encoder.dim, encoder.side
        self._lock = threading.Lock()
        self._rows: WeakKeyDictionary[Scan, npt.NDArray[np.float32]] = WeakKeyDictionary()

    def encode(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]:
        with self._lock:
            known = [self._rows.get(scan) for scan in scans]
        new = [scan for scan, row in zip(scans, known, strict=True) if row is None]
        signed = iter(self._encoder.encode(new) if new else ())
        rows = [next(signed) if row is None else row for row in known]
        with self._lock:
            for scan, row in zip(scans, rows, strict=True):
                self._rows[scan] = row
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)
