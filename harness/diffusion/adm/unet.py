"""Diffusion models of OpenAI's guided-diffusion ("ADM"; Dhariwal & Nichol, NeurIPS 2021) as diffusers' UNet2DModel.

A checkpoint does not describe itself, so its flags come with it. Networks of improved-diffusion (Nichol & Dhariwal,
ICML 2021) have ``resblock_updown=False``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from harness.diffusion.adm import names
from harness.diffusion.adm.embedding import TimeSinusoids
from harness.diffusion.adm.flags import GROUPS
from harness.diffusion.adm.loading import filled
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.models.files.state_dict import read_state
from harness.types import HarnessError

OUTER = {**names.TIME_AND_STEM, **names.OUT_NORM, "out.2": "conv_out"}
"""Modules outside of all blocks: the authors' name, and diffusers'."""


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
    pairs = dict(names.tensors(OUTER))
    for blocks in (names.encoder_blocks, names.decoder_blocks):
        for source, target, modules in blocks(flags):
            pairs |= names.tensors(modules, source, target)
    if flags.class_cond:
        pairs["label_emb.weight"] = "class_embedding.weight"

    def groups(target: str, width: int) -> int:
        return 1 if flags.use_new_attention_order else flags.heads(width, up=target.startswith(names.UP_BLOCKS))

    return names.renamed(state, pairs, groups)


def unet(flags: AdmFlags) -> nn.Module:
    """The untrained network with these flags."""
    from diffusers import UNet2DModel
    from diffusers.models.attention_processor import Attention

    network = cast(nn.Module, UNet2DModel(**unet_config(flags)))
    network.time_proj = TimeSinusoids(flags.num_channels)
    for name, layer in network.named_modules():
        if isinstance(layer, Attention):
            layer.heads = flags.heads(layer.inner_dim, up=name.startswith(names.UP_BLOCKS))
    return network


def load_adm(path: Path, flags: AdmFlags) -> Denoiser:
    """The denoiser in a `.pt` file of guided-diffusion, in float32 on the CPU."""
    state = read_state(path, "ADM checkpoint", "Get one from the links in guided-diffusion's README.")
    if names.POSITIONS in state:
        raise HarnessError(f"{path} holds a noisy classifier, no diffusion model: --model adm-classifier:file={path}.")
    network = filled(path, state, partial(unet, flags), partial(to_diffusers, state, flags))
    return Denoiser(network, flags.schedule)
