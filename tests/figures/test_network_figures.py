"""Figures that run networks: their numbers against slow plain computation, on networks with random weights."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import harness
from PIL import Image
from small_denoisers import gaussian_data, random_unet
from small_denoisers import random_conditional as with_null_label
from torch import Tensor, nn

from harness import plugins
from harness.api.generation.generate import generate
from harness.base import noise
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import linear
from harness.evaluation.views.batch import BatchViews
from harness.models.published.locate import PublishedFile, PublishedWeights, WeightFiles
from harness.models.tiles import Tiles
from harness.train.objectives.reverse import Reverse
from harness.types import Batch, Weights

IDS = ("digits-0043", "digits-0372")
SPREAD = 0.7

GRID = "guided-grid:classes=3,3,7,steps=ddim4,width=3.5"

DOUBLE: Any = {"dtype": torch.float64}


def random_classifier() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), nn.Tanh(), nn.Linear(16, 10))


def random_conditional() -> Denoiser:
    """A class-conditional network with random weights."""
    from diffusers import UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = UNet2DModel(
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            num_class_embeds=10,
        )
    return Denoiser(network.eval().requires_grad_(False), linear())


def names_backwards() -> tuple[nn.Module, Weights]:
    """The random classifier, with its outputs in the opposite order, by name."""
    details = {"classes": list("9876543210")}
    return Backwards(random_classifier()), Weights("figure/backwards", "1" * 64, "plugin", details=details)


class Backwards(nn.Module):
    """The outputs of a network in the opposite order."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images).flip(1)
        return logits


DENOISERS = {
    "figure-random": random_unet,
    "figure-conditional": random_conditional,
    "figure-null": with_null_label,
    "figure-gaussian": lambda: gaussian_data(SPREAD),
}


@pytest.fixture(scope="module", autouse=True)
def networks() -> None:
    """Register the networks as plugins, so that the command line can name them."""
    plugins.discover()
    for name, build in DENOISERS.items():
        plugins.denoiser(name)(lambda build=build, name=name: (build(), Weights(name, "0" * 64, "plugin")))
    plugins.denoiser("figure-noisy", eta=0.5)(lambda: (random_unet(), Weights("figure-noisy", "0" * 64, "plugin")))
    plugins.model("figure/random")(random_classifier)
    plugins.model("figure/backwards")(names_backwards)


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `harness figure`: the rows of the CSV and the caption."""

    def run(name: str, *options: str) -> tuple[list[dict[str, str]], str]:
        code, printed = harness(monkeypatch, capsys, "figure", name, *options, "--out", str(tmp_path))
        assert code == 0, printed
        stem = tmp_path / name.partition(":")[0]
        assert Image.open(stem.with_suffix(".png")).size[0] >= 1050
        assert stem.with_suffix(".svg").read_text().rstrip().endswith("</svg>")
        with stem.with_suffix(".csv").open() as file:
            return list(csv.DictReader(file)), stem.with_suffix(".txt").read_text()

    return run


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run `harness figure`, which must fail: what it printed."""

    def run(name: str, *options: str) -> str:
        code, printed = harness(monkeypatch, capsys, "figure", name, *options, "--out", str(tmp_path))
        assert code == 2 and "Traceback" not in printed and not list(tmp_path.iterdir())
        return printed

    return run


def digits(*ids: str) -> Batch:
    data = plugins.dataset["digits"].build("test")
    return data.read([data.ids.index(name) for name in ids])


def noise_of(name: str, time: int, seed: int = 0) -> Tensor:
    """The noise (1, 3, 32, 32) of one-step denoisings in evaluations."""
    return noise.gaussian((3, 32, 32), seed=seed, purpose="denoise", samples=[name], draw=time)


def rmse(one: Tensor, other: Tensor) -> float:
    return math.sqrt(float(((one.double() - other.double()) ** 2).mean()))


def numbers(rows: list[dict[str, str]], value: str, *by: str) -> Mapping[tuple[str, ...], float]:
    return {tuple(row[name] for name in by): float(row[value]) for row in rows}


# diffaug-grid


def test_diffaug_grid_shows_what_an_evaluation_sees(draw: Any) -> None:
    rows, caption = draw(f"diffaug-grid:images={','.join(IDS)},times=350,700,seeds=0,3", "--denoiser", "figure-random")
    errors = numbers(rows, "rmse", "image", "seed", "time")
    assert len(rows) == len(errors) == 2 * 2 * 2
    for seed in (0, 3):
        batch = digits(*IDS)
        views = BatchViews(batch, random_unet(), Tiles(2), seed)
        for time in (350, 700):
            (x0,) = views.denoised((time,))
            for name, one, image in zip(IDS, x0, batch.images, strict=True):
                assert errors[name, str(seed), str(time)] == pytest.approx(rmse(one, image), rel=1e-4)
    assert "figure-random" in caption and "digits-0043, digits-0372" in caption and "0, 3" in caption


def test_diffaug_grid_takes_image_files_of_any_size(draw: Any, tmp_path: Path) -> None:
    file = tmp_path / "grey.png"
    Image.new("RGB", (24, 16), (100, 150, 200)).save(file)
    rows, _ = draw(f"diffaug-grid:images={file},times=100", "--denoiser", "figure-random", "--seed", "5")
    assert [(row["image"], row["seed"], row["time"]) for row in rows] == [(str(file), "5", "100")]


# samplers


def test_weights_named_by_file_serve_the_networks_of_a_figure(
    draw: Any, refused: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    published = PublishedWeights(
        name="figure-filed", about="", files=[PublishedFile("x.pt")], page="", licence="", format=""
    )

    def build(weight_files: WeightFiles) -> tuple[Any, Weights]:
        return random_unet(), Weights("figure-filed", published.locate(weight_files).read_text() * 64, "x.pt")

    plugins.denoiser("figure-filed", published=published)(build)
    settings = ["diffaug-grid:times=100,images=digits-0434", "--denoiser", "figure-filed"]
    assert "No weights of 'figure-filed' here" in refused(*settings)
    file = tmp_path_factory.mktemp("weights") / "mine.pt"
    file.write_text("1")
    rows, _ = draw(*settings, "--weights", f"figure-filed={file}")
    assert rows


def test_samplers_are_those_of_training(draw: Any) -> None:
    rows, _ = draw(f"samplers:images={','.join(IDS)},time=200", "--denoiser", "figure-random")
    errors = numbers(rows, "rmse", "image", "sampler")
    for name in IDS:
        batch = digits(name)
        for sampler in ("ddim", "dpm2"):
            x0 = Reverse(random_unet(), sampler)(batch.images, torch.tensor([200]), noise_of(name, 200), batch.labels)
            assert errors[name, sampler] == pytest.approx(rmse(x0, batch.images), rel=1e-4)
    assert errors[IDS[0], "ddim"] != errors[IDS[0], "dpm2"]


# pag


def test_gradients_are_total_derivatives_of_the_log_probability(draw: Any) -> None:
    """In float64, image by image, from the formulas of diffusion, denoising and clipping."""
    rows, caption = draw(
        f"pag:images={','.join(IDS)},percentile=95", "--denoiser", "figure-random", "--model", "figure/random"
    )
    norms = numbers(rows, "gradient_norm", "image", "class", "classifier")
    limits, probabilities = (numbers(rows, value, "image") for value in ("clipped_at", "probability"))
    network, classifier = random_unet().network.double(), random_classifier().double()
    abar = linear().alpha_bar[300]
    for name in IDS:
        batch = digits(name)
        x_t = abar**0.5 * (2 * batch.images.double() - 1) + (1 - abar) ** 0.5 * noise_of(name, 300).double()
        x_t.requires_grad_()
        eps = network(x_t, torch.tensor([300]), return_dict=False)[0]
        x0 = ((x_t - (1 - abar) ** 0.5 * eps) / abar**0.5).clamp(-1, 1)
        log_p = -F.cross_entropy(classifier((x0 + 1) / 2), batch.labels)
        (gradient,) = torch.autograd.grad(log_p, x_t)
        key = name, str(int(batch.labels)), "figure/random"
        assert norms[key] == pytest.approx(float(gradient.norm()), rel=1e-3)
        assert limits[(name,)] == pytest.approx(float(gradient.abs().quantile(0.95)), rel=1e-2)
        assert probabilities[(name,)] == pytest.approx(math.exp(log_p.item()), rel=1e-3)
    assert "percentile 95" in caption


def test_classes_are_matched_by_name(draw: Any) -> None:
    rows, _ = draw(
        "pag:images=digits-0043", "--denoiser", "figure-random", "--model", "figure/random", "--model",
        "figure/backwards",
    )  # fmt: skip
    one, other = rows
    assert one["class"] == other["class"] == "7"
    assert float(one["gradient_norm"]) == pytest.approx(float(other["gradient_norm"]), rel=1e-4)
    options = "--denoiser", "figure-random"
    judged = [
        [float(row["probability"]) for row in draw(f"{GRID},guides=none,judge=figure/{judge}", *options)[0]]
        for judge in ("random", "backwards")
    ]
    assert judged[0] == pytest.approx(judged[1], rel=1e-4)


# lambda-grid


def test_lambda_mixes_the_noise_without_and_with_the_class(draw: Any) -> None:
    rows, caption = draw(
        f"lambda-grid:images={','.join(IDS)},lambdas=0,0.3,1,unconditional=figure-random,time=600",
        "--denoiser", "figure-conditional",
    )  # fmt: skip
    errors = numbers(rows, "rmse", "image", "lambda")
    denoiser, conditional = random_unet(), random_conditional()
    abar, t = linear().alpha_bar[600], torch.tensor([600])
    for name in IDS:
        batch = digits(name)
        x_t = denoiser.diffuse(batch.images, t, noise_of(name, 600))
        without = denoiser.network(x_t, t, return_dict=False)[0]
        within = conditional.network(x_t, t, class_labels=batch.labels, return_dict=False)[0]
        for text, weight in (("0.0", 0.0), ("0.3", 0.3), ("1.0", 1.0)):
            eps = (1 - weight) * without + weight * within
            x0 = ((x_t - (1 - abar) ** 0.5 * eps) / abar**0.5).clamp(-1, 1)
            assert errors[name, text] == pytest.approx(rmse((x0 + 1) / 2, batch.images), rel=1e-4)
    assert "eps(x_t, t, y) of figure-conditional, eps(x_t, t) of figure-random" in caption


def test_lambda_takes_both_predictions_of_one_network_with_a_label_for_none(draw: Any) -> None:
    rows, caption = draw("lambda-grid:images=digits-0043,lambdas=0,1,time=600", "--denoiser", "figure-null")
    batch, t = digits("digits-0043"), torch.tensor([600])
    denoiser = with_null_label()
    x_t = denoiser.diffuse(batch.images, t, noise_of("digits-0043", 600))
    for row, label in zip(rows, (10, 7), strict=True):
        eps = denoiser.network(x_t, t, class_labels=torch.tensor([label]), return_dict=False)[0]
        x0 = denoiser.x0(denoiser.schedule, x_t, t, eps)
        assert float(row["rmse"]) == pytest.approx(rmse((x0 + 1) / 2, batch.images), rel=1e-4)
    assert "figure-null, eps(x_t, t) of the same with its label for none" in caption


def test_other_classes_than_the_images_own_can_be_asked_for(draw: Any) -> None:
    options = "--denoiser", "figure-null"
    text = "lambda-grid:images=digits-0043,lambdas=1"
    own, other, named = (draw(f"{text}{more}", *options)[0][0] for more in ("", ",labels=3", ",labels=7"))
    assert own == named and own["rmse"] != other["rmse"]
    assert (own["class"], other["class"]) == ("7", "3")


# jacobian


def test_of_gaussian_data_the_derivative_is_the_scaled_variance(draw: Any) -> None:
    """J = sqrt(abar) / (1 - abar) Var[x_0 | x_t] times the identity: all singular values are one, no asymmetry."""
    rows, caption = draw("jacobian:times=300,600,vectors=3,probes=6", "--denoiser", "figure-gaussian")
    assert [(row["time"], row["number"]) for row in rows] == [(t, k) for t in ("300", "600") for k in "123"]
    for row in rows:
        abar = linear().alpha_bar[int(row["time"])]
        expected = abar**0.5 * SPREAD**2 / (abar * SPREAD**2 + 1 - abar)
        assert float(row["singular_value"]) == pytest.approx(expected, rel=1e-5)
        assert float(row["u_dot_v"]) == pytest.approx(1, abs=1e-5)
        assert float(row["asymmetry"]) < 1e-5
    assert "0.000 at t = 300, 0.000 at t = 600" in caption


# toy


def point(row: dict[str, str], name: str) -> Tensor:
    """One of the three points (2,) of a row."""
    return torch.tensor([float(row[f"{name}_{axis}"]) for axis in "12"], **DOUBLE)


def test_toy_points_are_denoised_by_tweedies_formula(draw: Any) -> None:
    """The score by automatic differentiation of torch's own normal distributions."""
    from harness.registry.figures import toy

    rows, _ = draw("toy:times=50,400,points=5", "--seed", "2")
    assert [(row["time"], row["point"]) for row in rows] == [(t, str(k)) for t in ("50", "400") for k in range(5)]
    means, weights = torch.tensor(toy.MEANS, **DOUBLE), torch.tensor(toy.WEIGHTS, **DOUBLE)
    covariances = torch.tensor([[[a, b], [b, a]] for a, b in toy.SPREADS], **DOUBLE)
    drawn = []
    for row in rows:
        abar = linear().alpha_bar[int(row["time"])]
        x_0, x_t, x0_hat = (point(row, x) for x in ("x0", "xt", "x0_hat"))
        x = x_t.clone().requires_grad_()
        parts = torch.distributions.MultivariateNormal(
            abar**0.5 * means, abar * covariances + (1 - abar) * torch.eye(2, **DOUBLE)
        )
        joint = parts.log_prob(x) + weights.log()
        (score,) = torch.autograd.grad(joint.logsumexp(0), x)
        torch.testing.assert_close(x0_hat, (x_t + (1 - abar) * score) / abar**0.5, rtol=1e-9, atol=1e-9)
        assert float(row["probability"]) == pytest.approx(joint.softmax(0)[int(row["component"])].item(), rel=1e-5)
        drawn.append((x_t - abar**0.5 * x_0) / (1 - abar) ** 0.5)
    torch.testing.assert_close(torch.stack(drawn[:5]), torch.stack(drawn[5:]))  # panels share the noise


# guided-grid


def test_guided_samples_are_those_of_harness_generate(draw: Any, tmp_path: Path) -> None:
    """Byte for byte, with the noise that the denoiser states; a judge sees them on the 8-bit grid."""
    networks = {"model": "figure/random", "denoiser": "figure-noisy"}
    rows, caption = draw(
        f"{GRID},judge=figure/random,guides=none,denoised,scales=2",
        "--denoiser",
        "figure-noisy",
        "--model",
        "figure/random",
        "--seed",
        "4",
    )
    network = random_classifier().requires_grad_(False)
    for guide, model in (("none", ""), ("denoised:scale=2", "figure/random")):
        own = [row for row in rows if row["guide"] == guide]
        made = generate(
            guide, **{**networks, "model": model}, samples=3, classes="3,3,7", steps="ddim4", seed=4, device="cpu",
            out=tmp_path / guide[:4], progress=False,
        )  # fmt: skip
        probabilities = network(torch.from_numpy(made.images).permute(0, 3, 1, 2) / 255).softmax(1)
        assert made.card["made_from"]["eta"] == 0.5
        assert [row["sample"] for row in own] == ["sample/000000", "sample/000001", "sample/000002"]
        assert [int(row["class"]) for row in own] == made.labels.tolist() == [3, 3, 7]
        for row, answer in zip(own, probabilities, strict=True):
            assert float(row["probability"]) == pytest.approx(answer[int(row["class"])].item(), rel=1e-4)
            assert int(row["judged"]) == answer.argmax()
    assert "ddim4, eta = 0.5" in caption


def test_guides_start_from_the_same_noise(draw: Any) -> None:
    """A guide of scale 0 gives the samples of none, and one that pulls gives others."""
    rows, _ = draw(
        f"{GRID},judge=figure/random,guides=none,denoised,scales=0,1000",
        "--denoiser",
        "figure-noisy",
        "--model",
        "figure/random",
    )
    columns = {
        guide: [row["probability"] for row in rows if row["guide"] == guide]
        for guide in dict.fromkeys(row["guide"] for row in rows)
    }
    none, still, pulled = columns.values()
    assert none == still and len(set(none)) == 3
    assert all(one != other for one, other in zip(none, pulled, strict=True))


# All of them


def test_the_same_seed_makes_the_same_files_and_another_one_others(draw: Any, tmp_path: Path) -> None:
    contents = []
    for seed in ("1", "1", "2"):
        draw("samplers:images=digits-0043", "--denoiser", "figure-random", "--seed", seed)
        contents.append([(tmp_path / f"samplers.{kind}").read_bytes() for kind in ("png", "svg", "csv")])
    assert contents[0] == contents[1]
    assert all(one != other for one, other in zip(contents[0], contents[2], strict=True))


def options_of(text: str, denoiser: str = "figure-random") -> list[str]:
    """Options that name small networks, for those that a figure runs."""
    facts = plugins.figure.of(text).facts
    named = ["--denoiser", denoiser] if "denoiser" in facts else []
    return [*named, *(["--model", "figure/random"] if "classifiers" in facts else [])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("diffaug-grid:images=digits-9999", "digits-9999"),
        ("diffaug-grid:times=350,1000", "time 1000 lies outside"),
        ("samplers:time=-1", "time -1 lies outside"),
        ("pag:time=2000", "time 2000 lies outside"),
        ("pag:percentile=0", "percentile=0 must lie in"),
        ("pag:labels=3", "one class for each of the 3 images"),
        ("pag:images=digits-0043,labels=10", "no class here.*0 to 9"),
        ("lambda-grid", "figure-random takes no class"),
        ("jacobian:times=1000", "time 1000 lies outside"),
        ("jacobian:vectors=30", "between 1 and probes=24"),
        ("jacobian:iterations=-1", "must not be negative"),
        ("guided-grid:classes=3,10", "no class is called '10'"),
        ("guided-grid:guides=cfg", "with and without a class"),
        ("guided-grid:guides=classifier", "figure/random knows no diffusion time"),
        ("guided-grid:guides=none,steps=ddim600", "600"),
        ("toy:times=1000", "must lie in 0 to 999"),
        ("toy:points=0", "must be positive"),
    ],
)
def test_bad_settings_are_refused(refused: Any, text: str, message: str) -> None:
    printed = refused(text, *options_of(text))
    assert re.search(message, printed), printed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("time=1000", "time 1000 lies outside"),
        ("lambdas=2", "must lie in"),
        ("unconditional=figure-conditional", "figure-conditional always needs the class"),
    ],
)
def test_bad_settings_of_a_mixture_are_refused(refused: Any, settings: str, message: str) -> None:
    assert message in refused(f"lambda-grid:{settings}", "--denoiser", "figure-null")


def test_a_denoiser_that_needs_classes_is_refused_where_there_are_none(refused: Any) -> None:
    for name in ("diffaug-grid", "samplers", "pag", "jacobian"):
        printed = refused(name, *options_of(name, "figure-conditional"))
        assert "needs the class of each image" in printed


def test_files_have_no_class(refused: Any, tmp_path: Path) -> None:
    file = tmp_path.parent / "grey.png"
    Image.new("RGB", (32, 32), (100, 150, 200)).save(file)
    printed = refused(f"pag:images={file}", "--denoiser", "figure-random", "--model", "figure/random")
    assert "grey.png has no class here" in printed and "labels=" in printed
