"""Networks in the names of guided-diffusion, with weights that anybody can draw again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from harness.base import noise
from harness.diffusion.adm.unet import unet as untrained
from harness.diffusion.adm.unet_flags import AdmFlags

LAST_LAYERS = ("out_layers.3.weight", "proj_out.weight", "out.2.weight")
"""Of blocks and of the network."""


def random_weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """A state dict without any zeros, float16, each tensor from its name and shape alone.

    The layers that ADM starts at zero get half the usual spread: at full spread the guided loop is chaotic.
    """
    state = {}
    for name, shape in shapes.items():
        (values,) = noise.gaussian(tuple(shape), seed=0, purpose="adm-weights", samples=[name])
        if len(shape) > 1:
            values /= math.sqrt(math.prod(shape[1:])) * (2 if name.endswith(LAST_LAYERS) else 1)
        else:
            values = values / 10 + name.endswith("weight")
        state[name] = values.half()
    return state


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the recordings: sums in another order may push a pixel across the clip, see the guided steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def worst(found: Tensor, expected: Tensor) -> float:
    return (found - expected).abs().max().item()


def unet(flags: AdmFlags, device: str = "cpu") -> torch.nn.Module:
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        return untrained(flags).eval()


def fused(flags: AdmFlags, q: Tensor, k: Tensor, v: Tensor, up: bool) -> Tensor:
    """ADM's qkv: each head's q, k and v in turn, or in the new order all of q, then k, then v."""
    fixed = flags.num_heads_upsample if up and flags.num_heads_upsample > 0 else flags.num_heads
    width = flags.num_head_channels if flags.num_head_channels > 0 else len(q) // fixed
    width = len(q) if flags.use_new_attention_order else width
    rows = [part[start : start + width] for start in range(0, len(q), width) for part in (q, k, v)]
    return torch.cat(rows)[..., None] if q.ndim == 2 else torch.cat(rows)


def to_adm(ours: Mapping[str, Tensor], flags: AdmFlags) -> dict[str, Tensor]:
    """The conversion backwards, entry numbers written out by arithmetic instead of by walking."""
    levels, blocks = len(flags.widths), flags.num_res_blocks
    inner = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0"}
    inner |= {"conv2": "out_layers.3", "conv_shortcut": "skip_connection", "group_norm": "norm", "to_q": "qkv"}
    outer = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_out": "out.2"}
    outer |= {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "class_embedding": "label_emb"}
    theirs = {}
    for name, tensor in ours.items():
        module, part = name.rsplit(".", 1)
        if module in outer:
            theirs[f"{outer[module]}.{part}"] = tensor
            continue
        side, *where, leaf = module.replace("to_out.0", "to_out").split(".")
        if leaf in ("to_k", "to_v"):
            continue
        kind, position = where[-2], int(where[-1])
        if side == "mid_block":
            block = "middle_block.1" if kind == "attentions" else f"middle_block.{2 * position}"
        elif side == "down_blocks":
            entry = 1 + int(where[0]) * (blocks + 1) + (blocks if kind == "downsamplers" else position)
            block = f"input_blocks.{entry}.{int(kind == 'attentions')}"
        else:
            attention = flags.attention[levels - 1 - int(where[0])]
            entry = int(where[0]) * (blocks + 1) + (blocks if kind == "upsamplers" else position)
            sub = {"resnets": 0, "attentions": 1, "upsamplers": 2 if attention else 1}[kind]
            block = f"output_blocks.{entry}.{sub}"
        if leaf == "to_q":
            k, v = (ours[name.replace("to_q", other)] for other in ("to_k", "to_v"))
            tensor = fused(flags, tensor, k, v, side == "up_blocks")
        elif leaf == "conv" and kind == "downsamplers":
            leaf = "op"
        elif leaf == "to_out":
            leaf, tensor = "proj_out", tensor[..., None] if tensor.ndim == 2 else tensor
        theirs[f"{block}.{inner.get(leaf, leaf)}.{part}"] = tensor
    return theirs
