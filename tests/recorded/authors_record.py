"""Records authors.npz with the original code of DDA and DiffAug, which the tests do not need.

    PYTHONPATH=.:tests:tests/evaluation python tests/recorded/authors_record.py GUIDED_DIFFUSION DIFFAUG DDA

for clones of openai/guided-diffusion (recorded at 22e0df8), oore-lab/diffaug (at e7df646) and shiyegao/DDA (at
accf067). Weights, pictures, noise and classifier are those of test_methods.py; only what the original code makes of
them is stored. DiffAug's script takes the mean of the softmax over times, DDA's the sum over both images of what mmcls
answers, which are probabilities (`LinearClsHead.simple_test`); here it is halved.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from adm_networks import random_weights
from test_methods import COARSE, FLAGS, RECORDING, START, TIMES, Classifier, draws, pictures
from torch import Tensor

NOT_NEEDED = ("mmcv", "mmcv.runner", "mmcls", "mmcls.models", "mmcls.models.losses")
"""What DDA's script imports and its ensemble does without."""


def original(package: Any, respacing: str) -> tuple[torch.nn.Module, Any]:
    """The original network with our weights, and its diffusion process."""
    settings = {**package.model_and_diffusion_defaults(), **FLAGS, "timestep_respacing": respacing}
    network, diffusion = package.create_model_and_diffusion(**settings)
    weights = random_weights({name: tensor.shape for name, tensor in network.state_dict().items()})
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
    return network.eval(), diffusion


@contextmanager
def our_noise(noises: Iterator[Tensor]) -> Iterator[None]:
    """In place of torch's, in the order in which the original draws it."""
    kept = torch.randn, torch.randn_like
    torch.randn = lambda *shape, device: next(noises)
    torch.randn_like = lambda x: next(noises)
    try:
        yield
    finally:
        torch.randn, torch.randn_like = kept


def denoised(package: Any, diffaug: Any) -> list[Tensor]:
    """The images of DiffAug's ensemble after t = 0, in [0, 1]."""
    augmenter = object.__new__(diffaug.DiffAug)  # without loading the published weights onto a GPU
    augmenter.score_model, augmenter.diffusion = original(package, "")
    found = []
    for time in TIMES:
        # The second draw makes the sample, of which nothing is used.
        with our_noise(iter([draws("denoise", time), torch.zeros(1)])), torch.no_grad():
            found.append((augmenter.test_time_augment(2 * pictures() - 1, time) + 1) / 2)
    return found


def adapted(package: Any, rows: slice) -> Tensor:
    """A batch through DDA's loop with the settings of its command, in [0, 1] as it saves images."""
    network, diffusion = original(package, "100")
    reference = pictures()[rows] * 2 - 1
    bounded, margins = diffusion.p_mean_variance, []

    def spy(*given: Any, clip_denoised: bool, **rest: Any) -> dict[str, Tensor]:
        with torch.no_grad():
            free = bounded(*given, clip_denoised=False, **rest)["pred_xstart"]
        margins.append((free.abs() - 1).abs().min().item())
        return bounded(*given, clip_denoised=clip_denoised, **rest)

    diffusion.p_mean_variance = spy
    with our_noise(iter([draws("dda", k, rows) for k in range(START + 1)])):
        sample = diffusion.p_sample_loop(
            network, reference.shape, noise=reference, model_kwargs={"ref_img": reference}, N=START, D=4, scale=6
        )
    print(f"smallest distance from the clip: {min(margins):.0e}")
    return (sample.detach().clamp(-1, 1) + 1) / 2


def main(guided_diffusion: Path, diffaug: Path, dda: Path) -> None:
    torch.set_num_threads(1)
    sys.path[:0] = [str(guided_diffusion), str(diffaug), str(dda)]
    sys.modules |= {name: MagicMock() for name in NOT_NEEDED}
    import diffaug as augmenting
    from guided_diffusion import script_util as adm
    from image_adapt.guided_diffusion import script_util as adapting
    from model_adapt.evaluation import ensemble_from_logits

    def classify(images: Tensor) -> Tensor:
        return Classifier()(images).softmax(-1)

    views = denoised(adm, augmenting)
    together = adapted(adapting, slice(0, 4))
    apart = torch.cat([adapted(adapting, slice(k, k + 1)) for k in range(4)])
    answers = classify(pictures()), classify(together)
    ensemble = ensemble_from_logits(*(list(a.numpy()) for a in answers), "sum")
    recording = {
        "denoised": torch.stack(views)[COARSE],
        "adapted_sample": apart[..., ::2, ::2],
        "adapted_batch4": together[..., ::2, ::2],
        "de": torch.stack([classify(x) for x in (pictures(), *views)]).mean(0),
        "dda": answers[1],
        "dda-se": np.stack(ensemble) / 2,
    }
    np.savez_compressed(RECORDING, **{name: np.asarray(value) for name, value in recording.items()})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
