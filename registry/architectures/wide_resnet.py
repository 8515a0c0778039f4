"""Wide residual networks with SiLU, the architectures of adversarial training on CIFAR: ``wrn/28-10``."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

from harness.plugins import architecture
from harness.types import HarnessError

WIDTHS = (16, 32, 64)
"""Channels of the three stages at width 1."""

MOMENTUM = 0.01
"""Share of a batch in the running statistics, as Gowal et al. have it."""


def _normed(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels, momentum=MOMENTUM), nn.SiLU())


class PreActivation(nn.Module):
    """Pre-activation block; where the width changes, the shortcut also starts behind the activation.

    A 3x3 kernel of stride 2 pads at the right and below alone, TensorFlow's "same".
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = _normed(before), _normed(after)
        self.pad = nn.ZeroPad2d((2 - stride, 1, 2 - stride, 1))
        self.conv1 = nn.Conv2d(before, after, 3, stride, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        kept = self.shortcut(hidden) if self.shortcut else x
        change: Tensor = self.conv2(self.second(self.conv1(self.pad(hidden))))
        return kept + change


class WideResNet(nn.Module):
    """WRN of Zagoruyko & Komodakis (BMVC 2016) with SiLU, as Gowal et al. (2020) and Wang et al. (ICML 2023) train it.

    Images enter in [0, 1]: there is no normalisation. Convolutions start from He's normal values by fan-out.
    """

    def __init__(self, num_classes: int, depth: int = 28, width: int = 10) -> None:
        super().__init__()
        self.default_cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        widths = [WIDTHS[0], *(width * channels for channels in WIDTHS)]
        blocks: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1, bias=False)]
        for stage in range(3):
            for block in range((depth - 4) // 6):
                before = widths[stage] if block == 0 else widths[stage + 1]
                blocks.append(PreActivation(before, widths[stage + 1], 2 if stage and block == 0 else 1))
        self.blocks = nn.Sequential(*blocks, _normed(widths[-1]))
        self.fc = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward_features(self, images: Tensor) -> Tensor:
        """The last feature map (B, D, H / 4, W / 4)."""
        hidden: Tensor = self.blocks(images)
        return hidden

    def forward_head(self, hidden: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of a feature map, or with `pre_logits` its mean (B, D)."""
        pooled = hidden.mean((2, 3))
        logits: Tensor = pooled if pre_logits else self.fc(pooled)
        return logits

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


@architecture.family("wrn", lambda name: "")  # no other library's
def wide_resnet(name: str) -> Callable[..., nn.Module]:
    """Wide ResNet with SiLU of a depth (6 n + 4) and a width: wrn/28-10."""
    shape = re.fullmatch(r"([1-9]\d{1,2})-([1-9]\d?)", name)
    if not shape or (int(shape[1]) - 4) % 6:
        raise HarnessError(f"wrn/{name}: give a depth of 6 n + 4 and a width, such as wrn/28-10.")
    depth, width = int(shape[1]), int(shape[2])
    return lambda num_classes: WideResNet(num_classes, depth, width)
