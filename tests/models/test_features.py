"""Features of networks that do not name any: the input of the last linear layer, proved and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.evaluation import layers
from harness.models.classifier import ImageClassifier
from harness.models.features import LastLayer
from harness.models.hooks import hooked
from harness.models.matching import reordered
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Unsuited

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def body(*last: nn.Module) -> nn.Sequential:
    """A small network: (B, 3, 32, 32) to feature maps (B, 8, 4, 4), then what comes last."""
    return nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), *last)


class Averaged(nn.Module):
    """Two heads on different features, as in distilled transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()
        self.one, self.two = nn.Linear(8, 10), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.body(images)
        return (self.one(maps.mean((2, 3))) + self.two(maps.amax((2, 3)))) / 2


class Tokens(nn.Module):
    """One head on every position, averaged: a linear head on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).flatten(2).mT).mean(1)


class Fewer(nn.Module):
    """A head with a class more than the network shows."""

    def __init__(self) -> None:
        super().__init__()
        self.model = body(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 11))

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)[:, 1:]


class Output:
    """An output with a field, as transformers gives it."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Unwrapped(nn.Module):
    """A classifier around a network that gives `Output`."""

    def __init__(self) -> None:
        super().__init__()
        self.model = body(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))

    def forward(self, images: Tensor) -> Tensor:
        return Output(self.model(images)).logits


def timm_network(name: str, **settings: object) -> Callable[[], nn.Module]:
    import timm

    return lambda: timm.create_model(name, num_classes=10, **settings)


def torchvision_network(name: str) -> Callable[[], nn.Module]:
    import torchvision

    return lambda: torchvision.models.get_model(name, num_classes=10)


def transformers_network() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, num_labels=10
    )
    inner = ViTForImageClassification(config)

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images).logits

    return Wrapped()


LINEAR: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "linear": (lambda: body(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)), 8),
    "1x1 convolution": (lambda: body(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 10, 1), nn.Flatten()), 8),
    "convolution before pooling": (lambda: body(nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 8),
    "averaged heads": (Averaged, 16),
    "tokens": (Tokens, 8),
    "fewer outputs": (Fewer, 8),
    "logits in a field": (Unwrapped, 8),
    "other order": (lambda: reordered(Averaged(), [3, 1, 2, 0, 9, 5, 4, 6, 8, 7]), 16),
    "timm resnet": (timm_network("test_resnet"), 96),
    "timm vit": (timm_network("test_vit", img_size=32), 64),
    "timm convnext": (timm_network("test_convnext"), 64),
    "timm distilled": (
        timm_network("deit_tiny_distilled_patch16_224", img_size=32, embed_dim=24, depth=1, num_heads=3), 48
    ),
    "timm body": (lambda: ImageClassifier(timm_network("test_convnext")()), 64),
    "torchvision mobilenet": (torchvision_network("mobilenet_v3_small"), 1024),
    "transformers vit": (transformers_network, 16),
}  # fmt: skip


@pytest.mark.parametrize(("build", "width"), LINEAR.values(), ids=list(LINEAR))
def test_the_input_of_the_last_linear_layer_is_found(build: Callable[[], nn.Module], width: int) -> None:
    torch.manual_seed(0)
    network = build()
    for values in network.parameters():
        if values.ndim > 1 and not values.any():
            nn.init.normal_(values)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    classifier = TiledClassifier(network, Tiles(3))
    features, logits = classifier.respond(IMAGES)
    shown, reason = classifier.shown(IMAGES)
    own = classifier(IMAGES)
    assert not reason and features.shape == (3, width)
    assert torch.allclose(logits, own, rtol=1e-4, atol=1e-4 * float(own.abs().max()))
    assert torch.allclose(shown.head(features), own, rtol=1e-4, atol=1e-4 * float(own.abs().max()))
    assert not any(module._forward_hooks for module in network.modules()), "hooks stayed behind"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (body(nn.Conv2d(8, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "last one '2' with 10 outputs"),
        (body(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 10), nn.Tanh()), "none gives the model's outputs"),
        (nn.Sequential(nn.Conv2d(3, 10, 32), nn.Flatten()), "no linear layer"),
    ],
)
def test_a_network_without_a_linear_head_says_what_was_looked_at(network: nn.Module, message: str) -> None:
    classifier = TiledClassifier(network, Tiles(3))
    assert classifier.respond(IMAGES)[0].shape == (3, 0)
    assert message in classifier.shown(IMAGES)[1]


def test_a_layer_that_is_not_linear_is_no_head() -> None:
    class Cosine(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x / x.norm(dim=1, keepdim=True).clamp(min=1e-3))

    classifier = TiledClassifier(body(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Cosine(8, 10)), Tiles(3))
    assert "is not linear" in classifier.shown(IMAGES)[1]


def test_own_features_come_first() -> None:
    class Own(Tokens):
        def features(self, images: Tensor) -> Tensor:
            return self.body(images).flatten(2).mT.mean(1)

    network = Own()
    assert TiledClassifier(network, Tiles(3)).shown(IMAGES) == (network, "")


def test_layers_called_features_and_head_may_mean_something_else() -> None:
    """Parts of networks of torchvision and timm are called so."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.pool = body(), nn.AdaptiveAvgPool2d(1)
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 10))
            self.last = nn.Linear(8, 10)

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.pool(self.features(images)).flatten(1))

    shown, _ = TiledClassifier(Named(), Tiles(3)).shown(IMAGES)
    assert isinstance(shown, LastLayer) and list(shown.names) == ["last"]


def test_a_compiled_network_shows_its_features() -> None:
    network = body(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    expected = TiledClassifier(network, Tiles(3)).respond(IMAGES)[0]
    network.compile(backend="eager")
    with torch.no_grad():
        network(IMAGES)  # compiled before any hook is there
    assert torch.equal(TiledClassifier(network, Tiles(3)).respond(IMAGES)[0], expected)


def test_half_precision_and_a_lack_of_memory_leave_no_hook() -> None:
    class Hungry(nn.Sequential):
        hungry = False

        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            if self.hungry and len(images) > 2:
                raise torch.OutOfMemoryError("too many")
            return logits

    network = Hungry(*body(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)))
    classifier = TiledClassifier(network, Tiles(4, dtype="bfloat16"))
    expected = TiledClassifier(network, Tiles(4)).respond(IMAGES)[0]
    network.hungry = True
    features, _ = classifier.respond(IMAGES.clone())
    assert classifier.tiles.size == 2 and torch.allclose(features, expected, atol=0.02)
    assert not any(module._forward_hooks for module in network.modules())


def test_layers_are_found_by_the_ends_of_their_names() -> None:
    network = reordered(Averaged(), [1, 0, *range(2, 10)])
    one, maps = layers.outputs(network, IMAGES, ("one", "body.1"))
    assert one.shape == (3, 10) and maps.shape == (3, 8, 4, 4) and (maps >= 0).all()
    tiled = layers.tiled(Tiles(2), network, IMAGES, ("body.1", "one"))
    assert torch.allclose(tiled[0], maps, atol=1e-5) and torch.allclose(tiled[1], one, atol=1e-5)
    with pytest.raises(Unsuited, match="Did you mean one"):
        layers.outputs(network, IMAGES, ("ones",))


def test_hooks_are_removed_where_a_later_layer_takes_none() -> None:
    class Unhooked(nn.Linear):
        def register_forward_hook(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no hooks here")

    net = nn.Sequential(nn.Linear(2, 2), Unhooked(2, 2))
    with pytest.raises(RuntimeError, match="no hooks"), hooked(dict(net.named_children()), lambda *_: None):
        pass
    assert not net[0]._forward_hooks
