"""Flags of guided-diffusion's networks, from settings or from a JSON file beside the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.base.files import check_regular, read_limited
from harness.base.parsing import parse_json
from harness.diffusion.schedule import SCHEDULES, Schedule
from harness.types import HarnessError

MULTIPLIERS = {32: "1,2,2,2", 64: "1,2,3,4", 128: "1,1,2,3,4", 256: "1,1,2,2,4,4"}
"""The `channel_mult` that an empty one means, by image size; 32 is improved-diffusion's."""
REQUIRED = {"predict_xstart": False}
"""Flags convertible at one value only: with others the network does not predict noise."""
LEVELS = 12
"""Largest number of levels. Each halves the side, and no image has a side of 2^12 times the smallest."""
GROUPS = 32
"""Groups of every group norm."""
INERT = {
    "dropout", "rescale_learned_sigmas", "sigma_small", "timestep_respacing", "use_checkpoint", "use_fp16", "use_kl",
}  # fmt: skip
"""Flags of training, sampling and storage, which do not change the network."""


@dataclass(frozen=True)
class AdmFlags:
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
            raise _inconvertible(f"channel_mult of more than {LEVELS} levels", f"up to {LEVELS}")
        if not self.widths:
            raise _inconvertible(f"image_size={self.image_size}", f"{', '.join(map(str, MULTIPLIERS))} by default")
        if self.widths[0] != self.num_channels:
            raise _inconvertible(f"channel_mult={self.channel_mult!r}", "a list that begins with 1")
        if self.num_channels % GROUPS:
            raise _inconvertible(f"num_channels={self.num_channels}", f"multiples of {GROUPS}, as its norms have them")
        attended = {width for width, attention in zip(self.widths, self.attention, strict=True) if attention}
        for width in sorted(attended | {self.widths[-1]}):
            if any(heads < 1 or width % heads for heads in (self.heads(width), self.heads(width, up=True))):
                heads = f"num_head_channels={self.num_head_channels} and num_heads={self.num_heads}"
                raise _inconvertible(heads, f"heads that share the {width} channels of an attention layer evenly")
        if self.noise_schedule not in SCHEDULES:
            raise _inconvertible(f"noise_schedule={self.noise_schedule!r}", " or ".join(SCHEDULES))

    @classmethod
    def from_mapping(cls, flags: Mapping[str, Any]) -> AdmFlags:
        """Flags by name, others at their defaults; those that do not change the network are skipped."""
        types = {field.name: type(field.default) for field in fields(cls)}
        for name, value in flags.items():
            if name not in types.keys() | INERT | REQUIRED.keys():
                raise HarnessError(f"{name!r} is not a flag of guided-diffusion. Known: {', '.join(sorted(types))}.")
            if name in types and type(value) is not types[name]:
                raise HarnessError(f"ADM flag {name}={value!r} must be of type {types[name].__name__}.")
            if REQUIRED.get(name, value) != value:
                raise _inconvertible(f"{name}={value!r}", str(REQUIRED[name]))
        return cls(**{name: value for name, value in flags.items() if name in types})

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        multipliers = self.channel_mult or MULTIPLIERS.get(self.image_size, "")
        return tuple(self.num_channels * multiplier for multiplier in _integers("channel_mult", multipliers))

    @property
    def attention(self) -> tuple[bool, ...]:
        """True for each level with attention, finest first."""
        factors = {self.image_size // side for side in _integers("attention_resolutions", self.attention_resolutions)}
        return tuple(2**level in factors for level in range(len(self.widths)))

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


def _inconvertible(setting: str, convertible: str) -> HarnessError:
    return HarnessError(f"Cannot convert an ADM checkpoint with {setting} to a UNet2DModel, only {convertible}.")


def _integers(flag: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        numbers = (0,)
    if min(numbers, default=1) < 1:
        raise HarnessError(f"ADM flag {flag}={text!r} is not a comma-separated list of positive integers.")
    return numbers


def flags_beside(path: Path) -> AdmFlags:
    """The flags of ``X.pt``, from the JSON object in ``X.json``; raises HarnessError without that file."""
    file = path.with_suffix(".json")
    if not path.exists():
        raise HarnessError(f"No checkpoint at {path}. Give the path of an existing one.")
    check_regular(path)
    if not file.exists():
        raise HarnessError(
            f"{path} does not say what network it holds. Put guided-diffusion's flags into {file}, as a JSON object, "
            f"or name them: --denoiser adm:file={path},image_size=256,num_channels=256 (all: harness list denoisers)."
        )
    return AdmFlags.from_mapping(_written(file))


def flags_of(path: Path, settings: Mapping[str, Any]) -> tuple[AdmFlags, Sequence[Path]]:
    """The flags of a checkpoint, from settings and the JSON file beside it; and that file, if it exists.

    Raises HarnessError if the two contradict each other.
    """
    file = path.with_suffix(".json")
    if not file.exists():
        return AdmFlags(**settings), []
    written = _written(file)
    AdmFlags.from_mapping(written)
    different = [name for name in settings if written.get(name, settings[name]) != settings[name]]
    if different:
        listed = "; ".join(f"{name}={written[name]} there, {name}={settings[name]} as a setting" for name in different)
        raise HarnessError(
            f"{file} describes {path.name} with other flags: {listed}. Leave the settings out, or correct the file."
        )
    return AdmFlags.from_mapping({**written, **settings}), [file]


def _written(file: Path) -> dict[str, Any]:
    """The flags in a JSON file."""
    try:
        return dict(parse_json(read_limited(file)))
    except (ValueError, TypeError) as error:
        raise HarnessError(f"{file} is not a JSON object of flags ({error}).") from error
