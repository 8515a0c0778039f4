"""Copies of the training data as samples and as terms; whole pictures; recipes and their options."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import harness
from PIL import Image
from torchvision.transforms import Resize
from torchvision.transforms.functional import to_tensor

from harness import plugins
from harness.data import ArrayDataset, decoded, open_pictures
from harness.models.checkpoint import write_checkpoint
from harness.models.classifier import fitted
from harness.models.lookup import find_classifier
from harness.train import estimate, recipes
from harness.train.augment import offline
from harness.train.build import build, planned
from harness.train.engine.parallel import World
from harness.train.input import copies
from harness.train.input.copies import PairedCopy, WithCopies
from harness.train.input.feed import TrainFeed
from harness.train.input.plan import Plan
from harness.train.input.splits import open_training
from harness.train.loop import _passes
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Absent, Batch, Geometry, HarnessError


@pytest.fixture
def folder(few: ArrayDataset, tmp_path: Path) -> Path:
    """A copy of the forty: each image's negative, as `harness augment` names them."""
    for i, (name, label) in enumerate(zip(few.ids, few.labels.tolist(), strict=True)):
        file = tmp_path / "negatives" / str(label) / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - few.pixels[i].permute(1, 2, 0).numpy()).save(file)
    return tmp_path / "negatives"


def spec(**changes: Any) -> TrainSpec:
    settings = {"model": "vit", "epochs": 2, "batch_size": 16, "lr": 1e-3, "warmup": 0, "augment": "none", **changes}
    return resolve(TrainSpec(**settings))


def test_a_union_has_every_image_and_knows_its_original(few: ArrayDataset, folder: Path) -> None:
    union = WithCopies(few, copies.open_copies(few, [str(folder)]))
    assert len(union.ids) == len(set(union.ids)) == 80
    batch = union.read(range(80))
    originals = torch.tensor(union.originals)
    assert originals[:40].tolist() == list(range(40)) and sorted(originals[40:].tolist()) == list(range(40))
    clean = few.read(range(40))
    assert torch.equal(batch.labels, clean.labels[originals])
    assert torch.equal(batch.images[:40], clean.images)
    torch.testing.assert_close(batch.images[40:], 1 - clean.images[originals[40:]], rtol=0, atol=1e-6)


def test_the_denoised_branch_of_a_copy_starts_from_its_original(few: ArrayDataset, folder: Path) -> None:
    union: Any = WithCopies(few, copies.open_copies(few, [str(folder)]))
    task, _ = build(spec(diffaug=True), union, World())
    assert task.feed.plan.images == 80
    seen = 0
    for number in range(task.feed.plan.per_epoch):
        step = task.feed[number]
        clean = dict(zip(few.ids, few.read(range(40)).images, strict=True))
        for name, raw, sample in zip(step.raw.ids, step.raw.images, step.augmented.images, strict=True):
            original = clean[Path(name).stem]
            assert torch.equal(raw, original)
            torch.testing.assert_close(sample, 1 - original if "copy1" in name else original, rtol=0, atol=1e-6)
            seen += "copy1" in name
    assert seen > 20


def test_copies_as_terms_are_sums_of_cross_entropies(few: ArrayDataset, folder: Path) -> None:
    settings = {"data_extra": (str(folder), str(folder)), "extra_as": "terms"}
    task, _ = build(spec(model="resnet", **settings), few, World())
    step, network = task.feed[0], task.network.eval()
    terms = task.objective(network, step)
    clean, negatives = step.raw.images, 1 - step.raw.images
    assert float(terms["ce"].detach()) == pytest.approx(
        float(F.cross_entropy(network(clean), step.raw.labels).detach())
    )
    once = float(F.cross_entropy(network(negatives), step.raw.labels).detach())
    assert float(terms["copies"].detach()) == pytest.approx(2 * once, rel=1e-5)


def test_a_copy_must_be_whole_and_of_the_same_classes(few: ArrayDataset, folder: Path, tmp_path: Path) -> None:
    next(folder.glob("*/digits-1071.png")).unlink()
    with pytest.raises(HarnessError, match=r"lacks copies of 1 of 40.*--extra-as union"):
        PairedCopy(few, copies.open_copies(few, [str(folder)])[0])
    (folder / "owl").mkdir()
    with pytest.raises(HarnessError, match=r"No images in .*owl"):
        copies.open_copies(few, [str(folder)])
    Image.new("RGB", (32, 32)).save(folder / "owl" / "1.png")
    with pytest.raises(HarnessError, match="'owl'"):
        copies.open_copies(few, [str(folder)])
    made = '{"status": "partial", "made_from": {"split": "train", "images": 1}}'
    (folder / "deepaugment.json").write_text(made)
    with pytest.raises(HarnessError, match="is a copy that is not finished"):
        copies.open_copies(few, [str(folder)])
    with pytest.raises(HarnessError, match="must hold CLASS/IMAGE"):
        copies.open_copies(few, [str(tmp_path / "nowhere")])


def test_synthetic_images_are_their_own_originals(few: ArrayDataset, folder: Path) -> None:
    for file in folder.glob("*/*.png"):
        file.rename(file.with_name(f"synthetic-{file.name}"))
    union = WithCopies(few, copies.open_copies(few, [str(folder)]))
    assert list(union.originals) == list(range(80))


class Pictures(ArrayDataset):
    """The digits as if they were larger pictures: 48 pixels, to be resized to 32."""

    def picture(self, index: int) -> Image.Image:
        return super().picture(index).resize((48, 60))


@pytest.mark.parametrize("name", ["crop-flip", "three-augment", "rand-augment"])
def test_pictures_are_augmented_by_sample_and_epoch_alone(name: str, few: ArrayDataset) -> None:
    data: Any = Pictures(few.name, few.ids, few.pixels, few.labels, 10, Geometry(32, 32, "bilinear"))
    augment = plugins.augmentation.configure(name).plugin
    state = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()

    def images(**changes: Any) -> dict[str, torch.Tensor]:
        settings: dict[str, Any] = {"images": 40, "name": "d", "seed": 0, "batch_size": 8, "epochs": 2, **changes}
        feed = TrainFeed(Plan(**settings), data, augment, whole=True)
        steps = [feed[number] for number in range(40 // settings["batch_size"])]
        assert all(step.pictures == () and step.raw.images.shape[-1] == 32 for step in steps)
        return {n: image for s in steps for n, image in zip(s.augmented.ids, s.augmented.images, strict=True)}

    unseen = TrainFeed(Plan(40, "d", 0, 8, 1), data, augment, whole=True)[0]
    seen = TrainFeed(Plan(40, "d", 0, 8, 1), data, augment, whole=True, originals=True)[0]
    assert torch.equal(unseen.augmented.images, seen.augmented.images) and bool(unseen.raw.images.isnan().all())
    assert torch.equal(seen.raw.images, decoded(data, [few.ids.index(name) for name in seen.raw.ids]).images)
    one, other = images(), images(batch_size=20)
    assert set(one) == set(few.ids) and all(torch.equal(one[n], other[n]) for n in few.ids)
    assert all(
        image.shape == (3, 32, 32) and 0 <= float(image.min()) <= float(image.max()) <= 1 for image in one.values()
    )
    reseeded = images(seed=1)
    assert sum(torch.equal(one[n], reseeded[n]) for n in few.ids) < 5
    assert state[0] == random.getstate() and torch.equal(state[1], torch.get_rng_state())
    assert np.array_equal(state[2], np.random.get_state()[1])


def test_rand_augment_fills_with_the_mean_colour_of_imagenet(few: ArrayDataset) -> None:
    white = Step(few.read([0]), few.read([0]), seed=0, epoch=0, pictures=(Image.new("RGB", (32, 32), "white"),))
    augment = plugins.augmentation.configure("rand-augment:least=1").plugin
    colours = {c for epoch in range(20) for c in corner_colours(augment(replace(white, epoch=epoch)))}
    assert (124, 116, 104) in colours, "DeiT's, by timm"


def corner_colours(step: Step) -> list[tuple[int, ...]]:
    """Colours of the four corners of the first image, in 8 bits."""
    corners = step.augmented.images[0][:, ::31, ::31].flatten(1).T
    return [tuple(colour) for colour in (corners * 255).round().int().tolist()]


def test_networks_that_distort_copies_see_whole_pictures(few: ArrayDataset) -> None:
    """As torchvision's Resize makes them for the published programs."""
    data: Any = Pictures(few.name, few.ids, few.pixels, few.labels, 10, Geometry(32, 32, "bilinear"))
    pictures = list(offline._uncropped(data, [3, 5], 24))
    for row, image in zip((3, 5), pictures, strict=True):
        assert torch.equal(image, to_tensor(Resize(24)(data.picture(row)))) and image.shape == (3, 30, 24)
    assert next(offline._uncropped(data, [3], None)).shape == (3, 40, 32), "any size: the data set's shorter side"
    assert torch.equal(next(offline._uncropped(few, [3], 32)), few.read([3]).images[0])


def test_workers_prepare_what_the_process_itself_would(few: ArrayDataset) -> None:
    task, _ = build(spec(augmix=True, augment="affine"), few, World())
    alone, helped = (list(_passes(task.feed, 1, workers, "cpu")) for workers in (0, 2))
    assert len(alone) == len(helped) == task.feed.plan.steps - 1
    for a, b in zip(alone, helped, strict=True):
        assert a.augmented.ids == b.augmented.ids and torch.equal(a.augmented.images, b.augmented.images)
        assert len(a.views) == 2 and all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))


def test_groups_of_distorted_images_are_places_in_the_epoch(few: ArrayDataset) -> None:
    """However a batch is split over passes, an image meets the same perturbed network."""
    images: list[dict[str, torch.Tensor]] = []
    for passes in (1, 2):
        task, _ = build(spec(deepaugment="autoencoder", batch_size=40, accumulate=passes), few, World())
        steps = [task.transforms[0](task.feed[number]) for number in range(passes)]
        images.append({n: i for s in steps for n, i in zip(s.augmented.ids, s.augmented.images, strict=True)})
    together, split = images
    assert all(torch.allclose(together[name], split[name], atol=1e-4) for name in few.ids)


def test_deepaugment_distorts_its_share_in_every_combination(few: ArrayDataset) -> None:
    step = Step(*[few.read(range(40))] * 2, seed=0, epoch=0)
    for changes, on_host in (({"augmix": True}, True), ({}, False)):
        task, _ = build(spec(deepaugment="noise2net", **changes), few, World())
        stages = task.feed.transforms if on_host else task.transforms
        images = stages[0](step).augmented.images
        changed = (images - step.raw.images).flatten(1).abs().amax(1) > 0.02
        assert 8 <= int(changed.sum()) <= 32
        assert torch.equal(images[~changed], stages[0](step).augmented.images[~changed])
        assert torch.equal(images, stages[0](step).augmented.images)
        assert not torch.equal(images, stages[0](replace(step, epoch=1)).augmented.images)
        assert bool(task.transforms) != on_host


def test_the_autoencoder_reconstructs_and_distorts(few: ArrayDataset) -> None:
    distort = plugins.distorter.configure("autoencoder").plugin
    image = few.read(range(8)).images
    assert float((distort.network(image) - image).square().mean().sqrt()) < 0.02
    moved = [float((distort(image, np.random.default_rng(s)) - image).abs().mean()) for s in range(12)]
    assert sorted(moved)[6] > 0.02


IMAGES = {"imagenet": 1_281_167, "cifar10": 50_000, "digits": 1_197}
"""Training images by data set."""


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_mean_something_and_say_where_they_come_from(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.source and recipe.expected and recipe.measured
    settings = {**recipe.settings, **dict.fromkeys(recipe.needs, ("COPY",))}
    resolved = resolve(TrainSpec(**settings))
    assert resolved.diffusion == ("adm256" if settings.get("diffaug") else "")
    assert resolved.epochs * IMAGES[resolved.dataset] // resolved.batch_size > 1_000
    assert TrainSpec(**settings).kind == "classifier"


def test_a_copy_is_no_data_set(few: ArrayDataset, folder: Path) -> None:
    inside = folder.parent / "set" / "train"
    inside.parent.mkdir()
    folder.rename(inside)
    assert copies.open_copies(few, [str(inside)])
    with pytest.raises(HarnessError, match=r"is the folder of a data set\. Give its images: .*set/train"):
        copies.open_copies(few, [str(inside.parent)])
    with pytest.raises(Absent, match="none must hold CLASS/IMAGE"):
        copies.open_copies(few, [str(folder.parent / "none")])


def test_copies_of_test_images_are_no_training_data(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("test", "b")):
        for label in "xy":
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / split / label / f"{name}.png")
    usual = {"dataset": "folder", "data": str(tmp_path)}
    for extra in ("union", "terms"):
        with pytest.raises(HarnessError, match="holds the data set's own test images"):
            open_training(spec(**usual, data_extra=(str(tmp_path / "test"),), extra_as=extra))
    (tmp_path / "elsewhere").symlink_to(tmp_path / "test")
    with pytest.raises(HarnessError, match="holds the data set's own test images"):
        open_training(spec(**usual, data_extra=(str(tmp_path / "elsewhere"),)))
    for split in ("test", "train"):
        offline.copy(offline.CopySpec("folder", "noise2net", split, str(tmp_path)), tmp_path / f"of-{split}")
    data = open_training(spec(**usual, data_extra=(str(tmp_path / "of-train"),)))
    assert len(data.ids) == 4
    with pytest.raises(HarnessError, match="is a copy of the split 'test', not of train"):
        copies.open_copies(data, [str(tmp_path / "of-test")])
    next((tmp_path / "of-train").glob("x/*.png")).unlink()
    with pytest.raises(HarnessError, match="is a copy that is not finished"):
        copies.open_copies(data, [str(tmp_path / "of-train")])
    (tmp_path / "of-train" / "deepaugment.json").write_text("{}")
    with pytest.raises(HarnessError, match="is damaged"):
        copies.open_copies(data, [str(tmp_path / "of-train")])


def test_weights_of_other_classes_are_no_start(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i, label in enumerate("xy"):
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / split / label / f"{i}.png")
    settings = spec(model="resnet", dataset="folder", data=str(tmp_path), init="digits/resnet", batch_size=2)
    with pytest.raises(HarnessError, match="tells 10 classes apart, and 'folder' has 2"):
        build(settings, open_training(settings), World())


def test_recipes_of_a_user_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    head = 'about = "a"\nsource = "b"\nexpected = "c"\nmeasured = "d"\n[settings]\n'
    file.write_text(head + 'model = "resnet"\nlearning_rate = 1\n')
    with pytest.raises(HarnessError, match="'learning_rate' in the recipe"):
        recipes.load(str(file))
    for text, message in (
        (head.replace("about", "abuot"), "Unknown word 'abuot' in the recipe .* Did you mean about"),
        (head.replace('about = "a"\n', ""), "does not say its about: it needs a line"),
        ('about = "a"\n', "does not say its settings"),
        ("epochs = 3\n" + head, r"says epochs above the line \[settings\]"),
        ("like = 3\n" + head, "says like = 3, which must be a text"),
        ('needs = ["sed"]\n' + head, "Unknown setting 'sed' in the recipe .* Did you mean seed"),
        ('needs = [["seed"]]\n' + head, r"Unknown setting .*'seed'.* in the recipe"),
        ("a = \n", "is not in TOML"),
    ):
        file.write_text(text)
        with pytest.raises(HarnessError, match=message):
            recipes.load(str(file))
    file.write_text(head + 'model = "resnet"\nepochs = "1"\n')
    with pytest.raises(HarnessError, match="epochs to '1', of the wrong type"):
        recipes.load(str(file))
    for key, value in (("epochs", "1.5"), ("diffaug_times", '["a", "b"]'), ("seed", "true"), ("smoothing", "true")):
        file.write_text(head + f'model = "resnet"\n{key} = {value}\n')
        with pytest.raises(HarnessError, match=rf"sets {key} to .*of the wrong type"):
            recipes.load(str(file))
    file.write_text(head.replace("[settings]", "settings = 3"))
    with pytest.raises(HarnessError, match="says settings = 3, which must be a table"):
        recipes.load(str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(HarnessError, match="Give a name or the path"):
        recipes.load(str(file))
    with pytest.raises(HarnessError, match="Did you mean resnet50"):
        recipes.load("resnet-50")
    with pytest.raises(HarnessError, match="Give a name or the path"):
        recipes.load(str(tmp_path / "none.toml"))


def test_a_recipe_starts_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'about = "a"\nsource = "b"\nexpected = "c"\nmeasured = "d"\nlike = "{}"\n[settings]\n{}\n'
    mine, base = tmp_path / "in" / "mine.toml", tmp_path / "in" / "base.toml"
    mine.parent.mkdir()
    mine.write_text(text.format("base.toml", "epochs = 3"))
    base.write_text('needs = ["init"]\n' + text.format("resnet50", "lr = 0.5"))
    loaded, usual = recipes.load("in/mine.toml"), recipes.load("resnet50")
    assert loaded.settings == {**usual.settings, "epochs": 3, "lr": 0.5} and loaded.needs == ["init"]
    for circle in ("mine.toml", "../in/mine.toml", "base.toml"):
        base.write_text(text.format(circle, ""))
        with pytest.raises(HarnessError, match=rf"'in/base.toml' is like 'in/{circle}', which starts from"):
            recipes.load("in/mine.toml")
    (tmp_path / "link").symlink_to(mine.parent)
    base.write_text(text.format("../link/mine.toml", ""))
    with pytest.raises(HarnessError, match="which starts from"):
        recipes.load("in/mine.toml")
    base.write_text(text.format("resnet51", ""))
    with pytest.raises(HarnessError, match=r"'in/mine.toml' is like 'base.toml': .*'resnet51'.*Did you mean resnet50"):
        recipes.load("in/mine.toml")


PUBLISHED = {
    # Epochs, steps in thousands, batch; optimiser, peak rate, schedule; start; terms beside cross-entropy.
    "resnet50": (90, 450, 256, "momentum", 0.1, "step:30", "", set()),
    "resnet50+diffaug": (90, 450, 256, "momentum", 0.1, "step:30", "", {"diffaug"}),
    "resnet50+synth": (5, 50, 256, "adamw", 1e-5, "constant", "resnet50", set()),
    "resnet50+synth+diffaug": (5, 50, 256, "adamw", 1e-5, "constant", "resnet50", {"diffaug"}),
    "resnet50.augmix": (180, 901, 256, "momentum", 0.1, "step:60", "", {"augmix"}),
    "resnet50.augmix+diffaug": (10, 50, 256, "momentum", 1e-3, "constant", "resnet50.augmix", {"augmix", "diffaug"}),
    "resnet50.deepaugment": (30, 113, 1024, "sgd", 0.4, "cosine", "resnet50", set()),
    "resnet50.deepaugment+diffaug": (10, 50, 256, "sgd", 1e-6, "constant", "resnet50.deepaugment", {"diffaug"}),
    "resnet50.deepaugment-augmix+diffaug": (
        3, 45, 256, "sgd", 1e-6, "constant", "resnet50.deepaugment-augmix", {"augmix", "diffaug"},
    ),
    "vit-b16.stage1": (800, 500, 2048, "lamb", 3e-3, "cosine", "", set()),
    "vit-b16": (20, 50, 512, "adamw", 1e-5, "constant", "runs/vit-b16.stage1", set()),
    "vit-b16+diffaug": (20, 50, 512, "adamw", 1e-5, "constant", "runs/vit-b16.stage1", {"diffaug"}),
    "resnet50.at": (90, 225, 512, "momentum", 0.1, "step:30", "", {"pgd"}),
    "vit-b16.at": (20, 50, 512, "adamw", 1e-4, "cosine", "runs/vit-b16.stage1", {"pgd"}),
    "wrn-28-10.wang": (400, 39, 512, "sgd", 0.2, "cosine", "", {"trades"}),
    "digits-at": (60, 1, 64, "adamw", 2e-3, "cosine", "", {"pgd"}),
    "digits-trades": (60, 1, 64, "adamw", 2e-3, "cosine", "", {"trades"}),
}  # fmt: skip
CONTROLS = [name for name in recipes.names() if name.endswith("+extra")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_hold_the_published_numbers(name: str) -> None:
    recipe = recipes.load(name)
    copies = {"resnet50+synth": ("SYNTHETIC",), "resnet50+synth+diffaug": ("SYNTHETIC",)}.get(name, ("EDSR", "CAE"))
    complete = {**recipes.completing(recipe, recipe.settings["model"], recipe.settings["dataset"]), **recipe.settings}
    settings = TrainSpec(**{**complete, **dict.fromkeys(recipe.needs, copies)})
    settings = resolve(settings) if settings.dataset == "digits" else settings  # the data set's recipe completes it
    samples = IMAGES[settings.dataset] * (1 + len(settings.data_extra) * (settings.extra_as == "union"))
    assert settings.epochs and settings.batch_size
    rounds = (settings.epochs, round(settings.epochs * samples / settings.batch_size / 1000), settings.batch_size)
    terms = {term for term in ("augmix", "diffaug") if getattr(settings, term)} | {settings.adversarial} - {""}
    assert (*rounds, settings.optimizer, settings.lr, settings.schedule, settings.init, terms) == PUBLISHED[name]


def test_every_recipe_has_its_numbers_here() -> None:
    assert {*PUBLISHED, *CONTROLS} == set(recipes.names()) and len(CONTROLS) == 3


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_their_partners_without_diffaug(name: str) -> None:
    control, partner = recipes.load(name), recipes.load(name.replace("+extra", "+diffaug"))
    assert partner.settings["diffaug"] is True and list(control.needs) == list(partner.needs)
    assert control.settings == {**partner.settings, "diffaug": False}


def test_an_estimate_counts_steps_and_times_a_few_images(few: ArrayDataset) -> None:
    plugins.dataset._entries["digits"] = replace(plugins.dataset["digits"], build=lambda split: few)
    plan = planned(spec(model="resnet"), few, World())
    assert (plan.images, plan.steps) == (40, 4)
    assert 0.01 < estimate.estimate(spec(model="resnet"), few, few).seconds < 60


def test_a_dry_run_says_what_needs_no_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for absent in (("--diffaug", "--diffusion", "none.pt"), ("--init", "runs/none"), ("--init", "vit/none")):
        code, text = harness(monkeypatch, capsys, "train", "--model", "resnet", *absent, "--dry-run")
        assert code == 0 and "1,197 training images, 1,080 steps, 69,120 samples" in text
        assert f"No estimate of the time: No checkpoint at {absent[-1]}" in text
    for data in ((), ("--data", "none")):
        code, text = harness(monkeypatch, capsys, "train", "--recipe", "resnet50", *data, "--dry-run")
        assert code == 0 and "Expected: 76.13 %" in text and "No estimate: " in text
    for wrong, message in (
        (("--batch-size", "2000"), "--batch-size 2000 is larger"),
        (("--batch-size", "4", "--accumulate", "4"), "batch norm one sample at a time"),
        (("--diffaug", "--diffaug-times", "0,1001"), "--diffaug-times 0,1001"),
        (("--optimizer", "adahessian", "--init", "none/none"), "needs second derivatives"),
        (("--init", "digits/resnt"), "Unknown model 'digits/resnt'. Did you mean digits/resnet"),
        (("--dataset", "digits", "--data", "here"), "leave out --data"),
    ):
        code, text = harness(monkeypatch, capsys, "train", "--model", "resnet", *wrong, "--dry-run")
        assert code == 2 and message in text


def test_a_refusal_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text = harness(monkeypatch, capsys, "train", "--model", "resnet", "--batch-size", "2000", "--out", str(out))
    assert code == 2 and text.startswith("Error: --batch-size 2000 is larger") and not out.exists()


def test_an_estimate_has_the_batches_that_the_run_would_have(few: ArrayDataset) -> None:
    """Batch norm takes no batch of one, which half of three images would be."""
    three = ArrayDataset("digits", few.ids[:3], few.pixels[:3], few.labels[:3], 10, few.geometry)
    assert 0 < estimate.estimate(spec(model="timm/test_resnet", batch_size=3, epochs=5), three, three).seconds < 60


def test_an_estimate_of_ages_is_in_years() -> None:
    assert estimate.spell(3 * 3600 + 61.5) == "3:01:01"
    assert estimate.spell(1e13) == "317,098 years"
    with pytest.raises(HarnessError, match=r"--epochs .* must be at most 1000000"):
        TrainSpec("resnet", epochs=10**20)
    with pytest.raises(HarnessError, match="--lr inf must be a number"):
        TrainSpec("resnet", lr=float("1e400"))
    with pytest.raises(HarnessError, match="--batch-size of so many digits must be at most"):
        TrainSpec("resnet", batch_size=10**400)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "timm/test_vit", "image_size": 50}, r"'timm/test_vit' fails on images of 50 pixels.*--image-size"),
        (
            {"model": "resnet", "batch_size": 4, "accumulate": 4},
            r"--batch-size 4 in 4 pass.* of 1 process.* batch norm one sample at a time.* or lower --accumulate",
        ),
        ({"model": "resnet", "drop_path": 0.1}, "'resnet' has no stochastic depth: leave out --drop-path"),
        ({"model": "resnet", "repeats": 17}, "--repeats 17 is more than --batch-size 16 holds"),
        (
            {"model": "encoder", "dataset": "digits", "objective": "da", "labels": 0.5, "consistency_radius": 1000},
            "--consistency-radius 1000 must be below the length of --diffaug-times",
        ),
        ({"model": "resnet", "deepaugment": "autoencoder", "dataset": "folder"}, "bundled autoencoder is of 'digits'"),
    ],
)
def test_what_a_network_cannot_do_is_said_before_the_first_step(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    for i in range(16):
        Image.new("RGB", (60, 60)).save(tmp_path / "train" / "a" / f"{i}.png")
    side = settings.get("image_size", 32)
    data = open_pictures(tmp_path, "train", Geometry(None, side, "bicubic"), name="x")
    with pytest.raises(HarnessError, match=message):
        build(spec(**settings), data, World())


def test_a_copy_by_the_autoencoder_of_the_digits_is_of_digits(tmp_path: Path) -> None:
    with pytest.raises(
        HarnessError, match=r"would make 'folder' unrecognisable.*--architecture autoencoder --dataset folder"
    ):
        offline.copy(offline.CopySpec("folder", "autoencoder", data=str(tmp_path)), tmp_path / "out")


def test_image_sizes_belong_to_stored_pictures(tmp_path: Path, few: ArrayDataset) -> None:
    with pytest.raises(HarnessError, match=r"--image-size 16.*kept at 32|stored at 32"):
        open_training(spec(image_size=16))
    (tmp_path / "train" / "a").mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(tmp_path / "train" / "a" / "1.png")
    pictures = open_pictures(tmp_path, "train", Geometry(256, 224, "bicubic"), name="x")
    smaller = replace(pictures, geometry=pictures.geometry.scaled(192))
    assert smaller.geometry == Geometry(219, 192, "bicubic")
    assert smaller.read([0]).images.shape == (1, 3, 192, 192)


@pytest.mark.parametrize("model", ["timm/test_vit", "timm/test_resnet"])
def test_what_is_trained_at_a_size_is_shown_that_size(model: str, few: ArrayDataset, tmp_path: Path) -> None:
    task, header = build(spec(model=model, image_size=32), few, World())
    assert ("img_size" in header["arguments"]) == (model == "timm/test_vit")
    write_checkpoint(tmp_path / "model.safetensors", task.network, header)
    network: Any = find_classifier(str(tmp_path))[0].eval()
    images = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(network(images), network(fitted(images, [(32, 32)])))


def test_timm_s_architectures_keep_their_normalisation() -> None:
    batch = Batch(("a", "b"), torch.rand(2, 3, 64, 64), torch.tensor([0, 1]))
    pixels = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    data = ArrayDataset("digits", batch.ids, pixels, batch.labels, 10, Geometry(64, 64, "bicubic"))
    settings = {"model": "timm/resnet18", "epochs": 1, "batch_size": 2, "lr": 0.1, "augment": "none"}
    task, header = build(resolve(TrainSpec(**settings)), data, World())
    network: Any = task.network
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert header["architecture"] == "timm/resnet18" and network(batch.images).shape == (2, 10)
    with pytest.raises(HarnessError, match="Did you mean"):
        build(replace(resolve(TrainSpec(**settings)), model="timm/resnet1"), data, World())
