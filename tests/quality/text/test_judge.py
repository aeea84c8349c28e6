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
from maestune.quality import DESCRIBED, Judge
from maestune.quality.text import TEXT_METRICS, Eyes, TextJudge, find_text_metric
from maestune.quality.text.pieces import held_out_pieces, train_pieces

N, LENGTH = 60, 96
ALL = tuple(TEXT_METRICS)


@pytest.fixture(scope="module")
def judge(prose_data: TextData, prose_eyes: Eyes) -> TextJudge:
    return TextJudge.prepare(prose_data, "search", prose_eyes, LENGTH, N)


def prompts(judge: TextJudge) -> Tensor:
    return judge.data.prompts(judge.split, judge.n_samples)["prompt"]


def going_on(judge: TextJudge, texts: list[str]) -> Tensor:
    """Texts as samples of a model that was asked with the judge's prompts."""
    made = [judge.data.tokenizer.encode((text * LENGTH)[:LENGTH]) for text in texts]
    return torch.cat((prompts(judge), torch.stack(made)), dim=1)


def shuffled(judge: TextJudge) -> Tensor:
    """Real text of the other held-out part with the words of each in another order."""
    rng = np.random.default_rng(0)
    return going_on(judge, [" ".join(rng.permutation(text.split(" "))) for text in judge.look(fresh(judge)).made])


def fresh(judge: TextJudge) -> Tensor:
    """What a good model makes: real text of the other held-out part, with its own beginnings."""
    return held_out_pieces(judge.data, "report", N, LENGTH)


def values(judge: TextJudge, samples: Tensor) -> dict[str, float]:
    return {name: score.value for name, score in judge.score(judge.look(samples), judge.metrics).items()}


def test_it_is_a_judge(judge: TextJudge) -> None:
    as_judge: Judge = judge
    assert as_judge.classes(judge.look(fresh(judge))) == as_judge.real_classes == ()
    assert (judge.split, judge.n_samples, judge.length) == ("search", N, LENGTH)
    assert judge.metrics == ALL  # real paragraphs keep to their topics, so that coherence can be measured
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


def test_better_texts_score_better_on_everything(judge: TextJudge) -> None:
    good, bad = values(judge, fresh(judge)), {name: score.value for name, score in judge.failure(ALL).items()}
    floor = judge.floor(ALL, torch.Generator().manual_seed(0))
    for name, metric in TEXT_METRICS.items():
        sign = 1 if metric.higher_is_better else -1
        assert math.isfinite(bad[name]), name
        assert sign * good[name] > sign * bad[name], name
        assert sign * floor[name].value > sign * bad[name], name


def test_each_failure_is_seen_by_those_who_look_for_it(judge: TextJudge) -> None:
    real = values(judge, fresh(judge))
    mixed = values(judge, shuffled(judge))
    loops = values(judge, going_on(judge, [text[:12] for text in judge.real.held_out.made]))
    copies = values(judge, train_pieces(judge.data, N, 32 + LENGTH, torch.Generator().manual_seed(3)))
    for name in ("word_js", "char_js", "oracle_gap"):
        assert mixed[name] > 1.2 * real[name], name
    assert loops["text_variety"] < 0.5 * real["text_variety"]
    assert loops["rep_gap"] > 0.3 > 3 * real["rep_gap"]
    assert loops["text_fd"] > 2 * real["text_fd"]
    one = values(judge, fresh(judge)[:1].expand(N, -1))
    for name in ("cluster_js", "cluster_kl", "text_fd", "entropy_gap"):
        assert one[name] > 2 * real[name], name
    assert one["mauve"] < 0.1 < real["mauve"]
    assert one["self_bleu"] == pytest.approx(1)
    assert real["text_novelty"] > 0.9
    assert copies["text_novelty"] == 0
    assert abs(copies["oracle_gap"]) < 0.5


def test_coherence_falls_when_beginnings_are_shuffled(judge: TextJudge) -> None:
    pieces = held_out_pieces(judge.data, "search", N, LENGTH)
    moved = torch.cat((pieces[:, :32], pieces[:, 32:].roll(N // 2, dims=0)), dim=1)
    third = 32 + LENGTH // 3
    torn = torch.cat((pieces[:, : 2 * third - 32], pieces[:, 2 * third - 32 :].roll(N // 2, dims=0)), dim=1)
    real = values(judge, pieces)
    assert real["prompt_coherence"] == real["long_coherence"] == 1
    assert values(judge, moved)["prompt_coherence"] < 0.5
    assert values(judge, torn)["long_coherence"] < 0.5


def test_intervals_hold_the_value_and_change_nothing_else(judge: TextJudge) -> None:
    seen = judge.look(fresh(judge))
    plain, sure = judge.score(seen, ALL), judge.score(seen, ALL, intervals=True)
    for name in ALL:
        assert math.isnan(plain[name].low)
        assert sure[name].value == pytest.approx(plain[name].value, abs=1e-9)
        assert sure[name].low <= sure[name].value <= sure[name].high
    assert sure["text_fd"].low < sure["text_fd"].high
    assert sure == judge.score(seen, ALL, intervals=True)


def test_novelty_is_not_sure_of_texts_that_it_has_not_seen(judge: TextJudge) -> None:
    none = judge.score(judge.look(fresh(judge)), ["text_novelty"], intervals=True)["text_novelty"]
    copies = train_pieces(judge.data, N, 32 + LENGTH, torch.Generator().manual_seed(3))
    every = judge.score(judge.look(copies), ["text_novelty"], intervals=True)["text_novelty"]
    assert none.high == none.value == 1
    assert none.low == pytest.approx(1 - every.high)
    assert 0.9 < none.low < 0.95  # of 60 texts
    assert every.low == every.value == 0


def test_order_of_texts_means_nothing(judge: TextJudge) -> None:
    samples = fresh(judge)
    one, other = (
        values(judge, samples),
        values(judge, samples[torch.randperm(N, generator=torch.Generator().manual_seed(1))]),
    )
    for name in set(ALL) - {"mauve"}:  # its bins are found among the samples, and begin with some of them
        assert one[name] == pytest.approx(other[name], rel=1e-6), name


def test_each_split_is_its_own_reference(judge: TextJudge, prose_data: TextData, prose_eyes: Eyes) -> None:
    report = TextJudge.prepare(prose_data, "report", prose_eyes, LENGTH, N, judge.real.known)
    assert report.real.known is judge.real.known
    own = held_out_pieces(prose_data, "report", N, LENGTH)
    assert values(report, own)["cluster_js"] == 0
    assert values(judge, own)["cluster_js"] > 0


def test_floor_depends_on_the_generator_alone(judge: TextJudge) -> None:
    first, again, other = (judge.floor(["text_fd"], torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert judge.floor_note == ""
    few = replace(judge, data=replace(judge.data, train=judge.data.train[:150]))
    assert "23 pieces of training text" in few.floor_note


def test_another_number_length_or_kind_is_refused(judge: TextJudge) -> None:
    samples = fresh(judge)
    for wrong in (samples[1:], samples[:, 1:], samples[0]):
        with pytest.raises(MetricError, match="Scores at different numbers or lengths"):
            judge.look(wrong)
    for wrong in (samples.float(), samples - 100, samples + 1000):
        with pytest.raises(MetricError, match="no numbers of tokens"):
            judge.look(wrong)


def test_too_little_to_judge_by_is_refused(prose_data: TextData, prose_eyes: Eyes) -> None:
    with pytest.raises(MetricError, match="3 texts"):
        TextJudge.prepare(prose_data, "search", prose_eyes, LENGTH, 3)
    with pytest.raises(MetricError, match="the search part has 100 tokens"):
        TextJudge.prepare(replace(prose_data, search=prose_data.search[:100]), "search", prose_eyes, LENGTH, N)
    with pytest.raises(MetricError, match="Did you mean cluster_js"):
        find_text_metric("clusterjs")


def test_coherence_is_not_measured_where_real_text_has_none(prose_data: TextData, prose_eyes: Eyes) -> None:
    mixed = prose_data.search[torch.randperm(len(prose_data.search), generator=torch.Generator().manual_seed(0))]
    judge = TextJudge.prepare(replace(prose_data, search=mixed), "search", prose_eyes, LENGTH, N)
    assert set(ALL) - set(judge.metrics) == {"prompt_coherence", "long_coherence"}
    with pytest.raises(MetricError, match="prompt_coherence cannot be measured"):
        judge.score(judge.look(fresh(judge)), ["prompt_coherence"])


def test_travels_to_other_processes(judge: TextJudge) -> None:
    samples = fresh(judge)
    again = pickle.loads(pickle.dumps(judge))
    assert again.score(again.look(samples), ALL) == pytest.approx(judge.score(judge.look(samples), ALL), nan_ok=True)


def test_the_most_copied_passages_come_first(judge: TextJudge) -> None:
    known = judge.data.tokenizer.decode(judge.data.train)
    samples = fresh(judge).clone()
    samples[7, 32 + 10 : 32 + 90] = judge.data.train[500:580].long()
    seen = judge.look(samples)
    first = judge.copied(seen)[0]
    assert (first.row, first.start) == (7, 10) or first.row == 7
    assert seen.made[7][first.start : first.start + first.length] in known
    lengths = [passage.length for passage in judge.copied(seen)]
    assert all(a >= b for a, b in pairwise(lengths))
    assert lengths[0] >= 80


@pytest.mark.parametrize("metric", TEXT_METRICS.values(), ids=list(TEXT_METRICS))
def test_metrics_explain_themselves(metric: object) -> None:
    assert isinstance(metric, type(TEXT_METRICS["mauve"]))
    assert metric.meaning.endswith(".")
    assert metric.citation
    assert metric.label
