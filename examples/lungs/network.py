"""The lung finder's network: a small U-Net whose innermost features also say what kind of picture it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = (8, 16, 32, 48, 64)
SIDE = 128
# What the heads say of a picture, as logits: that it is a frontal chest film, that black and white are exchanged, that it is
# mirrored, and by how many quarter turns (anticlockwise) it stands away from upright.
HEADS = {"frontal": 1, "inverted": 1, "mirrored": 1, "turns": 4}


class LungNet(nn.Module):
    """(n, 1, 128, 128), 0 to 1, bright = dense -> logits of the lungs on the picture's left and right, and of the heads."""

    def __init__(self) -> None:
        super().__init__()
        wide = (1, *CHANNELS)
        self.down = nn.ModuleList(_block(wide[level], wide[level + 1]) for level in range(len(CHANNELS)))
        self.up = nn.ModuleList(
            _block(CHANNELS[level] + CHANNELS[level + 1], CHANNELS[level])
            for level in reversed(range(len(CHANNELS) - 1))
        )
        self.lungs = nn.Conv2d(CHANNELS[0], 2, 1)
        self.kind = nn.Sequential(
            _block(CHANNELS[-1], 64),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(1024, sum(HEADS.values())),
        )

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        kept, x = [], picture
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        kind = self.kind(x)
        for block, beside in zip(self.up, reversed(kept[:-1]), strict=True):
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), beside], 1))
        return self.lungs(x), kind


class Exported(nn.Module):
    """The network as it is shipped: probabilities, in the order `lungs`, then the heads as in `HEADS`."""

    def __init__(self, net: LungNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        lungs, kind = self.net(picture)
        frontal, inverted, mirrored, turns = torch.split(kind, list(HEADS.values()), dim=1)
        return (lungs.sigmoid(), frontal.sigmoid(), inverted.sigmoid(), mirrored.sigmoid(), turns.softmax(1))


def parameter_count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
    )  # fmt: skip
