"""Build the task of a specification: every part is looked up and checked before the first step."""

from __future__ import annotations

from typing import Any

from torch import nn

from harness import plugins
from harness.models.matching import header_classes
from harness.models.published.locate import WeightFiles
from harness.train.augment.augmix import AugMix, AugMixViews
from harness.train.augment.deepaugment import Distorter, configured
from harness.train.augment.distort_share import DistortShare
from harness.train.augment.mixing import Mixing
from harness.train.engine.init import start_from
from harness.train.engine.parallel import World
from harness.train.engine.selection import Selection
from harness.train.input.copies import PairedCopy, WithCopies, open_copies
from harness.train.input.feed import TrainFeed
from harness.train.input.plan import Plan
from harness.train.inputs import Inputs
from harness.train.kinds import Built, NetworkKind, kind_of
from harness.train.kinds.attack import selecting_attack
from harness.train.kinds.frozen import Frozen, find_frozen
from harness.train.loop import Task
from harness.train.spec import TrainSpec
from harness.train.step import BatchTransform
from harness.types import Dataset, HarnessError


def build(
    spec: TrainSpec,
    data: Dataset,
    world: World,
    weight_files: WeightFiles | None = None,
    heldout: Dataset | None = None,
) -> tuple[Task, dict[str, Any]]:
    """The task of a resolved specification, and the header of the checkpoint that it will make.

    weight_files: places of published weights, for --diffusion, --conditional and --init. heldout: images of --select.

    Order of construction. Networks draw their initial weights from torch's one global generator, which `run` seeds
    once, and even a network whose weights are then loaded draws first. So the order below decides the weights of every
    checkpoint, and retraining from a shipped card depends on it:

    1. the denoiser of --diffusion, 2. that of --conditional, 3. the network to train, 4. the projection of --align.

    What is loaded after the network (a distorting network, --init) decides nothing: the loop seeds each pass anew.
    """
    kind = kind_of(spec)
    weight_files = weight_files or WeightFiles()
    frozen = find_frozen(spec, data, world.device, weight_files) if kind.needs_denoiser(spec) else Frozen()
    built = kind.build(spec, data, frozen, world.device)
    plan = planned(spec, data, world)
    _check_statistics(built.network, plan, world)
    distorter = _distorter(spec)
    copies = open_copies(data, spec.data_extra) if spec.extra_as == "terms" else []
    paired = [PairedCopy(data, copy, number) for number, copy in enumerate(copies, 1)]
    inputs = Inputs(
        data=data.sha256,
        denoiser=frozen.inputs.denoiser,
        conditional=frozen.inputs.conditional,
        deepaugment=distorter.provenance.sha256 if distorter and distorter.provenance else None,
        init=start_from(built.network, spec, built.arguments, data, weight_files) if spec.init else None,
        copies={copy.number: copy.copy.sha256 for copy in paired},
    )
    entry, augment = plugins.augmentation.of(spec.augment), plugins.augmentation.configure(spec.augment).plugin
    host, device = _transforms(spec, data, distorter)
    feed = TrainFeed(plan, data, augment, host, bool(entry.facts.get("pictures")), paired, spec.diffaug)
    selection = None if heldout is None else selected(spec, heldout, world.device)
    return Task(spec, built.network, built.objective, feed, device, inputs, built.projection, selection), _header(
        spec, kind, built, inputs, data
    )


def selected(spec: TrainSpec, heldout: Dataset, device: str) -> Selection:
    """What chooses the best epoch on held-out images."""
    return Selection(heldout, selecting_attack(spec), spec.select, spec.seed, device)


def _header(spec: TrainSpec, kind: NetworkKind, built: Built, inputs: Inputs, data: Dataset) -> dict[str, Any]:
    """The header of the checkpoint. Its fields are sorted by name when it is written."""
    header: dict[str, Any] = {
        "architecture": spec.model,
        "arguments": built.arguments,
        "dataset": spec.dataset,
        "kind": kind.loads_as or kind.name,
        **built.facts,
        **inputs.weights,
    }
    return header | header_classes(header, data)


def planned(spec: TrainSpec, data: Dataset, world: World) -> Plan:
    """The plan of passes; raises HarnessError where the batch does not fit the data or the processes."""
    extra = len(data.ids) - len(data.whole.ids) if isinstance(data, WithCopies) and spec.extra_fraction else 0
    return Plan(
        images=len(data.ids) - extra, extra=extra, fraction=spec.extra_fraction, name=spec.dataset, seed=spec.seed,
        batch_size=spec.batch_size or 0,
        epochs=spec.epochs or 0, repeats=spec.repeats, passes=spec.accumulate, rank=world.rank, world=world.size,
        max_steps=spec.max_steps,
    )  # fmt: skip


def _check_statistics(network: nn.Module, plan: Plan, world: World) -> None:
    """Raises HarnessError where batch norm would see one sample at a time; on GPUs it sees those of all processes."""
    has_batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    samples = plan.batch_size // plan.passes // (1 if world.device.startswith("cuda") else plan.world)
    if has_batch_norm and samples == 1:
        fewer = ", or lower --accumulate" if plan.passes > 1 else ""
        raise HarnessError(
            f"--batch-size {plan.batch_size} in {plan.passes} pass(es) of {plan.world} process(es) shows batch norm "
            f"one sample at a time, which has no statistics. Raise --batch-size{fewer}."
        )


def _distorter(spec: TrainSpec) -> Distorter | None:
    """The network of --deepaugment, checked against the data set."""
    if not spec.deepaugment:
        return None
    distorter = configured(spec.deepaugment)[1]
    distorter.check(spec.dataset)
    return distorter


def _transforms(
    spec: TrainSpec, data: Dataset, distorter: Distorter | None
) -> tuple[list[BatchTransform], list[BatchTransform]]:
    """Transforms after the augmentation: those of the host, up to the last one that needs it, and of the device."""
    distorting: list[BatchTransform] = [DistortShare(distorter, spec.deepaugment_share)] if distorter else []
    mixes = spec.mixup or spec.cutmix
    mixing: list[BatchTransform] = [Mixing(data.num_classes, spec.mixup, spec.cutmix)] if mixes else []
    if spec.augmix:
        return [*distorting, AugMixViews(AugMix(spec.augmix_severity))], mixing
    return [], [*distorting, *mixing]
