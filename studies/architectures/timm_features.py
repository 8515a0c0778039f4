"""Features and detectors on one small network of every family of timm, with random weights.

    python studies/architectures/timm_features.py [--limit N]

Families are the modules of ``timm.models``. Each network is built with 100 classes, shown a few images, and asked for
features, for a score from these (scale, gradnorm) and for one from a gradient by the images (odin). A row per family
goes to results/timm_features.csv as it is done, so that a stopped study goes on where it was; the last step writes
results/timm_features.md.
"""

from __future__ import annotations

import argparse
import csv
import gc
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from harness import plugins
from harness.evaluation.response import score
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import HarnessError, Unsuited

CLASSES, IMAGES = 100, 3

SMALL = (
    "atto", "femto", "pico", "nano", "zepto", "xxs", "xx_small", "xxtiny", "tiny", "_xt", "mini", "_ti", "_t", "050",
    "_s", "small", "18", "26", "b0", "_m1", "002", "x0", "_0", "lite",
)  # fmt: skip
"""Parts of the names of small networks, the smallest first."""

TRIED = 3
"""Networks of a family whose parameters are counted, to take the one with the fewest."""

SIDES = (96, 98, 128, 160, 192, 224, 256)
"""Sides of images that are tried, in this order; a network of fixed size takes its own."""

DETECTORS = ("scale", "gradnorm", "odin")

FIELDS = ("family", "model", "side", "parameters (M)", "features", "D", "difference", *DETECTORS, "seconds", "remark")


class FirstImages:
    """A bank for detectors that only ask whether the head is linear."""

    def __init__(self, classifier: TiledClassifier, images: Tensor) -> None:
        self.network, _ = classifier.shown(images)
        self.width = classifier.respond(images)[0].shape[1]

    def head(self, features: Tensor) -> Tensor:
        """Logits (n, K) of features (n, D)."""
        if not self.width:
            raise Unsuited("it needs features.")
        with torch.no_grad():
            logits: Tensor = self.network.head(features)
        return logits


def families() -> dict[str, list[str]]:
    """Networks of each family, small ones first; those that timm keeps for its own tests come last."""
    names: dict[str, list[str]] = {}
    for module in sorted(timm.list_modules()):
        models = timm.list_models(module=module)
        if models:
            names[module] = sorted(models, key=lambda name: (name.startswith("test_"), _rank(name), len(name)))
    return names


def _rank(name: str) -> int:
    return next((place for place, part in enumerate(SMALL) if part in name), len(SMALL))


def smallest(names: Sequence[str]) -> str:
    """The network with the fewest parameters among the first few."""
    sizes = {}
    for name in names[:TRIED]:
        try:
            with torch.device("meta"):
                sizes[name] = _parameters(timm.create_model(name, num_classes=CLASSES))
        except Exception:  # one that cannot be built without memory is built below, and then says what is wrong
            continue
    return min(sizes, key=lambda name: sizes[name]) if sizes else names[0]


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def built(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random weights, and images (`IMAGES`, 3, side, side) that it takes, small ones if it can."""
    cfg = timm.get_pretrained_cfg(name)
    assert cfg
    own = cfg.input_size[-1]
    sides = [side for side in SIDES if side < own]
    if cfg.fixed_input_size:
        try:
            return _called(_network(name, img_size=sides[0]), cfg.input_size[0], sides[:1])
        except Exception:  # of another library's code: not every network takes another size
            sides = []
    return _called(_network(name), cfg.input_size[0], [*sides, own])


def _network(name: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, num_classes=CLASSES, **settings).eval()
    for values in network.parameters():
        # A last layer that starts at zero gives the same outputs for every image.
        if values.ndim > 1 and not values.any():
            nn.init.normal_(values, std=0.02)
    return network


def _called(network: nn.Module, channels: int, sides: Sequence[int]) -> tuple[nn.Module, Tensor]:
    """The network and images of the first side that it takes."""
    for side in sides:
        images = torch.rand(IMAGES, channels, side, side)
        try:
            with torch.no_grad():
                network(images)
            return network, images
        except Exception:  # see above
            if side == sides[-1]:
                raise
    raise AssertionError("no side")


def row(family: str, names: Sequence[str]) -> dict[str, Any]:
    """The row of one family."""
    start = time.monotonic()
    name = smallest(names)
    cells: dict[str, Any] = {"family": family, "model": name}
    try:
        network, images = built(name)
    except Exception as error:  # of another library's code
        return {**cells, "remark": f"cannot be built or called: {type(error).__name__}: {str(error)[:200]}"}
    cells |= {"side": images.shape[-1], "parameters (M)": round(_parameters(network) / 1e6, 1)}
    classifier = TiledClassifier(network, Tiles(IMAGES))
    seen, reason = classifier.shown(images)
    features, logits = classifier.respond(images)
    cells |= {"features": " + ".join(getattr(seen, "names", ("own",))) if not reason else "none", "remark": reason}
    if not reason:
        own = classifier(images)
        cells |= {"D": features.shape[1], "difference": f"{float((logits - own).abs().max() / own.abs().max()):.1e}"}
    cells |= {detector: _verdict(detector, classifier, images) for detector in DETECTORS}
    return {**cells, "seconds": round(time.monotonic() - start, 1)}


def _verdict(name: str, classifier: TiledClassifier, images: Tensor) -> str:
    """The cell of a detector: "yes" for one finite score per image, the same in a tile and alone."""
    detector = plugins.detector.configure(name).plugin
    try:
        detect = detector.fit(FirstImages(classifier, images)) if hasattr(detector, "fit") else detector
        probabilities = classifier.respond(images)[1].softmax(1)
        scores = score(detect, False, classifier, probabilities, [images])
        alone = score(detect, False, classifier, probabilities[:1], [images[:1].clone()])
    except Exception as error:  # whatever stops a detector
        return "no" if isinstance(error, HarnessError) else f"{type(error).__name__}: {str(error)[:100]}"
    if not scores.isfinite().all():
        return "not finite"
    return "yes" if torch.allclose(alone, scores[:1], rtol=1e-4) else "depends on the batch"


def written(rows: Sequence[dict[str, str]]) -> str:
    """The page of the results."""
    usable = [row for row in rows if row["features"]]
    counts = {name: sum(row[name] == "yes" for row in usable) for name in DETECTORS}
    shown = sum(row["features"] not in ("none", "") for row in usable)
    lines = [
        "# Features and detectors on timm's families",
        "",
        f"timm {timm.__version__}, one small network of each of {len(rows)} modules, random weights; written by",
        "`studies/architectures/timm_features.py`. Difference: between `head(features(x))` and the network's",
        "outputs, as a share of the largest one.",
        "",
        f"Built and called: {len(usable)} of {len(rows)}. Features: {shown} of {len(usable)}. "
        + ", ".join(f"{name}: {count} of {len(usable)}" for name, count in counts.items())
        + ".",
        "",
        "| " + " | ".join(FIELDS) + " |",
        "| " + " | ".join("---" for _ in FIELDS) + " |",
    ]
    lines += ["| " + " | ".join(row[field].replace("|", "\\|") for field in FIELDS) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Go through the families that have no row yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=0, help="families at most in this call; 0 for all")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    plugins.discover()
    file = options.out / "timm_features.csv"
    rows = list(csv.DictReader(file.open(newline=""))) if file.is_file() else []
    todo = {family: names for family, names in families().items() if family not in {row["family"] for row in rows}}
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        if not rows:
            writer.writeheader()
        for family, names in list(todo.items())[: options.limit or None]:
            writer.writerow(row(family, names))
            stream.flush()
            gc.collect()
    rows = sorted(csv.DictReader(file.open(newline="")), key=lambda row: row["family"])
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    (options.out / "timm_features.md").write_text(written(rows))


if __name__ == "__main__":
    main()
