"""The classifier of classifier guidance: the encoder half of a diffusion UNet with its time input, and a class output.

An architecture of kind "time-conditioned" maps (x_t, times) to logits. It is built with the number of classes and of
input channels: three for x_t alone, six where the one-step denoised image is concatenated
(see `harness.models.classifier.TimeConditionedClassifier`).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from harness.plugins import architecture

WIDTHS = (24, 48, 64, 96)
ATTENTION = (False, False, True, True)


@architecture(
    "encoder",
    kind="time-conditioned",
    image_size=32,
    recipe={"batch_size": 64, "lr": 1e-3, "weight_decay": 0.05, "warmup": 5},
    recipes={"digits": {"epochs": 100}},
)
class CompactEncoder(nn.Module):
    """The encoder of guided-diffusion's classifiers (Dhariwal & Nichol, NeurIPS 2021), 24 to 96 channels, for 32x32.

    Residual blocks modulated by the time, which also do the downsampling; self-attention at 8x8 and 4x4; average
    pooling, the original's "adaptive" option.
    """

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps
        from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D, get_down_block

        super().__init__()
        embedding = 4 * WIDTHS[0]
        shared: dict[str, Any] = {
            "temb_channels": embedding,
            "resnet_eps": 1e-5,
            "resnet_act_fn": "silu",
            "resnet_groups": 8,
            "resnet_time_scale_shift": "scale_shift",
            "attention_head_dim": 16,
        }
        self.position = Timesteps(WIDTHS[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(WIDTHS[0], embedding)
        self.stem = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1)
        self.down = nn.ModuleList(
            get_down_block(
                "AttnDownBlock2D" if attention else "ResnetDownsampleBlock2D",
                num_layers=1,
                in_channels=before,
                out_channels=width,
                add_downsample=width != WIDTHS[-1],
                downsample_type="resnet",
                **shared,
            )
            for before, width, attention in zip((WIDTHS[0], *WIDTHS), WIDTHS, ATTENTION, strict=False)
        )
        self.middle = UNetMidBlock2D(WIDTHS[-1], attn_groups=8, **shared)
        self.norm = nn.GroupNorm(8, WIDTHS[-1])
        self.head = nn.Linear(WIDTHS[-1], num_classes)

    def forward(self, images: Tensor, t: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, H, W) around [-1, 1] at times (B,) int64."""
        time = self.time(self.position(t).to(self.stem.weight.dtype))
        hidden = self.stem(images)
        for block in self.down:
            hidden, _ = block(hidden, time)
        hidden = nn.functional.silu(self.norm(self.middle(hidden, time)))
        logits: Tensor = self.head(hidden.mean((2, 3)))
        return logits
