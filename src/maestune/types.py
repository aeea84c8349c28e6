"""The few types everything turns on. Frozen values; shapes and units in sight."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Value = float | int | str | bool


@dataclass(frozen=True, eq=True)
class Config(Mapping[str, Value]):
    """One point of a space: name → value, frozen, hashable, in the order of the space.

    >>> c = Config.of(lr=1e-3, loss="hinge")
    >>> c["lr"], c.with_(lr=2e-3)["lr"], dict(c)
    (0.001, 0.002, {'lr': 0.001, 'loss': 'hinge'})
    """

    items_: tuple[tuple[str, Value], ...]
    _values: dict[str, Value] = field(init=False, repr=False, compare=False, hash=False)  # the same, to look them up

    @staticmethod
    def of(mapping: Mapping[str, Value] | None = None, /, **values: Value) -> Config:
        """Build a config from a mapping and/or keywords."""
        return Config(tuple({**(mapping or {}), **values}.items()))

    def __post_init__(self) -> None:
        object.__setattr__(self, "_values", dict(self.items_))

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items_)

    def __len__(self) -> int:
        return len(self.items_)

    def with_(self, **values: Value) -> Config:
        """The same config with some values changed or added."""
        return Config.of(dict(self.items_), **values)

    def number(self, name: str, default: float | None = None) -> float:
        """A numeric value; `default` where the parameter is absent (inactive in this config)."""
        value = self.get(name, default)
        if value is None:
            raise KeyError(name)
        return float(value)

    def text(self, name: str, default: str | None = None) -> str:
        """A textual value; `default` where the parameter is absent."""
        value = self.get(name, default)
        if value is None:
            raise KeyError(name)
        return str(value)


@dataclass(frozen=True)
class Score:
    """A metric's value with its 95 % interval (low ≤ value ≤ high; NaN bounds when no interval was asked for)."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Objective:
    """What the search improves: the name of a score and its direction."""

    name: str
    higher_is_better: bool = False

    def loss(self, value: float) -> float:
        """The value turned so that smaller is better."""
        return -value if self.higher_is_better else value


Sign = Literal[">=", "<=", ">", "<"]


@dataclass(frozen=True)
class Constraint:
    """A bound that a score must keep: what breaks it is no solution, however good it is otherwise.

    >>> novelty = Constraint("novelty", ">=", 0.4)
    >>> novelty.text, novelty.met(0.4), round(novelty.violation(0.3), 6)
    ('novelty>=0.4', True, 0.25)
    """

    name: str
    sign: Sign
    bound: float

    @property
    def text(self) -> str:
        """As it is written on the command line."""
        return f"{self.name}{self.sign}{self.bound!r}"

    @property
    def at_least(self) -> bool:
        """Whether larger values are safer."""
        return self.sign in (">=", ">")

    def met(self, value: float) -> bool:
        """Whether a value keeps the bound; one that is not finite does not."""
        return self.violation(value) == 0.0

    def margin(self, value: float) -> float:
        """How far a value is beyond the bound, as a share of the bound (in the score's unit where that is 0)."""
        gap = self.bound - value if self.at_least else value - self.bound
        return gap / (abs(self.bound) or 1.0)

    def violation(self, value: float) -> float:
        """0 where the bound is kept, else the margin, always above 0; infinite for what is not finite."""
        if not math.isfinite(value):
            return math.inf
        margin = self.margin(value)
        kept = value != self.bound if self.sign in (">", "<") else True
        return 0.0 if margin <= 0 and kept else max(margin, sys.float_info.min)


@dataclass(frozen=True)
class Report:
    """What training yields at a step.

    `signals`: numbers from training (losses, gradient norms …).
    `samples`: images (N, C, H, W) in [-1, 1] or tokens (N, T), when they are due.
    `scores`: scores that the training computes itself: a family's on held-out data, or the user's own.
    `choice`, `choice_samples`: the same for choosing the best weights by, where that is not done by `scores` and `samples`:
    what chose them must not evaluate them.
    `exhibits`: more pictures by name, images (N, C, H, W) in rows of eight.
    `state`: called only when a checkpoint is wanted, before training goes on; returns nested dicts/lists of tensors
    and plain values from which the same generator continues exactly.
    """

    step: int
    signals: Mapping[str, float] = field(default_factory=dict[str, float])
    samples: Tensor | None = None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    choice: Mapping[str, float] = field(default_factory=dict[str, float])
    choice_samples: Tensor | None = None
    exhibits: Mapping[str, Tensor] = field(default_factory=dict[str, "Tensor"])
    state: Callable[[], Mapping[str, Any]] | None = None


class TrialState(StrEnum):
    """Where a trial stands. PAUSED can be promoted; the last four are final."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    CRASHED = "crashed"

    @property
    def failed(self) -> bool:
        """Whether the trial ended without a usable model; the search is told it is bad."""
        return self in (TrialState.DIVERGED, TrialState.CRASHED)

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to the trial."""
        return self not in (TrialState.RUNNING, TrialState.PAUSED)


class Decision(StrEnum):
    """What becomes of a trial that reached a rung."""

    PAUSE = "pause"  # keep its checkpoint; it may be promoted
    STOP = "stop"  # give it up; its checkpoint is removed
    COMPLETE = "complete"  # it reached its full training


@dataclass(frozen=True)
class Judgement:
    """A decision and its reason, in words a person can check."""

    decision: Decision
    reason: str


@dataclass(frozen=True)
class Proposal:
    """A config to train until a step; `parent` is the paused trial that it promotes, None for a new trial."""

    config: Config
    until_steps: int
    reason: str
    parent: int | None = None


@dataclass(frozen=True)
class Rung:
    """What a trial had reached at a step: its scores, and the seconds of training it took from its start.

    `classes`: share of the samples in each class of the data, in their order; empty where there are no classes, and
    before the full training.
    """

    step: int
    scores: Mapping[str, Score]
    seconds: float
    classes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One config being trained. `until_steps` is where its last segment ends.

    `stage`: "search"; "sampling" for one that has the weights of another and only draws samples from them with other values;
    or "finals".
    """

    number: int
    config: Config
    seed: int
    stage: str
    state: TrialState
    until_steps: int
    reason: str
    rungs: tuple[Rung, ...] = ()
    decision: str = ""  # the reason of the last judgement or failure
    seconds: float = 0.0  # worker time spent so far, scoring included
    role: str = ""  # "recipe" for the starting config, else ""; in finals "recipe" or "candidate"
    source: int | None = None  # of a final: the trial that is retrained; of a drawing: the one whose weights it has
    clock_seconds: float = 0.0  # campaign time at the last change
    fused: bool = False  # the present segment was begun with others as one
    group: int | None = (
        None  # the first trial of those that the present segment was begun with; None where it was begun alone
    )

    @property
    def step(self) -> int:
        """The step of the last rung reached; 0 before the first."""
        return self.rungs[-1].step if self.rungs else 0

    def score(self, metric: str) -> Score | None:
        """The newest score of a metric, or None."""
        for rung in reversed(self.rungs):
            if metric in rung.scores:
                return rung.scores[metric]
        return None

    def with_(self, **changes: Any) -> Trial:
        """The same trial with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class History:
    """All that a strategy may know: every search trial so far, in order, what is improved within which bounds, and the rungs.

    `rungs`: the steps at which trials are scored.
    """

    trials: tuple[Trial, ...]
    objectives: tuple[Objective, ...]
    rungs: tuple[int, ...]
    constraints: tuple[Constraint, ...] = ()

    @property
    def full_steps(self) -> int:
        """Length of a full training."""
        return self.rungs[-1]

    @property
    def objective(self) -> Objective:
        """The first objective; the only one unless a Pareto front was asked for."""
        return self.objectives[0]
