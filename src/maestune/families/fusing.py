"""Whether a family's models can be trained many at once, found out by name and by trial."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from maestune.data import Batch, DataSpec
from maestune.errors import MaestuneError, SpaceError
from maestune.families.base import Family, Player, drawer
from maestune.space import within
from maestune.types import Config

BATCH = 4  # images of the trial
SAMPLES = 2
PROMPT = 4  # tokens
# How far a result of many at once may be from that of one, of the largest value: far above what another order of
# adding makes, far below what a wrong tensor makes.
TOLERANCE = 1e-3

_IN_PLACE = (
    "it writes in place into a tensor that all members share; make a new tensor instead (x = x + y, torch.where)"
)
# What torch says, in part, and what it means.
_IN_WORDS = {
    "data-dependent control flow": (
        "it branches on the value of a tensor (if x.sum() > 0), and members may go different ways; use torch.where"
    ),
    ".item()": "it turns a tensor into a Python number (.item(), float(), int()); keep it a tensor",
    "random operation": "it draws random numbers; take them from noise",
    "inplace": _IN_PLACE,
    "doesn't match the broadcast shape": _IN_PLACE,
    "dynamic shape": "the shape of a result depends on values (nonzero, x[mask]); use torch.where",
}


class FunctionModule(nn.Module):
    """A function of a model as a module, for `functional_call`; the model's tensors are named "model.*"."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        """The function of the model and the inputs."""
        return self.function(self.model, *inputs)


def draws_itself(module: nn.Module) -> bool:
    """Whether a module draws random numbers of its own when it is called as it is (in training mode, usually)."""
    if not module.training:
        return False
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout > 0
    return isinstance(module, nn.RReLU)


def why_not_fused(family: Family, config: Config, spec: DataSpec) -> str:
    """Why models of this config cannot be trained many at once, in one sentence; "" when they can.

    Looks for modules known not to be able to, then tries the losses, their gradients and the samples of two small
    members: what `torch.func.vmap` refuses, or what comes out other than one at a time, cannot be fused. On the CPU, in
    a few milliseconds; global random state is not touched.
    """
    try:
        small = _small(config)
        model = family.build(small, spec, _generator(0))
        players = family.players(small, spec)
        alone = f"{players[0].name}." if len(players) == 1 else ""
        for path, module in model.named_modules():
            reason = _refused(module)
            if reason:
                name = path.removeprefix(alone) if path != alone.rstrip(".") else "the network"
                return f"{name} ({type(module).__name__}) {reason}"
        with warnings.catch_warnings():
            # That an operation is computed one member after the other is no reason: the others are not.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return _tried(family, players, (small, _small(_sibling(family, config, spec))), spec, alone)
    except Exception as error:  # whatever goes wrong in a user's code is the answer; training it will raise it again
        return _in_words(error)


def _refused(module: nn.Module) -> str:
    if isinstance(module, _BatchNorm | _InstanceNorm) and module.track_running_stats and module.training:
        return "keeps running statistics; use maestune.families.layers.BatchNorm or track_running_stats=False"
    if draws_itself(module):
        what = "its own mask; take its uniforms" if isinstance(module, _DropoutNd) else "random numbers; take them"
        return f"draws {what} from noise"
    if isinstance(module, nn.RNNBase):
        return (
            "keeps its weights in a list of its own, where those of a member cannot be put; use the cell (nn.LSTMCell)"
        )
    return ""


def _sibling(family: Family, config: Config, spec: DataSpec) -> Config:
    """Another config of the same structure, as far away as can be: it could meet this one in a group."""
    network = config.get("network")
    try:
        space = within(family.space(spec, network if isinstance(network, str) else None), config, family.fusible)
        varying = [param for param in space.varying if param.name in config]
        far = {param.name: param.from_unit((param.to_unit(config[param.name]) + 0.5) % 1.0) for param in varying}
        return space.complete({name: far.get(name, value) for name, value in config.items_})
    except SpaceError:  # values that the default space does not have: a twin must do
        return config


def _small(config: Config) -> Config:
    return config.with_(batch_size=BATCH) if "batch_size" in config else config


def _tried(family: Family, players: Sequence[Player], configs: Sequence[Config], spec: DataSpec, alone: str) -> str:
    """What is wrong with members of these configs, computed at once."""
    models = [family.build(config, spec, _generator(k)) for k, config in enumerate(configs)]
    rows = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
    for name, tensor in rows[0].items():
        shapes = {tuple(row[name].shape) for row in rows if name in row} | {tuple(tensor.shape)}
        if len(shapes) > 1 or any(set(row) != set(rows[0]) for row in rows):
            return f"{name.removeprefix(alone)} differs in shape between configs that `fusible` says can run as one"
    stacked = {name: torch.stack([row[name].detach() for row in rows]) for name in rows[0]}
    hypers = [family.hyper(config, 0.5) for config in configs]
    hyper = {name: torch.tensor([numbers[name] for numbers in hypers]) for name in hypers[0]}
    batch = _example(configs[0], spec)
    turns = [(p, loss) for p in players for loss in (p.loss, *((p.lazy[1],) if p.lazy else ()))]
    for player, player_loss in turns:
        noise = drawer(player.noise)(_generator(3))
        names = [name for name in rows[0] if name.startswith(f"{player.name}.") and rows[0][name].requires_grad]
        leaves = [stacked[name].clone().requires_grad_() for name in names]
        call = FunctionModule(models[0], player_loss)

        def one(tensors: Mapping[str, Tensor], numbers: Mapping[str, Tensor]) -> Tensor:
            return functional_call(call, _named(tensors), (batch, numbers, noise))  # noqa: B023

        copies = {name: tensor.clone() for name, tensor in stacked.items()}
        losses = vmap(one)({**copies, **dict(zip(names, leaves, strict=True))}, hyper)
        found = _gradients(losses.mean(1).sum(), leaves)
        for k, (model, numbers) in enumerate(zip(models, hypers, strict=True)):
            alone_losses = player_loss(model, batch, numbers, noise)
            expected = _gradients(alone_losses.mean(), [rows[k][name] for name in names])
            for name, buffer in model.named_buffers():
                if not torch.equal(buffer, stacked[name][k]):
                    return f"{name.removeprefix(alone)} is a buffer that the loss writes; losses must not keep a state"
            pairs = zip((losses, *found), (alone_losses, *expected), strict=True)
            if not all(_close(many[k], single) for many, single in pairs):
                return (
                    "the loss gives other numbers for many members at once than for one; something enters it that is "
                    "neither the model's registered tensors nor its inputs (a list of parameters, a cache, random numbers)"
                )
    draws = {**drawer(family.latents(configs[0], spec, SAMPLES))(_generator(4)), **_asked(spec)}
    with torch.no_grad():
        generate = FunctionModule(models[0], family.generate)

        def sample(tensors: Mapping[str, Tensor], numbers: Mapping[str, Tensor]) -> Tensor:
            return functional_call(generate, _named(tensors), (numbers, draws))

        vmap(sample)(stacked, hyper)
    return ""


def _example(config: Config, spec: DataSpec) -> Batch:
    """A batch of random data."""
    if spec.tokens:
        shape = (BATCH, int(config.number("context")) + 1)
        return {"tokens": torch.randint(spec.tokens, shape, generator=_generator(2))}
    return {"image": torch.rand(BATCH, *spec.shape, generator=_generator(2)) * 2 - 1, **_conditions(spec, BATCH)}


def _asked(spec: DataSpec) -> Batch:
    """What samples could be asked for."""
    if spec.tokens:
        return {"prompt": torch.randint(spec.tokens, (SAMPLES, PROMPT), generator=_generator(5))}
    return _conditions(spec, SAMPLES)


def _conditions(spec: DataSpec, n: int) -> Batch:
    found: dict[str, Tensor] = {}
    if spec.classes:
        found["label"] = torch.randint(spec.classes, (n,), generator=_generator(6))
    if spec.words:
        found["caption"] = torch.randint(spec.words, (n, spec.caption_words), generator=_generator(7))
    return found


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": tensor for name, tensor in tensors.items()}


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
    return torch.autograd.grad(loss, parameters, materialize_grads=True)


def _close(many: Tensor, single: Tensor) -> bool:
    many, single = many.detach(), single.detach()
    if not bool(torch.isfinite(single).all()):
        return True  # nothing to compare
    scale = float(single.abs().max()) if single.numel() else 0.0
    return bool(((many - single).abs() <= TOLERANCE * scale + 1e-6).all())


def _in_words(error: Exception) -> str:
    if isinstance(error, MaestuneError):
        return str(error)
    text = str(error)
    for part, words in _IN_WORDS.items():
        if part in text:
            return f"the network or its loss cannot be computed for many members at once: {words}"
    lines = text.strip().splitlines() or ["no message"]
    return f"the network or its loss cannot be computed for many members at once: {type(error).__name__}: {lines[0]}"
