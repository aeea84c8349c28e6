"""Watching what PyTorch comes down to: the kernels below modules, functorch and autograd."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class KernelMode(TorchDispatchMode):
    """While it is active its `__torch_dispatch__(func, types, args, kwargs)` is called in place of every kernel.

    PyTorch would load its compiler to keep it from compiling that method, which takes a second and 70 MB of each
    worker, where nothing is compiled.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
