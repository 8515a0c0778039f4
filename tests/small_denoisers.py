"""Denoisers with a closed form or random weights, and small batches for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import linear
from harness.types import Adaptation, Batch

SHORT = Adaptation(steps=10, start=3, factor=2)


class Analytic(nn.Module):
    """A noise prediction given as a function of x_t and t, called as diffusers' networks are."""

    def __init__(self, predict: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.predict = predict

    def forward(self, x: Tensor, t: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (self.predict(x, t),)


def gaussian_data(spread: float) -> Denoiser:
    """The exact denoiser of data distributed as N(0, spread^2): E[noise | x_t] = sqrt(1-abar) x_t / Var(x_t)."""
    schedule = linear()
    slope = (1 - schedule.alpha_bar) ** 0.5 / (schedule.alpha_bar * spread**2 + 1 - schedule.alpha_bar)
    return Denoiser(Analytic(lambda x, t: torch.from_numpy(slope)[t].float()[:, None, None, None] * x), schedule)


def random_unet(out_channels: int = 3) -> Denoiser:
    from diffusers import UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            out_channels=out_channels,
        )
    return Denoiser(network.eval().requires_grad_(False), linear())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(count: int, side: int = 16) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(count))


def batch(rows: slice) -> Batch:
    """Some of the same five images."""
    ids = tuple(f"image-{i}" for i in range(5))
    return Batch(ids[rows], images(5)[rows], torch.zeros(5, dtype=torch.int64)[rows])


def count_calls(denoiser: Denoiser) -> list[int]:
    """The rows of every network call from now on."""
    calls: list[int] = []
    denoiser.network.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    return calls


def random_conditional(classes: int = 10) -> Denoiser:
    """A class-conditional network with one more class for none."""
    from diffusers import UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            block_out_channels=(8,),
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
            layers_per_block=1,
            norm_num_groups=4,
            in_channels=3,
            out_channels=3,
            num_class_embeds=classes + 1,
        )
    return Denoiser(network.eval().requires_grad_(False), linear(), null_label=classes)
