import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from maestune.errors import MetricError
from maestune.quality.metric import Features, Reals, everyone
from maestune.quality.metrics.modes import MODES, class_histogram, inception_score, js_divergence_bits


def _seen(counts: list[int]) -> Features:
    """Features of samples that a sure classifier counts so."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return Features(np.zeros((len(labels), 1)), np.eye(len(counts))[labels] * 0.9 + 0.1 / len(counts))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
def test_js_equals_scipy(counts: list[int], seed: int) -> None:
    p = np.array(counts, dtype=float) + (sum(counts) == 0)
    q = np.random.default_rng(seed).random(len(counts))
    ours = js_divergence_bits(p / p.sum(), q / q.sum())
    assert float(ours) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)


@pytest.mark.parametrize(
    ("real", "generated", "modes"),
    [
        ([50, 50], [50, 50], 2),
        ([50, 50], [100, 0], 1),
        ([50, 50], [95, 5], 2),  # exactly a tenth of the real share
        ([50, 50], [96, 4], 1),
        ([99, 1], [998, 2], 2),  # a class that is rare among real images may be rare among samples
        ([50, 50, 0], [40, 40, 20], 2),  # a class with no real images is no mode
    ],
)
def test_modes_are_counted_against_their_real_share(real: list[int], generated: list[int], modes: int) -> None:
    reference = MODES.reference(Reals(_seen(real)), sum(generated))
    computed = MODES.compute(reference, _seen(generated), everyone(sum(generated)))
    assert computed["modes"][0] == modes
    assert modes <= MODES.limits(reference)["modes"][1]


def test_histogram() -> None:
    assert class_histogram(_seen([3, 0, 1])).tolist() == [0.75, 0, 0.25]


def test_without_classes_there_are_no_modes() -> None:
    with pytest.raises(MetricError, match="one folder per class"):
        class_histogram(Features(np.zeros((3, 2))))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
def test_kl_equals_scipy_and_stays_within_its_limits(counts: list[int], seed: int) -> None:
    real = [n + 1 for n in counts]
    generated = np.random.default_rng(seed).integers(0, 9, size=len(counts))
    generated[0] += 1
    reference = MODES.reference(Reals(_seen(real)), int(generated.sum()))
    found = MODES.compute(reference, _seen(generated.tolist()), everyone(int(generated.sum())))["modes_kl"][0]
    assert found == pytest.approx(entropy(generated, real, base=2), abs=1e-9)
    assert 0 <= found <= MODES.limits(reference)["modes_kl"][1]


def test_kl_of_a_class_without_real_images_is_large_and_finite() -> None:
    # Half an image of 40.5 for the class that has none.
    reference = MODES.reference(Reals(_seen([20, 20, 0])), 10)
    found = MODES.compute(reference, _seen([0, 0, 10]), everyone(10))["modes_kl"][0]
    assert found == pytest.approx(np.log2(40.5 / 0.5))
    assert found == MODES.limits(reference)["modes_kl"][1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(2, 5))
@settings(deadline=None)
def test_inception_score_equals_the_formula(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.3), size=n)
    mean = p.mean(axis=0)
    expected = np.exp(np.mean([entropy(row, mean) for row in p]))
    assert inception_score(p) == pytest.approx(expected)


def test_inception_score_of_what_is_known() -> None:
    assert inception_score(np.eye(5)) == pytest.approx(5)  # sure, and all classes
    assert inception_score(np.full((7, 5), 0.2)) == pytest.approx(1)  # never sure
    assert inception_score(np.tile([1.0, 0, 0], (7, 1))) == pytest.approx(1)  # sure of one class
