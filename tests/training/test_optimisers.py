"""Optimisers against those made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maestune.errors import SettingsError
from maestune.training.optimisers import make_optimiser
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
def test_steps_equal_those_of_a_hand_made_optimiser(case: str) -> None:
    config, reference = CASES[case]
    rng = torch.Generator().manual_seed(0)
    start = [torch.randn(4, 3, generator=rng), torch.randn(3, generator=rng)]
    mine, theirs = ([nn.Parameter(t.clone()) for t in start] for _ in range(2))
    ours, other = make_optimiser(mine, config, 0.01), reference(theirs)
    for _ in range(5):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=rng)
            b.grad = a.grad.clone()
        ours.step()
        other.step()
    for a, b, s in zip(mine, theirs, start, strict=True):
        torch.testing.assert_close(a, b)
        assert not torch.equal(a, s)


def test_an_unknown_optimiser_is_named() -> None:
    with pytest.raises(SettingsError, match=r"'adamm' is not known\. Did you mean adam"):
        make_optimiser([nn.Parameter(torch.zeros(1))], Config.of(optimizer="adamm"), 0.1)
