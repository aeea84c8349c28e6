"""Optimisers against those made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maestune.errors import SettingsError
from maestune.training.optimisers import OPTIMISERS, numbers_of, optimiser_of
from maestune.types import Config

CASES = {
    "adam": (Config.of(optimizer="adam", beta1=0.3, beta2=0.9), lambda p: torch.optim.Adam(p, 0.01, (0.3, 0.9))),
    "adamw": (
        Config.of(optimizer="adam", beta1=0.5, beta2=0.99, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01, (0.5, 0.99), weight_decay=0.1),
    ),
    "rmsprop": (
        Config.of(optimizer="rmsprop", weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, 0.01, weight_decay=0.1),
    ),
    "sgd": (
        Config.of(optimizer="sgd", momentum=0.7, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.7, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_moves_equal_those_of_torch(case: str) -> None:
    config, reference = CASES[case]
    rng = torch.Generator().manual_seed(0)
    start = [torch.randn(4, 3, generator=rng), torch.randn(3, generator=rng)]
    mine, theirs = [t.clone() for t in start], [nn.Parameter(t.clone()) for t in start]
    ours, other = optimiser_of(config), reference(theirs)
    slots = ours.start(mine)
    for moves in range(5):
        for b in theirs:
            b.grad = torch.randn(b.shape, generator=rng)
        ours.move(mine, [b.grad for b in theirs], slots, moves + 1, {**numbers_of(config, ours), "lr": 0.01})
        other.step()
    for a, b, s in zip(mine, theirs, start, strict=True):
        torch.testing.assert_close(a, b.detach())
        assert not torch.equal(a, s)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_many_members_move_as_each_does_alone(name: str) -> None:
    optimiser, k = OPTIMISERS[name], 3
    rng = torch.Generator().manual_seed(0)
    draws = {"beta1": 0.9, "beta2": 0.999, "momentum": 0.9, "weight_decay": 0.3}
    numbers = [
        {n: draws[n] * float(torch.rand((), generator=rng)) for n in optimiser.numbers} | {"lr": 0.01 * (i + 1)}
        for i in range(k)
    ]
    numbers[0]["weight_decay"] = 0.0
    if "momentum" in optimiser.numbers:
        numbers[2]["momentum"] = 0.0
    start = torch.randn(k, 4, 3, generator=rng, dtype=torch.float64)
    alone = [[start[i].clone()] for i in range(k)]
    slots = [optimiser.start(a) for a in alone]
    fused, fused_slots = start.clone(), tuple(torch.zeros_like(start) for _ in optimiser.slots)
    begun = (0, 5, 70)  # members may have had different numbers of moves
    for step in range(6):
        gradient = torch.randn(start.shape, generator=rng, dtype=torch.float64)
        for i in range(k):
            optimiser.move(alone[i], [gradient[i]], slots[i], begun[i] + step + 1, numbers[i])
        vectors = {n: torch.tensor([row[n] for row in numbers], dtype=torch.float64).view(k, 1, 1) for n in numbers[0]}
        vectors["moves"] = torch.tensor([b + step + 1.0 for b in begun], dtype=torch.float64).view(k, 1, 1)
        fused, *rest = optimiser.fused_move(fused, gradient, fused_slots, vectors)
        fused_slots = tuple(rest)
    for i in range(k):
        torch.testing.assert_close(fused[i], alone[i][0], rtol=1e-12, atol=1e-13)
        for slot, stacked in zip(optimiser.slots, fused_slots, strict=True):
            torch.testing.assert_close(stacked[i], slots[i][slot][0], rtol=1e-12, atol=1e-13)


def test_an_unknown_optimiser_is_named() -> None:
    with pytest.raises(SettingsError, match=r"'adamm' is not known\. Did you mean adam"):
        optimiser_of(Config.of(optimizer="adamm"))
