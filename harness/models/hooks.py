"""Look at the layers of a network while it runs, and leave it as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

Note = Callable[[str, nn.Module, Any, Any], None]
"""Takes the name of a layer, the layer, its first input and its output."""


@contextmanager
def hooked(layers: Mapping[str, nn.Module], note: Note) -> Iterator[None]:
    """Call `note` after each call of these layers, by name; compiled networks run as they are written.

    Every hook is removed at the end, also after an error, and where a layer takes no hook.
    """

    def hook_of(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: Any, named: Any, outputs: Any) -> None:
            note(name, layer, next(iter((*inputs, *named.values())), None), outputs)

        return hook

    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(hook_of(name), with_kwargs=True).remove)
        stack.enter_context(_uncompiled())
        yield


def _uncompiled() -> AbstractContextManager[Any]:
    """A context in which compiled networks run as they are written: compiled before, they would pass over hooks."""
    # Its import takes seconds, which a run without compiled networks need not wait for.
    if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
        return torch.compiler.set_stance("force_eager")
    return nullcontext()
