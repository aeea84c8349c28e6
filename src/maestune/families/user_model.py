"""A family of the user's own: networks in plain PyTorch, a loss, and how samples are made; the rest is ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from maestune.data import Batch, DataSpec
from maestune.errors import SettingsError
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player
from maestune.families.fusing import FunctionModule, draws_itself
from maestune.families.training_space import NUMBERS, SWITCHES
from maestune.space import Choice, Fusible, Param, Role, Space
from maestune.types import Config

FULL_STEPS = 2000
# The numbers of optimisation: they never enter a network's code. Of the moving average, whether it is kept does.
OPTIMISATION = Fusible(NUMBERS, SWITCHES)
MAX_SEED = 2**63 - 1

Build = Callable[[Config, DataSpec], nn.Module]
Draws = Callable[[Config, DataSpec], Mapping[str, NoiseSpec]]
Latents = Callable[[Config, DataSpec, int], Mapping[str, NoiseSpec]]
Numbers = Callable[[Config, float], Mapping[str, float]]
# Any: functions of the user's own class of network.
OwnLoss = Callable[[Any, Batch, Hyper, Noise], Tensor]
Generate = Callable[[Any, Hyper, Noise], Tensor]
Signals = Callable[[Any, Batch, Hyper, Noise], Mapping[str, Tensor]]


class SinglePlayerModel(nn.Module):
    """The user's network as the only player, its moving average if any, and what it learns from.

    `drawn`: where modules draw random numbers of their own (nn.Dropout), the seed of the next draw.
    """

    drawn: Tensor | None

    def __init__(self, network: nn.Module, average: nn.Module | None, spec: DataSpec, seed: int | None) -> None:
        super().__init__()
        self.network = network
        self.average = average
        self.spec = spec
        self.register_buffer("drawn", None if seed is None else torch.tensor(seed))


@dataclass(frozen=True, init=False)
class Network(Family):
    """A family of one network with one loss, for images (C, H, W) in [-1, 1] or text.

    `space`: what may vary. It needs `lr`; `optimizer` (adam), `beta1` (0.9), `beta2` (0.999) and `batch_size` (64) are
    added, fixed, where they are missing. `momentum`, `weight_decay`, `l1`, `clip`, `schedule` with its numbers and `ema` (the decay
    of a moving average of the weights, from which samples are then drawn) are used where they are there.
    `build(config, spec)`: the network, in plain PyTorch, on the CPU. Its weights may be drawn from the global generator:
    that is seeded for the call and put back. All its parameters are trained.
    `loss(network, batch, hyper, noise)`: losses (B,), one for each image of `batch["image"]` (B, C, H, W); labels (B,) and
    captions are in `batch["label"]` and `batch["caption"]`, text in `batch["tokens"]` (B, T + 1). Pure: random numbers
    come from `noise`, numbers of the config from `hyper`. After the first steps it is no longer called: what it came down to
    is played (`training/replay.py`), unless it draws, keeps or looks at values itself.
    `noise(config, spec)`: the random tensors that the loss needs in a step, by name; none when left out.
    `latents(config, spec, n)`: those that n samples are made from. `generate(network, hyper, noise)`: samples (n, C, H, W) in
    [-1, 1] from them, or tokens (n, T), with the network in evaluation mode; `noise` also has what samples are asked for
    (`label`, `caption`, `prompt`), where the data have such.
    `hyper(config, progress)`: the numbers that the loss gets at a progress in (0, 1), always of the same names; when left
    out every number of the config (0 for one that is inactive in it).
    `signals(network, batch, hyper, noise)`: numbers (0-dimensional tensors) worth watching beside the loss.
    `fusible`: what may differ between members trained as one, beside the numbers of optimisation, which always may: plain
    numbers that reach the loss by `hyper` alone. `full_steps`: length of a full training. `data`, `objective`: what to
    learn from and to be evaluated by where nothing else is said.
    Raises SettingsError for what cannot be used.
    """

    _space: Space
    _build: Build
    _loss: OwnLoss
    _noise: Draws | None
    _latents: Latents
    _generate: Generate
    _hyper: Numbers | None
    _signals: Signals | None
    _full_steps: int
    data: str | None
    # With values, so that they stand in the places of the family's properties, which could not be set.
    name: str = "network"
    fusible: Fusible = OPTIMISATION
    objectives: tuple[str, ...] = ("fd",)

    def __init__(
        self,
        *,
        space: Space,
        build: Build,
        loss: OwnLoss,
        latents: Latents,
        generate: Generate,
        noise: Draws | None = None,
        hyper: Numbers | None = None,
        signals: Signals | None = None,
        fusible: Fusible = Fusible(),
        full_steps: int = FULL_STEPS,
        data: str | None = None,
        objective: str | tuple[str, ...] = "fd",
        name: str = "network",
    ) -> None:
        for what, function in {"build": build, "loss": loss, "latents": latents, "generate": generate}.items():
            if not callable(function):
                raise SettingsError(f"{what}: {function!r} is not a function.")
        if full_steps < 1:
            raise SettingsError(f"full_steps: {full_steps} is no length of a training; give at least 1.")
        values: dict[str, Any] = {
            "name": name,
            "fusible": Fusible(
                OPTIMISATION.numbers | set(fusible.numbers), OPTIMISATION.switches | set(fusible.switches)
            ),
            "data": data,
            "objectives": (objective,) if isinstance(objective, str) else tuple(objective) or ("fd",),
            "_space": completed(space),
            "_build": build,
            "_loss": loss,
            "_noise": noise,
            "_latents": latents,
            "_generate": generate,
            "_hyper": hyper,
            "_signals": signals,
            "_full_steps": full_steps,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        """The given space, completed; the same for all data."""
        del spec, network
        return self._space

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        """The given length of a full training, in steps."""
        del spec, n_train
        return self._full_steps

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> SinglePlayerModel:
        """The network with weights that depend on the generator alone, on its device; global random state stays."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_seed(generator))
            network: Any = self._build(config, spec)
        if not isinstance(network, nn.Module):
            raise SettingsError(f"build: gave {type(network).__name__}; a torch.nn.Module is needed.")
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                raise SettingsError(
                    f"build: the parameter {name} does not require a gradient, but all parameters are trained; register "
                    "what stays as it is with register_buffer."
                )
        average = None
        if config.number("ema", 0.0) > 0:
            average = copy.deepcopy(network).requires_grad_(False)
        seed = _seed(generator) if any(map(draws_itself, network.modules())) else None
        return SinglePlayerModel(network, average, spec, seed).to(generator.device)

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        """One player, the network."""
        noise = dict(self._noise(config, spec)) if self._noise is not None else {}
        average = "average" if config.number("ema", 0.0) > 0 else ""
        return (Player("network", self._losses, noise, average=average),)

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        """The numbers that the loss gets: the user's, or every number of the config and 0 for those inactive in it."""
        if self._hyper is not None:
            return {name: float(value) for name, value in self._hyper(config, progress).items()}
        # Members of a group must have the same names, also where a parameter is active in some of them only.
        numbers = {param.name: 0.0 for param in self._space if _is_number(param)}
        for name, value in config.items_:
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers[name] = float(value)
        return numbers

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        """What n samples are made from."""
        return dict(self._latents(config, spec, n))

    @torch.no_grad()
    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        """Samples, of the moving average where it is kept; SettingsError where they have another shape."""
        assert isinstance(model, SinglePlayerModel)
        network = model.network if model.average is None else model.average
        with _evaluating(network):
            if model.average is None:
                samples = self._generate(network, hyper, noise)
            else:  # only parameters are averaged; buffers (running statistics) are those of the network
                buffers = {f"model.{name}": buffer for name, buffer in model.network.named_buffers()}
                samples = functional_call(FunctionModule(network, self._generate), buffers, (hyper, noise))
        shape = model.spec.shape
        fits = samples.ndim == 4 and samples.shape[1:] == shape if shape else samples.ndim == 2
        if not fits:
            needed = ", ".join(map(str, shape)) if shape else "tokens"
            raise SettingsError(f"generate: gave samples of shape {tuple(samples.shape)}; (n, {needed}) is needed.")
        return samples

    @torch.no_grad()
    def signals(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Mapping[str, Noise]) -> dict[str, Tensor]:
        """The user's signals, none where there are none."""
        assert isinstance(model, SinglePlayerModel)
        if self._signals is None:
            return {}
        with nullcontext() if model.drawn is None else _seeded(model.drawn):
            return dict(self._signals(model.network, batch, hyper, noise["network"]))

    def _losses(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
        """The user's losses (B,), checked."""
        assert isinstance(model, SinglePlayerModel)
        if model.drawn is None:
            losses = self._loss(model.network, batch, hyper, noise)
        else:
            # A paused training goes on as if it had not been: how often was drawn is a part of the model's state.
            with _seeded(model.drawn):
                losses = self._loss(model.network, batch, hyper, noise)
            model.drawn.add_(1)
        size = next(iter(batch.values())).shape[0]
        if losses.shape != (size,):
            raise SettingsError(
                f"loss: gave a tensor of shape {tuple(losses.shape)} for a batch of {size}; "
                f"({size},) is needed, one loss for each image or text, before any mean over the batch."
            )
        return losses


def completed(space: Space) -> Space:
    """The space with what the training needs and it does not say, as fixed parameters behind its own.

    Raises SettingsError where there is no `lr`.

    >>> from maestune.space import Float
    >>> [param.name for param in completed(Space((Float("lr", 1e-4, 1e-2),)))]
    ['lr', 'optimizer', 'beta1', 'beta2', 'batch_size']
    """
    params = list(space)
    names = {param.name for param in params}
    if "lr" not in names:
        raise SettingsError(
            "space: there is no `lr`, the learning rate, in it; add it, for example "
            'Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(1e-3)).'
        )

    def add(name: str, value: float | str, role: Role = Role.OPTIMIZER, *, only: tuple[str, str] | None = None) -> None:
        if name in names:
            return
        param = Choice(name, (value,), role=role)
        if only is not None:
            parent, needed = only
            kinds = next((p.values for p in params if p.name == parent and isinstance(p, Choice)), ())
            if needed not in kinds:
                return
            if len(kinds) > 1:
                param = replace(param, when={parent: (needed,)})
        params.append(param)

    add("optimizer", "adam")
    add("beta1", 0.9, only=("optimizer", "adam"))
    add("beta2", 0.999, only=("optimizer", "adam"))
    add("batch_size", 64)
    add("decay", 0.2, only=("schedule", "wsd"))
    return Space(tuple(params))


def _is_number(param: Param) -> bool:
    if isinstance(param, Choice):
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in param.values)
    return True


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(MAX_SEED, (), generator=generator, device=generator.device))


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode for a moment; each module is then as it was."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _seeded(seed: Tensor) -> Iterator[None]:
    """Global random state as a seed says, for modules that draw from it; it is put back."""
    cuda = [seed.device] if seed.is_cuda else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(int(seed))
        if cuda:
            torch.cuda.manual_seed(int(seed))
        yield
