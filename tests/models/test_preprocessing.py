"""What networks expect of their images: stated, of their own configuration, or measured on an image processor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from torch import nn

from harness.models.preprocessing import Preprocessed, Preprocessing, bare, wrapped
from harness.types import HarnessError

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), image_size=(224, 224))


def test_a_stated_setting_counts_and_its_contradiction_is_a_sentence() -> None:
    stated = Preprocessing(mean=(0.5,) * 3, image_size=(8, 8))
    network, details, contradictions = wrapped(nn.Flatten(), stated, IMAGENET)
    images = torch.rand(2, 3, 8, 8)
    expected = (images - 0.5) / torch.tensor(IMAGENET.std).view(3, 1, 1)
    assert torch.equal(network(images), expected.flatten(1))
    assert details == {
        "mean": [0.5] * 3,
        "std": [0.229, 0.224, 0.225],
        "sizes": [[8, 8]],
        "interpolation": "bicubic",
    }
    assert len(contradictions) == 2 and "mean=0.5,0.5,0.5 was stated" in contradictions[0]
    assert "0.485,0.456,0.406" in contradictions[0] and "image_size=8,8" in contradictions[1]


def test_rounded_numbers_and_accepted_sizes_contradict_nothing() -> None:
    own = Preprocessing(mean=(0.4914, 0.4822, 0.4465), image_size=(8, 8), accepted=((9, 9),))
    stated = Preprocessing(mean=(0.491, 0.482, 0.447), image_size=(9, 9))
    assert wrapped(nn.Flatten(), stated, own)[2] == []


def test_without_any_statement_pixels_stay_as_they_are_and_a_sentence_says_so() -> None:
    network, details, contradictions = wrapped(nn.Flatten(), Preprocessing(), Preprocessing.of(nn.Flatten()))
    images = torch.rand(1, 3, 5, 4)
    assert torch.equal(network(images), images.flatten(1)) and contradictions == [] and "sizes" not in details
    assert "mean 0 and std 1" in details["notes"][0]
    assert "mean" not in wrapped(nn.Flatten(), Preprocessing(mean=(0.5,) * 3), Preprocessing())[1]["notes"][0][:25]


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"mean": (123.7, 116.3, 103.5)}, "Divide numbers for pixels"),
        ({"mean": (0.5, 0.5)}, "three numbers"),
        ({"std": (0.2, 0.0, 0.2)}, "three numbers"),
        ({"std": (float("nan"),) * 3}, "three numbers"),
        ({"image_size": (0, 8)}, "sides from 1"),
        ({"interpolation": "nearest"}, "bilinear, bicubic"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(settings: dict[str, Any], advice: str) -> None:
    with pytest.raises(HarnessError, match=advice):
        Preprocessing(**settings)


def test_timm_states_normalisation_and_sizes_and_a_network_built_for_another_size_corrects_them() -> None:
    own = Preprocessing.of(nn.DataParallel(timm.create_model("resnet18")))
    assert own.mean == IMAGENET.mean and own.image_size == (224, 224) and own.accepted == ((288, 288),)
    tiny: dict[str, Any] = {"img_size": 32, "depth": 1, "embed_dim": 12, "num_heads": 1}
    small = timm.create_model("vit_tiny_patch16_224", **tiny)
    assert Preprocessing.of(small).image_size == (32, 32) and Preprocessing.of(small).accepted == ()


def test_a_torchvision_transformer_states_its_size_alone() -> None:
    torchvision = pytest.importorskip("torchvision")
    settings = {"patch_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "mlp_dim": 8}
    own = Preprocessing.of(torchvision.models.VisionTransformer(image_size=16, **settings))
    assert own == Preprocessing(image_size=(16, 16))


PROCESSORS = {
    "ViTImageProcessor": {"size": 16, "image_mean": (0.1, 0.2, 0.3), "image_std": (0.4, 0.5, 0.6)},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 16}, "crop_pct": 1.0},
    "EfficientNetImageProcessor": {
        "size": {"height": 20, "width": 20},
        "crop_size": {"height": 16, "width": 16},
        "do_center_crop": False,
        "do_resize": False,
        "image_mean": (0.485, 0.456, 0.406),
        "image_std": (0.47853944, 0.4732864, 0.47434163),
    },
    "MobileViTImageProcessor": {
        "size": {"shortest_edge": 16},
        "crop_size": {"height": 16, "width": 16},
        "do_flip_channel_order": True,
    },
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_images_reach_the_network_as_transformers_would_hand_them_over(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, name)(**PROCESSORS[name])
    network = nn.Flatten()
    network.image_processor = processor
    own = Preprocessing.of(network)
    preprocessed, _, _ = wrapped(network, Preprocessing(image_size=(16, 16)), own)
    image = torch.randint(256, (3, 16, 16), dtype=torch.uint8)
    expected = processor(images=image.numpy().transpose(1, 2, 0), return_tensors="pt")["pixel_values"]
    assert isinstance(preprocessed, Preprocessed) and own.bgr is name.startswith("MobileViT")
    torch.testing.assert_close(preprocessed.preprocess(image[None] / 255), expected, atol=1e-5, rtol=1e-5)


def test_an_image_processor_that_is_not_linear_is_refused() -> None:
    def processor(images: Any, return_tensors: str) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.from_numpy(images).permute(2, 0, 1)[None].float().sqrt()}

    with pytest.raises(HarnessError, match=r"more to an image.*docs/extend.md"):
        Preprocessing.of_processor(processor)


def test_logits_are_taken_out_of_the_output_of_transformers() -> None:
    class Net(nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            return SimpleNamespace(logits=images.mean((2, 3)))

    network, _, _ = wrapped(Net(), Preprocessing(), Preprocessing())
    assert network(torch.ones(2, 3, 4, 4)).tolist() == [[1.0] * 3] * 2


def test_wrappers_of_torch_are_seen_through_but_a_network_with_one_layer_called_module_is_not_lost() -> None:
    inner = nn.Linear(2, 2)
    assert bare(nn.DataParallel(inner)) is inner and bare(torch.compile(nn.DataParallel(inner))) is inner
    assert bare(nn.Sequential(inner)) is not inner
    assert isinstance(bare(torch.optim.swa_utils.AveragedModel(inner)), nn.Linear)
    own = nn.Module()
    own.module = inner
    assert bare(own) is own, "a user's wrapper may normalise"
