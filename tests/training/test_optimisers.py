"""Optimisers against PyTorch's own classes, shrinking and clipping against independent formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import softshrink

from maestune.errors import SettingsError
from maestune.training.optimisers import (
    OPTIMISERS,
    clipped,
    clipped_rows,
    numbers_of,
    optimiser_of,
    row_norms,
)
from maestune.types import Config

LR = 0.01
Make = Callable[[list[dict[str, object]]], torch.optim.Optimizer]
CASES: dict[str, tuple[Config, Make]] = {
    "adam": (
        Config.of(optimizer="adam", beta1=0.3, beta2=0.9),
        lambda p: torch.optim.Adam(p, LR, (0.3, 0.9)),
    ),
    "adamw": (
        Config.of(optimizer="adam", beta1=0.5, beta2=0.99, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, LR, (0.5, 0.99)),
    ),
    "adam, l1 and clipped": (
        Config.of(optimizer="adam", beta1=0.5, beta2=0.99, l1=0.3, clip=1.5),
        lambda p: torch.optim.Adam(p, LR, (0.5, 0.99)),
    ),
    "adamw, l1 and clipped": (
        Config.of(optimizer="adam", beta1=0.9, beta2=0.99, weight_decay=0.2, l1=0.3, clip=2.0),
        lambda p: torch.optim.AdamW(p, LR, (0.9, 0.99)),
    ),
    "rmsprop": (
        Config.of(optimizer="rmsprop", weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, LR),
    ),
    "rmsprop with momentum, l1 and clipped": (
        Config.of(optimizer="rmsprop", momentum=0.8, weight_decay=0.1, l1=1.0, clip=2.0),
        lambda p: torch.optim.RMSprop(p, LR, momentum=0.8),
    ),
    "sgd": (
        Config.of(optimizer="sgd", weight_decay=0.1),
        lambda p: torch.optim.SGD(p, LR),
    ),
    "sgd with momentum, l1 and clipped": (
        Config.of(optimizer="sgd", momentum=0.7, weight_decay=0.1, l1=2.0, clip=1.0),
        lambda p: torch.optim.SGD(p, LR, momentum=0.7),
    ),
}
SHAPES = ((4, 3), (3,), (2, 2, 3, 3), (), (5, 1))
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_moves_equal_those_of_torch(case: str, device: str) -> None:
    """Tensors of two dimensions or more in a group that decays, the others in one that does not, as in nanoGPT."""
    config, make = CASES[case]
    rng = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=rng).to(device) for shape in SHAPES]
    mine, theirs = [t.clone() for t in start], [nn.Parameter(t.clone()) for t in start]
    decay, l1, clip = (config.number(name, 0.0) for name in ("weight_decay", "l1", "clip"))
    matrices = [p for p in theirs if p.ndim >= 2]
    other = make(
        [
            {"params": matrices, "weight_decay": decay},
            {"params": [p for p in theirs if p.ndim < 2], "weight_decay": 0.0},
        ]
    )
    optimiser = optimiser_of(config)
    numbers = {**numbers_of(config, optimiser), "lr": LR}
    slots = optimiser.start(mine)
    cut = 0
    for moves in range(6):
        for p in theirs:
            p.grad = torch.randn(p.shape, generator=rng).to(device) * (0.05 if moves == 2 else 1.0)
        gradients = clipped([p.grad.clone() for p in theirs if p.grad is not None], numbers["clip"])
        optimiser.move(mine, gradients, slots, moves + 1, numbers)
        if clip:
            cut += bool(nn.utils.clip_grad_norm_(theirs, clip) > clip)
        other.step()
        if l1:
            for p in matrices:
                p.data = softshrink(p.data, LR * l1)
    for a, b, s in zip(mine, theirs, start, strict=True):
        torch.testing.assert_close(a, b.detach())
        assert not torch.equal(a, s)
    assert cut == (5 if clip else 0)  # the small one was not


@pytest.mark.parametrize("name", OPTIMISERS)
def test_weight_decay_is_for_matrices_alone(name: str) -> None:
    """Without a gradient only decay moves anything."""
    optimiser = OPTIMISERS[name]
    parameters = [torch.ones(shape) for shape in SHAPES]
    numbers = dict.fromkeys(optimiser.numbers, 0.0) | {"lr": 0.1, "weight_decay": 0.5}
    optimiser.move(parameters, [torch.zeros_like(p) for p in parameters], optimiser.start(parameters), 1, numbers)
    for parameter in parameters:
        moved = bool((parameter < 1).all())
        assert moved == (parameter.ndim >= 2)
        assert moved or bool((parameter == 1).all())
    if name == "sgd":
        torch.testing.assert_close(parameters[0], torch.full((4, 3), 0.95))


def test_l1_finds_the_lasso_of_orthogonal_columns() -> None:
    """Descent on ½ ‖y − Xw‖² with l1 ends at the soft threshold of the least squares (Tibshirani 1996), zeros exact."""
    rng = torch.Generator().manual_seed(3)
    x, _ = torch.linalg.qr(torch.randn(20, 6, generator=rng, dtype=torch.float64))
    y = torch.randn(20, 1, generator=rng, dtype=torch.float64)
    l1 = 0.3
    w = torch.zeros(6, 1, dtype=torch.float64)
    optimiser = OPTIMISERS["sgd"]
    numbers = {"lr": 0.1, "l1": l1, "weight_decay": 0.0, "momentum": 0.0, "clip": 0.0}
    slots = optimiser.start([w])
    for moves in range(500):
        optimiser.move([w], [x.T @ (x @ w - y)], slots, moves + 1, numbers)
    least = x.T @ y
    expected = least.sign() * (least.abs() - l1).clamp(min=0)
    torch.testing.assert_close(w, expected)
    assert 0 < int((w == 0).sum()) < 6


def test_l1_leaves_what_does_not_multiply() -> None:
    parameters = [torch.full(shape, 0.5) for shape in SHAPES]
    optimiser = OPTIMISERS["adam"]
    numbers = {"lr": 0.1, "l1": 100.0, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.9, "clip": 0.0}
    optimiser.move(parameters, [torch.zeros_like(p) for p in parameters], optimiser.start(parameters), 1, numbers)
    for parameter in parameters:
        assert torch.equal(parameter, torch.full_like(parameter, 0.0 if parameter.ndim >= 2 else 0.5))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(4, 3), (5,), ()])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_many_members_move_as_each_does_alone(name: str, shape: tuple[int, ...], device: str) -> None:
    optimiser, k = OPTIMISERS[name], 4
    rng = torch.Generator().manual_seed(0)
    draws = {"beta1": 0.9, "beta2": 0.999, "momentum": 0.9, "weight_decay": 0.3, "l1": 3.0, "clip": 2.0}
    numbers = [
        {n: draws[n] * float(torch.rand((), generator=rng)) for n in optimiser.numbers} | {"lr": 0.01 * (i + 1)}
        for i in range(k)
    ]
    # What may be off in one member and on in another.
    for member, off in ((0, "weight_decay"), (1, "l1"), (2, "momentum"), (3, "clip")):
        if off in optimiser.numbers:
            numbers[member][off] = 0.0
    start = torch.randn(k, *shape, generator=rng, dtype=torch.float64).to(device)
    alone = [[start[i].clone()] for i in range(k)]
    slots = [optimiser.start(a) for a in alone]
    fused, fused_slots = start.clone(), tuple(torch.zeros_like(start) for _ in optimiser.slots)
    begun = (0, 5, 70, 1)  # members may have had different numbers of moves
    vectors = {n: torch.tensor([row[n] for row in numbers], dtype=torch.float64, device=device) for n in numbers[0]}
    for step in range(6):
        gradient = torch.randn(start.shape, generator=rng, dtype=torch.float64).to(device)
        for i in range(k):
            one = clipped([gradient[i]], numbers[i]["clip"])
            optimiser.move(alone[i], one, slots[i], begun[i] + step + 1, numbers[i])
        (gradient,) = clipped_rows([gradient], row_norms([gradient]), vectors["clip"])
        moves = torch.tensor([b + step + 1.0 for b in begun], dtype=torch.float64, device=device)
        now = {**vectors, **optimiser.corrections(vectors, moves)}
        over = {n: v.view(k, *(1,) * len(shape)) for n, v in now.items()}
        fused, *rest = optimiser.fused_move(fused, gradient, fused_slots, over)
        fused_slots = tuple(rest)
    for i in range(k):
        torch.testing.assert_close(fused[i], alone[i][0], rtol=1e-12, atol=1e-13)
        for slot, stacked in zip(optimiser.slots, fused_slots, strict=True):
            torch.testing.assert_close(stacked[i], slots[i][slot][0], rtol=1e-12, atol=1e-13)


def gradients_of(rng: torch.Generator, scale: float = 1.0) -> list[Tensor]:
    return [torch.randn(shape, generator=rng) * scale for shape in SHAPES]


def as_torch_clips(gradients: Sequence[Tensor], clip: float) -> list[Tensor]:
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_(parameters, clip)
    return [p.grad for p in parameters if p.grad is not None]


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_clipping_is_that_of_torch(scale: float, clip: float, seed: int) -> None:
    gradients = gradients_of(torch.Generator().manual_seed(seed), scale)
    before = [g.clone() for g in gradients]
    for mine, theirs in zip(clipped(gradients, clip), as_torch_clips(gradients, clip), strict=True):
        assert torch.equal(mine, theirs)
    assert all(map(torch.equal, gradients, before))  # they are still told as they were
    assert float(nn.utils.get_total_norm(clipped(gradients, clip))) <= clip * (1 + 1e-5)


def test_rows_are_clipped_each_by_its_own_number() -> None:
    rng = torch.Generator().manual_seed(0)
    clips = [0.0, 1e-2, 3.0, 1e9, 0.0, 1.0]
    members = [gradients_of(rng) for _ in clips]
    members[4][0][0, 0] = float("nan")
    members[5] = [torch.zeros_like(g) for g in members[5]]
    stacked = [torch.stack(same) for same in zip(*members, strict=True)]
    norms = row_norms(stacked)
    found = clipped_rows(stacked, norms, torch.tensor(clips))
    for k, (member, clip) in enumerate(zip(members, clips, strict=True)):
        if k != 4:
            torch.testing.assert_close(norms[k], nn.utils.get_total_norm(member))
        expected = as_torch_clips(member, clip) if clip else member
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine[k], theirs, equal_nan=True)
            if clip in (0.0, 1e9):  # to the last bit: whether a neighbour is clipped must not matter
                assert torch.equal(mine[k].nan_to_num(7), theirs.nan_to_num(7))


def test_rows_do_not_depend_on_how_many_there_are() -> None:
    rng = torch.Generator().manual_seed(1)
    stacked = [torch.randn(6, *shape, generator=rng) for shape in SHAPES]
    clips = torch.tensor([0.5, 0.0, 1.0, 2.0, 0.1, 3.0])
    found = clipped_rows(stacked, row_norms(stacked), clips)
    few = [g[:2] for g in stacked]
    for a, b in zip(found, clipped_rows(few, row_norms(few), clips[:2]), strict=True):
        assert torch.equal(a[:2], b)


def test_fused_moves_can_be_compiled_and_vectorised() -> None:
    """No value is looked at on the way: the same numbers come of it under vmap, where every one is a 0-dim tensor."""
    optimiser = OPTIMISERS["adam"]
    rng = torch.Generator().manual_seed(2)
    p, g = (torch.randn(3, 4, 2, generator=rng) for _ in range(2))
    slots = tuple(torch.rand(3, 4, 2, generator=rng) for _ in optimiser.slots)
    numbers = {n: torch.rand(3, generator=rng) for n in (*optimiser.numbers, "lr")}
    numbers |= optimiser.corrections(numbers, torch.full((3,), 4.0))
    together = optimiser.fused_move(p, g, slots, {n: v.view(3, 1, 1) for n, v in numbers.items()})

    def one(p: Tensor, g: Tensor, slots: tuple[Tensor, ...], numbers: dict[str, Tensor]) -> tuple[Tensor, ...]:
        moved = optimiser.fused_move(p[None], g[None], tuple(s[None] for s in slots), numbers)
        return tuple(tensor[0] for tensor in moved)

    for a, b in zip(together, torch.func.vmap(one)(p, g, slots, numbers), strict=True):
        torch.testing.assert_close(a, b)


def test_numbers_are_read_with_what_is_off() -> None:
    optimiser = optimiser_of(Config.of(optimizer="sgd"))
    assert numbers_of(Config.of(), optimiser) == {"momentum": 0.0, "weight_decay": 0.0, "l1": 0.0, "clip": 0.0}
    given = Config.of(momentum=0.5, weight_decay=0.1, l1=0.2, clip=1.0)
    assert numbers_of(given, optimiser) == dict(given)
    with pytest.raises(KeyError, match="beta1"):
        numbers_of(given, OPTIMISERS["adam"])


def test_an_unknown_optimiser_is_named() -> None:
    with pytest.raises(SettingsError, match=r"'adamm' is not known\. Did you mean adam"):
        optimiser_of(Config.of(optimizer="adamm"))
