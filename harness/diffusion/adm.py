"""Checkpoints of OpenAI's guided-diffusion ("ADM"; Dhariwal & Nichol, NeurIPS 2021) as diffusers' UNet2DModel.

Both networks compute the same function from the same tensors under other names; only the fused query, key and value
of the attention layers are split. A checkpoint does not describe itself, so its flags come with it. The networks of
improved-diffusion (Nichol & Dhariwal, ICML 2021) are those with ``resblock_updown=False``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import SCHEDULES, Schedule
from harness.published import read_state
from harness.types import HarnessError

# What an empty `channel_mult` stands for, by image size; 32 is improved-diffusion's.
MULTIPLIERS = {32: "1,2,2,2", 64: "1,2,3,4", 128: "1,1,2,3,4", 256: "1,1,2,2,4,4"}

# Flags convertible at one value only: another means that the network does not predict noise.
REQUIRED = {"predict_xstart": False}

# Of every group norm.
GROUPS = 32

# Flags of training, sampling and storage.
INERT = {"dropout", "rescale_learned_sigmas", "sigma_small"}
INERT |= {"timestep_respacing", "use_checkpoint", "use_fp16", "use_kl"}

# Their modules and ours: outside all blocks, then within a block of each kind.
OUTER = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
RESIDUAL = {
    ".in_layers.0": ".norm1",
    ".in_layers.2": ".conv1",
    ".emb_layers.1": ".time_emb_proj",
    ".out_layers.0": ".norm2",
    ".out_layers.3": ".conv2",
}
WIDENING = {**RESIDUAL, ".skip_connection": ".conv_shortcut"}
ATTENTION = {".norm": ".group_norm", ".qkv": ".to_{}", ".proj_out": ".to_out.0"}
DOWN, UP = {".op": ".conv"}, {".conv": ".conv"}
UP_BLOCKS = "up_blocks"


@dataclass(frozen=True)
class AdmFlags:
    """guided-diffusion's command line flags, under their own names; the defaults are the 256x256 unconditional model's.

    Flags of networks that no UNet2DModel equals are refused. Those are the 512 models, whose time embedding is wider
    than their first level.

    image_size: in pixels; says what the sides below mean. The network takes any multiples of 2^(levels - 1).
    attention_resolutions: comma-separated sides in pixels of the feature maps with attention.
    channel_mult: comma-separated widths of the levels in units of `num_channels`, finest first; empty for the usual.
    num_head_channels: width of a head; -1 for the widths that `num_heads` leaves, which counts only then.
    num_heads_upsample: number of heads on the way up, where it is another; -1 for `num_heads`.
    resblock_updown: residual blocks resample between levels; else convolutions do, as in improved-diffusion.
    use_new_attention_order: fused rows are (q, k, v) x heads, as in the 64x64 model, instead of heads x (q, k, v).
    rescale_timesteps: the network sees its times as if there were 1000 of them, whatever `diffusion_steps`.
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
        """Flags by name, others at their defaults; those that do not change what the network computes are skipped."""
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
        """Which levels have attention, finest first."""
        factors = {self.image_size // side for side in _integers("attention_resolutions", self.attention_resolutions)}
        return tuple(2**level in factors for level in range(len(self.widths)))

    def heads(self, width: int, up: bool = False) -> int:
        """Heads of an attention layer with so many channels, on the way up or elsewhere; 0 where heads do not fit."""
        if self.num_head_channels > 0:
            return 0 if width % self.num_head_channels else width // self.num_head_channels
        return self.num_heads_upsample if up and self.num_heads_upsample != -1 else self.num_heads

    @property
    def schedule(self) -> Schedule:
        """The noise schedule, with the network's own times."""
        schedule = SCHEDULES[self.noise_schedule](self.diffusion_steps)
        return schedule.rescaled() if self.rescale_timesteps else schedule


def _inconvertible(setting: str, convertible: str) -> HarnessError:
    return HarnessError(f"Cannot convert an ADM checkpoint with {setting} to a UNet2DModel, only {convertible}.")


def _integers(flag: str, text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        found = (0,)
    if min(found, default=1) < 1:
        raise HarnessError(f"ADM flag {flag}={text!r} is not a comma-separated list of positive integers.")
    return found


def unet_config(flags: AdmFlags) -> dict[str, Any]:
    """Arguments of the UNet2DModel that computes what the ADM network with these flags does.

    But for the number of heads where it does not follow from one width of all heads: see `unet`.
    """
    resample = "resnet" if flags.resblock_updown else "conv"
    down, up = ("ResnetDownsample", "ResnetUpsample") if flags.resblock_updown else ("Down", "Up")
    return {
        "sample_size": flags.image_size,
        "out_channels": 6 if flags.learn_sigma else 3,
        "down_block_types": tuple("AttnDownBlock2D" if a else f"{down}Block2D" for a in flags.attention),
        "up_block_types": tuple("AttnUpBlock2D" if a else f"{up}Block2D" for a in reversed(flags.attention)),
        "block_out_channels": flags.widths,
        "layers_per_block": flags.num_res_blocks,
        "downsample_type": resample,
        "upsample_type": resample,
        "resnet_time_scale_shift": "scale_shift" if flags.use_scale_shift_norm else "default",
        "attention_head_dim": flags.num_head_channels if flags.num_head_channels > 0 else flags.num_channels,
        "norm_num_groups": GROUPS,
        "norm_eps": 1e-5,
        "attn_norm_num_groups": GROUPS,  # left to its default, the middle attention has no norm
        "num_class_embeds": 1000 if flags.class_cond else None,
    }


def convert(state: Mapping[str, Tensor], flags: AdmFlags) -> dict[str, Tensor]:
    """The state dict of `UNet2DModel(**unet_config(flags))`; every tensor of `state` goes into it exactly once."""
    keys = dict(_keys(flags))
    missing, extra = sorted(keys.keys() - state.keys()), sorted(state.keys() - keys.keys())
    if missing or extra:
        raise HarnessError(
            f"The ADM checkpoint does not fit its flags: {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(extra)} are left over {extra[:3]}. Take the flags from where the checkpoint was published."
        )
    converted: dict[str, Tensor] = {}
    for source, target in keys.items():
        tensor = state[source].squeeze(-1) if state[source].ndim == 3 else state[source]
        heads = flags.heads(len(tensor) // 3, up=target.startswith(UP_BLOCKS))
        parts = _split(tensor, 1 if flags.use_new_attention_order else heads) if "{}" in target else (tensor,)
        converted.update(zip(map(target.format, "qkv"), parts, strict=False))
    return converted


def _split(qkv: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Fused (3C, C) weights or (3C,) biases to those of queries, keys and values, (C, C) or (C,), head by head."""
    return qkv.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(1, 2).unbind()


def _keys(flags: AdmFlags) -> Iterator[tuple[str, str]]:
    """(source, target) of every tensor; a target with a {} takes the fused queries, keys and values."""
    for source, target, modules in _blocks(flags):
        for theirs, ours in modules.items():
            for part in ("weight", "bias"):
                yield f"{source}{theirs}.{part}", f"{target}{ours}.{part}"
    if flags.class_cond:
        yield "label_emb.weight", "class_embedding.weight"


def _blocks(flags: AdmFlags) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """(source, target, modules) of every block; ADM numbers its entries in this order."""
    widths, last = flags.widths, len(flags.widths) - 1
    yield "", "", OUTER
    entries = count(1)
    for level, attention in enumerate(flags.attention):
        for position in range(flags.num_res_blocks):
            entry, target = f"input_blocks.{next(entries)}", f"down_blocks.{level}"
            widens = position == 0 and widths[level] != widths[max(level - 1, 0)]
            yield f"{entry}.0", f"{target}.resnets.{position}", WIDENING if widens else RESIDUAL
            if attention:
                yield f"{entry}.1", f"{target}.attentions.{position}", ATTENTION
        if level < last:
            down = RESIDUAL if flags.resblock_updown else DOWN
            yield f"input_blocks.{next(entries)}.0", f"down_blocks.{level}.downsamplers.0", down
    yield "middle_block.0", "mid_block.resnets.0", RESIDUAL
    yield "middle_block.1", "mid_block.attentions.0", ATTENTION
    yield "middle_block.2", "mid_block.resnets.1", RESIDUAL
    entries = count()
    for level, attention in enumerate(reversed(flags.attention)):
        for position in range(flags.num_res_blocks + 1):
            entry, target = f"output_blocks.{next(entries)}", f"{UP_BLOCKS}.{level}"
            yield f"{entry}.0", f"{target}.resnets.{position}", WIDENING
            if attention:
                yield f"{entry}.1", f"{target}.attentions.{position}", ATTENTION
        if level < last:  # the upsampler ends the level's last entry
            up = RESIDUAL if flags.resblock_updown else UP
            yield f"{entry}.{1 + attention}", f"{target}.upsamplers.0", up


def unet(flags: AdmFlags) -> nn.Module:
    """The network of these flags, untrained."""
    from diffusers import UNet2DModel
    from diffusers.models.attention_processor import Attention

    network = cast(nn.Module, UNet2DModel(**unet_config(flags)))
    for name, layer in network.named_modules():
        if isinstance(layer, Attention):
            layer.heads = flags.heads(layer.inner_dim, up=name.startswith(UP_BLOCKS))
    return network


def load_adm(path: Path, flags: AdmFlags) -> Denoiser:
    """The denoiser in a `.pt` file as guided-diffusion publishes them, in float32 on the CPU."""
    state = read_state(path, "ADM checkpoint", "Get one from the links in guided-diffusion's README.")
    with torch.device("meta"):  # neither memory nor random draws for weights that are replaced at once
        network = unet(flags)
    try:
        converted = {name: tensor.float() for name, tensor in convert(state, flags).items()}
        network.load_state_dict(converted, strict=True, assign=True)
    except RuntimeError as error:
        first, *mismatches = str(error).split("\n")
        told = " ".join((mismatches or [first])[0].split())
        raise HarnessError(f"{path} does not have the shapes that its flags promise: {told}") from error
    return Denoiser(network.eval().requires_grad_(False), flags.schedule)


def flags_beside(path: Path) -> AdmFlags:
    """The flags of ``X.pt``, from the JSON object in ``X.json``; raises HarnessError where there is none."""
    file = path.with_suffix(".json")
    if not path.is_file():
        raise HarnessError(f"No checkpoint at {path}. Give the path of an existing one.")
    if not file.is_file():
        raise HarnessError(
            f"{path} does not say what network it holds. Put guided-diffusion's flags into {file}, as a JSON object, "
            f"or name them: --denoiser adm:file={path},image_size=256,num_channels=256 (all: harness list denoisers)."
        )
    try:
        return AdmFlags.from_mapping(dict(json.loads(file.read_text())))
    except (ValueError, TypeError) as error:
        raise HarnessError(f"{file} is not a JSON object of flags ({error}).") from error
