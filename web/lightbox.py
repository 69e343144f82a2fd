"""Decoded pictures for viewers, which ask frame by frame: kept for the scans that were looked at last."""

import threading
from collections.abc import Callable, Hashable
from typing import Any

from embed.asked import Frames

BYTES_KEPT = 768 * 2**20  # two or three large CT series


class Lightbox:
    """Safe for threads: of several that ask for the same pictures at once, one decodes and the others wait."""

    def __init__(self, *, most_bytes: int = BYTES_KEPT) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()  # over the two below
        self._kept: dict[Hashable, Frames] = {}  # the least recently used first
        self._decoding: dict[Hashable, threading.Lock] = {}

    def frames(self, key: Hashable, decode: Callable[[], Frames]) -> Frames:
        """What is kept under `key`, or what `decode` makes. Raises what that raises."""
        with self._lock:
            found = self._used(key)
            if found is not None:
                return found
            turn = self._decoding.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                found = self._used(key)
            if found is None:
                try:
                    found = decode()
                finally:
                    with self._lock:
                        self._decoding.pop(key, None)
                self._keep(key, found)
        return found

    def drop(self, key: Hashable) -> None:
        with self._lock:
            self._kept.pop(key, None)

    def bytes_kept(self) -> int:
        with self._lock:
            return sum(frames.pixels.nbytes for frames in self._kept.values())

    def _used(self, key: Hashable) -> Frames | None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._kept[key] = found
        return found

    def _keep(self, key: Hashable, frames: Frames) -> None:
        with self._lock:
            self._kept[key] = frames
            total = 0
            for other, kept in reversed(list(self._kept.items())):
                total += kept.pixels.nbytes
                if total > self._most_bytes and other != key:
                    del self._kept[other]


def told(frames: Frames) -> dict[str, Any]:
    """What a viewer has to know before it asks for pixels."""
    count, rows, columns = frames.pixels.shape
    first = frames.windows[0]
    return {
        "count": count,
        "of": frames.count,
        "rows": rows,
        "columns": columns,
        "type": str(frames.pixels.dtype),
        "slope": frames.slope,
        "intercept": 0.0,
        "spacing_mm": list(frames.spacing_mm) if frames.spacing_mm else None,
        "slice_spacing_mm": frames.slice_spacing_mm,
        "window": {"center": first.center, "width": first.width},
        "presets": [{"name": window.name, "center": window.center, "width": window.width} for window in frames.windows],
        "inverted": False,
    }


def frame_bytes(frames: Frames, number: int) -> bytes:
    """One frame's pixels, row by row, little-endian."""
    pixels = frames.pixels[number]
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
