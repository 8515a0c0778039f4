"""Networks sized for 32x32 images and a laptop: about a million parameters each.

Facts: the side of the images in pixels; recipe, settings of the trainer where the command line leaves them open, on top
of those of the data set; and recipes, such settings by data set.
An architecture of kind "denoiser" predicts noise from (x_t, times) and is built without arguments; the default one is
what ``harness train --denoiser`` trains. Others are classifiers.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.plugins import architecture

DENOISER: dict[str, Any] = {
    "recipe": {"batch_size": 64, "lr": 2e-3, "weight_decay": 0.01, "warmup": 3, "ema": 0.995, "augment": "flip"},
    "recipes": {"digits": {"epochs": 110, "augment": "affine"}},
}


@architecture("resnet", image_size=32, recipes={"digits": {}})
def compact_resnet(num_classes: int) -> nn.Module:
    """ResNet-10 of width 24 to 192 with the CIFAR stem (He et al., CVPR 2016, section 4.2): 3x3, stride 1."""
    from timm.models.resnet import BasicBlock, ResNet

    network = ResNet(BasicBlock, layers=(1, 1, 1, 1), channels=(24, 48, 96, 192), num_classes=num_classes)
    stem = network.conv1.out_channels
    network.conv1 = nn.Conv2d(3, stem, kernel_size=3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


@architecture("vit", image_size=32, recipes={"digits": {"epochs": 100, "warmup": 10}})
def compact_vit(num_classes: int, drop_path_rate: float = 0.05) -> nn.Module:
    """ViT with 64 patches of 4x4, width 96, depth 6 (Dosovitskiy et al., ICLR 2021), trained with stochastic depth."""
    from timm.models.vision_transformer import VisionTransformer

    sizes = {"img_size": 32, "patch_size": 4, "embed_dim": 96, "depth": 6, "num_heads": 3}
    return VisionTransformer(**sizes, num_classes=num_classes, drop_path_rate=drop_path_rate)


@architecture("unet", kind="denoiser", default=True, image_size=32, **DENOISER)
def compact_unet(**settings: Any) -> nn.Module:
    """Unconditional noise-prediction UNet (Ho et al., NeurIPS 2020), 16 to 64 channels, attention at 8x8."""
    from diffusers import UNet2DModel

    blocks: dict[str, Any] = {
        "sample_size": 32,
        "block_out_channels": (16, 32, 64, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        "norm_num_groups": 8,
        "attention_head_dim": 16,
    }
    return UNet2DModel(in_channels=3, out_channels=3, **blocks, **settings)


@architecture("unet-conditional", kind="denoiser", conditional=True, image_size=32, **DENOISER)
def conditional_unet(num_classes: int, null_class: bool = False) -> nn.Module:
    """The same network with the class as a second input, for class-conditional DiffAug and guided generation.

    null_class: one more class stands for none.
    """
    return compact_unet(num_class_embeds=num_classes + null_class)
