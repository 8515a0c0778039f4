"""Records adm.npz with the original code of ADM and DDA, neither of which the tests need.

    PYTHONPATH=.:tests:tests/diffusion python tests/recorded/adm_record.py GUIDED_DIFFUSION DDA

for clones of openai/guided-diffusion (recorded at 22e0df8) and shiyegao/DDA (at accf067). Weights and inputs are those
of test_adm.py; only what the original code makes of them is stored, pictures at every second row and column where they
are not also an input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from test_adm import ENDS, KEPT, RECORDING, RECORDING_FLAGS, TIMES, digest, draws, pictures, random_weights
from torch import Tensor

HALF = np.s_[..., ::2, ::2]


def original(package: Any, flags: dict[str, Any], respacing: str = "") -> tuple[torch.nn.Module, Any]:
    """The original network with our weights, and its diffusion process."""
    settings = {**package.model_and_diffusion_defaults(), **flags, "timestep_respacing": respacing}
    network, diffusion = package.create_model_and_diffusion(**settings)
    weights = random_weights({name: tensor.shape for name, tensor in network.state_dict().items()})
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
    return network.eval(), diffusion


def one_step(package: Any, flags: dict[str, Any]) -> dict[str, Any]:
    network, diffusion = original(package, flags)
    other, _ = original(package, {**flags, "use_new_attention_order": True})
    found: dict[str, list[Tensor]] = {"x_t": [], "x0_hat": [], "mean": [], "log_variance": []}
    x0 = pictures()
    with torch.no_grad():
        x, t = draws("x", 2), torch.tensor(ENDS)
        outputs = {"model_output": network(x, t), "model_output_new_attention_order": other(x, t)}
        for k, time in enumerate(TIMES):
            t = torch.tensor([time, time])
            x_t = diffusion.q_sample(x0, t, noise=draws("one-step", 2, k))
            step = diffusion.p_mean_variance(network, x_t, t, clip_denoised=True)
            for name, tensor in zip(found, (x_t, step["pred_xstart"], step["mean"], step["log_variance"]), strict=True):
                found[name].append(tensor)
    recorded = {name: torch.stack(rows)[HALF] for name, rows in found.items()}
    betas, alphas_cumprod = diffusion.betas, diffusion.alphas_cumprod
    weights = np.array(digest(random_weights({n: t.shape for n, t in network.state_dict().items()})))
    recorded |= {name: tensor[HALF] for name, tensor in outputs.items()}
    return {**recorded, "betas": betas, "alphas_cumprod": alphas_cumprod, "weights_sha256": weights}


def guided(package: Any, flags: dict[str, Any]) -> dict[str, Any]:
    """The authors' loop as they call it, on one picture, with our noise in place of theirs."""
    network, diffusion = original(package, flags, respacing="100")
    reference, noise = pictures()[:1], iter([draws("guided", 1, k) for k in range(51)])
    inputs: list[Tensor] = []
    margins: list[float] = []
    bounded = diffusion.p_mean_variance

    def spy(model: Any, x: Tensor, t: Tensor, *, clip_denoised: bool, **rest: Any) -> dict[str, Tensor]:
        with torch.no_grad():
            free = bounded(model, x, t, clip_denoised=False, **rest)
        inputs.append(x.detach().clone())
        margins.append((free["pred_xstart"].abs() - 1).abs().min().item())
        return bounded(model, x, t, clip_denoised=clip_denoised, **rest)

    diffusion.p_mean_variance = spy
    model = torch.nn.Module()
    model.forward = lambda x, t, ref_img: network(x, t)  # type: ignore[method-assign]
    model.register_parameter("device", torch.nn.Parameter(torch.zeros(1)))
    torch.randn, kept_randn = (lambda *shape, device: next(noise)), torch.randn
    torch.randn_like, kept_like = (lambda x: next(noise)), torch.randn_like
    samples = []
    try:
        for out in diffusion.p_sample_loop_progressive(
            model, (1, 3, 64, 64), noise=reference, model_kwargs={"ref_img": reference}, N=50, D=4, scale=6
        ):
            samples.append(out["sample"].detach().clone())
    finally:
        torch.randn, torch.randn_like = kept_randn, kept_like
    assert all(torch.equal(a, b) for a, b in zip(inputs[1:], samples[:-1], strict=True))
    print("smallest distance from the clip:", [f"{m:.0e}" for m in margins])
    return {
        "timestep_map": np.array(diffusion.timestep_map),
        "step_input": torch.stack([inputs[k] for k in KEPT]),
        "step_sample": torch.stack([samples[k] for k in KEPT])[HALF],
        "final_sample": samples[-1],
        "clip_margin": np.array(margins),
    }


def main(guided_diffusion: Path, dda: Path) -> None:
    torch.set_num_threads(1)
    sys.path[:0] = [str(guided_diffusion), str(dda)]
    from guided_diffusion import script_util as adm
    from image_adapt.guided_diffusion import script_util as adapt

    recording = {**one_step(adm, RECORDING_FLAGS), **guided(adapt, RECORDING_FLAGS)}
    np.savez_compressed(RECORDING, **{name: np.asarray(value) for name, value in recording.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
