"""What the loop of a campaign needs to know, resolved."""

from __future__ import annotations

from dataclasses import dataclass, field

from maestune.campaign.budget import Budget
from maestune.campaign.costs import Costs, EvaluationPlan
from maestune.campaign.watchdog import Patience
from maestune.space import Fusible, Space
from maestune.types import Config


@dataclass(frozen=True)
class Plan:
    """What the loop needs to know, resolved: it does not change while the campaign runs, nor when it is resumed."""

    space: Space
    recipe: Config
    evaluation_plan: EvaluationPlan
    budget: Budget
    seed: int
    workers: int
    finalists: int = 2
    fusible: Fusible = field(default_factory=Fusible)  # what may differ among trials that are trained as one
    members: int = 1  # how many they may be
    report_every: int | None = None  # steps, where not as usual
    sampling_parameters: frozenset[str] = (
        frozenset()
    )  # what may be changed of a trained model; empty where samples decide nothing

    trial_timeout: float | None = None  # seconds without a report; None: by the rule of the watchdog, 0: no limit

    @property
    def patience(self) -> Patience:
        """How long a training may go without a report."""
        return Patience(self.budget, self.evaluation_plan, self.trial_timeout)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps after which a training is evaluated."""
        return self.evaluation_plan.rungs

    @property
    def costs(self) -> Costs:
        """What trainings take."""
        return Costs(self.evaluation_plan)

    @property
    def full_steps(self) -> int:
        """Length of a full training."""
        return self.rungs[-1]

    @property
    def reproducible(self) -> bool:
        """Whether an interrupted campaign ends as the uninterrupted one: not where the clock decides."""
        return self.budget.kind != "seconds"
