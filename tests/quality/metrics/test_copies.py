import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Reals, everyone
from maestune.quality.metrics.copies import COPIES, NEAREST, copy_reference, nearest_training


def _scores(train: Array, held_out: Array, generated: Array) -> dict[str, float]:
    reference = COPIES.reference(Reals(Features(held_out), Features(train)), len(generated))
    found = COPIES.compute(reference, Features(generated), everyone(len(generated)))
    limits = COPIES.limits(reference)
    assert all(limits[name][0] <= value[0] <= limits[name][1] for name, value in found.items())
    return {name: float(value[0]) for name, value in found.items()}


def _naive(train: Array, held_out: Array, generated: Array) -> dict[str, float]:
    """The definitions, one pair at a time."""

    def nearest(x: Array, others: Array) -> tuple[float, int]:
        return min((float(((x - other) ** 2).sum()), i) for i, other in enumerate(others))

    new = sorted(nearest(x, train)[0] for x in held_out)
    near = new[max(int(NEAREST * len(new)), 1) - 1]
    farther, authentic, copies = 0.0, 0, 0
    for x in generated:
        distance, i = nearest(x, train)
        own = nearest(train[i], np.delete(train, i, axis=0))[0]
        authentic += distance > own
        copies += distance <= near
        farther += sum(1.0 if distance > other else 0.5 if distance == other else 0.0 for other in new)
    n, m = len(generated), len(new)
    return {
        "authenticity": authentic / n,
        "copies": copies / n,
        "novelty": 1 - copies / n,
        "c_t": (farther - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12),
    }


@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.integers(2, 20), st.integers(2, 20), st.booleans())
@settings(max_examples=30, deadline=None)
def test_equal_the_definitions(seed: int, n_train: int, n_new: int, n: int, copies: bool) -> None:
    rng = np.random.default_rng(seed)
    train, held_out, generated = (rng.normal(size=(k, 2)) for k in (n_train, n_new, n))
    if copies:
        generated[::2] = train[rng.integers(0, n_train, size=len(generated[::2]))]
    assert _scores(train, held_out, generated) == pytest.approx(_naive(train, held_out, generated))


def test_c_t_is_the_z_of_scipys_test() -> None:
    rng = np.random.default_rng(0)
    train, held_out, generated = rng.normal(size=(300, 3)), rng.normal(size=(80, 3)), 0.8 * rng.normal(size=(120, 3))
    reference = copy_reference(train, held_out, 120)
    u = mannwhitneyu(np.sqrt(nearest_training(reference, generated)[1]), np.sqrt(reference.held_out)).statistic
    z = (u - 120 * 80 / 2) / np.sqrt(120 * 80 * 201 / 12)
    assert _scores(train, held_out, generated)["c_t"] == pytest.approx(z)


def test_what_a_perfect_model_scores() -> None:
    rng = np.random.default_rng(0)
    found = [
        _scores(rng.normal(size=(400, 3)), rng.normal(size=(300, 3)), rng.normal(size=(300, 3))) for _ in range(30)
    ]
    z = [scores["c_t"] for scores in found]
    assert abs(np.mean(z)) < 0.5
    assert 0.7 < np.std(z) < 1.5
    # The third of 300 held-out images: 3 in 301 on average.
    assert np.mean([scores["copies"] for scores in found]) == pytest.approx(3 / 301, abs=0.004)


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_copies_are_counted_and_near_copies_as_well(share: float) -> None:
    rng = np.random.default_rng(0)
    train, held_out, generated = (rng.normal(size=(400, 16)) for _ in range(3))
    copied = int(400 * share)
    generated[:copied] = train[:copied] + 0.01 * rng.normal(size=(copied, 16))
    found = _scores(train, held_out, generated)
    assert found["copies"] == pytest.approx(share, abs=0.02)
    assert found["novelty"] == pytest.approx(1 - share, abs=0.02)
    assert found["c_t"] < -4
    fair = _scores(train, held_out, rng.normal(size=(400, 16)))
    assert found["authenticity"] < fair["authenticity"] - 0.1


def test_samples_unlike_the_data_are_new_and_far() -> None:
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(200, 4)), rng.normal(size=(100, 4))
    found = _scores(train, held_out, rng.normal(size=(150, 4)) + 20)
    assert found["novelty"] == found["authenticity"] == 1
    assert found["c_t"] > 10


def test_nearest_training_images_are_told_by_number() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(50, 3)) + 1e5
    which, distance = nearest_training(copy_reference(train, rng.normal(size=(9, 3)), 4), train[[7, 3, 3, 49]])
    assert which.tolist() == [7, 3, 3, 49]
    assert not distance.any()


def test_duplicates_among_training_images_are_no_authentic_samples() -> None:
    train = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 2, axis=0)
    found = _scores(train, np.random.default_rng(1).normal(size=(20, 3)), train)
    assert found["authenticity"] == 0
    assert found["copies"] == 1


def test_the_z_of_half_of_the_samples_is_in_units_of_all() -> None:
    rng = np.random.default_rng(0)
    train, held_out, generated = (rng.normal(size=(100, 3)) for _ in range(3))
    reference = copy_reference(train, held_out, 100)
    half = np.arange(100) < 50
    whole = COPIES.compute(reference, Features(generated), half[None])["c_t"][0]
    alone = COPIES.compute(reference, Features(generated[half]), everyone(50))["c_t"][0]
    scale = np.sqrt((150 + 1) / (50 * 100)) / np.sqrt((200 + 1) / (100 * 100))
    assert whole == pytest.approx(alone * scale)


def test_without_training_images_it_is_refused() -> None:
    with pytest.raises(MetricError, match="novelty needs features of the training images"):
        COPIES.reference(Reals(Features(np.zeros((5, 2)))), 4)
