"""Networks on loan: an evaluation changes a network on its way, and hands it back as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

COPIED = ("_parameters", "_buffers", "_modules")
"""Attributes of a module, beside those of its hooks, whose dictionaries are changed in place."""


@contextmanager
def borrowed(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Whatever happens inside, the networks, and torch's settings for GPUs, are afterwards as they were before.

    An evaluation sets networks to evaluation mode, switches off parameters' gradients, moves them to its device and
    gives convolutions another memory format. Parameters and buffers are put back as the same objects with the same
    storage: nothing is copied for that, so that a network takes more memory only where it is moved.
    """
    loans = [_Loan(module) for module in _modules(networks)]
    flags = _flags()
    try:
        yield
    finally:
        for loan in loans:
            loan.restore()
        _set_flags(*flags)


def _modules(networks: Iterable[nn.Module]) -> list[nn.Module]:
    """Every module of the networks once."""
    return list({id(module): module for network in networks for module in network.modules()}.values())


class _Loan:
    """The state of one module, without its submodules."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        self._scripted = isinstance(module, torch.jit.ScriptModule)
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        self._tensors = [(tensor, tensor.data, tensor.requires_grad) for tensor in tensors]
        grads = [(tensor, tensor.grad) for tensor in tensors if tensor.is_leaf]
        self._grads = [(tensor, grad, None if grad is None else grad.data) for tensor, grad in grads]
        self._attributes = {} if self._scripted else dict(vars(module))
        dictionaries = {name: d for name, d in self._attributes.items() if name in COPIED or name.endswith("_hooks")}
        self._contents = [(dictionary, dict(dictionary)) for dictionary in dictionaries.values()]

    def restore(self) -> None:
        """Give the module back."""
        for tensor, data, requires_grad in self._tensors:
            _put_back(tensor, data)
            tensor.requires_grad_(requires_grad)
        for tensor, grad, numbers in self._grads:
            if grad is not None and numbers is not None:
                _put_back(grad, numbers)
            tensor.grad = grad
        if self._scripted:
            self._module.train(self._training)
            return
        for dictionary, contents in self._contents:
            dictionary.clear()
            dictionary.update(contents)
        own: dict[str, Any] = vars(self._module)
        own.clear()
        own.update(self._attributes)


def _put_back(tensor: Tensor, data: Tensor) -> None:
    if tensor.data_ptr() != data.data_ptr() or tensor.stride() != data.stride():
        tensor.data = data


def _flags() -> tuple[bool, bool, bool]:
    """Settings that `harness.models.tiles.repeatable` makes."""
    return (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.deterministic,
    )


def _set_flags(convolutions: bool, products: bool, deterministic: bool) -> None:
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.deterministic = deterministic
