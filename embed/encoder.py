"""The seam where a visual signature comes from: `Encoder`, the table of encoders, and `load_encoder`."""

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embed.scan import Scan

LUNG_FINDER = "47f493f3"  # the first digits of the sha256 of embed/film_lungs.onnx, which a test compares
# Part of every fingerprint: raise it when the same file would reach an encoder as other pixels.
PREPARATION = f"p4-{LUNG_FINDER}"


class EncoderError(Exception):
    """An encoder that cannot be had: unknown name, missing or altered weights."""


class Encoder(Protocol):
    """Turns scans into unit vectors. The same scans always give the same rows, in whatever batches they come."""

    fingerprint: str  # name + weights sha256 + preparation version: what two indexes must share to be compared
    dim: int
    side: int  # pixels: the shorter side at which it wants its scans read

    def encode(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]: ...  # (n, dim), unit rows


DEFAULT_ENCODER = "efficientnet-lite0"
ENCODERS = {
    "histogram": "embed.encoders.histogram:load",
    "efficientnet-lite0": "embed.encoders.efficientnet_lite:load",
    "onnx": "embed.encoders.onnx:load",
}


def load_encoder(name: str) -> Encoder:
    """The encoder called `name`; `onnx:PATH` takes what follows the colon as the model's file. Raises `EncoderError`."""
    key, _, argument = name.partition(":")
    if key not in ENCODERS:
        raise EncoderError(f"no encoder is called {name!r}; there are: {', '.join(ENCODERS)} (onnx:PATH for your own)")
    module, _, function = ENCODERS[key].partition(":")
    load = getattr(import_module(module), function)
    encoder: Encoder = load(argument)
    return encoder
