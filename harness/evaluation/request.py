"""A request to evaluate: a specification, and the plugins that its text names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from harness import plugins
from harness.plugins import Configured
from harness.types import RunSpec, Weights

Networks = Mapping[str, tuple[nn.Module, Weights]]
"""By name, classifiers of images in [0, 1] with their provenance."""


@dataclass(frozen=True)
class Request:
    """A specification with its suite and its methods, each parsed and built once.

    suite: plugin of `spec.suite`. methods: plugins of `spec.methods`, in their order.
    networks: those of `spec.models` that are objects; the others are looked up by their names.
    """

    spec: RunSpec
    suite: Configured
    methods: Sequence[Configured]
    networks: Networks = field(default_factory=dict)

    @classmethod
    def of(cls, spec: RunSpec) -> Request:
        """The request of a specification alone; raises HarnessError for names and settings that do not exist."""
        suite = plugins.suite.configure(spec.suite)
        axis = plugins.AXES[suite.plugin.axis]
        return cls(spec, suite, [axis.configure(text) for text in spec.methods])
