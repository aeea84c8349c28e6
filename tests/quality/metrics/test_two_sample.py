import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from maestune.errors import MetricError
from maestune.quality.interval import half_samples
from maestune.quality.metric import Features, Reals, everyone
from maestune.quality.metrics import two_sample
from maestune.quality.metrics.two_sample import TWO_SAMPLE, K, two_sample_accuracy


@given(st.integers(0, 2**32 - 1), st.integers(K + 1, 25), st.floats(0, 3))
@settings(max_examples=20, deadline=None)
def test_equals_scikit_learns_left_out_votes_for_equal_numbers(seed: int, n: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + shift
    x, y = np.vstack([real, generated]), np.repeat([0, 1], n)

    # With equal numbers a side has n - 1 others and the other side n: a vote of 3 to 2 decides all the same for n > 5,
    # since 3 / n > 2 / (n - 1) for n > 3.
    right = cross_val_predict(KNeighborsClassifier(K), x, y, cv=LeaveOneOut()) == y
    assert two_sample_accuracy(real, generated) == pytest.approx(right.mean())


def test_guessing_and_certainty() -> None:
    rng = np.random.default_rng(0)
    same = [two_sample_accuracy(rng.normal(size=(200, 3)), rng.normal(size=(300, 3))) for _ in range(10)]
    assert np.mean(same) == pytest.approx(0.5, abs=0.02)
    assert two_sample_accuracy(rng.normal(size=(50, 3)), rng.normal(size=(70, 3)) + 30) == 1


def test_missing_variety_is_seen_where_means_are_equal() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 4))
    assert two_sample_accuracy(real, 0.3 * rng.normal(size=(300, 4))) > 0.75


def test_unequal_numbers_do_not_favour_the_larger_side() -> None:
    rng = np.random.default_rng(0)
    found = [two_sample_accuracy(rng.normal(size=(60, 3)), rng.normal(size=(400, 3))) for _ in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_copies_of_held_out_images_are_below_guessing() -> None:
    real = np.random.default_rng(0).normal(size=(100, 30))
    assert two_sample_accuracy(real, real) < 0.45


@pytest.mark.parametrize("shortlist", [6, 48])  # 6: too short for many, who go the long way
def test_subsets_are_scored_as_if_they_were_alone(shortlist: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sample, "SHORTLIST", shortlist)
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(20, 3)), rng.normal(size=(60, 3)) + 0.5
    members = np.concatenate([everyone(60), half_samples(60, rng, 4)])
    found = TWO_SAMPLE.compute(TWO_SAMPLE.reference(Reals(Features(real)), 60), Features(generated), members)["c2st"]
    for value, chosen in zip(found, members, strict=True):
        assert value == pytest.approx(two_sample_accuracy(real, generated[chosen]))


def test_too_few_are_refused() -> None:
    with pytest.raises(MetricError, match="at least 6"):
        two_sample_accuracy(np.zeros((5, 2)), np.zeros((9, 2)))
