"""Names of the tensors of guided-diffusion's networks, and of the same tensors in diffusers' blocks.

Both compute the same function from the same tensors; only the fused queries, keys and values of the attention layers
are split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Protocol

from torch import Tensor

from harness.types import HarnessError

Block = tuple[str, str, Mapping[str, str]]
"""The authors' name of a block, diffusers', and its modules: their names in the block, the authors' and diffusers'."""

TIME_AND_STEM = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
}
"""Modules in front of all blocks."""
OUT_NORM = {"out.0": "conv_norm_out"}
"""The group norm behind all blocks."""
POSITIONS = "out.2.positional_embedding"
"""The position table of the attention pool, which noisy classifiers alone have."""
POOL = {"out.2.qkv_proj": "pool.to_{}", "out.2.c_proj": "pool.to_out"}
"""Modules of that pool."""
RESIDUAL = {
    ".in_layers.0": ".norm1",
    ".in_layers.2": ".conv1",
    ".emb_layers.1": ".time_emb_proj",
    ".out_layers.0": ".norm2",
    ".out_layers.3": ".conv2",
}
"""Modules of a residual block."""
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


class Levels(Protocol):
    """Flags that decide the blocks of a network: see `harness.diffusion.adm.unet_flags.AdmFlags`."""

    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def attention(self) -> tuple[bool, ...]: ...
    @property
    def num_res_blocks(self) -> int: ...
    @property
    def resblock_updown(self) -> bool: ...


def encoder_blocks(flags: Levels) -> Iterator[Block]:
    """The blocks on the way down and in the middle; ADM numbers its entries in this order."""
    widths, last = flags.widths, len(flags.widths) - 1
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


def decoder_blocks(flags: Levels) -> Iterator[Block]:
    """The blocks on the way up, likewise."""
    last = len(flags.widths) - 1
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


def tensors(modules: Mapping[str, str], source: str = "", target: str = "") -> Iterator[tuple[str, str]]:
    """(authors' name, diffusers') of the weight and the bias of every module in a block."""
    for adm, diffusers in modules.items():
        for part in ("weight", "bias"):
            yield f"{source}{adm}.{part}", f"{target}{diffusers}.{part}"


def renamed(
    state: Mapping[str, Tensor], names: Mapping[str, str], groups: Callable[[str, int], int]
) -> dict[str, Tensor]:
    """The tensors under diffusers' names; uses every tensor exactly once.

    names: from the authors' to diffusers'; {} in a name stands for q, k, v, which the authors fuse.
    groups: from diffusers' name and the number of queries to the number of groups of fused rows, each (q, k, v).
    Raises HarnessError for tensors that are missing or left over.
    """
    missing, extra = sorted(names.keys() - state.keys()), sorted(state.keys() - names.keys())
    if missing or extra:
        raise HarnessError(
            f"The ADM checkpoint does not fit its flags: {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(extra)} are left over {extra[:3]}. Take the flags from where the checkpoint was published."
        )
    converted: dict[str, Tensor] = {}
    for source, target in names.items():
        tensor = state[source].squeeze(-1) if state[source].ndim == 3 else state[source]
        if "{}" not in target:
            converted[target] = tensor
            continue
        parts = _split(tensor, groups(target, len(tensor) // 3))
        converted |= {target.format(letter): part for letter, part in zip("qkv", parts, strict=True)}
    return converted


def _split(qkv: Tensor, groups: int) -> tuple[Tensor, ...]:
    """Split fused (3C, C) weights or (3C,) biases, group by group, into queries, keys and values: (C, C) or (C,)."""
    return qkv.unflatten(0, (groups, 3, -1)).transpose(0, 1).flatten(1, 2).unbind()
