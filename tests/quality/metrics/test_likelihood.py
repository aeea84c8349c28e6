import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from maestune.errors import MetricError
from maestune.quality.interval import half_samples
from maestune.quality.metric import Array, Features, Reals, everyone
from maestune.quality.metrics.likelihood import LEAST, LIKELIHOOD, fitted_variances, likelihood_reference


def _log_densities(x: Array, around: Array, variances: Array) -> Array:
    """Log-density (N, M) of each Gaussian at each row, by scipy."""
    d = x.shape[1]
    parts = zip(around, variances, strict=True)
    return np.array([multivariate_normal.logpdf(x, mean, v * np.eye(d)).reshape(len(x)) for mean, v in parts]).T


def _nats(x: Array, around: Array, variances: Array) -> float:
    logs = logsumexp(_log_densities(x, around, variances), axis=1) - np.log(len(around))
    return -float(logs.mean()) / x.shape[1]


def _score(train: Array, held_out: Array, generated: Array) -> float:
    reference = LIKELIHOOD.reference(Reals(Features(held_out), Features(train)), len(generated))
    return float(LIKELIHOOD.compute(reference, Features(generated), everyone(len(generated)))["fld"][0])


def _likelihood(logs: Array, x: Array, around: Array, data: Array) -> float:
    """What is maximised: the mixture of the samples' Gaussians, beside the wide one that is held fixed."""
    wide = data.var(axis=0).mean()
    background = multivariate_normal.logpdf(data, data.mean(axis=0), wide * np.eye(data.shape[1]))
    mixture = logsumexp(_log_densities(data, around, np.exp(logs)), axis=1) - np.log(len(around))
    return float(np.logaddexp(mixture, background).mean())


def test_variances_are_a_maximum_of_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    around, data = rng.normal(size=(6, 3)), rng.normal(size=(80, 3))
    found = np.log(fitted_variances(around, data, 1e-9))
    best = minimize(lambda logs: -_likelihood(logs, data, around, data), found, method="L-BFGS-B")
    assert _likelihood(found, data, around, data) == pytest.approx(-best.fun, abs=2e-3)


def test_equals_the_definition_given_the_variances() -> None:
    rng = np.random.default_rng(0)
    train, held_out, generated = rng.normal(size=(60, 3)), rng.normal(size=(40, 3)), 1.2 * rng.normal(size=(50, 3))
    reference = likelihood_reference(train, held_out, 50)
    assert len(reference.fitted) == 60
    variances = fitted_variances(generated - reference.centre, reference.fitted, reference.least)
    expected = 100 * (_nats(held_out, generated, variances) - reference.baseline)
    assert _score(train, held_out, generated) == pytest.approx(expected)

    # The baseline is the same of one half of the training images around which the other half is fitted.
    order = np.random.default_rng(0).permutation(60)
    around, other = train[order[:30]], train[order[30:]]
    found = _nats(held_out, around, fitted_variances(around, other, reference.least))
    assert reference.baseline == pytest.approx(found)


def test_poor_samples_missing_variety_and_copies_all_score_worse_than_real_images() -> None:
    # Ten kinds of images in 64 features that vary along few directions, as those of networks do.
    rng = np.random.default_rng(0)
    places, mix = 2.0 * rng.normal(size=(10, 64)), 0.5 * rng.normal(size=(6, 64))

    def draw(n: int, kinds: int = 10, scale: float = 1.0) -> Array:
        spread = scale * rng.normal(size=(n, 6)) @ mix + 0.2 * rng.normal(size=(n, 64))
        return places[rng.integers(0, kinds, size=n)] + spread

    train, held_out = draw(800), draw(300)
    fair = _score(train, held_out, draw(400))
    assert abs(fair) < 3
    assert _score(train, held_out, draw(400) + 0.5) > fair + 5
    assert _score(train, held_out, draw(400, scale=1.6)) > fair + 5
    assert _score(train, held_out, draw(400, scale=0.4)) > fair + 3
    assert _score(train, held_out, draw(400, kinds=7)) > fair + 5
    copies = _score(train, held_out, train[:400])
    assert np.isfinite(copies)
    assert fair + 5 < _score(train, held_out, np.vstack([train[:200], draw(200)])) < copies


def test_no_variance_is_smaller_than_stated() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(40, 4))
    reference = likelihood_reference(train, rng.normal(size=(20, 4)), 40)
    assert fitted_variances(train - reference.centre, reference.fitted, reference.least).min() == reference.least
    assert 0 < reference.least < LEAST * 2


def test_halves_hold_the_variances_of_all_samples() -> None:
    rng = np.random.default_rng(0)
    train, held_out, generated = (rng.normal(size=(40, 3)) for _ in range(3))
    reference = likelihood_reference(train, held_out, 40)
    members = half_samples(40, rng, 3)
    found = LIKELIHOOD.compute(reference, Features(generated), members)["fld"]
    variances = fitted_variances(generated - reference.centre, reference.fitted, reference.least)
    for value, chosen in zip(found, members, strict=True):
        nats = _nats(held_out, generated[chosen], variances[chosen])
        assert value == pytest.approx(100 * (nats - reference.baseline))


def test_a_subset_without_anything_near_is_still_right() -> None:
    # The one sample near the held-out images is left out: what is left is so far away that its density vanishes.
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(50, 2)), 1e-3 * rng.normal(size=(10, 2))
    generated = np.vstack([np.zeros((1, 2)), 1e3 + 1e-2 * rng.normal(size=(5, 2))])
    reference = likelihood_reference(train, held_out, 6)
    reference = type(reference)(reference.centre, generated[1:] - reference.centre, *list(vars(reference).values())[2:])
    chosen = np.arange(6) > 0
    value = LIKELIHOOD.compute(reference, Features(generated), chosen[None])["fld"][0]
    variances = fitted_variances(generated - reference.centre, reference.fitted, reference.least)
    assert value == pytest.approx(100 * (_nats(held_out, generated[1:], variances[1:]) - reference.baseline), rel=1e-6)


def test_without_training_images_or_where_all_are_alike_it_is_refused() -> None:
    real = Features(np.random.default_rng(0).normal(size=(6, 2)))
    with pytest.raises(MetricError, match="fld needs features of the training images"):
        LIKELIHOOD.reference(Reals(real), 4)
    with pytest.raises(MetricError, match="same features"):
        LIKELIHOOD.reference(Reals(real, Features(np.ones((6, 2)))), 4)
