"""Records deepaugment.npz with the authors' programs, which the tests do not need.

    PYTHONPATH=.:tests:tests/train python tests/recorded/deepaugment_record.py IMAGENET_R

for a clone of hendrycks/imagenet-r (recorded at 3131cac). Their random functions are replaced by ones that draw what
ours draws, from one numpy generator per case; weights and pictures are those of test_deepaugment.py. Cases in which
their program draws a filter or channel twice are drawn again: there ours differs on purpose.
"""

from __future__ import annotations

import ast
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from test_deepaugment import NOISE2NET, RECORDING, picture, random_state
from torch import Tensor, nn

from harness import plugins
from harness.base import noise

PAIRS = [(0, 1), (0, 2), (1, 2)]


class Drawn:
    """What the programs draw, from one generator."""

    option: int | None = None
    rng: np.random.Generator
    drawn: list[int]
    calls = 0

    def start(self, seed: int, option: int | None) -> None:
        self.rng, self.option, self.drawn, self.calls = np.random.default_rng(seed), option, [], 0

    def uniform(self, *shape: Any) -> Any:
        return torch.from_numpy(self.rng.random(tuple(shape), dtype=np.float32)) if shape else self.rng.random()

    def one_of(self, options: Any) -> Any:
        options = list(range(options)) if isinstance(options, int) else list(options)
        k = int(self.rng.integers(len(options)))
        self.drawn.append(k)
        return options[k]

    def between(self, low: int, high: int) -> int:
        if (low, high) == (-1, 1):
            return int(self.rng.integers(3))  # an index, where -1 is 2
        return int(self.rng.integers(low, high + 1))


def modules(draw: Drawn) -> tuple[Any, Any, Any]:
    """torch, numpy and random with the functions that draw replaced."""
    theirs = SimpleNamespace(**vars(torch))
    theirs.rand_like = lambda tensor: draw.uniform(*tensor.shape)
    theirs.rand = lambda shape: draw.uniform(*shape)
    theirs.cuda = SimpleNamespace(FloatTensor=lambda *s: SimpleNamespace(uniform_=lambda: draw.uniform(*s)))
    numpy = SimpleNamespace(**vars(np))
    numpy.random = SimpleNamespace(
        uniform=draw.uniform,
        choice=draw.one_of,
        permutation=lambda n: draw.rng.permutation(n),
        dirichlet=lambda alpha, size: draw.rng.dirichlet(alpha, size),
        randint=lambda high, size: draw.rng.integers(high, size=size),
    )
    return theirs, numpy, SimpleNamespace(random=draw.uniform, choice=draw.one_of, randint=draw.between)


def definitions(file: Path, names: set[str], scope: dict[str, Any]) -> dict[str, Any]:
    """Classes and functions of a script that does more than define them."""
    tree = ast.parse(file.read_text())
    tree.body = [node for node in tree.body if getattr(node, "name", None) in names]
    exec(compile(tree, str(file), "exec"), scope)
    return scope


def layout(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def edsr(folder: Path) -> dict[str, Any]:
    draw = Drawn()
    theirs, numpy, random = modules(draw)
    common = SimpleNamespace(**definitions(folder / "EDSR_Model" / "common.py", COMMON, {"math": math, **TORCH}))
    scope = {**TORCH, "torch": theirs, "np": numpy, "random": random, "common": common}
    definitions(folder / "EDSR_distort_imagenet.py", {"EDSR", "get_weights"}, scope)
    network = scope["EDSR"]().eval()
    state = random_state(layout(network), 1)
    theirs.load = lambda path: {name: tensor.clone() for name, tensor in state.items()}
    numpy.random.randint = lambda *a, size: [draw.option] if a == (0, 17) else draw.rng.integers(*a, size=size)
    second = iter(())

    def choice(options: Any) -> Any:
        """A block and one of its two convolutions are one draw of ours."""
        nonlocal second
        if draw.option in (12, 16) and len(options) == 15:
            k = int(draw.rng.integers(30))
            second = iter([2 * (k % 2)])
            return k // 2
        return next(second) if options == [0, 2] else draw.one_of(options)

    random.choice = choice
    found: dict[str, Any] = {"edsr_layout": json.dumps(layout(network))}

    def record(name: str, before: int = 4, through: int = 5) -> None:
        with torch.no_grad():
            found[name] = network(255 * picture(2, 3), {before}, {through}).numpy()

    network.load_state_dict(state)
    record("edsr_plain")
    for k in (1, 2, 3):
        draw.start(k, None)
        record(f"edsr_before_{k}", before=k)
    for k, seed in [(k, seed) for k in (1, 2, 3, 4) for seed in (0, 1)]:
        draw.start(seed, None)
        record(f"edsr_through_{k}_{seed}", through=k)
    for k in range(17):
        draw.start(k, k)
        network.load_state_dict(scope["get_weights"]())
        record(f"edsr_option_{k}")
    return found


def cae(folder: Path) -> dict[str, Any]:
    draw = Drawn()
    theirs, numpy, random = modules(draw)
    scope = {**TORCH, "torch": theirs, "np": numpy, "random": random}
    definitions(folder / "CAE_Model" / "cae_32x32x32_zero_pad_bin.py", {"CAE"}, scope)
    definitions(folder / "CAE_distort_imagenet.py", {"get_weights"}, scope)
    network = scope["CAE"]().eval()
    state = random_state(layout(network), 3, 1.25)
    theirs.load = lambda path: {name: tensor.clone() for name, tensor in state.items()}
    random.sample = lambda options, count: [draw.option]
    found: dict[str, Any] = {"cae_layout": json.dumps(layout(network))}
    seeds: dict[str, int] = {}

    def shuffle(axes: list[int]) -> None:
        first = PAIRS[int(draw.rng.integers(3))]
        axes[:] = [*first, *{0, 1, 2}.difference(first)]

    def look(seed: int, code: int | None) -> Any:
        draw.start(seed, code)
        numpy.random.choice = lambda options: code
        random.randint = lambda low, high: 1 if code in (4, 5) else draw.between(low, high)  # there it is not used
        with torch.no_grad():
            return network(picture(4, 12)).numpy()

    def layer(options: Any) -> Any:
        """The second layer has no effect but in option 4, and there is no second draw of ours."""
        if isinstance(options, int):
            return draw.one_of(options)
        draw.calls += 1
        return options[0] if draw.calls == 2 and draw.option != 4 else draw.one_of(options)

    def change(seed: int, option: int) -> Any:
        draw.start(seed, option)
        numpy.random.choice, random.randint = layer, draw.between
        return scope["get_weights"]()

    random.shuffle = shuffle
    network.load_state_dict(state)
    found["cae_plain"] = look(0, None)
    for k in range(9):
        seed = next(s for s in range(k, 1000, 9) if look(s, k) is not None and (k != 4 or distinct(draw.drawn)))
        found[f"cae_code_{k}"], seeds[f"code_{k}"] = look(seed, k), seed
    for k in range(8):
        seed = next(s for s in range(k, 1000, 8) if change(s, k) and (k not in (1, 3) or distinct(draw.drawn[1:])))
        network.load_state_dict(change(seed, k))
        found[f"cae_option_{k}"], seeds[f"option_{k}"] = look(0, None), seed
    return {**found, "cae_seeds": json.dumps(seeds)}


def distinct(drawn: list[int]) -> bool:
    return len(set(drawn)) == len(drawn)


def noise2net(folder: Path) -> dict[str, Any]:
    """The original network of three images, with the parameters that ours draws."""
    from harness.registry.distorters.noise2net import BLOCKS, draw_structure, draw_weights

    planes, images, eps, shape = NOISE2NET
    rng = np.random.default_rng(0)
    structures = [draw_structure(rng) for _ in range(BLOCKS)]
    kernels = iter([number for structure in structures for kernel in structure for number in kernel])
    scope = {**TORCH, "random": SimpleNamespace(choice=lambda options: next(kernels))}
    definitions(folder / "train_noise2net.py", {"Bottle2neck", "Res2Net"}, scope)
    network = scope["Res2Net"](epsilon=eps, hidden_planes=planes, batch_size=images).train()
    rngs = noise.children(rng, images)
    for k, structure in enumerate(structures):
        block = getattr(network, f"block{k + 1}")
        first, *inner, last = draw_weights(rngs, structure, planes)
        parameters = [block.conv1.weight, *(p for c in block.convs for p in (c.weight, c.bias)), block.conv3.weight]
        for parameter, numbers in zip(parameters, [first, *inner, last], strict=True):
            parameter.data = numbers.reshape(parameter.shape)
    with torch.no_grad():
        return {"noise2net": network(picture(5, *shape, images=images).flatten(0, 1)[None])[0].numpy()}


TORCH: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "gelu": F.gelu, "conv2d": F.conv2d}
COMMON = {"default_conv", "MeanShift", "ResBlock", "Upsampler"}

if __name__ == "__main__":
    Tensor.cuda = lambda self: self  # type: ignore[method-assign]
    plugins.discover()
    root = Path(sys.argv[1]) / "DeepAugment"
    np.savez_compressed(RECORDING, **edsr(root), **cae(root), **noise2net(root))
