import math

import pytest

from maestune.recipes import RULES, Case, unknown
from maestune.recipes.rules import ema_decay, ema_of_batch, lr_of_parameters, r1_gamma, transformer_parameters


def test_the_r1_rule_gives_the_configurations_of_its_authors_within_their_factor_of_four():
    # stylegan2-ada-pytorch: paper256 has 1 and paper512 0.5 for batches of 64; the text advises a quarter to four times.
    assert r1_gamma(256, 64) == pytest.approx(0.2048)
    assert 0.25 <= 0.5 / r1_gamma(512, 64) <= 4
    assert r1_gamma(32, 64) == pytest.approx(0.0032)
    assert r1_gamma(64, 32) == pytest.approx(4 * r1_gamma(32, 32))


@pytest.mark.parametrize(
    ("parameters", "lr"),
    # metaseq, launcher/opt_job_constants.py, up to 13 billion
    [
        (8e6, 1e-3),
        (125e6, 6e-4),
        (350e6, 3e-4),
        (760e6, 2.5e-4),
        (1.3e9, 2e-4),
        (2.7e9, 1.6e-4),
        (6.7e9, 1.2e-4),
        (13e9, 1e-4),
    ],
)
def test_the_rate_of_language_models_follows_the_ladder(parameters, lr):
    assert abs(math.log10(lr_of_parameters(parameters) / lr)) < 0.15


def test_the_ladders_residual_is_as_told():
    ladder = [
        (125e6, 6e-4),
        (350e6, 3e-4),
        (760e6, 2.5e-4),
        (1.3e9, 2e-4),
        (2.7e9, 1.6e-4),
        (6.7e9, 1.2e-4),
        (13e9, 1e-4),
    ]
    residuals = [math.log10(lr_of_parameters(n) / lr) for n, lr in ladder]
    assert math.sqrt(sum(r * r for r in residuals) / len(residuals)) < 0.06


@pytest.mark.parametrize("batch", [16, 32, 64])
def test_the_average_forgets_half_within_so_many_images(batch):
    decay = ema_of_batch(batch)
    images = batch * 10_000 / 32
    assert decay ** (images / batch) == pytest.approx(0.5)
    assert decay == pytest.approx(ema_decay(312.5))


def test_parameters_of_gpt2():
    # 124 million, without positions and biases
    assert transformer_parameters(12, 768, 50257) == pytest.approx(124e6, rel=0.01)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_rules_say_where_they_are_from_and_give_nothing_where_they_know_nothing(rule):
    assert unknown([rule.citation]) == ()
    assert rule.value(Case(), {}) is None


def test_rules_read_the_case_and_the_configuration():
    assert RULES["r1_gamma"].value(Case(side=32), {"batch_size": 64}) == r1_gamma(32, 64)
    assert RULES["lr_of_parameters"].value(Case(parameters=10**6), {}) == lr_of_parameters(1e6)
    small = RULES["lr_of_parameters"].value(Case(tokens=65), {"layers": 4, "width": 128})
    assert small == lr_of_parameters(12 * 4 * 128**2 + 65 * 128)
    assert RULES["dcgan_width"].value(Case(side=128), {}) == 64
