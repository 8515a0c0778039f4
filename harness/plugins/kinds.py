"""The kinds of plugin: a registry for each, and those that a suite may combine with classifiers."""

from __future__ import annotations

from harness.plugins.combined import Combined
from harness.plugins.registry import Registry
from harness.plugins.suite_registry import SuiteRegistry

model = Registry("model")
method = Registry("test-time method", option="--tta")
smoother = Registry("smoother", option="--smooth")
suite = SuiteRegistry("suite")
detector = Registry("detector", option="--detector")
attack = Registry("attack", option="--attack")
guide = Registry("guide", option="--guide")
denoiser = Registry("denoiser")
dataset = Registry("data set")
corruption = Registry("corruption", reserved=("standard",))
architecture = Registry("architecture")
augmentation = Registry("augmentation")
distorter = Registry("DeepAugment network")
figure = Registry("figure")

AXES: dict[str, Registry | Combined] = {
    "method": method,
    "smoother": smoother,
    "detector": Combined(method, detector, "default"),
    "attack": Combined(method, attack, "default"),
    "guide": guide,
}
"""Kinds of plugin that a suite may combine with classifiers, by the name of the suite's `axis`."""
