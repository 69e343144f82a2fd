"""What every radiograph goes through once it is grey, whatever it came as: the lungs are looked for, and doubts are raised."""

from dataclasses import dataclass

import numpy as np

from embed.border import contrast_of
from embed.film_lungs import LEAST_FRONTAL, Finding, film_lung_finder
from embed.scan import Flag, Lungs, Pixels, View

TINY = 256  # pixels of the shorter side: below, an icon or a thumbnail
FAINT = 0.2  # of the grey range between the 1st and 99th percentile, less than which the window is not this film's
SATURATED = 0.35  # share of pixels at black or white
LIKELY = 0.5  # probability above which an exchange of black and white is told of
BOTTOM_SHARE, CUT_OFF_BELOW = (
    0.024,
    0.5,
)  # 3 of 128 rows; the network never fills the last row, and a base may come near it: other limits there
CUT_OFF = 0.3  # of a lung's height or width that runs along the film's edge
MIRRORED = 0.95  # probability above which a film is mirrored back: a heart in the middle makes it hard to tell
TURNED = {1: "a quarter turn clockwise", 2: "by half a turn", 3: "a quarter turn anticlockwise"}


@dataclass(frozen=True, eq=False)
class Film:
    """A radiograph, upright, with what was seen of it."""

    pixels: Pixels  # (rows, columns), 0 to 1, bright = dense
    lungs: Lungs | None
    turns: int  # quarter turns by which it stood away from upright
    steps: tuple[str, ...]
    flags: tuple[Flag, ...]


def look_at_film(grey: Pixels, *, view: View | None, oriented: bool, stored_shape: tuple[int, ...]) -> Film:
    """`grey` (rows, columns) turned upright and mirrored back, and its lungs where they are beyond doubt.

    `view` is what the header states, `oriented` whether it states which way the picture runs, `stored_shape` the size before
    anything was shrunk or cropped. An exchange of black and white is told of, not undone.
    """
    finding = film_lung_finder().find(grey)
    steps: list[str] = []
    flags = _stored_doubts(grey, stored_shape)
    frontal = finding.frontal >= LEAST_FRONTAL and view is not View.LATERAL
    inverted = finding.inverted > LIKELY
    if frontal and inverted:  # how it stands is told more surely from the picture as it should be
        finding = _find(grey, inverted=True)
    turns = finding.turns if frontal else 0
    if turns and oriented:
        flags.append(Flag("turned", "the film does not look upright, against its header; it was left so"))
        turns = 0
    if turns:
        upright = np.ascontiguousarray(np.rot90(grey, -turns))
        again = _find(upright, inverted=inverted)
        turns = turns if again.turns == 0 and again.frontal >= LEAST_FRONTAL else 0  # else it stands no better that way
    if turns:
        grey, finding = upright, again
        steps.append(f"turned {TURNED[turns]}, as the picture stands")
        flags.append(Flag("turned", f"the film did not stand upright; it was turned {TURNED[turns]}"))
    if frontal and finding.mirrored > MIRRORED:
        back = np.ascontiguousarray(grey[:, ::-1])
        again = _find(back, inverted=inverted)
        if oriented:
            flags.append(Flag("mirrored", "the heart lies on the picture's left, against the header; it was left so"))
        elif again.mirrored < 1 - MIRRORED:  # what looks mirrored either way has no sides to tell
            grey, finding = back, again
            steps.append("mirrored back, as the heart lies")
            flags.append(Flag("mirrored", "the heart lay on the picture's left: it was taken as mirrored, and turned"))
    lungs, reason = (None, "its header says lateral") if view is View.LATERAL else (finding.lungs, finding.reason)
    flags += _seen_doubts(finding, view, inverted=inverted)
    if lungs is None:
        flags.append(Flag("no-lungs", f"no lungs to crop to: {reason}; the whole film is used"))
    else:
        steps.append(f"lungs found: {_share(lungs)}, quality {lungs.quality:.2f}")
        flags += cut_off_flags(lungs)
    return Film(grey, lungs, turns, tuple(steps), tuple(flags))


def _find(grey: Pixels, *, inverted: bool) -> Finding:
    return film_lung_finder().find(1 - grey if inverted else grey)


def cut_off_flags(lungs: Lungs) -> list[Flag]:
    """A flag where much of a lung runs along the film's edge: there is more of it than the film shows."""
    for name, lung in (("right", lungs.right), ("left", lungs.left)):
        lowest = max(1, round(BOTTOM_SHARE * len(lung)))
        high, wide = np.count_nonzero(lung.any(axis=1)), np.count_nonzero(lung.any(axis=0))
        edges = {
            "top": lung[0].sum() > CUT_OFF * wide,
            "bottom": lung[-lowest:].sum(axis=1).max() > CUT_OFF_BELOW * wide,
            "side": lung[:, [0, -1]].sum(axis=0).max() > CUT_OFF * high,
        }
        cut = [edge for edge, is_cut in edges.items() if is_cut]
        if cut:
            return [Flag("lungs-cut-off", f"the {name} lung goes on beyond the film's {' and '.join(cut)}")]
    return []


def _stored_doubts(grey: Pixels, stored_shape: tuple[int, ...]) -> list[Flag]:
    flags = []
    if min(stored_shape) < TINY:
        flags.append(Flag("tiny", f"stored at only {stored_shape[1]}×{stored_shape[0]} pixels"))
    if contrast_of(grey) < FAINT:
        flags.append(
            Flag("faint", f"the film spans only {contrast_of(grey):.0%} of the grey range; is its window right?")
        )
    saturated = float(((grey <= 0.001) | (grey >= 0.999)).mean())
    if saturated > SATURATED:
        flags.append(Flag("saturated", f"{saturated:.0%} of the pixels are black or white"))
    return flags


def _seen_doubts(finding: Finding, view: View | None, *, inverted: bool) -> list[Flag]:
    """What the picture says against itself or its header."""
    if finding.frontal < LEAST_FRONTAL:
        if view is View.LATERAL:
            return []
        return [Flag("not-frontal", f"it does not look like a frontal chest film (probability {finding.frontal:.2f})")]
    flags = []
    if view is View.LATERAL:
        flags.append(Flag("view-doubtful", "the header says lateral, the picture looks like a frontal film"))
    if inverted:
        flags.append(Flag("polarity-doubtful", "it looks like a chest film with black and white exchanged"))
    return flags


def _share(lungs: Lungs) -> str:
    return f"right {lungs.right.mean():.0%}, left {lungs.left.mean():.0%} of the film"
