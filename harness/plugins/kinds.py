"""The kinds of plugin: a registry for each, and those that a suite may combine with classifiers."""

from __future__ import annotations

from harness.plugins.combined import Combined
from harness.plugins.registry import Registry

model = Registry("model")
method = Registry("test-time method", option="--tta")
smoother = Registry("smoother", option="--smooth")
suite = Registry("suite")
detector = Registry("detector", option="--detector")
attack = Registry("attack", option="--attack")
denoiser = Registry("denoiser")
dataset = Registry("data set")
architecture = Registry("architecture")
augmentation = Registry("augmentation")
distorter = Registry("DeepAugment network")

AXES: dict[str, Registry | Combined] = {
    "method": method,
    "smoother": smoother,
    "detector": Combined(method, detector, "default"),
    "attack": Combined(method, attack, "default"),
}
"""Kinds of plugin that a suite may combine with classifiers, by the name of the suite's `axis`."""
