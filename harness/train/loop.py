"""The training loop: every classifier and every denoiser goes through these lines."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from harness import noise
from harness.files import writing
from harness.networks import autocast
from harness.train.augment import small_affine
from harness.train.objectives import Objective, Step
from harness.train.spec import TrainSpec
from harness.types import Batch, Dataset, HarnessError

SAVE_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """What a progress bar wants to know after a step.

    step: steps that are done, `start` of them by earlier runs; images: of one step; losses: the step's terms.
    """

    step: int
    steps: int
    images: int
    losses: dict[str, float]
    start: int


@dataclass(frozen=True)
class Trained:
    """The finished network and what it took."""

    network: nn.Module
    steps: int
    seconds: float


def train(
    spec: TrainSpec,
    network: nn.Module,
    objective: Objective,
    data: Dataset,
    state_file: Path,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train to the end, from wherever `state_file` left off.

    The order of the samples, their augmentation, noise and dropout are functions of (seed, epoch, sample, step), so a
    run that was killed and resumed ends with the weights of one that was not. AdamW, warm-up, cosine decay to zero.
    """
    per_epoch = len(data.ids) // spec.batch_size
    if not per_epoch:
        raise HarnessError(
            f"--batch-size {spec.batch_size} is larger than the training split ({len(data.ids)} images)."
        )
    steps = per_epoch * spec.epochs
    network.to(spec.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(_parameter_groups(network, spec.weight_decay), lr=spec.lr, betas=(0.9, 0.99))
    ema = ModelEmaV3(network, decay=spec.ema, use_warmup=True) if spec.ema else None
    start, seconds = _resume(state_file, spec, network, optimizer, ema)
    saved = clock = time.monotonic()
    for step in range(start, steps):
        epoch, position = divmod(step, per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = spec.lr * learning_rate(step / per_epoch, spec.warmup, spec.epochs)
        torch.manual_seed(_step_seed(spec.seed, step))
        losses = _step(spec, network.train(), objective, optimizer, _batch(spec, data, epoch, position), epoch)
        if ema:
            ema.update(network, step)
        report(Progress(step + 1, steps, spec.batch_size, losses, start))
        if time.monotonic() - saved > SAVE_EVERY_SECONDS:
            saved = time.monotonic()
            _save(state_file, spec, network, optimizer, ema, step + 1, seconds + saved - clock)
    seconds += time.monotonic() - clock
    _save(state_file, spec, network, optimizer, ema, steps, seconds)
    return Trained((ema.module if ema else network).eval(), steps, seconds)


def learning_rate(epoch: float, warmup: int, epochs: int) -> float:
    """Share of the peak learning rate at a fractional epoch: linear warm-up, then half a cosine."""
    if epoch < warmup:
        return (epoch + 1e-2) / warmup
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / max(epochs - warmup, 1)))


def _step(
    spec: TrainSpec, network: nn.Module, objective: Objective, optimizer: Any, raw: Batch, epoch: int
) -> dict[str, float]:
    augmented = small_affine(raw, seed=spec.seed, epoch=epoch)
    step = Step(_to(raw, spec.device), _to(augmented, spec.device), spec.seed, epoch)
    optimizer.zero_grad(set_to_none=True)
    with autocast(spec.device, spec.dtype):
        terms = objective(network, step)
    loss = torch.stack(list(terms.values())).sum()
    if not torch.isfinite(loss):
        raise HarnessError(f"The loss became {float(loss)} in epoch {epoch}. Lower --lr; the last saved state is kept.")
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return {name: float(term.detach()) for name, term in terms.items()}


def _batch(spec: TrainSpec, data: Dataset, epoch: int, position: int) -> Batch:
    order = noise.generator(spec.seed, "order", spec.dataset, epoch).permutation(len(data.ids))
    return data.read(order[position * spec.batch_size : (position + 1) * spec.batch_size].tolist())


def _to(batch: Batch, device: str) -> Batch:
    return Batch(batch.ids, batch.images.to(device, memory_format=torch.channels_last), batch.labels.to(device))


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels only: biases, norms and embeddings of one dimension go without."""
    decay = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _step_seed(seed: int, step: int) -> int:
    return int(noise.generator(seed, "dropout", "", step).integers(2**62))


def _save(file: Path, spec: TrainSpec, network: nn.Module, optimizer: Any, ema: Any, step: int, seconds: float) -> None:
    state = {
        "spec": asdict(spec),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.module.state_dict() if ema else {},
        "step": step,
        "seconds": seconds,
    }
    buffer = io.BytesIO()  # a full disk is an OSError to Python, but an anonymous RuntimeError to torch.save
    torch.save(state, buffer)
    with writing(file) as partial:
        partial.write_bytes(buffer.getbuffer())


def _resume(file: Path, spec: TrainSpec, network: nn.Module, optimizer: Any, ema: Any) -> tuple[int, float]:
    if not file.is_file():
        return 0, 0.0
    now = asdict(spec)
    try:
        state = torch.load(file, weights_only=True, map_location=spec.device)
        then = dict(state["spec"])
        changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
        if not changed:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            if ema:
                ema.module.load_state_dict(state["ema"])
            return int(state["step"]), float(state["seconds"])
    except Exception as error:  # which one depends on where the file is damaged
        raise HarnessError(
            f"{file} is no training state of this run ({type(error).__name__}): damaged, or of another version. "
            "--fresh starts over."
        ) from error
    raise HarnessError(
        f"{file} belongs to a run with other settings ({', '.join(changed)}). "
        "Give another --out, or --fresh to start over."
    )
