"""Flags of guided-diffusion's noisy classifiers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.diffusion.adm.flags import GROUPS, LEVELS, MULTIPLIERS, Flags, attended, inconvertible, integers
from harness.types import HarnessError

USUAL = {**MULTIPLIERS, 512: "0.5,1,1,2,2,4,4"}
"""The `channel_mult` that an empty one means, by image size."""


@dataclass(frozen=True)
class ClassifierFlags(Flags):
    """guided-diffusion's command line flags by name; the defaults are the 256x256 classifier's.

    The number of classes and of input channels is that of the file's tensors.

    image_size: in pixels, of all images; reference of the sides below.
    classifier_width, classifier_depth: channels of the time's sinusoids and unit of the widths; blocks per level.
    classifier_attention_resolutions: comma-separated sides in pixels of the feature maps with attention.
    classifier_resblock_updown: residual blocks resample between levels; else convolutions do.
    num_head_channels: width of a head; the original's command line cannot change it.
    channel_mult: comma-separated widths of the levels in units of `classifier_width`, finest first; empty for the
        usual, the only ones of the original's command line.
    """

    network: ClassVar[str] = "classifiers"
    usage: ClassVar[str] = (
        "--model adm-classifier:file={},image_size=256,classifier_width=128 (all: harness list models)"
    )
    required: ClassVar[Mapping[str, Any]] = {"classifier_pool": "attention"}
    inert: ClassVar[Collection[str]] = {
        "classifier_path", "classifier_scale", "classifier_use_fp16", "diffusion_steps", "learn_sigma",
        "noise_schedule", "predict_xstart", "rescale_learned_sigmas", "rescale_timesteps", "timestep_respacing",
        "use_kl",
    }  # fmt: skip

    image_size: int = 256
    classifier_width: int = 128
    classifier_depth: int = 2
    classifier_attention_resolutions: str = "32,16,8"
    classifier_use_scale_shift_norm: bool = True
    classifier_resblock_updown: bool = True
    num_head_channels: int = 64
    channel_mult: str = ""

    def __post_init__(self) -> None:
        if not self.widths or len(self.widths) > LEVELS:
            raise inconvertible(f"image_size={self.image_size}", f"{', '.join(map(str, USUAL))} by default")
        side = 2 ** (len(self.widths) - 1)
        if self.image_size < 1 or self.image_size % side:
            raise inconvertible(f"image_size={self.image_size}", f"multiples of {side}, for {len(self.widths)} levels")
        if self.classifier_depth < 1:
            raise inconvertible(f"classifier_depth={self.classifier_depth}", "at least one block per level")
        if any(width < 1 or width % GROUPS for width in (self.classifier_width, *self.widths)):
            raise inconvertible(f"levels of {self.widths} channels", f"multiples of {GROUPS}, as its norms have them")
        with_attention = [width for width, attention in zip(self.widths, self.attention, strict=True) if attention]
        if any(self.heads(width) < 1 for width in (*with_attention, self.widths[-1])):
            heads = f"num_head_channels={self.num_head_channels}"
            raise inconvertible(heads, f"heads that share the channels of levels of {self.widths} evenly")

    @property
    def num_res_blocks(self) -> int:
        """Residual blocks of each level."""
        return self.classifier_depth

    @property
    def resblock_updown(self) -> bool:
        """True if residual blocks resample between levels."""
        return self.classifier_resblock_updown

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, finest first; none if they follow from no flag."""
        multipliers = self.channel_mult or USUAL.get(self.image_size, "")
        try:
            factors = [float(part) for part in multipliers.split(",") if part]
            return tuple(int(self.classifier_width * factor) for factor in factors)
        except (ValueError, OverflowError):
            raise HarnessError(
                f"ADM flag channel_mult={multipliers!r} is no comma-separated list of numbers."
            ) from None

    @property
    def attention(self) -> tuple[bool, ...]:
        """True for each level with attention, finest first."""
        name = "classifier_attention_resolutions"
        return attended(self.image_size, integers(name, getattr(self, name)), len(self.widths))

    def heads(self, width: int) -> int:
        """Number of heads of an attention layer with `width` channels; 0 if heads do not fit."""
        if self.num_head_channels < 1 or width % self.num_head_channels:
            return 0
        return width // self.num_head_channels


def describe_classifier(flags: Mapping[str, Any]) -> bool:
    """True for flags of a noisy classifier, which have names of their own."""
    return any(name.startswith("classifier_") for name in flags)
