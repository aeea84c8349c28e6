import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc

from maestune.errors import MetricError
from maestune.quality.interval import half_samples
from maestune.quality.metric import Array, Features, Reals, everyone
from maestune.quality.metrics import distances, neighbours
from maestune.quality.metrics.neighbours import GENERATED_BALLS, REAL_BALLS, K, neighbour_metrics

NAMES = ("precision", "recall", "density", "coverage")


def _brute_force(real: Array, generated: Array) -> dict[str, float]:
    """The definitions, one pair at a time."""

    def distance(a: Array, b: Array) -> float:
        return float(((a - b) ** 2).sum())

    def radius(points: Array, i: int) -> float:
        return sorted(distance(points[i], p) for j, p in enumerate(points) if j != i)[K - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(generated, j) for j in range(len(generated))]
    hits = np.array([[distance(r, g) <= radius for g in generated] for r, radius in zip(real, real_radii, strict=True)])
    reached = [any(distance(r, g) <= q for g, q in zip(generated, fake_radii, strict=True)) for r in real]
    return {
        "precision": hits.any(axis=0).mean(),
        "recall": float(np.mean(reached)),
        "density": hits.sum(axis=0).mean() / K,
        "coverage": hits.any(axis=1).mean(),
    }


@given(st.integers(0, 2**32 - 1), st.integers(K + 1, 16), st.integers(K + 1, 16), st.booleans())
@settings(max_examples=25, deadline=None)
def test_equals_the_definitions_with_and_without_ties(seed: int, n: int, m: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) + 0.5
    if ties:  # a coarse grid: many equal distances and many duplicates
        real, generated = np.round(real), np.round(generated)
    found = neighbour_metrics(real, generated)
    assert {name: found[name] for name in NAMES} == pytest.approx(_brute_force(real, generated), abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(300, 300), (150, 400)])
def test_equals_the_reference_code_where_there_are_no_ties(n: int, m: int, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(n, 10)), 0.8 * rng.normal(size=(m, 10)) + 0.2
    theirs = compute_prdc(real_features=real, fake_features=generated, nearest_k=K)
    capsys.readouterr()  # it prints
    found = neighbour_metrics(real, generated)
    assert {name: found[name] for name in NAMES} == pytest.approx({name: float(theirs[name]) for name in NAMES})


def test_identical_sets_score_one_even_far_from_the_origin() -> None:
    real = np.random.default_rng(0).normal(size=(40, 5)) + 1e7
    values = neighbour_metrics(real, real)
    assert values["precision"] == values["recall"] == values["coverage"] == 1


def test_a_perfect_model_covers_what_the_theory_says() -> None:
    # Naeem et al. 2020: expected coverage of equal distributions with equal numbers is about 1 - 2⁻ᴷ.
    rng = np.random.default_rng(0)
    values = [neighbour_metrics(rng.normal(size=(300, 3)), rng.normal(size=(300, 3)))["coverage"] for _ in range(20)]
    assert np.mean(values) == pytest.approx(1 - 2**-K, abs=0.01)


def test_blocks_do_not_change_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(100, 4)), rng.normal(size=(90, 4)) * 0.8
    whole = neighbour_metrics(real, generated)
    monkeypatch.setattr(distances, "BLOCK_ROWS", 17)
    assert neighbour_metrics(real, generated) == pytest.approx(whole)


def test_no_more_samples_are_looked_at_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_SAMPLES", 30)
    rng = np.random.default_rng(0)
    real, generated = Features(rng.normal(size=(50, 3))), Features(rng.normal(size=(40, 3)))
    first = neighbour_metrics(neighbours.as_many(real.values, 40), generated.values[:30])
    for kind in (REAL_BALLS, GENERATED_BALLS):
        reference = kind.reference(Reals(real), 40)
        assert len(reference.values) == 30
        for name, values in kind.compute(reference, generated, everyone(40)).items():
            assert values[0] == pytest.approx(first[name])


@pytest.mark.parametrize("shortlist", [2, 48])  # 2: too short for everyone, all rows go the long way
def test_subsets_are_scored_as_if_they_were_alone(shortlist: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "SHORTLIST", shortlist)
    rng = np.random.default_rng(0)
    real, generated = Features(rng.normal(size=(60, 4))), Features(rng.normal(size=(80, 4)) * 0.7)
    members = np.concatenate([everyone(80), half_samples(80, rng, 5)])
    computed = {
        **REAL_BALLS.compute(REAL_BALLS.reference(Reals(real), 80), generated, members),
        **GENERATED_BALLS.compute(GENERATED_BALLS.reference(Reals(real), 80), generated, members),
    }
    for b, chosen in enumerate(members):
        alone = neighbour_metrics(real.values, generated.values[chosen])
        assert {name: float(values[b]) for name, values in computed.items()} == pytest.approx(alone)


def test_no_more_real_than_generated_samples_are_used() -> None:
    real = Features(np.random.default_rng(0).normal(size=(200, 3)))
    reference = REAL_BALLS.reference(Reals(real), 50)
    assert len(reference.values) == 50
    np.testing.assert_array_equal(reference.values, REAL_BALLS.reference(Reals(real), 50).values)


def test_too_few_samples_are_refused() -> None:
    enough = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(MetricError, match="5 real samples; this metric needs at least 6"):
        neighbour_metrics(enough[:K], enough)
    generated = Features(enough[:10])
    with pytest.raises(MetricError, match="at least 12"):
        GENERATED_BALLS.compute(
            GENERATED_BALLS.reference(Reals(Features(enough)), 10),
            generated,
            half_samples(10, np.random.default_rng(0)),
        )
