import numpy as np
import pytest
from scipy.stats import chi2_contingency

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Reals, everyone
from maestune.quality.metrics.bins import BINS, IMAGES_PER_BIN, MOST_BINS, k_means
from maestune.quality.metrics.modes import js_divergence_bits


def _clusters(counts: list[int], seed: int = 0) -> Array:
    """Samples around as many well-separated places."""
    rng = np.random.default_rng(seed)
    places = 20.0 * np.eye(len(counts), 6)
    return np.concatenate([place + rng.normal(size=(n, 6)) for place, n in zip(places, counts, strict=True)])


def _scores(train: Array, held_out: Array, generated: Array) -> dict[str, float]:
    reference = BINS.reference(Reals(Features(held_out), Features(train)), len(generated))
    found = BINS.compute(reference, Features(generated), everyone(len(generated)))
    return {name: float(value[0]) for name, value in found.items()}


def test_bins_are_the_clusters_of_well_separated_data() -> None:
    values = _clusters([50, 80, 30, 40])
    centres = k_means(values, 4, np.random.default_rng(0))
    means = [part.mean(axis=0) for part in np.split(values, [50, 130, 160])]
    assert sorted(map(tuple, centres.round(9))) == sorted(map(tuple, np.array(means).round(9)))


def test_there_are_no_more_bins_than_different_images() -> None:
    values = np.repeat(np.eye(3), 10, axis=0)
    assert k_means(values, 8, np.random.default_rng(0)).shape == (3, 3)


def test_equal_to_the_formulas_where_bins_are_known() -> None:
    train, held_out, generated = _clusters([10] * 4), _clusters([10] * 4, 1), _clusters([40, 38, 22, 0], 2)
    found = _scores(train, held_out, generated)
    p, q = np.array([0.4, 0.38, 0.22, 0]), np.full(4, 0.25)
    assert found["bins_js"] == pytest.approx(float(js_divergence_bits(p, q)))
    # Two proportions by z is the chi-square test of a 2 × 2 table without correction.
    tables = [[[a, 100 - a], [10, 30]] for a in (40, 38, 22, 0)]
    assert found["ndb"] == np.mean([chi2_contingency(t, correction=False)[1] < 0.05 for t in tables])
    assert 0 < found["ndb"] < 1


def test_missing_parts_are_seen() -> None:
    train, held_out = _clusters([60] * 5), _clusters([30] * 5, 1)
    whole = _scores(train, held_out, _clusters([40] * 5, 2))
    part = _scores(train, held_out, _clusters([67, 67, 66, 0, 0], 2))
    assert part["bins_js"] > 0.1 > whole["bins_js"]
    assert part["ndb"] > whole["ndb"]


def test_a_perfect_model_differs_in_one_bin_of_twenty() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(2000, 4))
    reference = BINS.reference(Reals(Features(rng.normal(size=(500, 4))), Features(train)), 500)
    found = []
    for _ in range(20):
        # Both sides are drawn anew: the shares of held-out images are held fixed within an evaluator, not here.
        held_out = rng.normal(size=(500, 4))
        reference = BINS.reference(Reals(Features(held_out), Features(train)), 500)
        found.append(BINS.compute(reference, Features(rng.normal(size=(500, 4))), everyone(500))["ndb"][0])
    assert np.mean(found) == pytest.approx(0.05, abs=0.03)


def test_number_of_bins_follows_the_images() -> None:
    rng = np.random.default_rng(0)
    for n, bins in ((60, 6), (3000, MOST_BINS)):
        held_out, train = rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
        reference = BINS.reference(Reals(Features(held_out), Features(train)), 100)
        assert len(reference.centres) == bins
        assert reference.shares.sum() == pytest.approx(1)


def test_without_training_images_or_with_too_few_it_is_refused() -> None:
    real = Features(np.random.default_rng(0).normal(size=(2 * IMAGES_PER_BIN, 2)))
    with pytest.raises(MetricError, match="needs features of the training images"):
        BINS.reference(Reals(real), 10)
    with pytest.raises(MetricError, match="there are 19 and 20"):
        BINS.reference(Reals(real.take(np.arange(19)), real), 10)
