"""Groups of jobs on one worker: every trial ends as it would alone, whatever becomes of the others."""

import itertools
import json
from dataclasses import dataclass, replace

import pytest
import torch

from maestune.data import DataSpec, ImageData, Images
from maestune.errors import StoreError
from maestune.execution import group as group_module
from maestune.execution.folder import checkpoints, newest_checkpoint
from maestune.execution.group import Trainer
from maestune.execution.jobs import Begun, Chosen, Ended, Job, Outcome, Progress, Scored, Setup, Weights
from maestune.families.gan import GAN
from maestune.training.fused import Group
from maestune.training.loop import family_training
from maestune.training.mode import TrainingMode
from maestune.types import Objective, Score

SHAPE = (1, 8, 8)
FAMILY = GAN()
# Members of smaller batches are rounded differently in groups of an odd number.
SMALL = FAMILY.space(DataSpec(shape=SHAPE), "mlp").complete({}).with_(width=32, latent_dim=16, batch_size=32)
FULL = 20


@dataclass(frozen=True)
class Spread:
    """An evaluator that is quick: the spread of the samples. It refuses those of a trial that `refuses` names by its mean."""

    refuses: float | None = None
    n_samples: int = 100
    real_classes: tuple[float, ...] = ()

    def extract(self, samples):
        return samples

    def extract_all(self, several):
        return [self.extract(samples) for samples in several]

    def score(self, features, metrics, intervals=False):
        mean = float(features.mean())
        if self.refuses is not None and abs(mean - self.refuses) < 1e-6:
            raise ValueError("these samples cannot be scored")
        return {"spread": Score(float(features.std())), "mean": Score(mean)}

    def classes(self, features):
        return ()


@pytest.fixture(scope="module")
def data():
    rng = torch.Generator().manual_seed(0)
    part = Images(torch.randint(0, 256, (60, *SHAPE), dtype=torch.uint8, generator=rng))
    return ImageData("noise", part, part, part, (), "test")


@pytest.fixture
def setup(data):
    objectives = (Objective("spread"),)
    evaluators = {"search": Spread(), "report": Spread()}
    return Setup("gan", "cpu", data, evaluators, ("spread",), ("spread",), objectives, report_every=5, fuse="fused")


def jobs_of(folder, n=4, until=FULL, **values):
    """Trials of one structure: the same seed, other rates."""
    return [
        Job(
            trial=k,
            config=SMALL.with_(lr=1e-3 * (k + 1), **values),
            seed=3,
            sample_seed=4,
            split="search",
            folder=folder / f"{k:04d}",
            until_steps=until,
            full_steps=FULL,
            score_at=tuple(s for s in (10, 20) if s <= until),
            picture_at=(10,),
            fused=n > 1,
        )
        for k in range(n)
    ]


def trainer_of(setup, family=FAMILY):
    return Trainer(family_training(family), family, setup)


def train(setup, jobs, stop=lambda: False):
    return list(trainer_of(setup).run(jobs, stop))


def ends(events):
    """Each trial's end; it has one, and it is the last of its events."""
    found = {e.trial: e for e in events if isinstance(e, Ended)}
    assert sum(isinstance(e, Ended) for e in events) == len(found)
    for trial, end in found.items():
        assert [e for e in events if not isinstance(e, Chosen) and e.trial == trial][-1] is end
    return found


def chosen(events):
    return [(e.mode, e.members) for e in events if isinstance(e, Chosen)]


def scores(end):
    return [(r.step, {name: s.value for name, s in r.scores.items()}) for r in end.rungs]


def weights(job):
    """All that a trial's newest checkpoint holds, flat, but for the clock."""
    saved = newest_checkpoint(job.folder, FULL, job.identity)
    return dict(_flat({name: saved[name] for name in ("state", "step")}))


def _flat(tree, path=""):
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else None
    if children is None:
        yield path, tree
    else:
        for name, child in children:
            yield from _flat(child, f"{path}/{name}")


def assert_same(found, expected):
    """Equal to the last bit."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        equal = torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value
        assert equal, name


def stop_at(n):
    """A stop request that comes at the n-th question, and is told only once."""
    asked = itertools.count(1)
    return lambda: next(asked) == n


@dataclass(frozen=True)
class Counting(Spread):
    """The same evaluator, that tells of how many samples every score is."""

    def subset(self, n_samples):
        return replace(self, n_samples=n_samples)

    def extract(self, samples):
        assert len(samples) == self.n_samples
        return samples

    def score(self, features, metrics, intervals=False):
        return {"spread": Score(float(len(features))), "mean": Score(float(intervals))}


def test_trainings_that_go_on_are_judged_on_fewer_samples(setup, tmp_path):
    setup = replace(setup, evaluators={"search": Counting(), "report": Counting()})
    jobs = [replace(job, screen=40, picture_at=()) for job in jobs_of(tmp_path, n=3)]
    for end in ends(train(setup, jobs)).values():
        assert scores(end) == [(10, {"spread": 40.0, "mean": 0.0}), (20, {"spread": 100.0, "mean": 1.0})]
    job = replace(jobs_of(tmp_path / "finals", n=1)[0], screen=40, split="report", score_at=(), picture_at=())
    setup = replace(setup, verdict_metrics=("spread",))
    assert scores(ends(train(setup, [job]))[0]) == [(20, {"spread": 100.0, "mean": 0.0})]


@pytest.mark.parametrize("keep", ["best", "last"])
def test_what_is_kept_of_a_watched_training_is_judged_on_the_same_terms_as_all(setup, tmp_path, keep):
    setup = replace(setup, evaluators={"search": Counting(), "report": Counting()})
    jobs = jobs_of(tmp_path, n=2, keep=keep, patience=1)  # every look is as good: it ends at the second
    jobs = [replace(job, screen=40, picture_at=(), score_at=(2, 5, 10, 20)) for job in jobs]
    for end in ends(train(setup, jobs)).values():
        assert [(step, told["spread"]) for step, told in scores(end)] == [(2, 40), (5, 40), (10, 40), (20, 100)]


def test_final_trainings_that_do_not_pay_as_one_go_back_but_for_the_first(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(group_module, "choose", lambda *_, **__: TrainingMode("serial", 1, "it does not pay"))
    finals = [replace(job, split="report") for job in jobs_of(tmp_path)]
    events = train(replace(setup, fuse="measured", verdict_metrics=("spread",)), finals)
    found = ends(events)
    assert [found[k].outcome for k in range(4)] == [Outcome.REACHED, *[Outcome.RETURNED] * 3]
    assert not any(job.folder.exists() and list(checkpoints(job.folder)) for job in finals[1:])
    told = [e.trial for e in events if isinstance(e, Ended)]
    assert told == [1, 2, 3, 0], "others may begin at once"
    search = ends(train(replace(setup, fuse="measured"), jobs_of(tmp_path / "search")))
    assert {end.outcome for end in search.values()} == {Outcome.REACHED}


def test_a_drawing_has_the_weights_of_another_trial_and_its_own_way_of_drawing(setup, tmp_path):
    (job,) = jobs_of(tmp_path, n=1, truncation=1.0)
    (trained,) = ends(train(setup, [job])).values()
    drawing = replace(
        job, trial=7, folder=tmp_path / "7", weights=Weights(job.folder, job.identity), score_at=(), picture_at=()
    )
    events = train(setup, [drawing])
    assert [type(e) for e in events] == [Begun, Scored, Ended]
    end = events[-1]
    assert (end.outcome, end.step) == (Outcome.REACHED, FULL)
    assert scores(end) == [scores(trained)[-1]], "the same latents, drawn in the same way, are the same samples"
    assert list((tmp_path / "7").glob("samples-*.png"))
    assert not checkpoints(tmp_path / "7")
    other = replace(drawing, trial=8, folder=tmp_path / "8", config=job.config.with_(truncation=0.5))
    assert scores(train(setup, [other])[-1])[0][1]["spread"] < scores(trained)[-1][1]["spread"]
    few = replace(setup, evaluators={"search": Counting(), "report": Counting()})
    rungs = scores(train(few, [replace(drawing, folder=tmp_path / "9", screen=40)])[-1])
    assert rungs == [(FULL, {"spread": 40.0, "mean": 1.0})], "on the terms of trainings that go on, with intervals"


def test_a_drawing_without_weights_is_a_failure_that_says_so(setup, tmp_path):
    (job,) = jobs_of(tmp_path, n=1)
    end = train(setup, [replace(job, weights=Weights(tmp_path / "nowhere", job.identity))])[-1]
    assert end.outcome == Outcome.FAILED
    assert "There is no checkpoint in" in end.message


# Together as alone ----------------------------------------------------------------------------------------------------


def test_a_group_tells_of_every_trial_what_it_would_alone(setup, tmp_path):
    together = jobs_of(tmp_path / "together")
    events = train(setup, together)
    (first,) = (e for e in events if isinstance(e, Chosen))
    assert (first.trials, first.mode, first.members) == ((0, 1, 2, 3), "fused", 4)
    assert first.reason == "4 members of one structure"
    assert chosen(events) == [("fused", 4)]
    ended = ends(events)
    for job in jobs_of(tmp_path / "alone"):
        alone = train(setup, [replace(job, fused=False)])
        mine = [e for e in events if not isinstance(e, Chosen) and e.trial == job.trial]
        assert [type(e) for e in mine] == [type(e) for e in alone]
        for a, b in zip(mine, alone, strict=True):
            if isinstance(b, Progress):
                assert a.step == b.step
                assert dict(a.signals) == pytest.approx(dict(b.signals), rel=1e-4, abs=1e-6)
            if isinstance(b, Scored):
                assert a.rung.step == b.rung.step
        (end,) = ends(alone).values()
        assert (ended[job.trial].outcome, ended[job.trial].step) == (end.outcome, end.step) == (Outcome.REACHED, FULL)
        for (step, values), (expected_step, expected) in zip(scores(ended[job.trial]), scores(end), strict=True):
            assert (step, values) == (expected_step, pytest.approx(expected, rel=1e-4))
        files = sorted(p.name for p in job.folder.iterdir())
        assert sorted(p.name for p in together[job.trial].folder.iterdir()) == files
        assert files == ["checkpoint-00000020.safetensors", "samples-00000010.png", "samples-00000020.png"]
    assert len({scores(e)[-1][1]["spread"] for e in ended.values()}) == 4, "they are not each other"


def test_the_time_of_a_step_is_shared_by_those_who_took_part(setup, tmp_path, monkeypatch):
    now = [0.0]

    class Slow(Group):
        def step(self):
            now[0] += 1.0
            return super().step()

    monkeypatch.setattr(group_module, "Group", Slow)
    monkeypatch.setattr(group_module.time, "perf_counter", lambda: now[0])
    _room_for(3, monkeypatch, setup)  # three at a time, then the fourth alone
    jobs = jobs_of(tmp_path)
    ended = ends(train(setup, jobs))
    assert [end.seconds for _, end in sorted(ended.items())] == pytest.approx([FULL / 3] * 3 + [FULL])
    assert newest_checkpoint(jobs[3].folder, FULL, jobs[3].identity)["seconds"] == pytest.approx(FULL)
    assert [r.seconds for r in ended[0].rungs] == pytest.approx([FULL / 6, FULL / 3])


@pytest.mark.parametrize("fuse", ["off", "measured", "fused"])
def test_a_job_that_is_alone_is_not_fused(setup, tmp_path, fuse):
    events = train(replace(setup, fuse=fuse), jobs_of(tmp_path, 1))
    assert chosen(events) == []
    assert ends(events)[0].outcome == Outcome.REACHED


# One of them fails ----------------------------------------------------------------------------------------------------


def test_a_member_that_diverges_ends_and_the_others_do_not_notice(setup, tmp_path):
    fine = train(setup, jobs_of(tmp_path / "fine"))
    jobs = jobs_of(tmp_path / "one diverges")
    jobs[1] = replace(jobs[1], config=jobs[1].config.with_(lr=1e30))
    ended = ends(train(setup, jobs))
    assert ended[1].outcome == Outcome.DIVERGED
    assert ended[1].step < FULL
    assert f"diverged at step {ended[1].step}: " in ended[1].message
    assert not checkpoints(jobs[1].folder)
    for trial in (0, 2, 3):
        assert ended[trial].outcome == Outcome.REACHED
        assert scores(ended[trial]) == scores(ends(fine)[trial])
        assert_same(weights(jobs[trial]), weights(jobs_of(tmp_path / "fine")[trial]))


def test_a_member_that_cannot_be_scored_has_failed_and_the_others_go_on(setup, tmp_path):
    fine = ends(train(setup, jobs_of(tmp_path / "fine")))
    strict = Spread(refuses=scores(fine[2])[0][1]["mean"])
    jobs = jobs_of(tmp_path / "one fails")
    ended = ends(train(replace(setup, evaluators={"search": strict}), jobs))
    assert (ended[2].outcome, ended[2].step) == (Outcome.FAILED, 10)
    assert ended[2].message == "ValueError: these samples cannot be scored"
    assert "these samples cannot be scored" in (jobs[2].folder / "error.txt").read_text()
    for trial in (0, 1, 3):
        assert scores(ended[trial]) == scores(fine[trial])
        assert not (jobs[trial].folder / "error.txt").exists()


def test_a_disk_that_cannot_be_written_stops_the_campaign(setup, tmp_path, monkeypatch):
    def full(path, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maestune.execution.segment.save_checkpoint", full)
    with pytest.raises(StoreError, match="No space left on device"):
        train(setup, jobs_of(tmp_path))


# Interrupted and resumed ----------------------------------------------------------------------------------------------


def test_stopped_and_run_again_it_ends_as_if_it_had_not_been(setup, tmp_path):
    whole = jobs_of(tmp_path / "whole")
    expected = ends(train(setup, whole))
    jobs = jobs_of(tmp_path / "stopped")
    stopped = ends(train(setup, jobs, stop_at(3)))
    assert {(e.outcome, e.step) for e in stopped.values()} == {(Outcome.INTERRUPTED, 15)}
    assert [len(checkpoints(job.folder)) for job in jobs] == [1] * 4
    again = train(setup, jobs)
    told = [e for e in again if isinstance(e, Scored) and e.trial == 0]
    assert [e.rung.step for e in told] == [10, 20], "what the checkpoint knows is told again"
    for job, other in zip(jobs, whole, strict=True):
        assert scores(ends(again)[job.trial]) == scores(expected[job.trial])
        assert_same(weights(job), weights(other))


def test_those_who_wait_for_a_place_are_interrupted_as_well(setup, tmp_path, monkeypatch):
    whole = jobs_of(tmp_path / "whole")
    train(setup, whole)
    _room_for(2, monkeypatch, setup)
    jobs = jobs_of(tmp_path / "stopped")
    stopped = ends(train(setup, jobs, stop_at(2)))
    assert [(e.outcome, e.step) for _, e in sorted(stopped.items())] == [
        (Outcome.INTERRUPTED, 10),
        (Outcome.INTERRUPTED, 10),
        (Outcome.INTERRUPTED, 0),
        (Outcome.INTERRUPTED, 0),
    ]
    assert {e.outcome for e in ends(train(setup, jobs)).values()} == {Outcome.REACHED}
    for job, other in zip(jobs, whole, strict=True):
        assert_same(weights(job), weights(other))


def test_trials_one_by_one_are_interrupted_as_well(setup, tmp_path):
    jobs = jobs_of(tmp_path)
    stopped = ends(train(replace(setup, fuse="off"), jobs, stop_at(6)))
    assert [e.outcome for _, e in sorted(stopped.items())] == [Outcome.REACHED, *[Outcome.INTERRUPTED] * 3]
    assert len(checkpoints(jobs[1].folder)) == 1
    assert not checkpoints(jobs[2].folder)


@pytest.mark.parametrize("seeds", [(3, 3, 3, 3), (1, 2, 3, 4)], ids=["one seed", "seeds of their own"])
def test_the_last_of_a_group_goes_on_as_it_would_have_in_it(setup, tmp_path, seeds):
    def seeded(folder):
        return [replace(job, seed=seed) for job, seed in zip(jobs_of(folder), seeds, strict=True)]

    whole, jobs = seeded(tmp_path / "whole"), seeded(tmp_path / "left")
    expected = ends(train(setup, whole))
    train(setup, jobs, stop_at(2))
    events = train(setup, [jobs[2]])
    assert chosen(events) == [("fused", 1)]
    assert scores(ends(events)[2]) == scores(expected[2])
    assert_same(weights(jobs[2]), weights(whole[2]))
    fresh = replace(jobs[1], folder=tmp_path / "from the beginning")
    train(setup, [fresh])
    assert_same(weights(fresh), weights(whole[1]))
    serial = replace(jobs[1], folder=tmp_path / "serial", fused=False)
    train(setup, [serial])
    found, other = weights(serial), weights(whole[1])
    equal = [torch.equal(found[k], v) for k, v in other.items() if isinstance(v, torch.Tensor) and "model" in k]
    assert not all(equal), "otherwise this says nothing"


def test_of_a_group_that_had_nearly_ended_the_rest_goes_on(setup, tmp_path):
    whole, jobs = jobs_of(tmp_path / "whole"), jobs_of(tmp_path / "left")
    train(setup, whole)
    train(setup, [jobs[0], jobs[1]])  # as if the crash had come before the others' checkpoints
    events = train(setup, jobs)
    assert [e.trial for e in events if isinstance(e, Ended)] == [0, 1, 2, 3]
    assert [e.trials for e in events if isinstance(e, Chosen)] == [(2, 3)]
    for job, other in zip(jobs, whole, strict=True):
        assert_same(weights(job), weights(other))


def test_members_that_were_stopped_at_other_steps_go_on_together(setup, tmp_path):
    whole, jobs = jobs_of(tmp_path / "whole"), jobs_of(tmp_path / "left")
    train(setup, whole)
    train(setup, jobs[:1], stop_at(1))
    train(setup, jobs[1:3], stop_at(3))
    assert {e.outcome for e in ends(train(setup, jobs)).values()} == {Outcome.REACHED}
    for job, other in zip(jobs, whole, strict=True):
        assert_same(weights(job), weights(other))


# One by one -----------------------------------------------------------------------------------------------------------


def test_who_does_not_want_to_fuse_trains_one_by_one(setup, tmp_path):
    events = train(replace(setup, fuse="off"), jobs_of(tmp_path))
    assert chosen(events) == []
    assert [e.trial for e in events if isinstance(e, Ended)] == [0, 1, 2, 3]
    assert [e.trial for e in events] == sorted(e.trial for e in events)


class Stateful(GAN):
    """A family with a layer whose statistics are written as it runs."""

    def build(self, config, spec, generator):
        model = super().build(config, spec, generator)
        model.discriminator.add_module("statistics", torch.nn.BatchNorm1d(3))
        return model


@pytest.mark.parametrize("n", [1, 3])
def test_a_family_that_cannot_be_fused_says_so_and_trains_one_by_one(setup, tmp_path, n):
    jobs = [replace(job, fused=True) for job in jobs_of(tmp_path, n)]
    events = list(trainer_of(setup, Stateful()).run(jobs, lambda: False))
    (how,) = (e for e in events if isinstance(e, Chosen))
    assert (how.trials, how.mode) == (tuple(range(n)), "serial")
    assert "it cannot be fused: discriminator.statistics (BatchNorm1d) keeps running statistics" in how.reason
    assert [(e.trial, e.outcome) for e in events if isinstance(e, Ended)] == [(k, Outcome.REACHED) for k in range(n)]


def test_what_fails_only_when_it_is_fused_trains_one_by_one(setup, tmp_path, monkeypatch):
    class Refusing(Group):
        def step(self):
            if self._members[0].step == 12:
                raise RuntimeError("vmap: not this\nmore of it")
            return super().step()

    monkeypatch.setattr(group_module, "Group", Refusing)
    events = train(setup, jobs_of(tmp_path))
    assert chosen(events) == [("fused", 4), ("serial", 1)]
    assert "it cannot be fused: RuntimeError: vmap: not this" in [e.reason for e in events if isinstance(e, Chosen)]
    assert [(e.trial, e.outcome) for e in events if isinstance(e, Ended)] == [(k, Outcome.REACHED) for k in range(4)]


# Memory ---------------------------------------------------------------------------------------------------------------


def _out_of_memory(more_than, error, monkeypatch):
    class Hungry(Group):
        def begin(self):
            super().begin()
            if len(self.keys) > more_than:
                raise error

    monkeypatch.setattr(group_module, "Group", Hungry)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 1 B")]
)
@pytest.mark.parametrize(
    ("more_than", "training_modes"),
    [(4, [("fused", 8), ("fused", 4)]), (2, [("fused", 8), ("fused", 4), ("fused", 2)])],
)
def test_where_memory_runs_out_fewer_are_trained_at_a_time(
    setup, tmp_path, monkeypatch, error, more_than, training_modes
):
    _out_of_memory(more_than, error, monkeypatch)
    events = train(setup, jobs_of(tmp_path, 8, until=10))
    assert chosen(events) == training_modes
    reasons = [e.reason for e in events if isinstance(e, Chosen)]
    assert reasons == ["8 members of one structure", *["memory ran out"] * (len(training_modes) - 1)]
    assert {e.outcome for e in ends(events).values()} == {Outcome.REACHED}
    assert len(ends(events)) == 8


def test_measuring_takes_no_more_memory_than_there_is(setup, tmp_path, monkeypatch):
    def hungry(family, tasks, programs):
        if len(tasks) > 2:
            raise MemoryError
        return 1.0

    monkeypatch.setattr("maestune.training.mode.serial_seconds", lambda family, task: 3.0)
    monkeypatch.setattr("maestune.training.mode.group_seconds", hungry)
    events = train(replace(setup, fuse="measured"), jobs_of(tmp_path, 8, until=10))
    assert chosen(events) == [("fused", 2)]
    assert {e.outcome for e in ends(events).values()} == {Outcome.REACHED}


def test_where_there_is_no_memory_for_two_they_train_one_by_one(setup, tmp_path, monkeypatch):
    _out_of_memory(1, MemoryError(), monkeypatch)
    events = train(setup, jobs_of(tmp_path))
    assert chosen(events) == [("fused", 4), ("fused", 2), ("serial", 1)]
    assert [(e.trial, e.outcome) for e in events if isinstance(e, Ended)] == [(k, Outcome.REACHED) for k in range(4)]


def _room_for(n, monkeypatch, setup):
    monkeypatch.setattr("maestune.training.mode.member_bytes", lambda family, task: 1000)
    object.__setattr__(setup, "memory_bytes", 1000.0 * n + 1)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_so_many_at_a_time_as_the_memory_holds(setup, tmp_path, monkeypatch, n):
    together: list[int] = []

    class Watched(Group):
        def step(self):
            together.append(len(self.keys))
            return super().step()

    monkeypatch.setattr(group_module, "Group", Watched)
    _room_for(n, monkeypatch, setup)
    events = train(setup, jobs_of(tmp_path))
    assert max(together, default=1) == n
    assert chosen(events) == ([("fused", n)] if n > 1 else [("serial", 1)])
    assert {e.outcome for e in ends(events).values()} == {Outcome.REACHED}


def test_events_can_be_sent_and_written_down(setup, tmp_path):
    for event in train(setup, jobs_of(tmp_path, 2, until=10)):
        if isinstance(event, Progress):
            json.dumps(dict(event.signals), allow_nan=False)
