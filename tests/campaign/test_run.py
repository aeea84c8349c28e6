"""The loop between store, strategy and executor."""

from collections import deque

import pytest

from maestune.campaign.agenda import Plan
from maestune.campaign.budget import Budget
from maestune.campaign.run import Loop
from maestune.campaign.store import Store
from maestune.execution.jobs import Ended, Outcome
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

    def events(self, timeout_seconds):
        return [self.coming.popleft()] if self.coming else []

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
    plan = Plan(SPACE, RECIPE, RUNGS, Budget.parse("3trials"), 0, 1, fusible=Fusible(frozenset({"lr"})), members=4)
    strategy, executor = Promoting(), Scripted(order, dies)
    loop = Loop(plan, store, strategy, executor, (), lambda: 0.0)
    loop._end_search = lambda agenda: store.set_facts(finals=[])
    loop.run()
    assert strategy.judged == [(30, 0, [0]), (30, 2, [0, 2]), (90, 0, [0]), (90, 2, [0, 2])]
    assert [t.state for t in store.trials] == [TrialState.STOPPED, TrialState.DIVERGED, TrialState.STOPPED]
    alone = [] if dies is None else [[n] for n in sorted(order[dies:])]
    assert executor.submitted == [[2, 1, 0], *alone, [2, 0]], "who was hurt goes on alone, and then with others again"
    store.close()
