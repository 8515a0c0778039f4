"""Denoisers by registered name or path: checkpoints of the harness, of ADM and of diffusers."""

from __future__ import annotations

import copy
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from harness import plugins
from harness.base.errors import Notice
from harness.base.files import file_sha256
from harness.data import benchmark_classes
from harness.data.classes import places, shortened
from harness.diffusion import hub
from harness.diffusion.adm.unet import load_adm
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import SCHEDULES
from harness.models.checkpoint import build_network, of_kind, read_checkpoint
from harness.models.files.state_dict import recorded
from harness.models.lookup import PICKLED_SUFFIXES, bundled, check_name, is_path
from harness.models.matching import model_classes, named_classes, order_of
from harness.models.published.locate import WeightFiles, chosen
from harness.types import Dataset, HarnessError, Weights


def load_denoiser(path: Path, sha256: str | None = None) -> tuple[Denoiser, Weights]:
    """A denoiser from a harness checkpoint, from ADM's ``X.pt`` with its flags in ``X.json``, or a diffusers folder."""
    file, _ = chosen(path)
    if hub.is_unet(path):
        config, tensors, *others = hub.files(path)
        return hub.load_unet(path), replace(recorded(config, beside=(tensors, *others)), name=path.name)
    if file.suffix in PICKLED_SUFFIXES and file.exists():
        flags = AdmFlags.beside(file)
        return load_adm(path, flags), recorded(path, {"arguments": asdict(flags)}, [file.with_suffix(".json")])
    checkpoint = of_kind(read_checkpoint(path, sha256), "denoiser")
    name, steps = checkpoint.header.get("schedule"), checkpoint.header.get("steps")
    if not isinstance(name, str) or name not in SCHEDULES or not isinstance(steps, int):
        raise HarnessError(f"{path}: schedule {name!r} of {steps!r} steps must be one of {', '.join(SCHEDULES)}.")
    schedule = SCHEDULES[name](steps)
    schedule = schedule.rescaled() if checkpoint.header.get("rescale_timesteps") else schedule
    null_label = checkpoint.header.get("null_label")
    if null_label is not None and null_label != checkpoint.header.get("arguments", {}).get("num_classes"):
        raise HarnessError(f"{path}: the class for none, {null_label!r}, must be the number of classes.")
    return Denoiser(build_network(checkpoint), schedule, null_label), checkpoint.weights


FACTOR = 1.5
"""Largest ratio between the sides of images and of those that a diffusion model was trained on: ADM's 256 serve 224."""


def stated_side(name: str) -> int | None:
    """Side in pixels of the images that a registered denoiser was trained on; None if it does not say."""
    entry = plugins.denoiser.get(name)
    return _side_of(str(entry.facts.get("dataset", ""))) if entry else None


def _side_of(dataset: str) -> int | None:
    """Side in pixels of a data set's images; None if it is unknown, or has images of any size."""
    entry = plugins.dataset.get(dataset)
    return entry.facts.get("image_size") if entry and not entry.facts.get("any_size") else None


def trained_side(weights: Weights) -> int | None:
    """Side in pixels of the images that a loaded denoiser was trained on; None if its file names no data set."""
    return _side_of(str(weights.details.get("dataset", "")))


def check_side(name: str, trained: int | None, side: int) -> None:
    """Raise HarnessError for a denoiser of images of another size. trained, side: in pixels; None if unknown."""
    if trained is None or _is_near(trained, side):
        return
    sides = {entry.name: stated_side(entry.name) for entry in plugins.denoiser.entries()}
    fitting = [registered for registered, own in sides.items() if own and _is_near(own, side)]
    remedy = f"Registered ones that fit: {', '.join(fitting)}" if fitting else "No registered one fits"
    raise HarnessError(
        f"--denoiser {name} was trained on images of {trained} pixels, and these have {side}. {remedy}; or give one of "
        "about this size by its path."
    )


def note_side(name: str, denoiser: Denoiser, side: int) -> None:
    """Give notice of a network that was configured for images of another size: flags and configurations may err."""
    configured = getattr(denoiser.network, "config", {}).get("sample_size")
    if isinstance(configured, int) and not _is_near(configured, side):
        notice = f"--denoiser {name} is configured for images of {configured} pixels, and these have {side}."
        warnings.warn(Notice(notice), stacklevel=2)


def _is_near(one: int, other: int) -> bool:
    return max(one, other) <= FACTOR * min(one, other)


def find_denoiser(name: str, weight_files: WeightFiles | None = None) -> tuple[Denoiser, Weights]:
    """A denoiser by registered name with its settings, or from a path: see `load_denoiser`.

    weight_files: places of published weights; without, the weights folder. Raises HarnessError for a name that means
    nothing and for missing weights.
    """
    if is_path(name, plugins.denoiser):
        return load_denoiser(Path(name))
    check_name(name, plugins.denoiser)
    offers = {"weight_files": weight_files or WeightFiles()}
    plugin = plugins.denoiser.configure(name, **offers).plugin
    built: tuple[Denoiser, Weights] = plugin(**plugins.arguments_for(plugin, **offers)) if callable(plugin) else plugin
    return built


def usual_eta(name: str) -> float:
    """The noise of DDIM that suits a denoiser, from 0 to 1: what its registered name states (fact ``eta``), or else 0.

    name: registered, or a path to the weights that a registered one ships with (fact ``checkpoint``).
    """
    if not is_path(name, plugins.denoiser):
        return float(plugins.denoiser.of(name).facts.get("eta", 0.0))
    file, _ = chosen(Path(name))
    sha256 = file_sha256(file) if file.is_file() else ""
    for entry in plugins.denoiser.entries():
        shipped = entry.facts.get("checkpoint")
        if shipped and bundled(shipped)[1] == sha256:
            return float(entry.facts.get("eta", 0.0))
    return 0.0


def conditioned(denoiser: Denoiser, name: str, info: Weights, data: Dataset, who: str) -> Denoiser:
    """A class-conditional denoiser that takes the labels of the data, whatever its own order of classes.

    The denoiser itself stays as it is; the new one shares all of its weights but the table of classes.

    name: by which it was found. who: the denoiser in messages, such as "--conditional NAME".
    Raises HarnessError where its classes are others, or cannot be reordered, and for a denoiser of another data set
    whose classes are not the data's by name.
    """
    names = model_classes(name, info)
    entry = plugins.denoiser.get(name)
    if not names and entry:
        names = benchmark_classes(str(entry.facts.get("conditional", "")))
    trained_on = info.details.get("dataset", data.name)
    matched = places(named_classes(data), names) if names else None
    if trained_on != data.name and not (names and (matched is None or matched.by_name)):
        listed = f", {shortened(names)}" if names else ""
        raise HarnessError(
            f"{who}: its classes are those of {trained_on!r}{listed}, not those of {data.name!r}. Name a denoiser of "
            "these classes, or the data set of those."
        )
    if not names:
        _check_table(denoiser, data.num_classes, f"{data.name!r} has", who)
        return denoiser
    _check_table(denoiser, len(names), "it names", who)
    order = order_of(names, data, who)
    if order == list(range(len(order))):
        return denoiser
    table: Any = denoiser.network.class_embedding
    if not isinstance(table, nn.Embedding):
        raise HarnessError(f"{who} has its classes in another order than the data, and no table to reorder. Train one.")
    others = sorted(set(range(table.num_embeddings)) - set(order))  # among them that of no class, which stays the last
    reordered = nn.Embedding.from_pretrained(table.weight.detach()[[*order, *others]], freeze=True)
    return replace(denoiser, network=_with_table(denoiser.network, reordered))


def _check_table(denoiser: Denoiser, count: int, whose: str, who: str) -> None:
    """Raise HarnessError for a table of another number of classes. A last one may stand for none.

    count, whose: the number expected, and words for where it comes from.
    """
    table = getattr(denoiser.network, "class_embedding", None)
    if isinstance(table, nn.Embedding) and table.num_embeddings - count not in (0, 1):
        known = table.num_embeddings - (denoiser.null_label is not None)
        raise HarnessError(
            f"{who} takes one of {known} classes, and {whose} {count}. Name a denoiser of these "
            "classes, or the data set of those."
        )


def _with_table(network: nn.Module, table: nn.Embedding) -> nn.Module:
    """A network with another table of classes, and otherwise the same modules and weights."""
    other = copy.copy(network)
    # A copy shares the dictionary of modules, in which the table stands.
    other._modules = {**network._modules, "class_embedding": table}
    return other
