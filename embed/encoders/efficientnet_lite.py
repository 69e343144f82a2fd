"""The default encoder: EfficientNet-Lite0 with ImageNet weights, cut after block 5, over 3×2 areas, with the opacity of the zones.

The network (`efficientnet_lite0_block5.onnx`, made by `python -m embed export efficientnet-lite0`) and its card are shipped; the
weights are Apache-2.0 (M. Tan, Q. V. Le: EfficientNet, ICML 2019, in the "Lite" form). Why this layer: docs/encoders.md.
"""

from pathlib import Path

from embed.encoder import EncoderError
from embed.encoders.onnx import OnnxEncoder, read_card

MODEL = Path(__file__).with_name("efficientnet_lite0_block5.onnx")


def load(argument: str) -> OnnxEncoder:
    if argument:
        raise EncoderError(f"efficientnet-lite0 takes no argument, got {argument!r}")
    return OnnxEncoder(MODEL, read_card(MODEL.with_suffix(".json")))
