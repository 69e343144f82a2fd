"""Any ONNX network with a small JSON beside it that says how to feed it: what a hospital uses for its own encoder.

`model.onnx` is described by `model.json`:

    {"name": "our-densenet", "side": 320, "channels": 3, "mean": [0.5], "std": [0.5], "range": [0, 1],
     "output": "features", "grid": [3, 2], "opacity": 0.4}

`side`: pixels of the square input. `range`: the values that black and white take before `mean` and `std` are applied (one number, or
one a channel). `output`: the name of the graph's output. `grid`: for an output of shape (n, channels, rows, columns), the cells
that are averaged and laid side by side, a side or as [rows, columns], 1 for a global average; an output of shape (n, d) has no grid.
`opacity`, optional: the weight of
the zones' opacity (`embed.signature.opacity_profile`) beside the network's output. `sha256`, optional: the model file's hash,
checked before it is loaded.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from embed.encoder import PREPARATION, EncoderError
from embed.prepare import encoder_view
from embed.scan import Pixels, Scan
from embed.signature import BANDS, opacity_profile, pool_grid, pool_slices, unit

LARGER = 2.0  # scans are read larger than the input, so that lungs cut out of a film still fill it
BATCH = 8  # larger ones are no faster on a CPU and need more memory


@dataclass(frozen=True)
class ModelCard:
    """What the JSON beside a network says of its input and output."""

    name: str
    side: int
    output: str
    channels: int = 3
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    range: tuple[float, float] = (0.0, 1.0)
    grid: tuple[int, int] | None = None  # rows, columns
    opacity: float = 0.0  # weight of the opacity profile beside the network's output; 0: without it
    sha256: str | None = None


class OnnxEncoder:
    """Runs a network on ONNX Runtime. The same scan gives the same row whatever else is in the batch, to 1e-6."""

    def __init__(self, model: Path, card: ModelCard, *, threads: int = 0) -> None:
        weights = _read(model)
        digest = hashlib.sha256(weights).hexdigest()
        if card.sha256 and card.sha256 != digest:
            raise EncoderError(
                f"{model}: sha256 is {digest[:12]}…, its JSON says {card.sha256[:12]}…; the file was altered or is another one"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # a thread that spins after its work takes a core from the search that follows: 40 ms of a query on two cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own C++ kinds, without a common base
            raise EncoderError(f"{model}: ONNX Runtime cannot load it ({str(error).splitlines()[0][:200]})") from error
        outputs = [output.name for output in self._session.get_outputs()]
        if card.output not in outputs:
            raise EncoderError(f"{model}: no output is called {card.output!r}; it has: {', '.join(outputs)}")
        self._input = self._session.get_inputs()[0].name
        self._card = card
        self.side = round(LARGER * card.side)
        recipe = hashlib.sha256(repr(card).encode()).hexdigest()
        self.fingerprint = f"{card.name}:{digest[:16]}:{recipe[:8]}:{PREPARATION}"
        self.dim = self._run(np.zeros((1, card.channels, card.side, card.side), np.float32)).shape[1]
        self.dim += 2 * BANDS if card.opacity else 0

    def encode(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]:
        if not scans:
            return np.empty((0, self.dim), np.float32)
        features = pool_slices(self.slice_rows(scans), [len(scan.pixels) for scan in scans])
        if not self._card.opacity:
            return features
        profiles = [opacity_profile(scan) for scan in scans]
        return unit(np.concatenate([features, np.float32(self._card.opacity) * np.stack(profiles)], axis=1))

    def slice_rows(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]:
        """Unit rows (slices of all scans, d) of the network, before the slices of a scan are pooled."""
        views = (seen for scan in scans for seen in encoder_view(scan, side=self._card.side))
        inputs = (self._input_of(seen.picture) for seen in views)
        rows = []
        while batch := list(islice(inputs, BATCH)):
            rows.append(self._run(np.stack(batch)))
        return np.concatenate(rows)

    def _input_of(self, grey: Pixels) -> npt.NDArray[np.float32]:
        """(channels, side, side), scaled as the card says."""
        low, high = self._card.range
        channels = np.broadcast_to(grey * (high - low) + low, (self._card.channels, *grey.shape))
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self._card.mean, self._card.std))
        return ((channels - mean) / std).astype(np.float32)

    def _run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        try:
            (output,) = self._session.run([self._card.output], {self._input: batch})
        except Exception as error:  # as above
            raise EncoderError(
                f"{self._card.name}: the network refuses an input of shape {batch.shape} ({str(error).splitlines()[0][:200]})"
            ) from error
        if output.ndim == 4:
            grid = self._card.grid or (1, 1)
            if grid[0] > output.shape[2] or grid[1] > output.shape[3]:
                raise EncoderError(
                    f"{self._card.name}: grid {grid[0]}×{grid[1]} is finer than the output's {output.shape[2]}×{output.shape[3]}"
                )
            output = pool_grid(output, grid=grid)
        if output.ndim != 2 or not np.isfinite(output).all():
            raise EncoderError(
                f"{self._card.name}: output {self._card.output!r} has shape {output.shape}; expected finite (n, d) or (n, channels, rows, columns)"
            )
        return unit(output.astype(np.float32))


def load(argument: str) -> OnnxEncoder:
    """The encoder of `onnx:PATH`; its card is the file of the same name ending in .json."""
    if not argument:
        raise EncoderError("say which network: onnx:PATH, with a JSON of the same name beside it")
    model = Path(argument)
    return OnnxEncoder(model, read_card(model.with_suffix(".json")))


def read_card(path: Path) -> ModelCard:
    """The model card in a JSON file. Raises `EncoderError` that names a missing, unknown or mistyped entry."""
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise EncoderError(f"{path}: not JSON ({error})") from error
    known = {item.name for item in fields(ModelCard)}
    if not isinstance(content, dict) or set(content) - known:
        raise EncoderError(f"{path}: unknown entries {sorted(set(content) - known)}; known are {sorted(known)}")
    for required in ("name", "side", "output"):
        if required not in content:
            raise EncoderError(f"{path}: the entry {required!r} is missing; known are {sorted(known)}")
    for name in ("mean", "std", "range"):
        if name in content:
            content[name] = _numbers(content[name], f"{path}: {name}")
    if content.get("grid") is not None:
        grid = content["grid"]
        content["grid"] = tuple(grid) if isinstance(grid, list) else (grid, grid)
    card = ModelCard(**content)
    wrong = _wrong_entries(card)
    if wrong:
        raise EncoderError(f"{path}: {'; '.join(wrong)}")
    return card


def _wrong_entries(card: ModelCard) -> list[str]:
    """What is wrong with a card, an entry each."""
    per_channel = (1, card.channels)
    rules = {
        "name, output and sha256 are texts": isinstance(card.name, str) and isinstance(card.output, str) and isinstance(card.sha256, str | None),
        "side is an even number of pixels from 8": isinstance(card.side, int) and card.side >= 8 and card.side % 2 == 0,
        "channels is 1 or 3": card.channels in (1, 3),
        "mean is one finite number, or one a channel": len(card.mean) in per_channel and bool(np.isfinite(card.mean).all()),
        "std is one number, or one a channel, and not 0": len(card.std) in per_channel and bool(np.isfinite(card.std).all()) and min(map(abs, card.std)) > 0,
        "range is two different finite numbers": len(card.range) == 2 and bool(np.isfinite(card.range).all()) and card.range[0] != card.range[1],
        "grid is left out, a number from 1, or two of them": card.grid is None or _is_grid(card.grid),
        "opacity is a finite number from 0": isinstance(card.opacity, int | float) and bool(np.isfinite(card.opacity)) and card.opacity >= 0,
    }  # fmt: skip
    return [rule for rule, holds in rules.items() if not holds]


def _is_grid(grid: Any) -> bool:
    return len(grid) == 2 and all(isinstance(cells, int) and cells >= 1 for cells in grid)


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in (value if isinstance(value, list) else [value]))
    except (TypeError, ValueError) as error:
        raise EncoderError(f"{where}: expected numbers, got {value!r}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EncoderError(
            f"{path}: {error.strerror}; an ONNX encoder is two files, NAME.onnx and NAME.json"
        ) from error
