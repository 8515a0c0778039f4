"""Every post-processor of an installed OpenOOD package, as ``openood/NAME``: https://github.com/Jingkang50/OpenOOD."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from harness.evaluation.features import Loader, linear_head
from harness.plugins import detector, suggest
from harness.types import Bank, Dataset, HarnessError, Response, Unsuited

CONFIGS = Path("~/.cache/harness/openood").expanduser()
"""Folder of its settings, postprocessors/NAME.yml; OpenOOD fetches missing ones from its repository."""


def _source(name: str) -> str:
    """The package's version and a hash of the post-processor's settings, if they are there."""
    settings = CONFIGS / "postprocessors" / f"{name}.yml"
    digest = hashlib.sha256(settings.read_bytes()).hexdigest()[:12] if settings.is_file() else "its own settings"
    try:
        return f"openood {version('openood')}, {digest}"
    except PackageNotFoundError:
        return digest


@detector.family("openood", _source)
def openood(name: str) -> Callable[[], "PostProcessor"]:
    """Post-processor NAME of OpenOOD with the settings of its configuration file."""
    return partial(PostProcessor, name)


@dataclass(frozen=True)
class PostProcessor:
    """A post-processor: its `setup` on training and validation images, then its confidence."""

    name: str

    def __post_init__(self) -> None:
        self._openood()

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        inner = self._build(bank.train_images)
        net, device = _Net(bank), next(bank.network.parameters(), torch.empty(0)).device
        with _on(device):
            held_out = _loader(bank.validation_images)
            inner.setup(net, {"train": _loader(bank.train_images), "val": held_out, "test": held_out}, {})

        def score(seen: Response) -> Tensor:
            with _on(device), torch.enable_grad():
                _, confidence = inner.postprocess(net, seen.images.clone(memory_format=torch.contiguous_format))
            return torch.as_tensor(confidence, device=seen.images.device).detach().double().reshape(-1)

        return score

    def _openood(self) -> tuple[Any, Mapping[str, int]]:
        """See `_api`; raises HarnessError if it lacks this post-processor."""
        try:
            api, num_classes_dict = _api()
        except Exception as error:
            raise HarnessError(
                f"openood/{self.name}: the package openood cannot be imported ({error}). "
                "Install or repair it: pip install git+https://github.com/Jingkang50/OpenOOD"
            ) from error
        if self.name not in api.postprocessors:
            raise suggest("post-processor of openood", self.name, list(api.postprocessors))
        return api, num_classes_dict

    def _build(self, data: Dataset) -> Any:
        api, num_classes_dict = self._openood()
        alike = [name for name, classes in num_classes_dict.items() if classes == data.num_classes]
        try:
            inner = api.get_postprocessor(str(CONFIGS), self.name, (alike or [data.name])[0])
        except OSError as error:
            raise Unsuited(
                f"its settings could not be fetched ({error}). "
                f"Put OpenOOD's configs/postprocessors/{self.name}.yml into {CONFIGS / 'postprocessors'}."
            ) from error
        except Exception as error:
            raise Unsuited(f"it needs more than a trained classifier ({type(error).__name__}: {error}).") from error
        # OpenOOD divides steps by the normalisation of its networks' inputs; networks here take images in [0, 1].
        if hasattr(inner, "input_std"):
            inner.input_std = [1.0, 1.0, 1.0]
        return inner


def _api() -> tuple[Any, Mapping[str, int]]:
    """OpenOOD's table of post-processors and its class counts, without the rest of its evaluation package.

    The package around that table imports attack libraries which no post-processor needs.
    """
    from openood.postprocessors.info import num_classes_dict

    name = "openood_postprocessor_table"
    if name not in sys.modules:
        import openood

        file = Path(next(iter(openood.__path__)), "evaluation_api", "postprocessor.py")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name], num_classes_dict


class _Net(nn.Module):
    """A classifier with the methods that OpenOOD calls."""

    def __init__(self, bank: Bank) -> None:
        super().__init__()
        self.inner, self.fc = bank.network, linear_head(bank)

    def forward(self, images: Tensor, return_feature: bool = False) -> Any:
        if not return_feature:
            return self.inner(images)
        features = self.inner.features(images)
        return self.inner.head(features), features

    def get_fc_layer(self) -> Callable[[Tensor], Tensor]:
        head: Callable[[Tensor], Tensor] = self.inner.head
        return head

    def get_fc(self) -> tuple[Any, Any]:
        return self.fc.weight.numpy(), self.fc.bias.numpy()


def _loader(data: Dataset) -> Loader:
    return Loader(data, lambda batch: {"data": batch.images, "label": batch.labels})


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """Send everything that OpenOOD sends to the default GPU to the network's device."""
    with ExitStack() as stack:
        for kind in (Tensor, nn.Module):
            stack.enter_context(mock.patch.object(kind, "cuda", lambda x, *_, **__: x.to(device)))
        yield
