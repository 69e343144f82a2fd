"""Training the lung finder: random variations of virtual and real films, one network, the running mean of its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from examples.lungs.augment import Sample, draw_sample
from examples.lungs.films import Films, Kind
from examples.lungs.network import HEADS, LungNet
from examples.lungs.real_films import RealFilm

BATCH = 16
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-4
MEMORY = 0.998  # of the running mean of the weights, a step
# What a sample is made from. Of the real films of training patients, those without outlines teach only what a film looks like.
SHARES = {"virtual": 0.42, "outlined": 0.3, "real": 0.08, "lateral": 0.13, "other": 0.07}


@dataclass(frozen=True, eq=False)
class Material:
    """Pictures to vary, with their masks where they have any, by the names in `SHARES`."""

    groups: dict[str, list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]]]

    def draw(self, rng: np.random.Generator) -> Sample:
        name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        pictures = self.groups[name]
        picture, mask = pictures[int(rng.integers(len(pictures)))]
        return draw_sample(rng, picture, mask, frontal=name in ("virtual", "outlined", "real"))


def gather(virtual: Films, real: Sequence[RealFilm]) -> Material:
    """What may be trained on: all virtual films given, the real ones of patients who are not held out."""
    pairs = list(zip(virtual.pictures, virtual.masks, strict=True))
    of_kind = {kind: [pairs[index] for index in np.flatnonzero(virtual.kinds == kind)] for kind in Kind}
    known = [film for film in real if not film.held_out]
    return Material({
        "virtual": list(of_kind[Kind.FRONTAL]),
        "outlined": [(film.picture, film.mask) for film in known if film.mask is not None],
        "real": [(film.picture, None) for film in known if film.mask is None],
        "lateral": [(picture, None) for picture, _ in of_kind[Kind.LATERAL]],
        "other": [(picture, None) for picture, _ in of_kind[Kind.OTHER]],
    })  # fmt: skip


def train(material: Material, *, steps: int, seed: int, progress: Callable[[float], None]) -> LungNet:
    """The trained network, in evaluation mode; `progress` is told each step's loss."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    net = LungNet().to(memory_format=torch.channels_last)
    mean = deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.15)
    for step in range(steps):
        samples = [material.draw(rng) for _ in range(BATCH)]
        pictures = torch.from_numpy(np.stack([sample.picture for sample in samples])[:, None])
        lungs, kind = net(pictures.to(memory_format=torch.channels_last))
        loss = lung_loss(lungs, samples) + kind_loss(kind, samples)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        _remember(mean, net, min(MEMORY, (1 + step) / (10 + step)))
        progress(loss.item())
    return mean.eval()


def lung_loss(logits: Tensor, samples: Sequence[Sample]) -> Tensor:
    """Cross-entropy of the pixels and 1 − Dice of each lung, where the lungs are known."""
    known = torch.tensor([sample.lungs_known for sample in samples])
    wanted = torch.from_numpy(np.stack([sample.lungs for sample in samples]))[known]
    found = logits[known]
    shared = (found.sigmoid() * wanted).sum((2, 3))
    dice = (2 * shared + 1) / (found.sigmoid().sum((2, 3)) + wanted.sum((2, 3)) + 1)
    there = wanted.sum((2, 3)) > 0
    pixels = nn.functional.binary_cross_entropy_with_logits(found, wanted)
    return pixels + 0.5 * (1 - dice[there]).mean() if there.any() else pixels


def kind_loss(logits: Tensor, samples: Sequence[Sample]) -> Tensor:
    """Cross-entropy of each head over the samples that it is asked about."""
    frontal, inverted, mirrored, turns = torch.split(logits, list(HEADS.values()), dim=1)
    wanted = torch.tensor([[float(one.frontal), one.inverted, one.mirrored] for one in samples])
    loss = torch.zeros(())
    for column, said in enumerate((frontal, inverted, mirrored)):
        asked = ~torch.isnan(wanted[:, column])
        if asked.any():
            loss = loss + nn.functional.binary_cross_entropy_with_logits(said[asked, 0], wanted[asked, column])
    answer = torch.tensor([one.turns for one in samples])
    asked = answer >= 0
    if asked.any():
        loss = loss + nn.functional.cross_entropy(turns[asked], answer[asked])
    return 0.2 * loss


def _remember(mean: nn.Module, net: nn.Module, memory: float) -> None:
    """Move `mean` towards `net`; counts and running statistics are copied."""
    with torch.no_grad():
        for old, new in zip(mean.parameters(), net.parameters(), strict=True):
            old.lerp_(new, 1 - memory)
        for old, new in zip(mean.buffers(), net.buffers(), strict=True):
            old.copy_(new) if old.dtype == torch.int64 else old.lerp_(new, 1 - memory)
