"""Published weights of torchvision: its own builders, with tensors that are read without unpickling code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

from torch import nn

from harness.models.external.settings import beside, finished
from harness.models.external.text import ModelText
from harness.models.files.state_dict import read_state, recorded
from harness.models.preprocessing import Preprocessing
from harness.models.published import download
from harness.models.published.locate import PublishedFile, PublishedWeights, WeightFiles
from harness.types import HarnessError, Weights


def load(name: str, weights: Any, weight_files: WeightFiles, text: ModelText) -> tuple[nn.Module, Weights]:
    """The classifier with the weights of torchvision's table, under the settings of a text.

    name: the full one, with that of the weights. Raises HarnessError where the file is neither here nor to be had, and
    for one that does not fit.
    """
    import torchvision

    path = _file(name, weights, weight_files)
    state = read_state(path, f"weights of {name}", "The state dict that torchvision publishes is expected.")
    base = name.partition("/")[2].partition(".")[0]
    try:
        with mock.patch.object(type(weights), "get_state_dict", lambda self, *given, **settings: dict(state)):
            network = torchvision.models.get_model(base, weights=weights)
    except Exception as error:  # of load_state_dict, which is strict
        reason = " ".join(str(error).split())[:200]
        raise HarnessError(f"{path} does not hold the weights of {name}: {reason}") from error
    transform = weights.transforms()
    own = Preprocessing(
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        image_size=(transform.crop_size[0],) * 2,
        interpolation="bicubic" if transform.interpolation.value == "bicubic" else "bilinear",
    )
    names = list(weights.meta["categories"])
    classifier, details = finished(network, own, text, names, len(names))
    about = {"kind": "classifier", "architecture": f"torchvision/{base}", "weights": weights.name}
    about |= {"made_with": f"torchvision {torchvision.__version__}", "resize": transform.resize_size[0]}
    return classifier, replace(recorded(path, {**about, **details}, beside(text)), name=name)


def _file(name: str, weights: Any, weight_files: WeightFiles) -> Path:
    """The file of published weights: the user's, that of the weights folder or of torch's cache, or fetched."""
    file = PublishedFile(PurePosixPath(weights.url).name, (weights.url,))
    published = PublishedWeights(
        name=name, about="", files=[file], page="https://pytorch.org/vision/stable/models.html",
        licence="see its page", format="pickle",
    )  # fmt: skip
    short = name.rpartition(".")[0]
    path = weight_files.find(short) if short in weight_files.by_name else published.find(weight_files)
    if path is None and not download.offline():
        path = weight_files.folder / file.name
        download.download(weights.url, path, sha256=file.digits)
    path = path or published.locate(weight_files)
    published.check(path)
    return path
