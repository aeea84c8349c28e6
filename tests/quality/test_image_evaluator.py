import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from maestune.data import ImageData, to_float
from maestune.errors import MetricError
from maestune.quality import (
    DESCRIBED,
    METRICS,
    Extractor,
    ImageEvaluator,
    available_metrics,
    default_n_samples,
    find_metric,
)
from maestune.quality.metrics.frechet import frechet_distance
from maestune.quality.metrics.kernel import kernel_distance
from maestune.quality.metrics.neighbours import neighbour_metrics

N = 400
# Others need a second extractor, an encoder of captions, or a model that is asked about them.
ALL = tuple(
    name for name, metric in METRICS.items()
    if not metric.needs_second and not metric.needs_captions and not metric.needs_answers
)  # fmt: skip
NOVELTY = {name for name in ALL if METRICS[name].sees_copies}
# Noise is diverse, and nothing is farther from the training images.
NOT_MONOTONE = {"vendi", "rke", "asked_diversity", "novelty", "copies", "authenticity", "c_t"}


@pytest.fixture(scope="module")
def evaluator(digits: ImageData, classifier: Extractor) -> ImageEvaluator:
    return ImageEvaluator.prepare(digits, "search", classifier, N, conditions=digits.prompts("search", N))


@pytest.fixture(scope="module")
def samples(digits: ImageData) -> torch.Tensor:
    """What a middling model makes: training images of the classes that were asked for, under noise."""
    generator = torch.Generator().manual_seed(0)
    labels = digits.train.labels
    assert labels is not None
    left = [list(torch.where(labels == k)[0]) for k in range(10)]
    chosen = [left[k].pop() for k in digits.prompts("search", N)["label"].tolist()]
    images = to_float(digits.train.images[torch.stack(chosen)])
    return (images + 0.5 * torch.empty_like(images).normal_(generator=generator)).clamp(-1, 1)


def test_scores_are_those_of_the_metrics(evaluator: ImageEvaluator, samples: torch.Tensor, digits: ImageData) -> None:
    real = evaluator.extractor.extract(digits.search.images).values
    generated = evaluator.extractor.extract(samples).values
    scores = {name: score.value for name, score in evaluator.score(evaluator.extract(samples), ALL).items()}
    assert tuple(scores) == ALL
    assert scores["fd"] == pytest.approx(frechet_distance(real, generated))
    assert scores["kid"] == pytest.approx(kernel_distance(real, generated))
    for name, value in neighbour_metrics(real, generated).items():
        assert scores[name] == pytest.approx(value)
    assert scores["modes"] == sum(share > 0 for share in evaluator.real_classes)
    seen = evaluator.extractor.extract(samples).probabilities
    assert seen is not None
    assert scores["adherence"] == np.mean(seen.argmax(1) == digits.prompts("search", N)["label"].numpy())
    assert 0.3 < scores["adherence"] < 1


def test_each_split_is_its_own_reference(evaluator: ImageEvaluator, samples: torch.Tensor, digits: ImageData) -> None:
    report = ImageEvaluator.prepare(digits, "report", evaluator.extractor, N, conditions=digits.prompts("report", N))
    assert report.score(report.extract(samples), ["fd"]) != evaluator.score(evaluator.extract(samples), ["fd"])


def test_intervals_hold_the_value_and_change_nothing_else(evaluator: ImageEvaluator, samples: torch.Tensor) -> None:
    plain, sure = (
        evaluator.score(evaluator.extract(samples), ALL),
        evaluator.score(evaluator.extract(samples), ALL, intervals=True),
    )
    for name in ALL:
        assert math.isnan(plain[name].low)
        assert sure[name].value == pytest.approx(plain[name].value, abs=1e-9)
        assert sure[name].low <= sure[name].value <= sure[name].high
    for name in ("fd", "kid", "density", "precision", "adherence"):
        assert sure[name].low < sure[name].high
    assert sure == evaluator.score(evaluator.extract(samples), ALL, intervals=True)


def test_another_number_of_samples_is_refused(evaluator: ImageEvaluator, samples: torch.Tensor) -> None:
    with pytest.raises(MetricError, match=f"399 samples were given to an evaluator of {N}"):
        evaluator.extract(samples[:-1])


def test_fewer_samples_are_judged_as_by_a_judge_of_so_many(
    evaluator: ImageEvaluator, samples: torch.Tensor, digits: ImageData, classifier: Extractor
) -> None:
    prepared = ImageEvaluator.prepare(digits, "search", classifier, 250, conditions=digits.prompts("search", 250))
    subset = evaluator.subset(250)
    assert subset is evaluator.subset(250), "what it keeps of the real images is kept"
    assert (subset.n_samples, subset.metrics) == (250, prepared.metrics)
    few = samples[:250]
    found, expected = (one.score(one.extract(few), one.metrics) for one in (subset, prepared))
    assert repr(found) == repr(expected)
    assert found["fd"] != evaluator.score(evaluator.extract(samples), ["fd"])["fd"]
    with pytest.raises(MetricError, match="400 samples were given to an evaluator of 250"):
        subset.extract(samples)
    assert evaluator.subset(N) is evaluator
    for n in (3, N + 1):
        with pytest.raises(MetricError, match=f"Of 400 samples {n} cannot be evaluated"):
            evaluator.subset(n)


def test_the_fewest_samples_are_those_that_every_metric_needs(evaluator: ImageEvaluator) -> None:
    for name in evaluator.metrics:
        min_samples = evaluator.min_samples([name])
        assert min_samples <= N
        assert name in evaluator.subset(max(min_samples, 4)).metrics
        if min_samples > 4:
            assert name not in evaluator.subset(min_samples - 1).metrics
    assert evaluator.min_samples(evaluator.metrics) == max(evaluator.min_samples([name]) for name in evaluator.metrics)


def test_unknown_metrics_are_answered_with_the_nearest(evaluator: ImageEvaluator, samples: torch.Tensor) -> None:
    with pytest.raises(MetricError, match="Did you mean precision"):
        evaluator.score(evaluator.extract(samples), ["precison"])
    assert all(find_metric(name).name == name for name in METRICS)


def test_samples_that_are_not_finite_are_refused(evaluator: ImageEvaluator, samples: torch.Tensor) -> None:
    broken = samples.clone()
    broken[3] = float("nan")
    with pytest.raises(MetricError, match="diverged"):
        evaluator.extract(broken)


def test_better_samples_score_better_on_everything(evaluator: ImageEvaluator, samples: torch.Tensor) -> None:
    floor = evaluator.floor(ALL, torch.Generator().manual_seed(0))
    noise = torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    middling, bad = evaluator.score(evaluator.extract(samples), ALL), evaluator.score(evaluator.extract(noise), ALL)
    for name in ALL:
        if name in NOT_MONOTONE:
            continue
        sign = 1 if METRICS[name].higher_is_better else -1
        good, middle, worst = (sign * s[name].value for s in (floor, middling, bad))
        assert good >= middle >= worst, name
        assert good > worst, name


def test_floor_depends_on_the_generator_alone(evaluator: ImageEvaluator) -> None:
    first, again, other = (evaluator.floor(["fd"], torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first == again != other
    # The other held-out split is smaller than the number of samples.
    assert (
        evaluator.floor_note
        == "The floor of fld, novelty, copies, authenticity, c_t rests on 360 other held-out images."
    )


def test_floor_of_what_sees_copies_is_that_of_other_held_out_images(
    evaluator: ImageEvaluator, digits: ImageData
) -> None:
    floor = evaluator.floor(sorted(NOVELTY), torch.Generator().manual_seed(0))
    assert list(floor) == sorted(NOVELTY)
    assert floor["copies"].value < 0.05 < 0.95 < floor["novelty"].value
    assert abs(floor["c_t"].value) < 3
    # Training images themselves would be all copies.
    copies = evaluator.score(evaluator.extract(to_float(digits.train.images[:N])), sorted(NOVELTY))
    assert copies["novelty"].value == 0
    assert copies["c_t"].value < -10
    assert copies["fld"].value > floor["fld"].value


def test_floor_takes_what_is_there_and_says_so(digits: ImageData, classifier: Extractor) -> None:
    few = ImageEvaluator.prepare(replace(digits, train=digits.train.take(torch.arange(100))), "search", classifier, N)
    assert few.floor(["fd"], torch.Generator().manual_seed(0))["fd"].value > 0
    assert "100 training images" in few.floor_note


def test_failure_is_finite_and_no_better_than_any_sample(evaluator: ImageEvaluator, samples: torch.Tensor) -> None:
    failure, middling = evaluator.failure(ALL), evaluator.score(evaluator.extract(samples), ALL)
    for name in ALL:
        assert math.isfinite(failure[name].value)
        sign = 1 if METRICS[name].higher_is_better else -1
        assert sign * failure[name].value < sign * middling[name].value, name
    # One image, over and over: only the spread of the real features and the way to their mean are left.
    mean = to_float(evaluator.train.images.float().mean(0, keepdim=True)).repeat(N, 1, 1, 1)
    assert failure["fd"].value == pytest.approx(evaluator.score(evaluator.extract(mean), ["fd"])["fd"].value, rel=1e-3)


def test_classes(evaluator: ImageEvaluator, digits: ImageData) -> None:
    labels = digits.search.labels
    assert labels is not None
    zeros = digits.train.images[digits.train.labels == 0]
    shares = evaluator.classes(evaluator.extract(to_float(zeros.repeat(N, 1, 1, 1)[:N])))
    assert shares[0] > 0.9
    assert sum(shares) == pytest.approx(1)
    np.testing.assert_allclose(evaluator.real_classes, torch.bincount(labels) / len(labels), atol=0.03)


def test_travels_to_other_processes(evaluator: ImageEvaluator, samples: torch.Tensor) -> None:
    assert pickle.loads(pickle.dumps(evaluator)).score(evaluator.extract(samples), ALL) == evaluator.score(
        evaluator.extract(samples), ALL
    )


def test_without_labels(autoencoder: Extractor, unlabelled: ImageData, samples: torch.Tensor) -> None:
    metrics = available_metrics(unlabelled, autoencoder, conditional=True)
    assert set(metrics) == {name for name in ALL if not METRICS[name].needs_labels and not METRICS[name].needs_classes}
    evaluator = ImageEvaluator.prepare(unlabelled, "search", autoencoder, N)
    assert set(evaluator.score(evaluator.extract(samples), metrics, intervals=True)) == set(metrics)
    with pytest.raises(MetricError, match="no labels"):
        evaluator.score(evaluator.extract(samples), ["modes"])
    with pytest.raises(MetricError, match="Adherence needs data with labels"):
        evaluator.score(evaluator.extract(samples), ["adherence"])
    assert evaluator.label is None
    assert evaluator.classes(evaluator.extract(samples)) == evaluator.real_classes == ()


def test_labels_tell_what_was_asked_for_where_the_extractor_knows_no_classes(
    digits: ImageData, autoencoder: Extractor, samples: torch.Tensor
) -> None:
    evaluator = ImageEvaluator.prepare(digits, "search", autoencoder, N, conditions=digits.prompts("search", N))
    told = {name for name in ALL if METRICS[name].needs_labels}
    assert told == {"asked_diversity", "cas"}
    assert set(ALL) - set(evaluator.metrics) == {name for name in ALL if METRICS[name].needs_classes}
    seen = evaluator.extract(samples)
    scores = evaluator.score(seen, sorted(told), intervals=True)
    assert evaluator.classes(seen) == ()
    # Samples show what was asked for; with their classes shuffled, they teach nothing and vary as all images do.
    order = np.random.default_rng(0).permutation(N)
    assert seen.label is not None
    mixed = replace(seen, label=seen.label[order], condition=seen.label[order])
    shuffled = evaluator.score(mixed, sorted(told))
    assert scores["cas"].value > 0.5 > 0.3 > shuffled["cas"].value
    assert scores["asked_diversity"].value < shuffled["asked_diversity"].value
    floor = evaluator.floor(sorted(told), torch.Generator().manual_seed(0))
    assert floor["cas"].value > scores["cas"].value
    assert floor["asked_diversity"].value == pytest.approx(1, abs=0.1)
    assert all(math.isfinite(score.value) for score in evaluator.failure(sorted(told)).values())


def test_what_is_available_and_how_many_samples(digits: ImageData, classifier: Extractor) -> None:
    for extractor in (None, classifier):
        assert available_metrics(digits, extractor, conditional=True) == ALL
        # Whoever cannot be asked for anything cannot adhere to it.
        plain = tuple(name for name in ALL if not METRICS[name].needs_conditions)
        assert available_metrics(digits, extractor) == plain
        assert set(available_metrics(digits, extractor, places=False)) == set(plain) - {"spatial_fd"}
        assert set(available_metrics(digits, extractor, second=True)) - set(plain) == {
            name for name, metric in METRICS.items() if metric.needs_second
        }
    tiny = replace(digits, search=digits.search.take(torch.arange(5)))
    left = set(available_metrics(tiny))
    assert {"fd", "kid", "modes", "modes_js", "novelty", "fld", "vendi"} < left
    assert not left & {"coverage", "recall", "c2st", "bins_js", "clipped_density"}
    # Few samples: half of 11 has no fifth neighbour, and a line through distances needs 4 for each of 65 dimensions.
    assert "recall" not in available_metrics(digits, classifier, n_samples=11)
    assert "recall" in available_metrics(digits, classifier, n_samples=12)
    assert "fd_inf" not in available_metrics(digits, classifier, n_samples=259)
    assert "fd_inf" in available_metrics(digits, classifier, n_samples=260)
    assert default_n_samples(digits) == 1000
    assert default_n_samples(replace(digits, train=digits.train.take(torch.zeros(10_001, dtype=torch.int64)))) == 2000


def test_too_little_to_judge_by_is_refused(digits: ImageData, classifier: Extractor) -> None:
    with pytest.raises(MetricError, match="1 images"):
        ImageEvaluator.prepare(replace(digits, search=digits.search.take(torch.arange(1))), "search", classifier, N)
    with pytest.raises(MetricError, match="3 samples"):
        ImageEvaluator.prepare(digits, "search", classifier, 3)


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_metrics_explain_themselves(metric: object) -> None:
    assert isinstance(metric, type(METRICS["fd"]))
    assert metric.meaning.endswith(".")
    assert metric.citation
    assert metric.label


def test_what_is_measured_at_every_full_training_is_most_of_it() -> None:
    assert {name for name in ALL if METRICS[name].costly} <= {"fd_inf", "c2st", "spatial_fd", "fld", "mind", "cas"}


def test_a_judge_offers_what_it_can_measure(digits: ImageData, classifier: Extractor, samples: torch.Tensor) -> None:
    few = ImageEvaluator.prepare(digits, "search", classifier, 40)
    assert "fd_inf" not in few.metrics
    found = few.score(few.extract(samples[:40]), few.metrics, intervals=True)
    assert tuple(found) == few.metrics


def test_what_a_metric_can_be_on_some_data_lies_within_what_it_can_be_at_all(evaluator: ImageEvaluator) -> None:
    found = evaluator.limits(evaluator.metrics)
    assert set(found) == set(evaluator.metrics)
    for name, (low, high) in found.items():
        least, most = DESCRIBED[name].limits
        assert least <= low < high <= most, name
