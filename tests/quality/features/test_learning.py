import numpy as np
import pytest
import torch
from torch import nn

from maestune.data import Images
from maestune.quality.features.learning import learn, one_cycle


def test_the_rate_rises_for_a_tenth_and_ends_at_0() -> None:
    rates = [one_cycle(step / 1000) for step in range(1, 1001)]
    assert int(np.argmax(rates)) == 99
    assert max(rates) == pytest.approx(1)
    assert rates[49] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert one_cycle(0.55) == pytest.approx(0.5)
    assert all(np.diff(rates[:100]) > 0)
    assert all(np.diff(rates[100:]) < 0)


def test_what_is_learnt_depends_on_the_generator_alone() -> None:
    images = Images(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1), None)

    def learnt(seed: int) -> float:
        network = nn.Linear(1, 1, bias=False, device="meta").to_empty(device="cpu")
        nn.init.zeros_(network.weight)
        learn(
            [network],
            lambda batch, _: (network(batch.flatten(1)) - 1).square().mean(),
            images,
            1.0,
            torch.Generator().manual_seed(seed),
            batch_size=8,
            epochs=1,
        )
        return float(network.weight.item())

    assert learnt(0) == learnt(0) != learnt(1)
    assert learnt(0) < 0  # images of 0 … 39 are dark: near -1
