"""The test-time methods as a run calls them: against recordings of their authors' code.

recorded/authors.npz holds what the code of DDA and DiffAug made of the weights, pictures and noise below;
recorded/authors_record.py is how. Steps one by one, and the loop at the usual length: test_adm.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from adm_networks import one_thread, random_weights, to_adm, worst
from helpers import RECORDED_FOLDER
from torch import Tensor, nn

from harness import plugins
from harness.base import noise
from harness.diffusion.adm.unet import load_adm, unet
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.evaluation.views.batch import BatchViews
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Adaptation, Batch

__all__ = ["one_thread"]

RECORDING = RECORDED_FOLDER / "authors.npz"
FLAGS = {"image_size": 32, "num_channels": 32, "num_res_blocks": 1, "num_head_channels": 16, "channel_mult": "1,1,2"}
FLAGS |= {"attention_resolutions": "8", "resblock_updown": True, "learn_sigma": True, "use_scale_shift_norm": True}

SEED = 0
"""Seed of pictures and noise: among the first few the one whose guided steps avoid the clip, where gradients jump."""

IDS = ("0", "1", "2", "3")
"""As many as the authors of DDA have in a batch."""

SHAPE = (3, 32, 32)
TIMES = tuple(range(50, 451, 50))
START = 8
"""Guided steps, of the usual fifty the last."""

COARSE = np.s_[..., ::4, ::4]
"""Pixels of one-step denoisings that were recorded."""


def pictures() -> Tensor:
    """Smooth pictures (4, 3, 32, 32) in [0, 1] that reach both ends."""
    coarse = noise.gaussian((3, 6, 6), seed=SEED, purpose="pictures", samples=IDS)
    return (F.interpolate(coarse, size=32, mode="bicubic") * 0.3 + 0.5).clamp(0, 1)


def draws(purpose: str, draw: int, rows: slice = slice(None)) -> Tensor:
    """The noise that views draw."""
    return noise.gaussian(SHAPE, seed=SEED, purpose=purpose, samples=IDS[rows], draw=draw)


class Classifier(nn.Module):
    """Ten classes, told apart by the colours of sixteen patches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = noise.gaussian((10, 48), seed=0, purpose="classifier", samples=["0"])[0]

    def forward(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 8).flatten(1) @ self.weight.T


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    with np.load(RECORDING) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> BatchViews:
    path, flags = tmp_path_factory.mktemp("authors") / "adm.pt", AdmFlags.from_mapping(FLAGS)
    shapes = {name: tensor.shape for name, tensor in to_adm(unet(flags).state_dict(), flags).items()}
    torch.save(random_weights(shapes), path)
    batch = Batch(IDS, pictures(), torch.zeros(4, dtype=torch.int64))
    return BatchViews(batch, load_adm(path, flags), Tiles(4, multiple=4), SEED)


def probabilities(method: str, views: BatchViews) -> Tensor:
    averaged: Tensor = plugins.method.configure(method).plugin(views, TiledClassifier(Classifier(), Tiles(4)))
    return averaged


def test_one_step_denoisings_are_those_of_diffaug(views: BatchViews, recorded: dict[str, Tensor]) -> None:
    assert worst(torch.stack([x[COARSE] for x in views.denoised(TIMES)]), recorded["denoised"]) < 5e-6


@pytest.mark.parametrize("norm", ["sample", "batch4"])
def test_adapted_images_are_those_of_dda(views: BatchViews, recorded: dict[str, Tensor], norm: str) -> None:
    """With a norm for every image the authors' loop ran on batches of one, else on a batch of four."""
    adapted = views.adapted(Adaptation(start=START, norm=norm))
    assert worst(adapted[..., ::2, ::2], recorded[f"adapted_{norm}"]) < 1e-5
    assert worst(recorded["adapted_sample"], recorded["adapted_batch4"]) > 0.01


@pytest.mark.parametrize("method", ["de", "dda", "dda-se"])
def test_probabilities_are_those_of_the_authors(views: BatchViews, recorded: dict[str, Tensor], method: str) -> None:
    result = probabilities(method if method == "de" else f"{method}:start={START},norm=batch4", views)
    assert worst(result, recorded[method]) < 1e-5
    assert worst(probabilities("default", views), recorded[method]) > 0.01
