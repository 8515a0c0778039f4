"""Live networks: their identity, their class names, and settings that contradict them."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.api.live.identity import identity_of
from harness.api.live.networks import Model, classifier_of, configured_names
from harness.types import HarnessError

FEW: dict[str, Any] = {"suite": "digits", "methods": ["default"], "limit": 4, "tile": 4, "progress": False}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))


def key(net: nn.Module, **settings: Any) -> str:
    return classifier_of(Model(net, "mine", **settings))[1].sha256


class Pooled(nn.Module):
    """A network with a callable and a text as attributes."""

    def __init__(self, post: Callable[[Tensor], Tensor] = torch.abs, pool: str = "mean") -> None:
        super().__init__()
        self.body, self.post, self.pool = network(), post, pool

    def forward(self, images: Tensor) -> Tensor:
        return self.post(self.body(images if self.pool == "mean" else images.flip(-1)))


def test_hooks_callables_and_text_are_part_of_a_networks_key() -> None:
    nets = [Pooled(), Pooled(lambda y: y * 1), Pooled(lambda y: -y), Pooled(pool="cls")]
    keys = [key(net) for net in nets]
    assert len(set(keys)) == 4 and keys == [key(net) for net in nets]
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        handle = getattr(nets[0].body[3], register)(lambda module, *values: values[-1])
        keys.append(key(nets[0]))
        handle.remove()
    assert len(set(keys)) == 6 and key(nets[0]) == keys[0], "the number of a hook does not count"


def test_what_no_hash_covers_is_said_and_never_resumed() -> None:
    net = network()
    net[0].post = (value for value in "ab")  # type: ignore[assignment]
    _, weights = classifier_of(Model(net, "mine"))
    assert weights.sha256 != key(net)
    assert any("Never resumed" in note and "generator" in note for note in weights.details["notes"])


def test_class_names_are_part_of_a_networks_key() -> None:
    names = [f"class {number}" for number in range(10)]
    assert len({key(network()), key(network(), classes=names), key(network(), classes=names[::-1])}) == 3


def test_the_attribute_classes_names_the_outputs() -> None:
    net = network()
    net.classes = tuple("jihgfedcba")  # type: ignore[assignment]
    assert configured_names(net) == list("jihgfedcba")
    assert classifier_of(Model(net, "mine"))[1].details["classes"] == list("jihgfedcba")


def test_class_names_must_differ_and_name_each_output() -> None:
    with pytest.raises(HarnessError, match="it has '1' twice"):
        key(network(), classes=[*map(str, range(9)), "1"])
    with pytest.raises(HarnessError, match="names 9 classes, and the network has 10 outputs"):
        key(network(), classes=list(map(str, range(9))))
    hidden = Pooled()  # shows its outputs on images alone
    classifier, _ = classifier_of(Model(hidden, "mine", classes=list(map(str, range(11)))))
    with pytest.raises(HarnessError, match="names 11 classes, and the network has 10 outputs"):
        classifier(torch.rand(2, 3, 8, 8))


def test_a_network_that_normalises_itself_refuses_another_normalisation() -> None:
    net = harness.load("digits/resnet")
    mean = tuple(net.mean.flatten().tolist())  # type: ignore[operator, union-attr]
    other = tuple(0.5 + value / 4 for value in mean)
    with pytest.raises(HarnessError, match="preprocesses its images itself: mean="):
        key(net, mean=other)
    assert classifier_of(Model(net, "mine", mean=mean))[0] is net
    once, _ = classifier_of(Model(network(), "mine", mean=0.25, std=0.5))
    with pytest.raises(HarnessError, match="contradicts its own std"):
        key(once, mean=0.25, std=0.25)


@pytest.mark.parametrize("traced", [False, True])
def test_torchscript_is_evaluated_as_the_network_that_it_was_made_of(tmp_path: Path, traced: bool) -> None:
    net = network().eval()
    made = torch.jit.trace(net, torch.rand(1, 3, 32, 32)) if traced else torch.jit.script(net)
    buffer = io.BytesIO()
    torch.jit.save(made, buffer)
    buffer.seek(0)
    script = torch.jit.load(buffer)
    own, scripted = harness.evaluate([Model(net, "own"), Model(script, "script")], out=tmp_path, **FEW)
    assert scripted.rows()["prediction"].tolist() == own.rows()["prediction"].tolist()
    buffer.seek(0)
    assert key(script) == key(torch.jit.load(buffer)) and all(p.requires_grad for p in script.parameters())


class Scaled(nn.Module):
    """A network with a number that its TorchScript keeps as an attribute."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.body, self.scale = nn.Linear(3, 4), scale

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images.mean((2, 3))) * self.scale


def test_attributes_of_torchscript_are_part_of_its_key() -> None:
    nets = [Scaled(1.0), Scaled(2.0)]
    nets[1].load_state_dict(nets[0].state_dict())
    assert len({key(torch.jit.script(net)) for net in nets}) == 2


def test_lazy_layers_are_refused() -> None:
    with pytest.raises(HarnessError, match="'mine' has lazy layers"):
        Model(nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "mine")


def test_the_identity_of_a_bound_method_is_that_of_its_object() -> None:
    layers = [nn.Linear(2, 2) for _ in range(2)]
    assert identity_of(layers[0].forward) == identity_of(layers[0].forward) != identity_of(layers[1].forward)


def test_the_identity_covers_the_users_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "library_of_my_own.py"

    def own(source: str, code: str) -> str:
        file.write_text(source)
        importlib.invalidate_caches()
        monkeypatch.delitem(importlib.sys.modules, "library_of_my_own", raising=False)  # type: ignore[attr-defined]
        scope: dict[str, Any] = {"__name__": "__main__", "library": importlib.import_module("library_of_my_own")}
        exec(code, scope)
        return identity_of(scope["f"])[0]

    sources = ("def score(x): return x\n", "def score(x): return -x #\n")
    codes = ("f = lambda x: library.score(x)", "f = lambda x: getattr(library, 'score')(x)")
    for code in codes:
        assert own(sources[0], code) == own(sources[0], code) != own(sources[1], code)


def test_errors_of_python_name_its_arguments(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"^severity=3: digits has no such setting"):
        harness.evaluate("digits/resnet", "digits", severity=3, out=tmp_path)
    with pytest.raises(HarnessError, match=r"^mean=0\.5: the registered model"):
        harness.evaluate("digits/resnet", "digits", mean=0.5, out=tmp_path)
