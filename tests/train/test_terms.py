"""Loss terms that look at features, and terms that alter their images by the network's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import plugins
from harness.data import ArrayDataset
from harness.models.classifier import ImageClassifier
from harness.models.tiles import autocast
from harness.train.build import build
from harness.train.engine.parallel import World
from harness.train.loop import RunMode, train
from harness.train.objectives.classification import Classification, Clean
from harness.train.objectives.joint import JointForward, ReadOnlyNetwork
from harness.train.objectives.protocol import CurrentNetwork, Term, TermResponse
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import HarnessError


@dataclass(frozen=True)
class FeatureMatching:
    """Mean squared distance between the features of an image and of its mirror image."""

    wants_features: ClassVar[bool] = True
    name: str = "matching"

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        return step.augmented.images.flip(3)

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        return F.mse_loss(responses[self.name].features, responses["ce"].features)


@dataclass(frozen=True)
class FastSign:
    """Cross-entropy on images one signed step up the gradient (Goodfellow et al., ICLR 2015)."""

    size: float = 8 / 255
    name: str = "fgsm"

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        images, labels = step.augmented.images, step.augmented.labels
        _, gradient = network.gradient(images, partial(F.cross_entropy, reduction="none"), labels)
        return (images + self.size * gradient.sign()).clamp(0, 1)

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        return F.cross_entropy(responses[self.name].logits, step.augmented.labels)


@dataclass(frozen=True)
class Onlooker:
    """Asks the network for everything that a term may ask, and adds nothing to the loss."""

    wants_features: ClassVar[bool] = True
    name: str = "onlooker"

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        images = step.augmented.images
        logits = network(images)
        values, gradient = network.gradient(images, lambda z: z.logsumexp(1))
        assert (values.shape, gradient.shape) == ((len(images),), images.shape) and not logits.requires_grad
        return images[:0]

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        return 0 * responses["ce"].features.sum()


def spec(**changes: Any) -> TrainSpec:
    settings = {"model": "resnet", "epochs": 1, "batch_size": 20, "lr": 1e-3, "warmup": 0, "augment": "none", **changes}
    return resolve(TrainSpec(**settings))


def trained(few: ArrayDataset, out: Path, terms: list[Term], **changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    task, _ = build(spec(**changes), few, World())
    task = replace(task, objective=Classification(terms))
    out.mkdir()
    return train(task, out, RunMode()).network.state_dict()


def classifier(few: ArrayDataset, model: str) -> tuple[nn.Module, Step]:
    torch.manual_seed(0)
    task, _ = build(spec(model=model), few, World())
    return task.network, task.feed[0]


@pytest.mark.parametrize("model", ["resnet", "vit"])
def test_one_joint_forward_gives_every_term_its_features_and_logits(model: str, few: ArrayDataset) -> None:
    network, step = classifier(few, model)
    joint = JointForward(network).eval()
    calls = []
    joint.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    terms = Classification([Clean(), FeatureMatching()])(joint, step)
    assert calls == [40]
    images = step.augmented.images
    features = network.features(images), network.features(images.flip(3))
    torch.testing.assert_close(terms["matching"], F.mse_loss(*features), rtol=1e-4, atol=1e-6)
    expected = F.cross_entropy(network(images), step.augmented.labels)
    torch.testing.assert_close(terms["ce"], expected, rtol=1e-5, atol=1e-6)


def test_a_penalty_on_features_has_its_gradient_in_the_weights(few: ArrayDataset) -> None:
    network, step = classifier(few, "vit")
    network.eval()
    Classification([Clean(), FeatureMatching()])(JointForward(network), step)["matching"].backward()
    joint = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    images = step.augmented.images
    F.mse_loss(network.features(images.flip(3)), network.features(images)).backward()
    assert float(joint["body.patch_embed.proj.weight"].abs().max()) > 0
    for name, parameter in network.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(joint.get(name, torch.zeros_like(parameter)), expected, rtol=1e-3, atol=1e-6)


def test_features_must_be_asked_for_and_be_there(few: ArrayDataset) -> None:
    network, step = classifier(few, "resnet")

    class Unasked(FeatureMatching):
        wants_features: ClassVar[bool] = False

    with pytest.raises(HarnessError, match="wants_features = True"):
        Classification([Clean(), Unasked()])(JointForward(network), step)
    flat = ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)))
    with pytest.raises(HarnessError, match=r"needs features, and Sequential shows none\. Choose an architecture"):
        Classification([Clean(), FeatureMatching()])(JointForward(flat), step)


def test_a_signed_gradient_step_is_its_formula_on_a_linear_network(few: ArrayDataset) -> None:
    network = ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)))
    step = Step(*[few.read(range(8))] * 2, seed=0, epoch=0)
    images, labels = step.augmented.images, step.augmented.labels
    linear = network.body[1].weight.detach()
    gradient = ((network(images).softmax(1) - F.one_hot(labels, 10)) @ linear).view_as(images) / 0.5
    altered = FastSign(0.1).images(step, ReadOnlyNetwork(network))
    torch.testing.assert_close(altered, (images + 0.1 * gradient.detach().sign()).clamp(0, 1), rtol=0, atol=1e-6)
    terms = Classification([Clean(), FastSign(0.1)])(JointForward(network), step)
    assert float(terms["fgsm"].detach()) > float(terms["ce"].detach())


def test_training_on_altered_images_defends_against_them(few: ArrayDataset, tmp_path: Path) -> None:
    losses = []
    step = Step(*[few.read(range(40))] * 2, seed=0, epoch=0)
    for name, terms in (("plain", [Clean()]), ("defended", [Clean(), FastSign()])):
        network = ImageClassifier(plugins.architecture["resnet"].build(num_classes=10))
        network.load_state_dict(trained(few, tmp_path / name, terms, epochs=8, lr=2e-3))
        altered = FastSign().images(step, ReadOnlyNetwork(network))
        losses.append(float(F.cross_entropy(network.eval()(altered), step.augmented.labels).detach()))
    assert losses[1] < losses[0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["resnet", "vit"])
def test_a_gradient_of_images_leaves_no_trace_in_the_network(model: str, dtype: str, few: ArrayDataset) -> None:
    network, step = classifier(few, model)
    network.train()
    frozen = next(module for module in network.modules() if not list(module.children()))
    frozen.eval()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    modes = [module.training for module in network.modules()]
    generator = torch.get_rng_state()
    with autocast("cpu", dtype):
        current = ReadOnlyNetwork(network)
        values, gradient = current.gradient(step.augmented.images, lambda logits: logits.logsumexp(1))
        logits = current(step.augmented.images)
    assert gradient.dtype == logits.dtype == torch.float32 and bool(gradient.isfinite().all())
    assert torch.equal(values, logits.logsumexp(1)) and not values.requires_grad and current.drawn(3) is current
    assert torch.equal(generator, torch.get_rng_state())
    assert modes == [module.training for module in network.modules()]
    assert all(torch.equal(buffers[name], buffer) for name, buffer in network.named_buffers())
    assert all(bool((parameter.grad == 1).all()) for parameter in network.parameters())
    assert not step.augmented.images.requires_grad


def test_the_gradient_is_that_of_the_network_in_evaluation_mode_however_it_is_wrapped(few: ArrayDataset) -> None:
    network, step = classifier(few, "resnet")
    images = step.augmented.images[:4].clone().requires_grad_()
    F.cross_entropy(network.eval()(images), step.augmented.labels[:4], reduction="sum").backward()
    network.train()
    loss, labels = partial(F.cross_entropy, reduction="none"), step.augmented.labels[:4]
    for wrapped in (network, JointForward(network), torch.compile(JointForward(network))):
        _, gradient = ReadOnlyNetwork(wrapped).gradient(images.detach(), loss, labels)
        assert torch.equal(gradient, images.grad)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["resnet", "vit"])
def test_a_term_that_only_looks_changes_no_bit_of_a_training(
    model: str, dtype: str, few: ArrayDataset, tmp_path: Path
) -> None:
    """Gradients, batch statistics, dropout and autocast's cache: the other terms train as if nobody had looked."""
    settings: dict[str, Any] = {"model": model, "dtype": dtype}
    plain = trained(few, tmp_path / "plain", [Clean()], **settings)
    watched = trained(few, tmp_path / "watched", [Onlooker(), Clean()], **settings)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
