import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendi_score import vendi

from maestune.errors import MetricError
from maestune.quality.metric import Features, Reals, everyone
from maestune.quality.metrics.vendi import VENDI, vendi_scores


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_equal_the_definitions_with_more_samples_and_with_more_features(seed: int, n: int, d: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n, d))
    kernel = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in x] for a in x])
    eigenvalues = np.clip(np.linalg.eigvalsh(kernel / n), 1e-300, None)
    score, rke = vendi_scores(x)
    assert score == pytest.approx(np.exp(-(eigenvalues * np.log(eigenvalues)).sum()), rel=1e-8)
    assert rke == pytest.approx(1 / (eigenvalues**2).sum(), rel=1e-8)


@pytest.mark.filterwarnings(
    "ignore:Please import:DeprecationWarning"
)  # the package looks for a module that scipy moved
@pytest.mark.parametrize(("n", "d"), [(80, 10), (15, 40)])
def test_equals_the_published_code(n: int, d: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, d))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    score, rke = vendi_scores(x)
    # `score_dual` of the package takes what it is given as the features of the kernel.
    assert score == pytest.approx(float(vendi.score_dual(unit)), rel=1e-8)
    assert score == pytest.approx(float(vendi.score_K(unit @ unit.T)), rel=1e-8)
    assert rke == pytest.approx(float(vendi.score_K(unit @ unit.T, q=2)), rel=1e-8)


def test_groups_of_equal_samples_count_once() -> None:
    different = np.eye(5)
    assert vendi_scores(np.repeat(different, 7, axis=0)) == pytest.approx((5, 5))
    assert vendi_scores(np.ones((6, 4))) == pytest.approx((1, 1))
    # Nine of one and one of another: hardly more than one. exp(-0.9 ln 0.9 - 0.1 ln 0.1) and 1 / (0.81 + 0.01).
    assert vendi_scores(np.repeat(different[:2], [9, 1], axis=0)) == pytest.approx((1.3842, 1 / 0.82), rel=1e-4)


def test_features_without_a_direction_are_equal_to_each_other_and_to_nothing_else() -> None:
    assert vendi_scores(np.zeros((6, 4))) == pytest.approx((1, 1))
    assert vendi_scores(np.vstack([np.zeros((3, 4)), np.ones((3, 4))])) == pytest.approx((2, 2))


def test_length_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    assert vendi_scores(x * np.logspace(-200, 200, 30)[:, None]) == pytest.approx(vendi_scores(x))


def test_scores_are_within_their_limits() -> None:
    rng = np.random.default_rng(0)
    for n, d in ((8, 3), (3, 8)):
        generated = Features(np.vstack([np.zeros((1, d)), np.linalg.qr(rng.normal(size=(max(n, d), d)))[0][: n - 1]]))
        reference = VENDI.reference(Reals(Features(rng.normal(size=(10, d)))), n)
        for name, (value,) in VENDI.compute(reference, generated, everyone(n)).items():
            low, high = VENDI.limits(reference)[name]
            assert low <= value <= high
            assert value == pytest.approx(min(n, d + 1), rel=0.2)


def test_unusable_features_are_refused() -> None:
    with pytest.raises(MetricError, match="not finite"):
        vendi_scores(np.full((4, 2), np.inf))
