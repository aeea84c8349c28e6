"""What should a search do about noise? Simulated campaigns in which it knows its intervals, or trains its best again.

The landscapes are those of `benchmarks/search.py`, with the noise that they have (a standard deviation of 0.12 in the logarithm
of the loss, which is what retraining a GAN on digits shows) and with four times as much. Compared with the default:

    intervals known   scores of full trainings come with intervals, which the model takes for a part of their noise
    replicas          while best and second of the full trainings are within so many standard errors, the one of
                      them with fewer trainings is trained again with another seed, up to three times, and as long as
                      replicas are no more than a share of the full trainings; its score is then the mean
    by expectation    finalists are those that the search's model expects to be best, not those with the best scores

The two best are then retrained on five fresh seeds each, and the better mean is chosen: its true loss is what counts.

    python benchmarks/search_noise.py [--seeds 24] [--out FILE.md]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from maestune.search.estimate import estimate_losses
from maestune.search.named import make_strategy
from maestune.search.strategy import Strategy
from maestune.search.surrogate import Surrogate, coordinates, half_rank, unordered_mask
from maestune.space import Space
from maestune.testing.simulate import Curve, simulate
from maestune.types import Config, History, Judgement, Proposal, Score, Trial, TrialState
from search import RUNGS, Problem, gan_problem

FULL = RUNGS[-1]
BUDGET = 30.0  # full trainings
PERSISTENT, MOMENTARY = 0.1, 0.06  # of the landscapes: the noise of a training, and of a score
FINAL_SEEDS = 5
LEVELS = (1.0, 4.0)
SHIFTS = {"good priors": 0.2, "poor priors": 0.4}


def noisy(problem: Problem, level: float, seed: int, intervals: bool) -> Curve:
    """The problem's curve with so many times its noise, with or without intervals at full trainings."""
    more = math.sqrt(level**2 - 1)
    spread = level * MOMENTARY

    def curve(config: Config, trial_seed: int, step: int) -> Mapping[str, Score] | None:
        told = problem.curve(config, trial_seed, step)
        if told is None:
            return None
        luck = np.random.default_rng((7, seed, trial_seed)).normal(0, more * PERSISTENT)
        luck += np.random.default_rng((8, seed, trial_seed, step)).normal(0, more * MOMENTARY)
        value = told["fd"] * math.exp(luck)
        if not intervals or step < FULL:
            return {"fd": Score(value)}
        return {"fd": Score(value, value * math.exp(-1.96 * spread), value * math.exp(1.96 * spread))}

    return curve


def complete(trial: Trial) -> bool:
    """Whether a trial was trained in full and scored."""
    return trial.state is TrialState.COMPLETE and "fd" in trial.rungs[-1].scores


def log_loss(trial: Trial) -> float:
    """The logarithm of its loss at the end."""
    return math.log(trial.rungs[-1].scores["fd"].value)


def by_config(history: History) -> dict[Config, list[Trial]]:
    """The trials of each config, the first one first."""
    found: dict[Config, list[Trial]] = {}
    for trial in history.trials:
        found.setdefault(trial.config, []).append(trial)
    return found


def merged(history: History) -> History:
    """The history with replicas put into the first trial of their config, as the mean of the logarithms."""
    trials: list[Trial] = []
    for first, *others in by_config(history).values():
        done = [t for t in (first, *others) if complete(t)]
        if complete(first) and len(done) > 1:
            score = Score(math.exp(float(np.mean([log_loss(t) for t in done]))))
            first = first.with_(rungs=(*first.rungs[:-1], replace(first.rungs[-1], scores={"fd": score})))
        trials.append(first)
    return replace(history, trials=tuple(sorted(trials, key=lambda t: t.number)))


@dataclass(frozen=True)
class Replicating:
    """Trains the best again while it cannot be told from the second; else what the inner strategy does."""

    inner: Strategy
    recipe: Config
    spread: float  # standard deviation of a score, known to it
    errors: float
    share: float
    most: int = 3

    def ask(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterable[Proposal]:
        """A replica, or what the inner strategy proposes."""
        config = self.doubtful(history)
        if config is not None:
            return [Proposal(config, FULL, "trained again")]
        return self.inner.ask(space, merged(history), n, rng)

    def doubtful(self, history: History) -> Config | None:
        """The config that is worth another training; None for none."""
        trials = by_config(history)
        replicas = [t for same in trials.values() for t in same[1:]]
        done = {c: [log_loss(t) for t in same if complete(t)] for c, same in trials.items() if c != self.recipe}
        done = {c: losses for c, losses in done.items() if losses}
        enough = len(replicas) < self.share * sum(map(len, done.values()))
        if len(done) < 4 or not enough or any(t.state is TrialState.RUNNING for t in replicas):
            return None
        best, second = sorted(done, key=lambda c: float(np.mean(done[c])))[:2]
        error = self.spread * math.sqrt(1 / len(done[best]) + 1 / len(done[second]))
        if np.mean(done[second]) - np.mean(done[best]) > self.errors * error:
            return None
        fewer = best if len(done[best]) <= len(done[second]) else second
        return fewer if len(done[fewer]) < self.most else None

    def judge(self, history: History, trial: Trial) -> Judgement:
        """The inner strategy's judgement."""
        return self.inner.judge(history, trial)

    def prune(self, history: History) -> Mapping[int, str]:
        """Nothing is given up: a simulation has room."""
        return {}


def expected(problem: Problem, history: History, configs: Sequence[Config]) -> list[Config]:
    """Configs in the order in which the search's model expects them."""
    estimates = estimate_losses(history)
    losses = half_rank(estimates.losses[:, 0])
    points = coordinates(problem.space, [t.config for t in estimates.trials])
    model = Surrogate.fit(points, losses, estimates.doubts[:, 0], unordered_mask(problem.space))
    value = {t.config: v for t, v in zip(estimates.trials, model.expected, strict=True)}
    return sorted(configs, key=lambda c: value[c])


def chosen(problem: Problem, configs: Sequence[Config], level: float, seed: int) -> float:
    """True log ratio to the recipe of the one of the first two configs with the better mean over the finals' seeds."""
    spread = level * math.hypot(PERSISTENT, MOMENTARY) / math.sqrt(FINAL_SEEDS)
    rng = np.random.default_rng((9, seed))
    best = min(configs[:2], key=lambda c: problem.truth(c) + rng.normal(0, spread), default=problem.recipe)
    return problem.truth(best) - problem.truth(problem.recipe)


def searched(shift: float, level: float, seed: int, how: str) -> dict[str, float]:
    """True log ratios to the recipe after one campaign, by the way of choosing finalists."""
    problem = gan_problem(seed, shift)
    strategy = make_strategy("halving", start=problem.recipe)
    if how in REPLICAS:
        spread = level * math.hypot(PERSISTENT, MOMENTARY)
        strategy = Replicating(strategy, problem.recipe, spread, **REPLICAS[how])
    curve = noisy(problem, level, seed, intervals=how == "intervals known")
    history = simulate(strategy, problem.space, curve, rungs=RUNGS, budget_full=BUDGET, workers=2, seed=seed)
    history = merged(history)
    done = sorted((t for t in history.trials if complete(t) and t.config != problem.recipe), key=log_loss)
    configs = [t.config for t in done]
    found = {how: chosen(problem, configs, level, seed)}
    if how == "default":
        found["by expectation"] = chosen(problem, expected(problem, history, configs), level, seed)
    return found


REPLICAS = {
    "replicas, 1 error, a quarter": {"errors": 1.0, "share": 0.25},
    "replicas, 2 errors, half": {"errors": 2.0, "share": 0.5},
}
HOWS = ("default", "intervals known", *REPLICAS)


def table(seeds: int) -> str:
    """The results as a Markdown table; differences are paired with the default, ± one standard error."""
    columns = {
        f"{kind}, noise × {level:g}": partial(searched, shift, level)
        for level in LEVELS
        for kind, shift in SHIFTS.items()
    }
    cells: dict[str, list[str]] = {}
    for column, campaign in columns.items():
        values: dict[str, list[float]] = {}
        for how in HOWS:
            for seed in range(seeds):
                for name, value in campaign(seed, how).items():
                    values.setdefault(name, []).append(value)
        for name, found in values.items():
            worse = np.array(found) - np.array(values["default"])
            told = f" ({worse.mean():+.3f} ± {worse.std(ddof=1) / math.sqrt(seeds):.3f})" if worse.any() else ""
            cells.setdefault(name, []).append(f"{np.mean(found):.2f}{told}")
        print(column, {name: row[-1] for name, row in cells.items()}, file=sys.stderr, flush=True)
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(row) + " |" for name, row in cells.items())])


PAGE = """# What a search should do about noise

`python benchmarks/search_noise.py --seeds {seeds}` ({minutes:.0f} minutes on one core)

Simulated campaigns of {budget:.0f} full trainings on {seeds} landscapes a column. Values: mean log ratio of the true loss of the config
that the finals choose to the recipe's (smaller is better), in brackets the difference to the default, paired over
landscapes, ± one standard error. What the rows are, says the head of the script.

{table}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search_noise.md"))
    arguments = parser.parse_args()
    begun = time.perf_counter()
    results = table(arguments.seeds)
    minutes = (time.perf_counter() - begun) / 60
    arguments.out.write_text(
        PAGE.format(seeds=arguments.seeds, minutes=minutes, budget=BUDGET, table=results), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
