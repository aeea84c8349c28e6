import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maestune.data import ImageData, Images, load_text
from maestune.errors import StoreError
from maestune.execution.folder import checkpoint_path, checkpoints, newest_checkpoint, text_path
from maestune.execution.jobs import Ended, Job, Outcome, Scored, Setup
from maestune.execution.segment import run_segment
from maestune.types import Config, Objective, Report, Score


def counting(config, run):
    """A training whose score is how far it has come, and which tells where it started."""
    total = run.state["total"] if run.state is not None else 0
    for step in run.steps():
        total += 1
        if run.due(step):
            value = math.nan if config.get("breaks") == step else float(total)
            yield Report(step, {"total": value}, scores={"score": float(total)}, state=lambda t=total: {"total": t})


SETUP = Setup("own", "cpu", None, {}, (), (), (Objective("score"),), report_every=5)


def job(folder, until=20, **config):
    return Job(0, Config.of(x=1.0, **config), 0, 0, "search", Path(folder), until, 40, (10, 20, 40), ())


OWNER = job("").identity


def run(folder, until=20, stop=lambda: False, training=counting, setup=SETUP, **config):
    return list(run_segment(training, setup, job(folder, until, **config), stop))


def test_a_segment_scores_at_its_rungs_and_ends_with_one_checkpoint(tmp_path):
    events = run(tmp_path)
    assert [e.rung.step for e in events if isinstance(e, Scored)] == [10, 20]
    ended = events[-1]
    assert (ended.outcome, ended.step, [r.step for r in ended.rungs]) == (Outcome.REACHED, 20, [10, 20])
    assert checkpoints(tmp_path) == [checkpoint_path(tmp_path, 20)]


def test_the_next_segment_goes_on_from_the_checkpoint(tmp_path):
    run(tmp_path)
    ended = run(tmp_path, until=40)[-1]
    assert [(r.step, r.scores["score"].value) for r in ended.rungs] == [(10, 10.0), (20, 20.0), (40, 40.0)]


def test_a_segment_that_was_finished_before_the_crash_is_told_again(tmp_path):
    first = run(tmp_path)[-1]
    again = run(tmp_path)[-1]
    assert (again.outcome, again.step) == (Outcome.REACHED, 20)
    assert [r.scores["score"].value for r in again.rungs] == [r.scores["score"].value for r in first.rungs]


def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_later(tmp_path):
    ended = run(tmp_path, stop=lambda: True)[-1]
    assert (ended.outcome, ended.step) == (Outcome.INTERRUPTED, 5)
    assert run(tmp_path)[-1].rungs[-1].scores["score"].value == 20.0


def test_a_corrupt_checkpoint_is_passed_over(tmp_path):
    run(tmp_path)
    checkpoint_path(tmp_path, 30).write_bytes(b"half a file")
    assert newest_checkpoint(tmp_path, 40, OWNER)["step"] == 20
    assert run(tmp_path, until=40)[-1].rungs[-1].scores["score"].value == 40.0


def test_a_checkpoint_beyond_the_segment_is_not_used(tmp_path):
    run(tmp_path, until=40)
    assert newest_checkpoint(tmp_path, 20, OWNER) is None


def test_nan_is_divergence_with_its_step_and_signal(tmp_path):
    ended = run(tmp_path, breaks=15)[-1]
    assert (ended.outcome, ended.step) == (Outcome.DIVERGED, 15)
    assert "total is nan" in ended.message
    assert [r.step for r in ended.rungs] == [10]


def test_an_error_of_the_training_is_an_outcome_with_its_traceback(tmp_path):
    def broken(config, run):
        yield Report(5, {"loss": 1.0})
        raise RuntimeError("the tensor is too large\nsecond line")

    ended = run(tmp_path, training=broken)[-1]
    assert (ended.outcome, ended.message) == (Outcome.FAILED, "RuntimeError: the tensor is too large")
    assert "second line" in (tmp_path / "error.txt").read_text()


def test_a_training_that_ends_early_is_told_what_it_owes(tmp_path):
    def short(config, run):
        yield Report(5, {"loss": 1.0})

    assert "without a report at step 20" in run(tmp_path, training=short)[-1].message


def test_samples_are_pictured_and_infinite_ones_are_divergence(tmp_path):
    def sampling(config, run):
        for step in run.steps():
            if run.due(step):
                images = torch.full((64, 1, 8, 8), config["level"])
                yield Report(step, samples=images, scores={"score": 1.0}, state=dict)

    fine = Job(0, Config.of(level=0.5), 0, 0, "search", tmp_path / "a", 10, 10, (10,), (4,))
    assert list(run_segment(sampling, SETUP, fine, lambda: False))[-1].outcome == Outcome.REACHED
    assert sorted(p.name for p in (tmp_path / "a").glob("*.png")) == ["samples-00000004.png", "samples-00000010.png"]
    bad = Job(0, Config.of(level=math.inf), 0, 0, "search", tmp_path / "b", 10, 10, (10,), (4,))
    assert "samples are not finite" in list(run_segment(sampling, SETUP, bad, lambda: False))[-1].message


def test_a_disk_that_cannot_be_written_is_not_the_trials_fault(tmp_path, monkeypatch):
    def full(path, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maestune.execution.segment.save_checkpoint", full)
    with pytest.raises(StoreError, match=r"No space left on device.*same command again"):
        run(tmp_path)


def test_every_segment_ends_with_exactly_one_end(tmp_path):
    assert [isinstance(e, Ended) for e in run(tmp_path)].count(True) == 1


@dataclass(frozen=True)
class Counting:
    """An evaluator that scores everything with the number of samples."""

    n_samples: int
    real_classes: tuple[float, ...] = ()

    def extract(self, samples):
        return len(samples)

    def score(self, seen, metrics, intervals=False):
        return {name: Score(float(seen), *((0.0, 1e9) if intervals else ())) for name in metrics}

    def classes(self, seen):
        return ()


DARK = Images(torch.zeros(9, 1, 8, 8, dtype=torch.uint8))
EVALUATED = replace(
    SETUP,
    data=ImageData("dark", DARK, DARK, DARK, (), "test"),
    evaluators={"search": Counting(500), "report": Counting(700)},
    metrics=("cheap",),
    full_metrics=("cheap", "dear"),
    verdict_metrics=("cheap", "dear", "costly"),
)


def drawing(told):
    """A training that is scored by its samples and by itself; appends its runs to what is told."""

    def training(config, run):
        told.append(run)
        for step in run.steps():
            if run.due(step):
                n = run.n_samples(step)
                samples = torch.zeros(n, 1, 8, 8) if n else None
                choice = torch.zeros(run.n_choice or n, 1, 8, 8) if step in run.validation_steps else None
                yield Report(step, samples=samples, choice_samples=choice, scores={"score": 1.0}, state=dict)

    return training


def test_the_training_is_told_where_it_is_scored_and_what_samples_are_due(tmp_path):
    told = []
    silent = replace(EVALUATED, metrics=())
    for setup in (SETUP, replace(SETUP, data=EVALUATED.data), silent, EVALUATED):
        one = replace(job(tmp_path / str(len(told))), picture_at=(4,), split="report", score_at=(10, 40))
        list(run_segment(drawing(told), setup, one, lambda: False))
    assert all(run.scored_at == {10, 20, 40} and run.split == "report" for run in told)
    assert [run.n_choice for run in told] == [0, 0, 0, 0]  # weights are chosen by what the training tells of itself
    # Pictures have 64; a training of its own, without data, owes none where it is scored. Where nothing of them is measured
    # at a rung, none are drawn but what is shown; the full training is another matter.
    at_rungs = [0, 64, 64, 700]
    assert [dict(run.samples_at) for run in told] == [
        {step: n for step, n in {4: 64, 10: rung, 40: full, 20: rung}.items() if n}
        for rung, full in zip(at_rungs, (0, 64, 700, 700), strict=True)
    ]


def test_weights_chosen_by_samples_are_chosen_by_as_many_as_the_search_judges(tmp_path):
    told = []
    setup = replace(EVALUATED, objectives=(Objective("cheap"),))
    list(run_segment(drawing(told), setup, replace(job(tmp_path), split="report"), lambda: False))
    assert [run.n_choice for run in told] == [500]


@pytest.mark.parametrize(("split", "full"), [("search", {"cheap", "dear"}), ("report", {"cheap", "dear", "costly"})])
def test_costly_metrics_are_measured_for_the_verdict_only(tmp_path, split, full):
    one = replace(job(tmp_path, until=40), split=split)
    rungs = list(run_segment(drawing([]), EVALUATED, one, lambda: False))[-1].rungs
    assert [set(rung.scores) - {"score"} for rung in rungs] == [{"cheap"}, {"cheap"}, full]
    assert {s.value for rung in rungs for name, s in rung.scores.items() if name != "score"} == {
        500.0 if split == "search" else 700.0
    }
    assert math.isnan(rungs[0].scores["cheap"].low)
    # The intervals of a verdict are over seeds.
    assert math.isnan(rungs[-1].scores["cheap"].low) == (split == "report")


def test_what_may_be_the_result_is_measured_as_a_result(tmp_path):
    told = []
    one = replace(job(tmp_path, until=40, keep="best"), split="report")
    rungs = list(run_segment(drawing(told), EVALUATED, one, lambda: False))[-1].rungs
    assert set(rungs[-1].scores) == {"score", "cheap", "dear", "costly"}
    assert {told[0].samples_at[step] for step in told[0].validation_steps} == {700}


def test_exhibits_are_pictured_beside_the_samples(tmp_path):
    def exhibiting(config, run):
        pictures = {"restored": torch.ones(16, 1, 8, 8), "latent-map": -torch.ones(3, 3, 300, 200)}
        yield Report(20, scores={"score": 1.0}, exhibits=pictures, state=dict)

    assert run(tmp_path, training=exhibiting)[-1].outcome == Outcome.REACHED
    found = {path.name: np.asarray(Image.open(path)) for path in tmp_path.glob("*.png")}
    assert sorted(found) == ["exhibit-latent-map-00000020.png", "exhibit-restored-00000020.png"]
    assert found["exhibit-restored-00000020.png"].max() == 255
    assert max(found["exhibit-latent-map-00000020.png"].shape) <= 1100, "large ones are drawn smaller"


def test_texts_are_written_down_with_what_was_asked(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(f"{i} and é «{i}»" for i in range(1000)))
    data = load_text(tmp_path / "t.txt")
    folder = tmp_path / "trial"

    def writing(config, run):
        for step in run.steps():
            if n := run.n_samples(step):
                prompts = run.prompts(n)["prompt"]
                made = data.tokenizer.encode(f"é{step}").expand(n, -1)
                yield Report(step, samples=torch.cat((prompts, made), 1), scores={"score": 1.0}, state=dict)

    judged = replace(SETUP, data=data, evaluators={"search": Counting(21)}, metrics=("cheap",))
    one = replace(job(folder), picture_at=(4,), score_at=(20,))
    assert list(run_segment(writing, judged, one, lambda: False))[-1].outcome == Outcome.REACHED
    assert not list(folder.glob("*.png"))
    assert sorted(p.name for p in folder.glob("samples-*.json")) == [f"samples-{s:08d}.json" for s in (4, 20)]
    for step, n in ((4, 8), (20, 21)):  # of many, eight are written down
        spread = [round(20 * k / 7) for k in range(8)] if n == 21 else range(8)
        prompts = [data.tokenizer.decode(data.prompts("search", n)["prompt"][k]) for k in spread]
        written = text_path(folder, step).read_text(encoding="utf-8")
        assert "é" in written
        assert json.loads(written) == [[prompt, f"é{step}"] for prompt in prompts]


def test_a_disk_that_cannot_hold_texts_is_not_the_trials_fault(tmp_path, monkeypatch):
    (tmp_path / "t.txt").write_text("\n".join(map(str, range(2000))))
    data = load_text(tmp_path / "t.txt")

    def writing(config, run):
        yield Report(20, samples=run.prompts(8)["prompt"], scores={"score": 1.0}, state=dict)

    def full(*arguments, **values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maestune.execution.artifacts.replace_file", full)
    with pytest.raises(StoreError, match="No space left on device"):
        run(tmp_path / "trial", training=writing, setup=replace(SETUP, data=data))
