"""Whether a volume that states no modality is CT or MR, by its values: a guess, and told as one unless they leave no doubt."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.scan import Flag
from embed.volume import LEAST_AIR, LEAST_TISSUE

SAMPLE_SIDE = 96  # at most so many values along each axis are looked at
PADDING_HU = -1100.0  # below lies what scanners and scripts write outside the field of view
AIR_HU, TISSUE_HU = (PADDING_HU, -700.0), (-150.0, 200.0)
BODY_HU = -500.0  # above lies more of the body than of air
OFFSET = 1024.0  # that scanners add so that Hounsfield units can be stored unsigned
LEAST_SOFT = 0.5  # of the body's values, in CT; MR spreads them over its whole range


@dataclass(frozen=True)
class KindGuess:
    """ "ct" or "mri", what showed it, and the doubts."""

    kind: str
    step: str
    flags: tuple[Flag, ...] = ()


def sample_of(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float64]:
    """Rescaled values on an even grid through the volume."""
    every = [max(1, -(-size // SAMPLE_SIDE)) for size in stored.shape]
    with np.errstate(all="ignore"):  # what is no number is refused once its slice is decoded
        values: npt.NDArray[np.float64] = (
            stored[:: every[0], :: every[1], :: every[2]].astype(np.float64) * slope + intercept
        )
    return values


def guess_kind(values: npt.NDArray[np.float64]) -> KindGuess:
    """CT where there are the air and soft tissue of a chest in Hounsfield units, else MR, and flagged."""
    air, tissue = _shares(values)
    shares = f"{air:.0%} of the values near air, {tissue:.0%} near soft tissue in Hounsfield units"
    if air >= LEAST_AIR and tissue >= LEAST_TISSUE:
        return KindGuess("ct", f"taken as CT: {shares}")
    lowest = f"the lowest value is {values.min():g}" if np.isfinite(values).all() else "not all values are numbers"
    flags = [
        Flag(
            "kind-guessed", f"NIfTI states no modality; taken as MR, for it does not look like CT ({lowest}, {shares})"
        )
    ]
    if _is_offset_ct(values):
        flags.append(
            Flag(
                "ct-offset",
                f"the values look like CT with {OFFSET:g} added; if so, subtract it and send the volume again",
            )
        )
    return KindGuess("mri", f"taken as MR: {shares}", tuple(flags))


def _is_offset_ct(values: npt.NDArray[np.float64]) -> bool:
    """Whether no value is negative, but less the offset they are a chest's, and most of the body is soft tissue."""
    if not values.min() >= 0:
        return False
    hu = values - OFFSET
    air, tissue = _shares(hu)
    body = hu[hu > BODY_HU]
    return air >= LEAST_AIR and tissue >= LEAST_TISSUE and _share_within(body, TISSUE_HU) >= LEAST_SOFT


def _shares(hu: npt.NDArray[np.float64]) -> tuple[float, float]:
    """(near air, near soft tissue) of the values that are no padding."""
    seen = hu[hu > PADDING_HU]
    return _share_within(seen, AIR_HU), _share_within(seen, TISSUE_HU)


def _share_within(values: npt.NDArray[np.float64], ends: tuple[float, float]) -> float:
    return float(((values > ends[0]) & (values < ends[1])).mean()) if values.size else 0.0
