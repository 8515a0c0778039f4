"""Records adm_variants.npz with the original code of guided-diffusion and improved-diffusion.

    PYTHONPATH=.:tests:tests/diffusion python tests/recorded/adm_variants_record.py GUIDED_DIFFUSION IMPROVED_DIFFUSION

for clones of openai/guided-diffusion (recorded at 22e0df8) and openai/improved-diffusion (at 1bc7bbb). Of every
variant in test_denoisers.py it stores the names and shapes of the original's tensors, and what the original makes of
our weights and inputs, at every second row and column.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adm_networks import random_weights
from test_denoisers import INDICES, LABELS, RECORDING, VARIANTS, Variant, noisy

HALF = np.s_[..., ::2, ::2]


def recorded(package: Any, variant: Variant) -> dict[str, Any]:
    known = package.model_and_diffusion_defaults()
    flags = {name: value for name, value in variant.flags.items() if name in known}
    assert all(name in ("num_head_channels", "resblock_updown") for name in variant.flags.keys() - flags.keys())
    network, diffusion = package.create_model_and_diffusion(**{**known, **flags})
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict({name: tensor.float() for name, tensor in random_weights(shapes).items()}, strict=True)
    network.eval()
    outputs: list[torch.Tensor] = []

    def seen(x: torch.Tensor, times: torch.Tensor, **given: Any) -> torch.Tensor:
        # The times are the original's own, rescaled where its flags say so.
        outputs.append(network(x, times, **given))
        return outputs[-1]

    given = {"y": torch.tensor(LABELS)} if variant.flags["class_cond"] else {}
    with torch.no_grad():
        step = diffusion.p_mean_variance(seen, noisy(), torch.tensor(INDICES), clip_denoised=True, model_kwargs=given)
    found = {"output": outputs[0], "x0_hat": step["pred_xstart"], "mean": step["mean"]}
    values = {name: tensor[HALF].numpy() for name, tensor in found.items()}
    return {"shapes": np.array(json.dumps(shapes)), **values}


def main(guided_diffusion: Path, improved_diffusion: Path) -> None:
    torch.set_num_threads(1)
    sys.path[:0] = [str(guided_diffusion), str(improved_diffusion)]
    import guided_diffusion.script_util
    import improved_diffusion.script_util

    packages = {"guided": guided_diffusion.script_util, "improved": improved_diffusion.script_util}
    recording = {
        f"{name}/{key}": value
        for name, variant in VARIANTS.items()
        for key, value in recorded(packages[variant.package], variant).items()
    }
    np.savez_compressed(RECORDING, **recording)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
