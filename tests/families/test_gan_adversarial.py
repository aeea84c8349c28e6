"""The games against independent formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from gan_cases import rng
from torch import Tensor

from maestune.families.gan.adversarial import GAMES

HYPER = {"label_smoothing": 0.2, "label_smoothing_fake": 0.1, "margin": 1.7}


def entropy(scores: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(scores.sigmoid(), torch.full_like(scores, target), reduction="none")


def below(x: Tensor) -> Tensor:
    return torch.minimum(torch.zeros_like(x), x)


REFERENCE_D = {
    "ns": lambda r, f, s, t, m: entropy(r, 1 - s) + entropy(f, t),
    "hinge": lambda r, f, s, t, m: -below(r - m) - below(-f - m),
    "ls": lambda r, f, s, t, m: ((r - 1 + s).pow(2) + (f - t).pow(2)) / 2,
    "wgan": lambda r, f, s, t, m: -(r - f),
    "relativistic": lambda r, f, s, t, m: entropy(r - f, 1.0),
    "relativistic_average": lambda r, f, s, t, m: entropy(r - f.mean(), 1.0) + entropy(f - r.mean(), 0.0),
}
REFERENCE_G = {
    "ns": lambda f, r: -torch.log(f.sigmoid()),
    "hinge": lambda f, r: -f,
    "ls": lambda f, r: (f - 1).pow(2) / 2,
    "wgan": lambda f, r: -f,
    "relativistic": lambda f, r: entropy(f - r, 1.0),
    "relativistic_average": lambda f, r: entropy(r - f.mean(), 0.0) + entropy(f - r.mean(), 1.0),
}


@pytest.mark.parametrize("loss", GAMES)
def test_losses_of_scores(loss: str) -> None:
    r, f = torch.randn(2, 50, generator=rng(), dtype=torch.float64) * 3
    for hyper in (HYPER, {}):
        expected = REFERENCE_D[loss](r, f, *((0.2, 0.1, 1.7) if hyper else (0.0, 0.0, 1.0)))
        torch.testing.assert_close(GAMES[loss].discriminator(r, f, hyper), expected)
    torch.testing.assert_close(GAMES[loss].generator(f, r), REFERENCE_G[loss](f, r))
    if not GAMES[loss].relative:
        torch.testing.assert_close(GAMES[loss].generator(f, None), REFERENCE_G[loss](f, r))


@pytest.mark.parametrize("loss", GAMES)
def test_the_discriminator_wants_real_up_and_fake_down_and_the_generator_fake_up(loss: str) -> None:
    adversarial = GAMES[loss]
    r, f = torch.tensor([0.3], requires_grad=True), torch.tensor([0.2], requires_grad=True)
    up, down = torch.autograd.grad(adversarial.discriminator(r, f, {}).sum(), (r, f))
    (sought,) = torch.autograd.grad(adversarial.generator(f, r.detach()).sum(), f)
    assert up < 0 < down
    assert sought < 0


def test_relative_games_see_differences_alone() -> None:
    r, f = torch.randn(2, 20, generator=rng(), dtype=torch.float64)
    for loss, adversarial in GAMES.items():
        same = torch.allclose(adversarial.discriminator(r + 5, f + 5, {}), adversarial.discriminator(r, f, {}))
        assert same == (adversarial.relative or loss == "wgan"), loss
        assert (
            torch.allclose(adversarial.generator(f + 5, r + 5), adversarial.generator(f, r)) == adversarial.relative
        ), loss


def test_smoothing_moves_the_scores_at_which_the_discriminator_is_content() -> None:
    """The minimum of the loss of one score is at the target: its logit for cross-entropy, itself for least squares."""
    for loss, at in (("ns", lambda target: torch.logit(target)), ("ls", lambda target: target)):
        best_r, best_f = (at(torch.tensor([t], dtype=torch.float64)).requires_grad_() for t in (0.8, 0.1))
        slopes = torch.autograd.grad(GAMES[loss].discriminator(best_r, best_f, HYPER).sum(), (best_r, best_f))
        torch.testing.assert_close(torch.cat(slopes), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


def test_beyond_its_margin_the_hinge_asks_for_nothing() -> None:
    r, f = torch.tensor([1.6, 1.8], requires_grad=True), torch.tensor([-1.6, -1.8], requires_grad=True)
    slopes = torch.autograd.grad(GAMES["hinge"].discriminator(r, f, HYPER).sum(), (r, f))
    assert [slope.tolist() for slope in slopes] == [[-1.0, 0.0], [1.0, 0.0]]


def test_every_game_is_cited() -> None:
    assert all("arXiv" in adversarial.citation for adversarial in GAMES.values())
