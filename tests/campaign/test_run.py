"""The loop between store, strategy and executor."""

from collections import deque

import pytest

from maestune.campaign.budget import Budget
from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.observer import Observers
from maestune.campaign.plan import Plan
from maestune.campaign.run import Loop
from maestune.campaign.store import Store
from maestune.execution.jobs import Chosen, Ended, Job, Outcome, Progress
from maestune.space import Float, Fusible, Space
from maestune.types import Config, Decision, Judgement, Objective, Proposal, Rung, Score, Trial, TrialState

SPACE = Space((Float("lr", 1e-5, 1.0),))
RUNGS = (10, 30, 90)
RECIPE = Config.of(lr=0.5)
FACTS = {
    "space": SPACE.to_dict(), "rungs": RUNGS, "model": "gan", "recipe_name": "", "data_text": "", "budget_text": "",
    "settings": {"strategy": "told", "seed": 0}, "floor": {}, "environment": {}, "citations": [], "notes": [],
    "class_names": [], "real_classes": [], "failure": {}, "spec": None, "asking": None, "conditional": False,
}  # fmt: skip


class Promoting:
    """Promotes all paused trials together, the last one first; remembers whom it judged, and whom it knew to be as far."""

    def __init__(self):
        self.judged = []

    def ask(self, space, history, n, rng):
        return [
            Proposal(t.config, RUNGS[len(t.rungs)], "promoted", parent=t.number)
            for t in reversed(history.trials)
            if t.state is TrialState.PAUSED
        ]

    def judge(self, history, trial):
        self.judged.append((trial.step, trial.number, [t.number for t in history.trials if t.step >= trial.step]))
        return Judgement(Decision.PAUSE if trial.step < 90 else Decision.STOP, f"judged as number {len(self.judged)}")

    def prune(self, history):
        return {}


class Scripted:
    """Ends the jobs of a group in an order of its own; `dies`: its worker dies once, when so many have ended."""

    def __init__(self, order, dies=None):
        self.order, self.dies, self.submitted = order, dies, []
        self.coming: deque[Ended] = deque()

    @property
    def free(self):
        return 0 if self.coming else 1

    def submit(self, jobs):
        self.submitted.append([job.trial for job in jobs])
        ends = [self._end(job) for job in sorted(jobs, key=lambda job: self.order.index(job.trial))]
        if self.dies is not None:
            left = [Ended(e.trial, Outcome.DIED, 0, 0.0, message="worker killed") for e in ends[self.dies :]]
            ends, self.dies = [*ends[: self.dies], *left], None
        self.coming.extend(ends)

    def _end(self, job):
        if job.trial == 1:
            return Ended(1, Outcome.DIVERGED, 20, 1.0, message="diverged at step 20: loss is nan")
        rungs = tuple(Rung(s, {"fd": Score(float(job.trial))}, 1.0) for s in RUNGS if s <= job.until_steps)
        return Ended(job.trial, Outcome.REACHED, job.until_steps, 1.0, rungs)

    def events(self, timeout_seconds, silence_seconds=None):
        return [self.coming.popleft()] if self.coming else []

    def kill(self, trials):
        raise AssertionError(trials)

    def end_within(self, seconds):
        pass

    def interrupt(self):
        pass


@pytest.mark.parametrize("dies", [None, 0, 1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
def test_whatever_order_a_group_ends_in_it_is_judged_in_the_same(tmp_path, order, dies):
    store = Store(tmp_path)
    store.create((Objective("fd"),), FACTS)
    for k in range(3):
        trial = store.add(Trial(-1, Config.of(lr=0.1 * (k + 1)), 0, "search", TrialState.RUNNING, 10, "drawn"), SPACE)
        store.save(trial.with_(state=TrialState.PAUSED, rungs=(Rung(10, {"fd": Score(float(k))}, 1.0),)))
    plan = Plan(
        SPACE,
        RECIPE,
        EvaluationPlan(RUNGS),
        Budget.parse("3trials"),
        0,
        1,
        fusible=Fusible(frozenset({"lr"})),
        members=4,
    )
    strategy, executor = Promoting(), Scripted(order, dies)
    loop = Loop(plan, store, strategy, executor, Observers(()), lambda: 0.0)
    loop._end_search = lambda: store.set_facts(finals=[])
    loop.run()
    assert strategy.judged == [(30, 0, [0]), (30, 2, [0, 2]), (90, 0, [0]), (90, 2, [0, 2])]
    assert [t.state for t in store.trials] == [TrialState.STOPPED, TrialState.DIVERGED, TrialState.STOPPED]
    alone = [] if dies is None else [[n] for n in sorted(order[dies:])]
    assert executor.submitted == [[2, 1, 0], *alone, [2, 0]], "who was hurt goes on alone, and then with others again"
    store.close()


class Returning:
    """Two workers for whom training seeds as one does not pay: they do the first of a group and give the others back.

    Who was begun last ends last, so that one worker stays with what it has while the other goes on.
    """

    def __init__(self):
        self.submitted, self.back, self.busy = [], deque(), []

    @property
    def free(self):
        return 2 - len(self.busy)

    def submit(self, jobs):
        numbers = tuple(job.trial for job in jobs)
        self.submitted.append(numbers)
        if len(jobs) > 1:
            self.back.append(Chosen(numbers, "serial", 1, "it does not pay"))
        self.back.extend(Ended(n, Outcome.RETURNED, 0, 0.0) for n in numbers[1:])
        rungs = (Rung(90, {"fd": Score(1.0)}, 1.0),)
        self.busy.append(Ended(numbers[0], Outcome.REACHED, 90, 1.0, rungs))

    def events(self, timeout_seconds, silence_seconds=None):
        return [self.back.popleft()] if self.back else [self.busy.pop(0)]

    def kill(self, trials):
        raise AssertionError(trials)

    def end_within(self, seconds):
        pass

    def interrupt(self):
        pass


def test_seeds_that_come_back_are_trained_by_whoever_is_free_the_slowest_first(tmp_path):
    store = Store(tmp_path)
    store.create((Objective("fd"),), FACTS)
    for seconds in (1.0, 5.0):
        trial = store.add(Trial(-1, Config.of(lr=0.1 * seconds), 0, "search", TrialState.COMPLETE, 90, "drawn"), SPACE)
        store.save(trial.with_(rungs=(Rung(90, {"fd": Score(1.0)}, 1.0),), seconds=seconds))
    store.set_facts(finals=[0, 1])
    budget, fusible = Budget.parse("6trials"), Fusible(frozenset({"lr"}))
    executor = Returning()
    Loop(
        Plan(SPACE, RECIPE, EvaluationPlan(RUNGS), budget, 0, 2, 2, fusible, 4),
        store,
        Promoting(),
        executor,
        Observers(()),
        lambda: 0.0,
    ).run()
    assert {t.number: t.source for t in store.trials if t.stage == "finals"} == {2: 0, 3: 0, 4: 1, 5: 1}
    assert executor.submitted == [(2, 3), (4, 5), (5,), (3,)]
    assert all(t.state == TrialState.COMPLETE for t in store.trials)
    store.close()


class Endless(Returning):
    """Two workers, one of which never comes to an end unless it is asked to."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.asked = clock, 0

    def submit(self, jobs):
        (job,) = jobs
        self.submitted.append((job.trial, job.split))
        quick = job.config["lr"] < 0.9
        rungs = tuple(Rung(s, {"fd": Score(1.0)}, 1.0) for s in RUNGS if s <= job.until_steps)
        self.busy.append(
            Ended(job.trial, Outcome.REACHED, job.until_steps, 0.1 * job.until_steps, rungs) if quick else job
        )

    def events(self, timeout_seconds, silence_seconds=None):
        self.clock[0] += 1.0
        done = [e for e in self.busy if isinstance(e, Ended)]
        self.busy = [e for e in self.busy if e not in done]
        return done

    def kill(self, trials):
        raise AssertionError(trials)

    def end_within(self, seconds):
        pass

    def interrupt(self):
        self.asked += 1
        self.busy = [Ended(e.trial, Outcome.INTERRUPTED, 4, 30.0) if isinstance(e, Job) else e for e in self.busy]


class Telling(Promoting):
    """Proposes the recipe in full, then one that takes for ever, then quick ones."""

    def ask(self, space, history, n, rng):
        lr = [0.5, 0.95, *(0.1 + 0.01 * k for k in range(300))][len(history.trials)]
        return [Proposal(Config.of(lr=lr), 90 if lr == 0.5 else 10, "told")]


def test_what_takes_for_ever_is_stopped_in_time_for_the_finals(tmp_path):
    store, clock = Store(tmp_path), [0.0]
    store.create((Objective("fd"),), FACTS)
    executor = Endless(clock)
    plan = Plan(SPACE, RECIPE, EvaluationPlan(RUNGS), Budget.parse("100s"), 0, 2, finalists=1)
    record = Loop(plan, store, Telling(), executor, Observers(()), lambda: clock[0]).run()
    slow = store.trials[1]
    assert slow.state == TrialState.STOPPED
    assert slow.decision == "stopped at step 4 of 10: it took longer than expected, and the search had to end"
    assert executor.asked == 1
    assert clock[0] < 100
    assert record.done
    assert {f.role for f in record.finalists} == {"recipe", "candidate"}
    # Two final trainings of 9 s each, of both, on two workers: the search had until 80 s, and stopped beginning new ones at 60.
    begun = [number for number, split in executor.submitted if split == "search"]
    assert 50 < len(begun) < 75
    store.close()


def test_nothing_is_stopped_while_there_is_nobody_for_the_finals(tmp_path):
    store, clock = Store(tmp_path), [0.0]
    store.create((Objective("fd"),), FACTS)
    executor = Endless(clock)
    plan = Plan(SPACE, RECIPE, EvaluationPlan(RUNGS), Budget.parse("100s"), 0, 2, finalists=1)
    loop = Loop(plan, store, Telling(), executor, Observers(()), lambda: clock[0])
    recipe = store.add(Trial(-1, Config.of(lr=0.5), 0, "search", TrialState.COMPLETE, 90, "told", role="recipe"), SPACE)
    store.save(recipe.with_(rungs=(Rung(90, {"fd": Score(1.0)}, 1.0),), seconds=9.0))
    store.add(Trial(-1, Config.of(lr=0.95), 0, "search", TrialState.RUNNING, 10, "told"), SPACE)
    clock[0] = 99.0
    loop.running[1] = Progress(1, 0, 0.0)
    loop._keep_time()
    assert executor.asked == 0
    store.close()
