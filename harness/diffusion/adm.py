"""Checkpoints of OpenAI's guided-diffusion ("ADM"; Dhariwal & Nichol, NeurIPS 2021) as diffusers' UNet2DModel.

Both networks compute the same function from the same tensors under other names; only the fused query, key and value
of the attention layers are split. A checkpoint does not describe itself, so its flags come with it. Networks of
improved-diffusion (Nichol & Dhariwal, ICML 2021) have ``resblock_updown=False``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.diffusion.adm_flags import GROUPS
from harness.diffusion.adm_flags import AdmFlags as AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.models.files import bounded
from harness.models.files.state_dict import read_state
from harness.types import HarnessError

OUTER = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
"""Modules outside of all blocks: the authors' name, and diffusers'."""
RESIDUAL = {
    ".in_layers.0": ".norm1",
    ".in_layers.2": ".conv1",
    ".emb_layers.1": ".time_emb_proj",
    ".out_layers.0": ".norm2",
    ".out_layers.3": ".conv2",
}
"""Modules of a residual block, likewise."""
WIDENING = {**RESIDUAL, ".skip_connection": ".conv_shortcut"}
"""Modules of a residual block that changes the number of channels."""
ATTENTION = {".norm": ".group_norm", ".qkv": ".to_{}", ".proj_out": ".to_out.0"}
"""Modules of an attention layer; {} stands for the letters q, k, v, whose layers the authors fuse."""
DOWN = {".op": ".conv"}
"""Module of a convolution that halves the side."""
UP = {".conv": ".conv"}
"""Module of a convolution that doubles the side."""
UP_BLOCKS = "up_blocks"
"""Prefix of the blocks on the way up."""


def unet_config(flags: AdmFlags) -> dict[str, Any]:
    """Arguments of the UNet2DModel that equals the ADM network with these flags.

    Numbers of heads that do not follow from one width of all heads are set afterwards: see `unet`.
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


def to_diffusers(state: Mapping[str, Tensor], flags: AdmFlags) -> dict[str, Tensor]:
    """The state dict of `UNet2DModel(**unet_config(flags))` from ADM's; uses every tensor exactly once."""
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
        fused = "{}" in target
        if not fused:
            converted[target] = tensor
            continue
        heads = flags.heads(len(tensor) // 3, up=target.startswith(UP_BLOCKS))
        groups = 1 if flags.use_new_attention_order else heads
        for letter, part in zip("qkv", _split(tensor, groups), strict=True):
            converted[target.format(letter)] = part
    return converted


def _split(qkv: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Split fused (3C, C) weights or (3C,) biases, head by head, into queries, keys and values: (C, C) or (C,) each."""
    return qkv.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(1, 2).unbind()


def _keys(flags: AdmFlags) -> Iterator[tuple[str, str]]:
    """(source, target) names of every tensor; {} in a target stands for q, k, v, which the source fuses."""
    for source, target, modules in _blocks(flags):
        for adm, diffusers in modules.items():
            for part in ("weight", "bias"):
                yield f"{source}{adm}.{part}", f"{target}{diffusers}.{part}"
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
    """The untrained network with these flags."""
    from diffusers import UNet2DModel
    from diffusers.models.attention_processor import Attention

    network = cast(nn.Module, UNet2DModel(**unet_config(flags)))
    for name, layer in network.named_modules():
        if isinstance(layer, Attention):
            layer.heads = flags.heads(layer.inner_dim, up=name.startswith(UP_BLOCKS))
    return network


def load_adm(path: Path, flags: AdmFlags) -> Denoiser:
    """The denoiser in a `.pt` file of guided-diffusion, in float32 on the CPU."""
    state = read_state(path, "ADM checkpoint", "Get one from the links in guided-diffusion's README.")
    elements = sum(tensor.numel() for tensor in state.values())
    try:
        # Weights that are replaced at once need neither memory nor random draws.
        with bounded.at_most(len(state), elements), torch.device("meta"):
            network = unet(flags)
    except bounded.TooLarge as error:
        raise HarnessError(
            f"{path} does not fit its flags: {error}. Take the flags from where the checkpoint was published."
        ) from error
    try:
        converted = {name: tensor.float() for name, tensor in to_diffusers(state, flags).items()}
        network.load_state_dict(converted, strict=True, assign=True)
    except RuntimeError as error:
        first, *mismatches = str(error).split("\n")
        mismatch = " ".join((mismatches or [first])[0].split())
        raise HarnessError(f"{path} does not have the shapes that its flags promise: {mismatch}") from error
    return Denoiser(network.eval().requires_grad_(False), flags.schedule)
