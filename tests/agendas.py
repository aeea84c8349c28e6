"""What tests of the agenda share: a strategy that is told what to propose, and a store in memory."""

from dataclasses import dataclass, field

from maestune.campaign.agenda import Agenda
from maestune.campaign.budget import Budget
from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.plan import Plan
from maestune.space import Choice, Float, Fusible, Space
from maestune.types import Config, Objective, Proposal, Trial

SPACE = Space((Float("lr", 1e-5, 1.0, scale="log"), Float("noise", 0.1, 1.0, off=0.0), Choice("kind", ("a", "b"))))
FUSIBLE = Fusible(frozenset({"lr"}), frozenset({"noise"}))
RUNGS = (10, 30, 90)
RECIPE = Config.of(lr=1e-3, noise=0.0, kind="a")


@dataclass
class Told:
    """A strategy that proposes what it is told to; remembers for how many it was asked."""

    asked: list[int] = field(default_factory=list)
    next: list[Proposal] = field(default_factory=list)

    def ask(self, space, history, n, rng):
        self.asked.append(n)
        return self.next[:n]


@dataclass
class Kept:
    """A store in memory."""

    trials: tuple[Trial, ...] = ()
    facts: dict[str, object] = field(default_factory=lambda: {"rungs": RUNGS})
    objectives: tuple[Objective, ...] = (Objective("fd"),)

    def launch(self, trials, space):
        return [self.add(t) if t.number < 0 else self.save(t) for t in trials]

    def add(self, trial):
        self.trials += (trial.with_(number=len(self.trials)),)
        return self.trials[-1]

    def save(self, trial):
        self.trials = tuple(trial if t.number == trial.number else t for t in self.trials)
        return trial


def agenda(store, budget="40trials", now=0.0, **values):
    plan = Plan(
        **{"space": SPACE, "recipe": RECIPE, "evaluation_plan": EvaluationPlan(RUNGS), "budget": Budget.parse(budget), "seed": 5, "workers": 1,
           "fusible": FUSIBLE, "members": 8, **values}
    )  # fmt: skip
    return Agenda(plan, store, Told(), lambda: now, {})
