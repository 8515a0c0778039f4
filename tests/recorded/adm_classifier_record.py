"""Records adm_classifier.npz with the original code of guided-diffusion.

    PYTHONPATH=.:tests:tests/diffusion python tests/recorded/adm_classifier_record.py GUIDED_DIFFUSION FIXTURE

for a clone of openai/guided-diffusion (recorded at 22e0df8) and an npz of weights ``clf/NAME`` under the original
names, which were drawn once, with ``noise`` and ``y``. All arithmetic is float64: every float32 of the original is
lifted. Of every variant in test_adm_classifier.py it stores the names and shapes of the original's tensors, and what
the original makes of our weights and inputs; gradients at every eighth row and column.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from adm_networks import random_weights
from adm_record import original
from test_adm_classifier import CLASSES, RECORDING, SMALL, TIMES, UNET, VARIANTS, answers, noisy
from torch import Tensor

from harness.diffusion.adm.classifier_flags import ClassifierFlags


def classifier(unet: Any, flags: ClassifierFlags, in_channels: int = 3) -> Any:
    """The original network with 10 classes, as `create_classifier` builds it; but for those sizes that it fixes."""
    sides = map(int, flags.classifier_attention_resolutions.split(","))
    network = unet.EncoderUNetModel(
        image_size=flags.image_size,
        in_channels=in_channels,
        model_channels=flags.classifier_width,
        out_channels=10,
        num_res_blocks=flags.classifier_depth,
        attention_resolutions=tuple(flags.image_size // side for side in sides),
        channel_mult=tuple(map(float, flags.channel_mult.split(","))),
        num_head_channels=flags.num_head_channels,
        use_scale_shift_norm=flags.classifier_use_scale_shift_norm,
        resblock_updown=flags.classifier_resblock_updown,
        pool="attention",
    )
    network.dtype = torch.float64
    return network.double().eval()


def drawn(network: Any) -> dict[str, Any]:
    """Load our weights; the names and shapes of the network."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict({name: tensor.double() for name, tensor in random_weights(shapes).items()}, strict=True)
    return {"shapes": np.array(json.dumps(shapes))}


def fixture(unet: Any, file: Path) -> dict[str, Any]:
    """Weights that were drawn once, and the answers to the fourth noise."""
    with np.load(file) as stored:
        state = {name.removeprefix("clf/"): stored[name] for name in stored.files if name.startswith("clf/")}
        x, y = stored["noise"][3], stored["y"]
    network = classifier(unet, SMALL)
    network.load_state_dict({name: torch.from_numpy(array).double() for name, array in state.items()}, strict=True)
    found = answers(lambda x: network(x, TIMES), torch.from_numpy(x).double(), torch.from_numpy(y))
    values = {"x": x, "y": y, **named(found)}
    return {**values, **{f"weights/{name}": array for name, array in state.items()}}


def named(found: tuple[Tensor, Tensor]) -> dict[str, Any]:
    return {"logits": found[0].numpy(), "gradient": found[1].numpy()}


def denoised(script_util: Any, unet: Any) -> dict[str, Any]:
    """The classifier that sees the denoised image, too: its total gradient, and that of a detached denoised image."""
    network = classifier(unet, VARIANTS["da"], in_channels=6)
    values = drawn(network)
    eps, diffusion = original(script_util, UNET)
    eps.dtype = torch.float64
    eps.double()

    def x0_hat(x: Tensor) -> Tensor:
        prediction: Tensor = diffusion.p_mean_variance(eps, x, TIMES, clip_denoised=True)["pred_xstart"]
        return prediction

    total = answers(lambda x: network(torch.cat([x, x0_hat(x)], 1), TIMES), noisy(), CLASSES)
    partial = answers(lambda x: network(torch.cat([x, x0_hat(x).detach()], 1), TIMES), noisy(), CLASSES)
    values |= {"logits": total[0].numpy(), "gradient_total": total[1].numpy(), "gradient_partial": partial[1].numpy()}
    return values | {"x0_hat": x0_hat(noisy()).detach()[..., ::8, ::8].numpy()}


def main(guided_diffusion: Path, file: Path) -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(guided_diffusion))
    from guided_diffusion import script_util, unet

    recording = {}
    with patch.object(Tensor, "float", Tensor.double), patch.object(torch, "float32", torch.float64):
        parts = {"fixture": fixture(unet, file), "da": denoised(script_util, unet)}
        for name, flags in VARIANTS.items():
            if name != "da":
                network = classifier(unet, flags)
                parts[name] = drawn(network)
                parts[name] |= named(answers(lambda x, network=network: network(x, TIMES), noisy(), CLASSES))
    for name, part in parts.items():
        recording |= {f"{name}/{key}": value for key, value in part.items()}
    np.savez_compressed(RECORDING, **recording)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
