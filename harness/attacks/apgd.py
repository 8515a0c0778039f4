"""Auto-PGD, projected gradient ascent that chooses its steps (Croce & Hein, ICML 2020, algorithm 1 and section 3).

The arithmetic follows the authors' code to the last bit, with the two places where that differs from the paper: the
first window compares its first loss with 0, and the result is the last misclassified iterate, not the one of the
highest loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from harness.attacks.norms import per_image

Look = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]
"""From images (b, ...), their places (b,) in the batch and the number of the look, to losses (b,), the gradients
(b, ...) of these, and whether the classifier takes an image for another class, (b,) bool."""

INERTIA = 0.75
"""Share of the new step in the iterate; the rest is the step before, the momentum."""

RISES = 0.75
"""Share of a window's steps that must raise the loss, or the step is halved."""


@dataclass
class Outcome:
    """Result of an ascent over B images.

    best, loss: iterate (B, 3, H, W) of the highest loss, and that loss (B,). adversarial: last misclassified iterate;
    the start where there is none. fell: (B,) whether there is one. size: (B,) length of the step at the end.
    losses: (B, steps) after each step; NaN where an image was not looked at any more.
    """

    best: Tensor
    loss: Tensor
    adversarial: Tensor
    fell: Tensor
    size: Tensor
    losses: Tensor


@dataclass
class _State:
    """Images that still ascend; every field has a row for each of them. places: in the batch."""

    places: Tensor
    clean: Tensor
    x: Tensor
    previous: Tensor
    gradient: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    size: Tensor
    losses: Tensor
    checked_loss: Tensor
    halved: Tensor

    def of(self, keep: Tensor) -> _State:
        """The images of a mask."""
        return _State(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})


def windows(steps: int) -> dict[int, int]:
    """Number of the step after which step lengths are reviewed, and the number of steps then looked back on.

    Steps count from 0: with 100 of them the reviews follow 22, 41, 57, 70, 80, 87, 93 and 99 steps.
    """
    reviews, done = {}, 0
    window = max(int(0.22 * steps), 1)
    while (done := done + window) <= steps:
        reviews[done - 1] = window
        window = max(window - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return reviews


def apgd(
    look: Look, images: Tensor, start: Tensor, *, norm: str, eps: float, steps: int = 100, until_falls: bool = True
) -> Outcome:
    """Ascend the loss from `start` within the ball of radius eps around `images` and within [0, 1].

    look: asked once at the start, as number 0, and once after each step, about the images that still ascend.
    images, start: (B, 3, H, W) float32 in [0, 1]; the start lies in the ball. norm: linf or l2.
    until_falls: an image is left alone once it is misclassified. Otherwise all steps are taken, as the authors do.
    """
    x = start.clamp(0, 1)
    places = torch.arange(len(images))
    loss, gradient, wrong = look(x, places, 0)
    outcome = Outcome(
        x.clone(), loss.clone(), x.clone(), wrong.clone(), 2 * eps * torch.ones(len(x)),
        torch.full((len(x), steps), torch.nan),
    )  # fmt: skip
    state = _State(
        places, images, x, x, gradient, x, gradient, loss, outcome.size, torch.zeros(len(x), steps), loss,
        torch.ones(len(x), dtype=torch.bool),
    )  # fmt: skip
    step, reviews = STEPS[norm], windows(steps)
    for number in range(steps):
        if until_falls and wrong.any():
            state = state.of(~wrong)
        if not len(state.places):
            break
        x = step(state, eps, INERTIA if number else 1.0)
        state.previous, state.x = state.x, x
        loss, state.gradient, wrong = look(x, state.places, number + 1)
        _note(state, outcome, number, loss, wrong)
        if number in reviews:
            _review(state, number, reviews[number])
            outcome.size[state.places] = state.size
    return outcome


def _note(state: _State, outcome: Outcome, number: int, loss: Tensor, wrong: Tensor) -> None:
    """Keep what a step led to."""
    state.losses[:, number] = loss
    better = loss > state.best_loss
    state.best = torch.where(per_image(better, state.x).bool(), state.x, state.best)
    state.best_gradient = torch.where(per_image(better, state.x).bool(), state.gradient, state.best_gradient)
    state.best_loss = torch.where(better, loss, state.best_loss)
    outcome.losses[state.places, number] = loss
    outcome.loss[state.places] = state.best_loss
    outcome.best[state.places[better]] = state.x[better]
    outcome.adversarial[state.places[wrong]] = state.x[wrong]
    outcome.fell[state.places[wrong]] = True


def _review(state: _State, number: int, window: int) -> None:
    """Halve the steps of images that oscillate or no longer improve, and send these back to their best iterate."""
    # The window before the first loss wraps around to the last column, which is still 0: the authors' off-by-one.
    before = state.losses[:, torch.arange(number - window, number)]
    after = state.losses[:, number - window + 1 : number + 1]
    stalls = ~state.halved & (state.checked_loss >= state.best_loss)
    state.halved = ((after > before).sum(1) <= RISES * window) | stalls
    state.checked_loss = state.best_loss
    state.size = torch.where(state.halved, state.size / 2, state.size)
    back = per_image(state.halved, state.x).bool()
    state.x = torch.where(back, state.best, state.x)
    state.gradient = torch.where(back, state.best_gradient, state.gradient)


def _step_linf(state: _State, eps: float, share: float) -> Tensor:
    low, high = state.clean - eps, state.clean + eps
    z = state.x + per_image(state.size, state.x) * state.gradient.sign()
    z = torch.clamp(torch.min(torch.max(z, low), high), 0, 1)
    z = state.x + (z - state.x) * share + (state.x - state.previous) * (1 - share)
    return torch.clamp(torch.min(torch.max(z, low), high), 0, 1)


def _step_l2(state: _State, eps: float, share: float) -> Tensor:
    z = state.x + per_image(state.size, state.x) * unit(state.gradient, "l2")
    z = _ball_l2(z, state.clean, eps)
    z = state.x + (z - state.x) * share + (state.x - state.previous) * (1 - share)
    return _ball_l2(z, state.clean, eps)


STEPS = {"linf": _step_linf, "l2": _step_l2}
"""By norm: the next iterate (b, 3, H, W) of a state, for eps and the share of the new step."""


def _ball_l2(x: Tensor, clean: Tensor, eps: float) -> Tensor:
    delta = x - clean
    return torch.clamp(clean + unit(delta, "l2") * torch.clamp(_length(delta), max=eps), 0, 1)


def unit(x: Tensor, norm: str) -> Tensor:
    """Images (B, ...) divided by their norm, linf or l2, which has 1e-12 more."""
    length = per_image(x.abs().flatten(1).amax(1), x) if norm == "linf" else _length(x)
    return x / (length + 1e-12)


def _length(x: Tensor) -> Tensor:
    squares = (x**2).flatten(1)
    # Several threads would share one long row alone, and sum it in another order than beside others.
    rows = torch.cat([squares, squares]) if len(x) == 1 else squares
    return per_image(rows.sum(1)[: len(x)].sqrt(), x)
