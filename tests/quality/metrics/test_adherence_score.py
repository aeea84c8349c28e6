import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from maestune.errors import MetricError
from maestune.quality.interval import half_samples
from maestune.quality.metric import Array, Features, Kind, Reals, everyone
from maestune.quality.metrics import adherence
from maestune.quality.metrics.adherence import ASKED_DIVERSITY, CAPTIONS, CAS


def _clouds(n: int, spread: float = 1.0, seed: int = 0, classes: int = 4, d: int = 5) -> Features:
    """Clouds around a point for each class, close enough to be mistaken now and then."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1.5, (classes, d))
    labels = rng.integers(0, classes, n)
    return Features(centres[labels] + spread * rng.normal(size=(n, d)), label=labels, condition=labels)


def _value(kind: Kind, name: str, real: Features, generated: Features) -> float:
    return float(
        kind.compute(kind.reference(Reals(real), len(generated)), generated, everyone(len(generated)))[name][0]
    )


def _with(features: Features, **changes: object) -> Features:
    return Features(**{**vars(features), **changes})


class TestClassificationAccuracyScore:
    @pytest.mark.parametrize("scale", [1.0, 1e-4, 1e5])
    def test_it_is_the_accuracy_of_the_logistic_regression_of_scikit_learn(self, scale: float) -> None:
        real, generated = _clouds(300, seed=1), _clouds(200, 1.3, seed=2)
        stretched = [_with(f, values=f.values * scale + 3.0) for f in (real, generated)]
        scaler = StandardScaler().fit(stretched[1].values)
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
        model.fit(scaler.transform(stretched[1].values), generated.label)
        expected = model.score(scaler.transform(stretched[0].values), real.label)
        assert 0.5 < expected < 0.98
        assert _value(CAS, "cas", *stretched) == pytest.approx(expected)

    def test_a_half_is_learnt_as_if_it_were_alone(self) -> None:
        real, generated = _clouds(300, seed=1), _clouds(120, seed=2)
        members = half_samples(120, np.random.default_rng(0), 6)
        reference = CAS.reference(Reals(real), 120)
        found = CAS.compute(reference, generated, members)["cas"]
        alone = [_value(CAS, "cas", real, generated.take(np.flatnonzero(chosen))) for chosen in members]
        assert found.tolist() == pytest.approx(alone, abs=0.5 / 300)
        assert CAS.limits(reference) == {"cas": (0.0, 1.0)}

    def test_samples_of_something_else_teach_nothing(self) -> None:
        real, generated = _clouds(400, seed=1), _clouds(400, seed=2)
        shuffled = np.random.default_rng(0).permutation(generated.label)
        good, bad = (_value(CAS, "cas", real, g) for g in (generated, _with(generated, label=shuffled)))
        assert bad < 0.5 < good

    def test_missing_variety_within_classes_is_seen(self) -> None:
        rng = np.random.default_rng(0)

        def rings(n: int, missing: bool) -> Features:  # each class at two places; samples know one of them
            labels, side = rng.integers(0, 2, n), rng.integers(0, 1 if missing else 2, n)
            centres = np.array([[[0.0, 0.0], [6.0, 5.0]], [[0.0, 3.0], [6.0, 8.0]]])
            return Features(centres[labels, side] + 0.5 * rng.normal(size=(n, 2)), label=labels)

        real = rings(400, False)
        assert _value(CAS, "cas", real, rings(400, True)) < _value(CAS, "cas", real, rings(400, False)) - 0.1

    def test_one_class_or_equal_features_are_no_reason_to_fail(self) -> None:
        real = _clouds(200, seed=1)
        one = _with(_clouds(50, seed=2), label=np.full(50, 2))
        assert _value(CAS, "cas", real, one) == np.mean(real.label == 2)
        flat = _with(_clouds(50, seed=2), values=np.ones((50, 5)))
        assert 0.0 <= _value(CAS, "cas", real, flat) <= 1.0

    def test_a_class_that_real_images_lack_is_learnt_all_the_same(self) -> None:
        real, generated = _clouds(200, seed=1), _clouds(200, seed=2)
        assert (
            _value(CAS, "cas", real, _with(generated, label=generated.label + 1))
            < 0.4
            < _value(CAS, "cas", real, generated)
        )

    def test_without_classes_it_is_refused(self) -> None:
        real = _clouds(50)
        with pytest.raises(MetricError, match="real images with labels"):
            CAS.reference(Reals(Features(real.values)), 50)
        with pytest.raises(MetricError, match="asked for a class"):
            CAS.compute(CAS.reference(Reals(real), 50), Features(real.values), everyone(50))


class TestCaptions:
    def test_shares_and_means(self) -> None:
        features = Features(
            np.zeros((4, 1)), agreement=np.array([0.5, -0.2, 1.0 + 1e-12, 0.1]), rank=np.array([1, 7, 1, 2])
        )
        members = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=np.bool_)
        found = CAPTIONS.compute(None, features, members)
        assert found["r_precision"].tolist() == [0.5, 0.5]
        assert found["clip_like"].tolist() == [pytest.approx(40.0), pytest.approx(25.0)]
        assert all(
            low <= v <= high
            for (low, high), vs in zip(CAPTIONS.limits(None).values(), found.values(), strict=True)
            for v in vs
        )

    @pytest.mark.parametrize("missing", ["agreement", "rank"])
    def test_without_a_reader_they_are_refused(self, missing: str) -> None:
        known = {"agreement": np.zeros(3), "rank": np.ones(3, np.int64)} | {missing: None}
        with pytest.raises(MetricError, match="an encoder that reads them"):
            CAPTIONS.compute(None, Features(np.zeros((3, 1)), **known), everyone(3))

    def test_agreements_that_are_no_numbers_are_refused(self) -> None:
        features = Features(np.zeros((2, 1)), agreement=np.array([0.1, np.nan]), rank=np.array([1, 1]))
        with pytest.raises(MetricError, match="not finite"):
            CAPTIONS.compute(None, features, everyone(2))


def _naive_diversity(real: Features, generated: Features) -> float:
    """The formula written out: pairs of the same condition, weighted by how many samples a condition has."""

    def mean_distance(values: Array) -> float:
        pairs = [np.linalg.norm(a - b) for i, a in enumerate(values) for b in values[:i]]
        return float(np.mean(pairs))

    found = expected = 0.0
    for condition in np.unique(generated.condition):
        samples, reals = generated.values[generated.condition == condition], real.values[real.condition == condition]
        if len(samples) > 1 and len(reals) > 1:
            found += len(samples) * mean_distance(samples)
            expected += len(samples) * mean_distance(reals)
    return found / expected


class TestAskedDiversity:
    @given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(0.1, 3.0))
    @settings(max_examples=20, deadline=None)
    def test_it_is_the_formula_written_out(self, seed: int, classes: int, spread: float) -> None:
        real, generated = _clouds(60, seed=seed, classes=classes), _clouds(60, spread, seed + 1, classes)
        assert _value(ASKED_DIVERSITY, "asked_diversity", real, generated) == pytest.approx(
            _naive_diversity(real, generated), rel=1e-6
        )

    def test_of_every_subset_it_is_that_of_its_members(self) -> None:
        real, generated = _clouds(100, seed=1), _clouds(80, seed=2)
        reference = ASKED_DIVERSITY.reference(Reals(real), 80)
        members = half_samples(80, np.random.default_rng(0))
        found = ASKED_DIVERSITY.compute(reference, generated, members)["asked_diversity"]
        for value, chosen in zip(found, members, strict=True):
            assert value == pytest.approx(_naive_diversity(real, generated.take(np.flatnonzero(chosen))), rel=1e-6)
        assert ASKED_DIVERSITY.limits(reference) == {"asked_diversity": (0.0, np.inf)}

    def test_real_images_have_one_and_one_picture_for_each_class_has_none(self) -> None:
        real = _clouds(400, seed=1)
        assert _value(ASKED_DIVERSITY, "asked_diversity", real, _clouds(400, seed=2)) == pytest.approx(1.0, abs=0.06)
        collapsed = _clouds(400, 0.0, seed=2)
        assert _value(ASKED_DIVERSITY, "asked_diversity", real, collapsed) == 0.0
        one = _with(real, values=np.where(real.label[:, None] == 0, 0.0, real.values))
        share = np.mean(real.label == 0)
        assert _value(ASKED_DIVERSITY, "asked_diversity", real, one) == pytest.approx(1 - share, abs=0.05)

    def test_conditions_that_only_one_side_has_are_left_out(self) -> None:
        real, generated = _clouds(100, seed=1), _clouds(100, seed=2)
        other = _with(generated, condition=np.where(generated.label == 3, -(2**62), generated.label))
        known = generated.take(np.flatnonzero(generated.label != 3))
        expected = _value(ASKED_DIVERSITY, "asked_diversity", real, known)
        assert _value(ASKED_DIVERSITY, "asked_diversity", real, other) == pytest.approx(expected)

    def test_many_of_a_condition_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adherence, "MOST_OF_A_CONDITION", 10)
        real, generated = _clouds(200, seed=1), _clouds(200, seed=2)
        rows = np.concatenate([np.flatnonzero(generated.label == k)[:10] for k in range(4)])
        real_rows = np.concatenate([np.flatnonzero(real.label == k)[:10] for k in range(4)])
        expected = _naive_diversity(real.take(real_rows), generated.take(rows))
        assert _value(ASKED_DIVERSITY, "asked_diversity", real, generated) == pytest.approx(expected, rel=1e-6)

    def test_where_nothing_can_be_told_it_is_refused(self) -> None:
        real = _clouds(50, seed=1)
        reference = ASKED_DIVERSITY.reference(Reals(real), 50)
        with pytest.raises(MetricError, match="labels or captions"):
            ASKED_DIVERSITY.reference(Reals(Features(real.values)), 50)
        with pytest.raises(MetricError, match="conditional model"):
            ASKED_DIVERSITY.compute(reference, Features(real.values), everyone(50))
        alone = _with(real, condition=np.arange(50) + 100)
        with pytest.raises(MetricError, match="at least one condition"):
            ASKED_DIVERSITY.compute(reference, alone, everyone(50))
        same = ASKED_DIVERSITY.reference(Reals(_with(real, values=np.ones((50, 5)))), 50)
        with pytest.raises(MetricError, match="at least one condition"):
            ASKED_DIVERSITY.compute(same, real, everyone(50))
