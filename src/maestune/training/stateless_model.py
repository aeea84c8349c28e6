"""A model's modules, used with the tensors of whichever member is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from maestune.data import Batch
from maestune.families.base import Hyper, Loss, Noise, Tensors


class StatelessModel:
    """A model's modules without values of their own: before each use they are given those of a member.

    What `torch.func.functional_call` does, without its search for tied tensors at every call, which takes as long as the
    arithmetic of a small network.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [name for name, _ in model.named_parameters()]
        """Names of the parameters, of tied ones the first."""
        first: dict[int, str] = {}
        self.saved: dict[str, str] = {}
        """Names in the state dict, each with the name under which its tensor is kept here."""
        self._places: dict[str, list[tuple[dict[str, Any], str]]] = {}
        saved = model.state_dict(keep_vars=True)
        for path, module in model.named_modules(remove_duplicate=False):
            for registry in (module._parameters, module._buffers):
                for key, tensor in registry.items():
                    if tensor is not None:
                        full = f"{path}.{key}" if path else key
                        name = first.setdefault(id(tensor), full)
                        self._places.setdefault(name, []).append((registry, key))
                        if full in saved:
                            self.saved[full] = name
        self.model = model.to("meta")  # afterwards tied tensors are no longer known as such

    def with_(self, tensors: Tensors) -> nn.Module:
        """The model with these tensors in the places of its own, until it is given others."""
        for name, places in self._places.items():
            tensor = tensors[name]
            for registry, key in places:
                registry[key] = tensor
        return self.model

    def for_all(
        self, function: Callable[..., Any], tensors: Tensors, axis: int | None, batch: Batch, hyper: Hyper, noise: Any
    ) -> Any:
        """A family's function (model, batch, hyper, noise) for every member.

        `tensors` and `hyper` are stacked (K, …); `axis`: 0 where batch and noise are so too, None where members share them.
        """

        def one(tensors: Tensors, batch: Batch, hyper: Hyper, noise: Any) -> Any:
            return function(self.with_(tensors), batch, hyper, noise)

        return vmap(one, in_dims=(0, axis, 0, axis))(tensors, batch, hyper, noise)

    def graded(
        self,
        loss: Loss,
        tensors: Tensors,
        names: Sequence[str],
        axis: int | None,
        batch: Batch,
        hyper: Hyper,
        noise: Noise,
    ) -> list[Tensor]:
        """Every member's mean loss (K,), then its gradients (K, …) for the tensors of these names."""
        leaves = [tensors[name].detach().requires_grad_() for name in names]
        with_leaves = {**tensors, **dict(zip(names, leaves, strict=True))}
        losses: Tensor = self.for_all(loss, with_leaves, axis, batch, hyper, noise).mean(1)
        # The sum's gradient with respect to a member's parameters is that of the member's own loss.
        gradients = torch.autograd.grad(losses.sum(), leaves, materialize_grads=True)
        return [losses.detach(), *(gradient.contiguous() for gradient in gradients)]

    def tensors_of(self, model: nn.Module) -> dict[str, Tensor]:
        """The parameters and buffers of another model of the same build, by the names used here."""
        found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {name: found[name].detach() for name in self._places}
