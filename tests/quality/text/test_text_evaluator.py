import math
import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from maestune.data import TextData
from maestune.errors import MetricError
from maestune.quality import DESCRIBED, Evaluator
from maestune.quality.text import TEXT_METRICS, TextEvaluator, TextModels, find_text_metric
from maestune.quality.text.windows import held_out_pieces, train_pieces

N, LENGTH = 60, 96
ALL = tuple(TEXT_METRICS)


@pytest.fixture(scope="module")
def evaluator(prose_data: TextData, prose_models: TextModels) -> TextEvaluator:
    return TextEvaluator.prepare(prose_data, "search", prose_models, LENGTH, N)


def prompts(evaluator: TextEvaluator) -> Tensor:
    return evaluator.data.prompts(evaluator.split, evaluator.n_samples)["prompt"]


def going_on(evaluator: TextEvaluator, texts: list[str]) -> Tensor:
    """Texts as samples of a model that was asked with the evaluator's prompts."""
    made = [evaluator.data.tokenizer.encode((text * LENGTH)[:LENGTH]) for text in texts]
    return torch.cat((prompts(evaluator), torch.stack(made)), dim=1)


def shuffled(evaluator: TextEvaluator) -> Tensor:
    """Real text of the other held-out part with the words of each in another order."""
    rng = np.random.default_rng(0)
    return going_on(
        evaluator, [" ".join(rng.permutation(text.split(" "))) for text in evaluator.extract(fresh(evaluator)).made]
    )


def fresh(evaluator: TextEvaluator) -> Tensor:
    """What a good model makes: real text of the other held-out part, with its own beginnings."""
    return held_out_pieces(evaluator.data, "report", N, LENGTH)


def values(evaluator: TextEvaluator, samples: Tensor) -> dict[str, float]:
    return {name: score.value for name, score in evaluator.score(evaluator.extract(samples), evaluator.metrics).items()}


def test_it_is_a_judge(evaluator: TextEvaluator) -> None:
    as_evaluator: Evaluator = evaluator
    assert as_evaluator.classes(evaluator.extract(fresh(evaluator))) == as_evaluator.real_classes == ()
    assert (evaluator.split, evaluator.n_samples, evaluator.length) == ("search", N, LENGTH)
    assert evaluator.metrics == ALL  # real paragraphs keep to their topics, so that coherence can be measured
    assert set(ALL) <= set(DESCRIBED)


@pytest.mark.parametrize("split", ["search", "report"])
def test_real_pieces_go_on_from_the_prompts(prose_data: TextData, split: str) -> None:
    pieces = held_out_pieces(prose_data, split, 40, LENGTH)  # type: ignore[arg-type]
    wanted = prose_data.prompts(split, 40)["prompt"]  # type: ignore[arg-type]
    part = prose_data.tokenizer.decode(prose_data.part(split))  # type: ignore[arg-type]
    same = [bool((piece[: len(prompt)] == prompt).all()) for piece, prompt in zip(pieces, wanted, strict=True)]
    assert all(same[:-2])  # the last would reach beyond the end, and begin earlier
    assert all(prose_data.tokenizer.decode(piece) in part for piece in pieces)


def test_wide_tokens_are_found_where_they_begin(prose_data: TextData) -> None:
    part = torch.tensor([256, 1, 0, 1, 256, 1, 65536, 1, 1, 256] * 30, dtype=torch.int32)
    data = replace(prose_data, search=part)
    pieces = held_out_pieces(data, "search", 9, 20)
    wanted = data.prompts("search", 9)["prompt"]
    assert (pieces[:-3, : wanted.shape[1]] == wanted[:-3]).all()


def test_training_pieces_are_different_ones(prose_data: TextData, generator: torch.Generator) -> None:
    pieces = train_pieces(prose_data, 50, 100, generator)
    text = prose_data.tokenizer.decode(prose_data.train)
    assert pieces.shape == (50, 100)
    assert all("\n" + prose_data.tokenizer.decode(piece) in text for piece in pieces)
    few = replace(prose_data, train=prose_data.train[:104])
    assert len(train_pieces(few, 50, 100, generator)) == 5


def test_better_texts_score_better_on_everything(evaluator: TextEvaluator) -> None:
    good, bad = (
        values(evaluator, fresh(evaluator)),
        {name: score.value for name, score in evaluator.failure(ALL).items()},
    )
    floor = evaluator.floor(ALL, torch.Generator().manual_seed(0))
    for name, metric in TEXT_METRICS.items():
        sign = 1 if metric.higher_is_better else -1
        assert math.isfinite(bad[name]), name
        assert sign * good[name] > sign * bad[name], name
        assert sign * floor[name].value > sign * bad[name], name


def test_each_failure_is_seen_by_those_who_look_for_it(evaluator: TextEvaluator) -> None:
    real = values(evaluator, fresh(evaluator))
    mixed = values(evaluator, shuffled(evaluator))
    loops = values(evaluator, going_on(evaluator, [text[:12] for text in evaluator.real.held_out.made]))
    copies = values(evaluator, train_pieces(evaluator.data, N, 32 + LENGTH, torch.Generator().manual_seed(3)))
    for name in ("word_js", "char_js", "oracle_gap"):
        assert mixed[name] > 1.2 * real[name], name
    assert loops["text_variety"] < 0.5 * real["text_variety"]
    assert loops["rep_gap"] > 0.3 > 3 * real["rep_gap"]
    assert loops["text_fd"] > 2 * real["text_fd"]
    one = values(evaluator, fresh(evaluator)[:1].expand(N, -1))
    for name in ("cluster_js", "cluster_kl", "text_fd", "entropy_gap"):
        assert one[name] > 2 * real[name], name
    assert one["mauve"] < 0.1 < real["mauve"]
    assert one["self_bleu"] == pytest.approx(1)
    assert real["text_novelty"] > 0.9
    assert copies["text_novelty"] == 0
    assert abs(copies["oracle_gap"]) < 0.5


def test_coherence_falls_when_beginnings_are_shuffled(evaluator: TextEvaluator) -> None:
    pieces = held_out_pieces(evaluator.data, "search", N, LENGTH)
    moved = torch.cat((pieces[:, :32], pieces[:, 32:].roll(N // 2, dims=0)), dim=1)
    third = 32 + LENGTH // 3
    torn = torch.cat((pieces[:, : 2 * third - 32], pieces[:, 2 * third - 32 :].roll(N // 2, dims=0)), dim=1)
    real = values(evaluator, pieces)
    assert real["prompt_coherence"] == real["long_coherence"] == 1
    assert values(evaluator, moved)["prompt_coherence"] < 0.5
    assert values(evaluator, torn)["long_coherence"] < 0.5


def test_intervals_hold_the_value_and_change_nothing_else(evaluator: TextEvaluator) -> None:
    seen = evaluator.extract(fresh(evaluator))
    plain, sure = evaluator.score(seen, ALL), evaluator.score(seen, ALL, intervals=True)
    for name in ALL:
        assert math.isnan(plain[name].low)
        assert sure[name].value == pytest.approx(plain[name].value, abs=1e-9)
        assert sure[name].low <= sure[name].value <= sure[name].high
    assert sure["text_fd"].low < sure["text_fd"].high
    assert sure == evaluator.score(seen, ALL, intervals=True)


def test_novelty_is_not_sure_of_texts_that_it_has_not_seen(evaluator: TextEvaluator) -> None:
    none = evaluator.score(evaluator.extract(fresh(evaluator)), ["text_novelty"], intervals=True)["text_novelty"]
    copies = train_pieces(evaluator.data, N, 32 + LENGTH, torch.Generator().manual_seed(3))
    every = evaluator.score(evaluator.extract(copies), ["text_novelty"], intervals=True)["text_novelty"]
    assert none.high == none.value == 1
    assert none.low == pytest.approx(1 - every.high)
    assert 0.9 < none.low < 0.95  # of 60 texts
    assert every.low == every.value == 0


def test_order_of_texts_means_nothing(evaluator: TextEvaluator) -> None:
    samples = fresh(evaluator)
    one, other = (
        values(evaluator, samples),
        values(evaluator, samples[torch.randperm(N, generator=torch.Generator().manual_seed(1))]),
    )
    for name in set(ALL) - {"mauve"}:  # its bins are found among the samples, and begin with some of them
        assert one[name] == pytest.approx(other[name], rel=1e-6), name


def test_each_split_is_its_own_reference(
    evaluator: TextEvaluator, prose_data: TextData, prose_models: TextModels
) -> None:
    report = TextEvaluator.prepare(prose_data, "report", prose_models, LENGTH, N, evaluator.real.known)
    assert report.real.known is evaluator.real.known
    own = held_out_pieces(prose_data, "report", N, LENGTH)
    assert values(report, own)["cluster_js"] == 0
    assert values(evaluator, own)["cluster_js"] > 0


def test_floor_depends_on_the_generator_alone(evaluator: TextEvaluator) -> None:
    first, again, other = (evaluator.floor(["text_fd"], torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert evaluator.floor_note == ""
    few = replace(evaluator, data=replace(evaluator.data, train=evaluator.data.train[:150]))
    assert "23 pieces of training text" in few.floor_note


def test_another_number_length_or_kind_is_refused(evaluator: TextEvaluator) -> None:
    samples = fresh(evaluator)
    for wrong in (samples[1:], samples[:, 1:], samples[0]):
        with pytest.raises(MetricError, match="Scores at different numbers or lengths"):
            evaluator.extract(wrong)
    for wrong in (samples.float(), samples - 100, samples + 1000):
        with pytest.raises(MetricError, match="no numbers of tokens"):
            evaluator.extract(wrong)


def test_too_little_to_judge_by_is_refused(prose_data: TextData, prose_models: TextModels) -> None:
    with pytest.raises(MetricError, match="3 texts"):
        TextEvaluator.prepare(prose_data, "search", prose_models, LENGTH, 3)
    with pytest.raises(MetricError, match="the search part has 100 tokens"):
        TextEvaluator.prepare(replace(prose_data, search=prose_data.search[:100]), "search", prose_models, LENGTH, N)
    with pytest.raises(MetricError, match="Did you mean cluster_js"):
        find_text_metric("clusterjs")


def test_coherence_is_not_measured_where_real_text_has_none(prose_data: TextData, prose_models: TextModels) -> None:
    mixed = prose_data.search[torch.randperm(len(prose_data.search), generator=torch.Generator().manual_seed(0))]
    evaluator = TextEvaluator.prepare(replace(prose_data, search=mixed), "search", prose_models, LENGTH, N)
    assert set(ALL) - set(evaluator.metrics) == {"prompt_coherence", "long_coherence"}
    with pytest.raises(MetricError, match="prompt_coherence cannot be measured"):
        evaluator.score(evaluator.extract(fresh(evaluator)), ["prompt_coherence"])


def test_travels_to_other_processes(evaluator: TextEvaluator) -> None:
    samples = fresh(evaluator)
    again = pickle.loads(pickle.dumps(evaluator))
    assert again.score(again.extract(samples), ALL) == pytest.approx(
        evaluator.score(evaluator.extract(samples), ALL), nan_ok=True
    )


def test_the_most_copied_passages_come_first(evaluator: TextEvaluator) -> None:
    known = evaluator.data.tokenizer.decode(evaluator.data.train)
    samples = fresh(evaluator).clone()
    samples[7, 32 + 10 : 32 + 90] = evaluator.data.train[500:580].long()
    seen = evaluator.extract(samples)
    first = evaluator.copied(seen)[0]
    assert (first.row, first.start) == (7, 10) or first.row == 7
    assert seen.made[7][first.start : first.start + first.length] in known
    lengths = [passage.length for passage in evaluator.copied(seen)]
    assert all(a >= b for a, b in pairwise(lengths))
    assert lengths[0] >= 80


@pytest.mark.parametrize("metric", TEXT_METRICS.values(), ids=list(TEXT_METRICS))
def test_metrics_explain_themselves(metric: object) -> None:
    assert isinstance(metric, type(TEXT_METRICS["mauve"]))
    assert metric.meaning.endswith(".")
    assert metric.citation
    assert metric.label


def test_what_a_metric_can_be_on_some_data_lies_within_what_it_can_be_at_all(evaluator: TextEvaluator) -> None:
    found = evaluator.limits(evaluator.metrics)
    assert set(found) == set(evaluator.metrics)
    for name, (low, high) in found.items():
        least, most = DESCRIBED[name].limits
        assert least <= low < high <= most, name
