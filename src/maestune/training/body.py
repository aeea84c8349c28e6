"""A model's modules, used with the tensors of whichever member is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Body:
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

    def with_(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        """The model with these tensors in the places of its own, until it is given others."""
        for name, places in self._places.items():
            tensor = tensors[name]
            for registry, key in places:
                registry[key] = tensor
        return self.model

    def tensors_of(self, model: nn.Module) -> dict[str, Tensor]:
        """The parameters and buffers of another model of the same build, by the names used here."""
        found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {name: found[name].detach() for name in self._places}
