"""Flags of guided-diffusion's UNets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.diffusion.adm.flags import GROUPS, LEVELS, MULTIPLIERS, Flags, attended, inconvertible, integers
from harness.diffusion.schedule import SCHEDULES, Schedule


@dataclass(frozen=True)
class AdmFlags(Flags):
    """guided-diffusion's command line flags by name; the defaults are the 256x256 unconditional model's.

    Raises HarnessError for networks that no UNet2DModel equals: the 512 models, whose time embedding is wider than
    their first level.

    image_size: in pixels; reference of the sides below. The network takes any multiples of 2^(levels - 1).
    attention_resolutions: comma-separated sides in pixels of the feature maps with attention.
    channel_mult: comma-separated widths of the levels in units of `num_channels`, finest first; empty for the usual.
    num_head_channels: width of a head; -1 for the widths that `num_heads` leaves, which counts only then.
    num_heads_upsample: number of heads on the way up; -1 for `num_heads`.
    resblock_updown: residual blocks resample between levels; else convolutions do, as in improved-diffusion.
    use_new_attention_order: fused rows are (q, k, v) x heads, as in the 64x64 model, instead of heads x (q, k, v).
    rescale_timesteps: the network's times are scaled to 1000, for any `diffusion_steps`.
    """

    network: ClassVar[str] = "UNets"
    usage: ClassVar[str] = "--denoiser adm:file={},image_size=256,num_channels=256 (all: harness list denoisers)"
    required: ClassVar[Mapping[str, Any]] = {"predict_xstart": False}  # otherwise the network does not predict noise
    inert: ClassVar[Collection[str]] = {
        "dropout", "rescale_learned_sigmas", "sigma_small", "timestep_respacing", "use_checkpoint", "use_fp16",
        "use_kl",
    }  # fmt: skip

    image_size: int = 256
    num_channels: int = 256
    num_res_blocks: int = 2
    num_head_channels: int = 64
    num_heads: int = 4
    num_heads_upsample: int = -1
    attention_resolutions: str = "32,16,8"
    channel_mult: str = ""
    class_cond: bool = False
    learn_sigma: bool = True
    resblock_updown: bool = True
    use_scale_shift_norm: bool = True
    use_new_attention_order: bool = False
    diffusion_steps: int = 1000
    noise_schedule: str = "linear"
    rescale_timesteps: bool = False

    def __post_init__(self) -> None:
        if len(self.channel_mult.split(",")) > LEVELS:
            raise inconvertible(f"channel_mult of more than {LEVELS} levels", f"up to {LEVELS}")
        if not self.widths:
            raise inconvertible(f"image_size={self.image_size}", f"{', '.join(map(str, MULTIPLIERS))} by default")
        if self.widths[0] != self.num_channels:
            raise inconvertible(f"channel_mult={self.channel_mult!r}", "a list that begins with 1")
        if self.num_channels % GROUPS:
            raise inconvertible(f"num_channels={self.num_channels}", f"multiples of {GROUPS}, as its norms have them")
        with_attention = {width for width, attention in zip(self.widths, self.attention, strict=True) if attention}
        for width in sorted(with_attention | {self.widths[-1]}):
            if any(heads < 1 or width % heads for heads in (self.heads(width), self.heads(width, up=True))):
                heads = f"num_head_channels={self.num_head_channels} and num_heads={self.num_heads}"
                raise inconvertible(heads, f"heads that share the {width} channels of an attention layer evenly")
        if self.noise_schedule not in SCHEDULES:
            raise inconvertible(f"noise_schedule={self.noise_schedule!r}", " or ".join(SCHEDULES))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        multipliers = self.channel_mult or MULTIPLIERS.get(self.image_size, "")
        return tuple(self.num_channels * multiplier for multiplier in integers("channel_mult", multipliers))

    @property
    def attention(self) -> tuple[bool, ...]:
        """True for each level with attention, finest first."""
        sides = integers("attention_resolutions", self.attention_resolutions)
        return attended(self.image_size, sides, len(self.widths))

    def heads(self, width: int, up: bool = False) -> int:
        """Number of heads of an attention layer with `width` channels; 0 if heads do not fit."""
        if self.num_head_channels > 0:
            return 0 if width % self.num_head_channels else width // self.num_head_channels
        return self.num_heads_upsample if up and self.num_heads_upsample != -1 else self.num_heads

    @property
    def schedule(self) -> Schedule:
        """The noise schedule, with the network's times."""
        schedule = SCHEDULES[self.noise_schedule](self.diffusion_steps)
        return schedule.rescaled() if self.rescale_timesteps else schedule
