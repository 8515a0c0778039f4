"""Every detector of an installed pytorch-ood, as ``pytorch-ood/NAME``: https://pytorch-ood.readthedocs.io."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from harness.evaluation.features import Loader, linear_head
from harness.plugins import detector, suggest
from harness.types import Bank, HarnessError, Response, Unsuited

BYTES = 2**31
"""Largest size of the training features: pytorch-ood holds all of them in memory."""


def _source(name: str) -> str:
    """The package's version."""
    try:
        return f"pytorch-ood {version('pytorch-ood')}"
    except PackageNotFoundError:
        return ""


@detector.family("pytorch-ood", _source)
def pytorch_ood(name: str) -> Callable[[], "PytorchOODDetector"]:
    """Detector NAME of pytorch-ood with its default settings."""
    return partial(PytorchOODDetector, name)


@dataclass(frozen=True)
class PytorchOODDetector:
    """A detector of pytorch-ood, fitted on training features or logits; its score, an outlier's, is negated."""

    name: str

    def __post_init__(self) -> None:
        self._kind()

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        inner = self._build(bank)
        self._fit(inner, bank)

        def score(seen: Response) -> Tensor:
            if hasattr(inner, "predict_features"):
                outlier = inner.predict_features(seen.features)
            elif hasattr(inner, "predict_logits"):
                outlier = inner.predict_logits(seen.logits)
            else:
                with torch.enable_grad():
                    outlier = inner.predict(seen.images.clone())
            return -torch.as_tensor(outlier, device=seen.images.device).detach().double()

        return score

    def _fit(self, inner: Any, bank: Bank) -> None:
        for kind in ("features", "logits"):
            if hasattr(inner, f"fit_{kind}"):
                train = bank.train_features
                if 4 * len(train.labels) * train.width > BYTES:
                    raise Unsuited("it needs all training features in memory, more than 2 GiB.")
                chunks = [chunk if kind == "features" else bank.head(chunk) for chunk in train.chunks()]
                getattr(inner, f"fit_{kind}")(torch.cat(chunks), train.labels)
                return
        inner.fit(Loader(bank.train_images, lambda batch: (batch.images, batch.labels)))

    def _kind(self) -> Any:
        """The package's class of that name."""
        try:
            from pytorch_ood import detector as package
        except ImportError as error:
            raise HarnessError(
                f"pytorch-ood/{self.name}: the package cannot be imported ({error}). pip install pytorch-ood"
            ) from error
        kinds = {n: kind for n, kind in vars(package).items() if inspect.isclass(kind) and hasattr(kind, "predict")}
        if self.name not in kinds:
            raise suggest("detector of pytorch-ood", self.name, list(kinds))
        return kinds[self.name]

    def _build(self, bank: Bank) -> Any:
        kind = self._kind()
        arguments: dict[str, Callable[[], Any]] = {
            "model": lambda: bank.network,
            "encoder": lambda: _features(bank),
            "backbone": lambda: _features(bank),
            "head": lambda: linear_head(bank),
            "w": lambda: linear_head(bank).weight,
            "b": lambda: linear_head(bank).bias,
            "d": lambda: bank.train_features.width // 2,
            "p": lambda: 0.9,
        }
        settings = {}
        for key, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
            if key in arguments and (parameter.default is inspect.Parameter.empty or key not in ("p", "d")):
                settings[key] = arguments[key]()
            elif parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                raise Unsuited(f"it needs {key!r}, which this harness cannot give it.")
        return kind(**settings).to(next(bank.network.parameters(), torch.empty(0)).device)


def _features(bank: Bank) -> Any:
    """The network's features as a function; `Unsuited` where it has none."""
    return bank.network.features if bank.width else None
