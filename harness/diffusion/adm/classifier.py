"""Noisy classifiers of OpenAI's guided-diffusion ("ADM"; Dhariwal & Nichol, NeurIPS 2021) in diffusers' blocks.

The UNet's encoder and middle block with their time input, then attention pooling. The position table of the pool ties
a network to its image size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.diffusion.adm import names
from harness.diffusion.adm.classifier_flags import ClassifierFlags
from harness.diffusion.adm.embedding import TimeSinusoids
from harness.diffusion.adm.flags import GROUPS
from harness.types import HarnessError


class AttentionPool(nn.Module):
    """Feature maps (B, C, H, W) to outputs (B, K): what the mean of all places attends to (CLIP's pooling).

    The tokens are the mean and the places, each plus its row of the position table (C, H W + 1).
    """

    def __init__(self, side: int, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positions = nn.Parameter(torch.zeros(width, side * side + 1))
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in "qkv")
        self.to_out = nn.Linear(width, outputs)

    def forward(self, maps: Tensor) -> Tensor:
        places = maps.flatten(2)
        tokens = (torch.cat([places.mean(2, keepdim=True), places], 2) + self.positions).transpose(1, 2)
        query, keys, values = self.to_q(tokens[:, :1]), self.to_k(tokens), self.to_v(tokens)
        by_head = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, keys, values)]
        pooled: Tensor = F.scaled_dot_product_attention(*by_head)  # (B, heads, 1, C / heads)
        logits: Tensor = self.to_out(pooled.flatten(1))
        return logits


class AdmClassifier(nn.Module):
    """The untrained network with these flags: (x_t, times) to logits (see `TimeConditionedClassifier`).

    in_channels: three, or six for x_t and its one-step denoising in [-1, 1].
    """

    takes_network_times = True
    """guided-diffusion gives its classifier the time that the diffusion model's network sees."""

    def __init__(self, flags: ClassifierFlags, num_classes: int, in_channels: int = 3) -> None:
        from diffusers.models.embeddings import TimestepEmbedding
        from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D, get_down_block

        super().__init__()
        self.image_size = flags.image_size
        widths, width = flags.widths, flags.classifier_width
        shared: dict[str, Any] = {
            "temb_channels": 4 * width,
            "resnet_eps": 1e-5,
            "resnet_act_fn": "silu",
            "resnet_groups": GROUPS,
            "resnet_time_scale_shift": "scale_shift" if flags.classifier_use_scale_shift_norm else "default",
            "attention_head_dim": flags.num_head_channels,
        }
        plain = "ResnetDownsampleBlock2D" if flags.resblock_updown else "DownBlock2D"
        self.time_proj = TimeSinusoids(width)
        self.time_embedding = TimestepEmbedding(width, 4 * width)
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            get_down_block(
                "AttnDownBlock2D" if attention else plain,
                num_layers=flags.num_res_blocks,
                in_channels=widths[max(level - 1, 0)],
                out_channels=widths[level],
                add_downsample=level < len(widths) - 1,
                downsample_padding=1,
                downsample_type="resnet" if flags.resblock_updown else "conv",
                **shared,
            )
            for level, attention in enumerate(flags.attention)
        )
        self.mid_block = UNetMidBlock2D(widths[-1], attn_groups=GROUPS, **shared)
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], eps=1e-5)
        side = flags.image_size // 2 ** (len(widths) - 1)
        self.pool = AttentionPool(side, widths[-1], flags.heads(widths[-1]), num_classes)

    def forward(self, images: Tensor, t: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, H, W) around [-1, 1] at times (B,); float64 of float64.

        Raises HarnessError for images of another size than `image_size`.
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            height, width = images.shape[-2:]
            raise HarnessError(
                f"This noisy classifier takes images of {self.image_size}x{self.image_size} pixels, not "
                f"{height}x{width}. Take the one of that size, or images of this."
            )
        sinusoids = self.time_proj(t.double() if images.dtype == torch.float64 else t)
        time = self.time_embedding(sinusoids.to(self.conv_in.weight.dtype))
        hidden = self.conv_in(images)
        for block in self.down_blocks:
            hidden, _ = block(hidden, time)
        hidden = self.mid_block(hidden, time)
        logits: Tensor = self.pool(F.silu(self.conv_norm_out(hidden)))
        return logits


def to_diffusers(state: Mapping[str, Tensor], flags: ClassifierFlags) -> dict[str, Tensor]:
    """The state dict of `AdmClassifier` from the original's; uses every tensor exactly once."""
    pairs = dict(names.tensors({**names.TIME_AND_STEM, **names.OUT_NORM, **names.POOL}))
    pairs[names.POSITIONS] = "pool.positions"
    for source, target, modules in names.encoder_blocks(flags):
        pairs |= names.tensors(modules, source, target)

    # The pool's fused rows are (q, k, v) x heads, those of the blocks heads x (q, k, v).
    return names.renamed(state, pairs, lambda target, width: 1 if target.startswith("pool.") else flags.heads(width))
