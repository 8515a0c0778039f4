"""Records guided.npz with the original code of guided-diffusion: whole guided trajectories, in float64.

    PYTHONPATH=.:tests:tests/diffusion python tests/recorded/guided_record.py GUIDED_DIFFUSION

for a clone of openai/guided-diffusion (recorded at 22e0df8). Weights and inputs are those of test_guided_recorded.py;
every float32 of the original is lifted. Stored is x_t after each step, at every eighth row and column.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from adm_classifier_record import classifier, drawn
from adm_record import original
from test_adm import RECORDING_FLAGS
from test_adm_classifier import SMALL
from test_guided_recorded import GRID, LABELS, RECORDING, RUNS, SCALE, Run, start, steps
from torch import Tensor


def process(script_util: Any, run: Run) -> Any:
    """The original diffusion process with a run's respacing and variance."""
    variance = run.settings.variance
    return script_util.create_gaussian_diffusion(
        steps=1000,
        learn_sigma=variance == "learned",
        sigma_small=variance == "fixed_small",
        timestep_respacing=run.settings.steps,
    )


def trajectory(script_util: Any, unet: Any, run: Run) -> Tensor:
    """x_t of all steps (S, B, 3, H, W), as the original samples."""
    network, whole = original(script_util, RECORDING_FLAGS)
    network.dtype = torch.float64
    network.double()
    diffusion = process(script_util, run)
    guide: Any = classifier(unet, SMALL, in_channels=6 if run.denoised else 3) if run.guided else None
    if guide:
        drawn(guide)

    def model(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        out: Tensor = network(x, t)
        return out if run.settings.variance == "learned" else out[:, :3]

    def gradient(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            inputs = leaf
            if run.denoised:
                x0 = whole.p_mean_variance(network, leaf, t, clip_denoised=True)["pred_xstart"]
                inputs = torch.cat([leaf, x0.detach() if run.through == "partial" else x0], 1)
            score = guide(inputs, t).log_softmax(1)[range(len(y)), y].sum()
            return SCALE * torch.autograd.grad(score, leaf)[0]

    noise = iter(steps(run.settings.count))
    ddim = run.settings.sampler == "ddim"
    sample = diffusion.ddim_sample_loop_progressive if ddim else diffusion.p_sample_loop_progressive
    arguments: dict[str, Any] = {"eta": run.settings.eta} if ddim else {}
    with patch.object(torch, "randn_like", lambda x: next(noise)):
        states = sample(
            model, tuple(start().shape), noise=start(), clip_denoised=True, cond_fn=gradient if guide else None,
            model_kwargs={"y": LABELS}, device="cpu", **arguments,
        )  # fmt: skip
        return torch.stack([state["sample"].detach() for state in states])


def main(guided_diffusion: Path) -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(guided_diffusion))
    from guided_diffusion import script_util, unet

    with patch.object(Tensor, "float", Tensor.double), patch.object(torch, "float32", torch.float64):
        recording = {name: trajectory(script_util, unet, run)[GRID].numpy() for name, run in RUNS.items()}
    np.savez_compressed(RECORDING, **recording)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
