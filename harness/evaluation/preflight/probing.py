"""Probes before a run: networks and methods are shown a few images, and what fails on these stops the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from harness.base import noise
from harness.base.errors import Notice
from harness.base.provenance import environment
from harness.evaluation import suspicion
from harness.evaluation.job import Job
from harness.evaluation.preflight import standins
from harness.models.probe import PROBED, Probe, cause_in, check_logits, outputs, pooled, rows_of
from harness.models.tiles import NoTensor, TiledClassifier, Tiles
from harness.types import NO_CLASSIFIER, HarnessError, Incompatible, Pair


def probes(job: Job) -> Sequence[Probe]:
    """A probe of each pair; each classifier, method and the diffusion model is shown the images once.

    A method that cannot be probed is named in a notice and in the probe. Raises HarnessError for whatever fails on
    these images, or treats an image differently beside others or again.
    """
    by_model = {pair.model: pair for pair in job.pairs if pair.model != NO_CLASSIFIER}
    models = {name: {"model": _classifier(job, pair)} for name, pair in by_model.items()}
    methods: dict[str, Tensor] = {}
    unknown: dict[str, str] = {}
    for pair in {p.method_name: p for p in job.pairs}.values():
        try:
            methods[pair.method_name] = _PROBES[job.suite.axis](job, pair)
        except _Unprobed as error:
            unknown[pair.method_name] = str(error)
    _warn_unprobed(job, unknown)
    denoiser = {"denoiser": _denoiser(job)} if job.denoiser else {}
    assembled = [
        _assembled(
            job,
            {**models.get(pair.model, {}), **(denoiser if job.uses_denoiser(pair) else {})},
            {"method": methods[pair.method_name]} if pair.method_name in methods else {},
            {"method": unknown[pair.method_name]} if pair.method_name in unknown else {},
        )
        for pair in job.pairs
    ]
    for pair, probe in {pair.model: (pair, probe) for pair, probe in zip(job.pairs, assembled, strict=True)}.values():
        for note in suspicion.of_probe(probe):
            warnings.warn(Notice(f"{job.spec.suite}, {pair.model}: {note}"), stacklevel=2)
    return assembled


def _warn_unprobed(job: Job, reasons: Mapping[str, str]) -> None:
    """One notice for all methods or detectors that cannot be probed."""
    if reasons:
        name, reason = next(iter(reasons.items()))
        more = f" Nor can {', '.join(list(reasons)[1:])}." if len(reasons) > 1 else ""
        warnings.warn(
            Notice(
                f"{job.spec.suite}: {name} cannot be probed on stand-ins ({reason}).{more} If its code changes in what "
                "no hash covers, a resumed run does not notice; the record says so."
            ),
            stacklevel=2,
        )


def _assembled(job: Job, networks: dict[str, Tensor], method: dict[str, Tensor], unknown: dict[str, str]) -> Probe:
    dtypes = {"model": job.spec.dtype, "denoiser": job.spec.denoiser_dtype}
    outputs_by_name = {"images": pooled(job.examples.images), **networks, **method}
    arrays = {name: values.float().numpy() for name, values in outputs_by_name.items()}
    device = str(environment(job.spec.device)["device"])
    return Probe(job.examples.ids, device, {name: dtypes.get(name, "float32") for name in arrays}, arrays, unknown)


class _Unprobed(Exception):
    """Raised with the reason why a method cannot be probed on stand-ins."""


def _tiles(job: Job, dtype: str, rows: int) -> Tiles:
    """Tiles of so few rows, which cost little; of the run's own size where each size would be compiled for."""
    size = job.spec.tile if job.spec.compile else min(job.spec.tile, rows)
    return Tiles(size, job.spec.device, dtype, compiled=job.spec.compile)


def _classifier(job: Job, pair: Pair) -> Tensor:
    """Logits (`PROBED`, K) of a pair's classifier."""
    who = f"Model {pair.model!r}"
    classes = job.data.num_classes
    assert isinstance(pair.classifier, TiledClassifier)
    network = pair.classifier.network
    tiles = _tiles(job, job.spec.dtype, PROBED)
    logits = _named(
        f"{who} failed on an image of shape {tuple(job.example.shape)}",
        lambda: outputs(
            lambda x: tiles(network, x), job.shown, who, dtype=job.spec.dtype, cause=lambda: cause_in(network)
        ),
    )
    if logits.shape[1:] != (classes,):
        raise Incompatible(
            f"{who} gives outputs of shape {(1, *logits.shape[1:])} for one image; "
            f"{job.data.name!r} has {classes} classes, so (1, {classes}) was expected. Name its outputs, and they are "
            "matched with the data's classes: --classes FILE, or classes= in Python."
        )
    check_logits(logits, who)
    return logits


def _method(job: Job, pair: Pair) -> Tensor:
    who = f"Method {pair.method_name!r}"
    return _named(
        f"{who} failed on {PROBED} images",
        lambda: standins.method_outputs(pair.method, job.shown, job.data.num_classes, who, bool(job.suite.diffuses)),
    )


def _smoother(job: Job, pair: Pair) -> Tensor:
    who = f"Smoother {pair.method_name!r}"
    sigma = float(next(iter(getattr(job.suite, "sigma", (0.5,)))))
    schedule = job.denoiser.schedule if job.denoiser else None
    return _named(
        f"{who} failed on {PROBED} images",
        lambda: standins.smoother_outputs(pair.method, job.shown, sigma, schedule, who),
    )


def _outer_method(job: Job, pair: Pair) -> Tensor:
    """Class probabilities (B, K) of the method under a detector or an attack."""
    who = f"Method {job.axis.parts(pair.method_name)[0].name!r}"
    return _named(
        f"{who} failed on {PROBED} images",
        lambda: standins.method_outputs(pair.method.outer, job.shown, job.data.num_classes, who, False),
    )


def _detector(job: Job, pair: Pair) -> Tensor:
    """Class probabilities of the method (B, K), and the scores of the detector (B,) as one more column."""
    _, inner = job.axis.parts(pair.method_name)
    method = _outer_method(job, pair)
    try:
        scores = standins.detector_outputs(pair.method, job.shown, bool(inner.facts.get("whole")))
    except Exception as error:  # whatever happens to a detector on data that are not its own
        raise _Unprobed(standins.unprobed(error)) from error
    return torch.cat([method[: len(scores)], scores[:, None].float()], 1)


def _guide(job: Job, pair: Pair) -> Tensor:
    who = f"Guide {pair.method_name!r}"
    return _named(
        f"{who} failed on {PROBED} images",
        lambda: standins.guide_outputs(pair.method, job.shown, job.data.num_classes, who),
    )


_PROBES: dict[str, Callable[[Job, Pair], Tensor]] = {
    "method": _method,
    "smoother": _smoother,
    "detector": _detector,
    "attack": _outer_method,
    "guide": _guide,
}
"""Probe of a method, by the axis of the suite that combines it with classifiers."""


def _denoiser(job: Job) -> Tensor:
    """One-step denoisings of two images at the middle of the schedule, `pooled`."""
    denoiser = job.denoiser
    assert denoiser
    images = job.shown[[0, -1]]
    tiles = _tiles(job, job.spec.denoiser_dtype, len(images))
    time = torch.full((len(images),), len(denoiser.schedule.betas) // 2)
    eps = noise.gaussian(images.shape[1:], seed=0, purpose="probe", samples=["0", "1"])

    def predict(x: Tensor, t: Tensor, e: Tensor) -> Tensor:
        x_t = denoiser.diffuse(x, t, e)
        if denoiser.unconditional:
            return denoiser.predict_x0(x_t, t)
        return denoiser.predict_noise(x_t, t, labels=torch.zeros_like(t))[0]

    def restore(x: Tensor) -> Tensor:
        return pooled(tiles(predict, x, time[: len(x)], eps[rows_of(x, images)]))

    who = f"The diffusion model {job.spec.denoiser!r}"
    return _named(
        f"{who} failed on an image of shape {tuple(job.example.shape)}",
        lambda: outputs(restore, images, who, dtype=job.spec.denoiser_dtype, cause=lambda: cause_in(denoiser.network)),
    )


def _named(failed: str, probe: Callable[[], Tensor]) -> Tensor:
    """Outputs of a probe; whatever goes wrong in foreign code becomes a HarnessError that begins with `failed`."""
    try:
        return probe()
    except HarnessError:
        raise
    except NoTensor as error:
        raise HarnessError(f"{failed}: {error}.") from error
    except Exception as error:
        raise HarnessError(f"{failed}: {type(error).__name__}: {error}") from error
