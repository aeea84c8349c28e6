import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from maestune.errors import MetricError
from maestune.quality.metric import Features, everyone
from maestune.quality.modes import MODES, class_histogram, js_divergence_bits


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
    reference = MODES.reference(_seen(real), sum(generated))
    computed = MODES.compute(reference, _seen(generated), everyone(sum(generated)))
    assert computed["modes"][0] == modes
    assert modes <= MODES.limits(reference)["modes"][1]


def test_histogram() -> None:
    assert class_histogram(_seen([3, 0, 1])).tolist() == [0.75, 0, 0.25]


def test_without_classes_there_are_no_modes() -> None:
    with pytest.raises(MetricError, match="one folder per class"):
        class_histogram(Features(np.zeros((3, 2))))
