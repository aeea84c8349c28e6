"""Which strategy finds better configs for the same training? Simulated, so that thousands of campaigns take minutes.

Two kinds of learning curves:

- *gan*: a family of random landscapes made like the tuning of a GAN: 18 mixed parameters of which few matter, priors
  that are off, interactions, regions that diverge, curves that cross, noise of seeds and of scores. One landscape a seed.
- *taskset* (with --taskset DIR): recorded curves of 1000 settings of Adam on four recurrent networks (Metz et al. 2020,
  arXiv 2002.11887, as packaged with DyHPO); a proposed config is trained as the recorded one nearest to it.

With --members 1 8 16 it is asked instead what the default gains when workers train several configs as one.

A campaign of B full trainings ends with its three best full trainings being retrained, so the measure is the true
(noise-free) loss of the best of these, as the log ratio to the starting recipe: -0.7 is half the recipe's loss.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from maestune.search.guided import GuidedSampler
from maestune.search.halving import Halving
from maestune.search.named import make_strategy
from maestune.search.samplers import RandomSampler
from maestune.search.start import StartFrom
from maestune.search.strategy import FullTraining, Strategy
from maestune.space import Choice, Float, Fusible, Int, Prior, Space
from maestune.testing.simulate import simulate
from maestune.types import Config, TrialState

RUNGS = (100, 300, 900)
TASKSET = ("learning_rate", "beta1", "beta2", "epsilon", "l1", "l2", "linear_decay", "exponential_decay")
# What the members of a group may differ in: of the GANs' 18 parameters ten, of TaskSet's all.
FUSIBLE = Fusible(
    numbers=frozenset({"lr", "ratio", "beta1", "beta2", "gp", "smooth", "ema", *TASKSET}),
    switches=frozenset({"r1", "noise", "dropout"}),
)


@dataclass(frozen=True)
class Problem:
    """A space, its recipe, and curves: (config, seed, step) → observed loss or None, config → true final loss."""

    space: Space
    recipe: Config
    curve: Callable[[Config, int, int], Mapping[str, float] | None]
    truth: Callable[[Config], float]


def gan_space() -> Space:
    return Space(
        (
            Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(2e-4, "medium")),
            Float("ratio", 0.1, 10, scale="log", prior=Prior(1.0, "medium")),
            Float("beta1", 0, 0.95, prior=Prior(0.5, "medium")),
            Float("beta2", 0.9, 0.9999, scale="logit", prior=Prior(0.999, "medium")),
            Choice("loss", ("ns", "hinge", "ls", "wgan"), prior=Prior("ns", "low")),
            Choice("norm", ("batch", "spectral", "layer", "none"), prior=Prior("batch", "low")),
            Choice("batch", (32, 64, 128, 256), ordered=True, prior=Prior(64, "medium")),
            Choice("activation", ("leaky", "relu"), prior=Prior("leaky", "medium")),
            Int("width", 16, 128, scale="log", prior=Prior(64, "low")),
            Int("depth", 1, 4, prior=Prior(2, "medium")),
            Int("latent", 8, 256, scale="log", prior=Prior(64, "low")),
            Int("d_steps", 1, 4, prior=Prior(1, "medium")),
            Float("r1", 0.01, 100, scale="log", off=0.0, prior=Prior(0.0, "low")),
            Float("gp", 0.1, 100, scale="log", prior=Prior(10.0, "medium"), when={"loss": ("wgan",)}),
            Float("noise", 0.01, 0.5, scale="log", off=0.0, prior=Prior(0.0, "medium")),
            Float("dropout", 0.05, 0.5, off=0.0, prior=Prior(0.0, "medium")),
            Float("smooth", 0.7, 0.99, off=1.0, prior=Prior(1.0, "medium"), when={"loss": ("ns",)}),
            Float("ema", 0.9, 0.9999, scale="logit", off=0.0, prior=Prior(0.0, "low")),
        )
    )


def gan_problem(seed: int, shift: float = 0.25) -> Problem:
    """A random landscape; `shift`: how far the optimum lies from the prior's centre, in the unit interval."""
    rng = np.random.default_rng((20, seed))
    space = gan_space()
    recipe = space.centre()
    centre = {p.name: p.to_unit(p.prior.centre) for p in space if p.prior is not None}
    optimum = {n: float(np.clip(c + rng.normal(0, shift), 0.03, 0.97)) for n, c in centre.items()}
    weight = dict(zip(centre, rng.permutation(3.0 * 0.72 ** np.arange(len(centre))), strict=True))
    for name in ("lr", "ratio"):  # these matter for every GAN
        weight[name] = max(weight[name], 2.0)
    effect = {p.name: rng.normal(0, 0.35, len(p.values)) for p in space if isinstance(p, Choice) and not p.ordered}
    pairs = [tuple(rng.choice(["lr", "ratio", *centre], 2)) for _ in range(6)]
    twists = rng.normal(0, 1.5, len(pairs))
    tolerance = float(rng.uniform(0.75, 1.0))

    def final(config: Config) -> float:
        unit = space.encode(config)
        total = 1.0
        for name, position in unit.items():
            if name in effect:
                param = space[name]
                total += effect[name][param.values.index(config[name])] if isinstance(param, Choice) else 0.0
            else:
                distance = abs(position - optimum[name])
                total += weight[name] * min(2.5 * distance**2, 0.8 * distance)
        for (one, other), twist in zip(pairs, twists, strict=True):
            if one in unit and other in unit:
                total += twist * (unit[one] - optimum[one]) * (unit[other] - optimum[other])
        return total

    def diverges(config: Config) -> bool:
        unit = space.encode(config)
        calm = 0.12 * (config["r1"] != 0.0) + 0.1 * (config["norm"] == "spectral")
        return 0.6 * unit["lr"] + 0.4 * unit["ratio"] > tolerance * 0.85 + calm

    def curve(config: Config, trial_seed: int, step: int) -> Mapping[str, float] | None:
        if diverges(config) and step > RUNGS[0] // 2:
            return None
        unit = space.encode(config)
        rate = 0.5 + 1.2 * unit["lr"]  # small rates learn slowly: they lead only late
        slow = (RUNGS[-1] / step) ** rate - 1
        persistent = np.random.default_rng((1, seed, trial_seed)).normal(0, 0.1)
        momentary = np.random.default_rng((2, seed, trial_seed, step)).normal(0, 0.06)
        late = 0.35 * math.log(RUNGS[-1] / step) * (unit["ema"] > 0.8)  # long averages look bad at first
        return {"fd": math.exp(final(config) + 0.25 * math.log1p(slow) * 2 + late + persistent + momentary)}

    return Problem(space, recipe, curve, lambda config: math.inf if diverges(config) else final(config))


def taskset_space() -> Space:
    adam = "Kingma & Ba 2015"
    return Space(
        (
            Float("learning_rate", 1e-8, 10, scale="log", prior=Prior(1e-3, "medium", adam)),
            Float("beta1", 4e-4, 0.9999, scale="logit", prior=Prior(0.9, "medium", adam)),
            Float("beta2", 1.8e-3, 0.999999, scale="logit", prior=Prior(0.999, "medium", adam)),
            Float("epsilon", 1e-10, 1e3, scale="log", prior=Prior(1e-8, "medium", adam)),
            Float("l1", 1e-8, 10, scale="log", prior=Prior(1e-6, "low")),
            Float("l2", 1e-8, 10, scale="log", prior=Prior(1e-6, "low")),
            Float("linear_decay", 1e-7, 1e-4, scale="log", prior=Prior(1e-6, "low")),
            Float("exponential_decay", 1e-6, 1e-3, scale="log", prior=Prior(1e-5, "low")),
        )
    )


def taskset_problem(path: Path) -> Problem:
    """Recorded curves; the true loss is the test loss at the end, observed is the validation loss on the way."""
    data = np.load(path)
    space = Space(tuple(replace(param, prior=None) for param in taskset_space()))
    assert [str(name) for name in data["names"]] == [p.name for p in space]
    points = np.array([[p.to_unit(float(x)) for p, x in zip(space, row, strict=True)] for row in data["hp"]])
    observed, final = data["valid_loss"].astype(float), data["test_loss"][:, -1].astype(float)

    taken: dict[Config, int] = {}

    def row(config: Config) -> int:
        # The nearest that no other config of the campaign has: proposing close to a good one is then a new trial.
        if config not in taken:
            unit = np.array([p.to_unit(config[p.name]) for p in space])
            distance = ((points - unit) ** 2).sum(axis=1)
            distance[list(taken.values())] = np.inf
            taken[config] = int(distance.argmin())
        return taken[config]

    def curve(config: Config, seed: int, step: int) -> Mapping[str, float] | None:
        value = observed[row(config), round(step / RUNGS[-1] * 50)]
        return {"fd": float(value)} if np.isfinite(value) else None

    def truth(config: Config) -> float:
        value = final[row(config)]
        return math.log(value) if np.isfinite(value) else math.inf

    worst = int(np.nanargmin(np.abs(final - np.nanmedian(final))))
    recipe = space.decode({p.name: float(x) for p, x in zip(space, points[worst], strict=True)})
    return Problem(space, recipe, curve, truth)


def variants() -> dict[str, Callable[[Config], Strategy]]:
    """What is compared, the default first: name → strategy from the recipe."""

    def named(name: str) -> Callable[[Config], Strategy]:
        return lambda recipe: make_strategy(name, start=recipe)

    def made(strategy: Strategy) -> Callable[[Config], Strategy]:
        return lambda recipe: StartFrom(recipe, strategy)

    prior_alone = RandomSampler(from_prior=10**6)
    return {
        "halving (default)": named("halving"),
        "halving, guided without its model": made(Halving(GuidedSampler(model_after=10**6))),
        "halving-tpe": named("halving-tpe"),
        "halving, priors alone": made(Halving(prior_alone)),
        "halving-random": named("halving-random"),
        "guided, trained in full": made(FullTraining(GuidedSampler())),
        "tpe": named("tpe"),
        "priors alone": made(FullTraining(prior_alone)),
        "sobol": named("sobol"),
        "random": named("random"),
        "random, no priors": made(FullTraining(RandomSampler(from_prior=0))),
    }


def speedup(size: int, most: float) -> float:
    """How many times faster so many networks are trained as one than one after the other (an assumption)."""
    return min(most, 1 + 0.25 * (size - 1))


def measure(
    problem: Problem, strategy: Strategy, budget: float, seed: int, members: int = 1, most: float = 1.0
) -> float:
    """Log ratio to the recipe of the best of the three finalists."""
    history = simulate(
        strategy,
        problem.space,
        problem.curve,
        rungs=RUNGS,
        budget_full=budget,
        workers=2,
        seed=seed,
        fusible=FUSIBLE,
        members=members,
        speedup=partial(speedup, most=most),
    )
    done = [t for t in history.trials if t.state is TrialState.COMPLETE and "fd" in t.rungs[-1].scores]
    done.sort(key=lambda t: t.rungs[-1].scores["fd"].value)
    finalists = [problem.recipe, *(t.config for t in done[:3])]
    return min(map(problem.truth, finalists)) - problem.truth(problem.recipe)


def suites(taskset: Path | None, seeds: int) -> dict[str, list[tuple[Callable[[], Problem], float, int]]]:
    """Column → (problem, budget in full trainings, seed) of each of its campaigns."""
    columns = {
        f"gan, {kind}, {budget}": [(partial(gan_problem, seed, shift), float(budget), seed) for seed in range(seeds)]
        for kind, shift in (("good priors", 0.2), ("poor priors", 0.4))
        for budget in (10, 30)
    }
    if taskset is not None:
        files = sorted(taskset.glob("*.npz"))
        columns["taskset, 20"] = [
            (partial(taskset_problem, f), 20.0, seed) for f in files for seed in range(seeds // 2)
        ]
    return columns


def table(taskset: Path | None, seeds: int) -> str:
    """The results as a Markdown table; differences are paired with the default, ± one standard error."""
    columns = suites(taskset, seeds)
    lines = ["| strategy | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    default: dict[str, np.ndarray] = {}
    for name, make in variants().items():
        cells: list[str] = []
        for column, campaigns in columns.items():
            results: list[float] = []
            for build, budget, seed in campaigns:
                problem = build()
                results.append(measure(problem, make(problem.recipe), budget, seed))
            cells.append(_cell(np.array(results), default.setdefault(column, np.array(results))))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def members_table(taskset: Path | None, seeds: int, sizes: list[int], names: list[str], most: float) -> str:
    """Strategies by the size of their groups, for the same time of workers; differences are paired with size 1."""
    columns = suites(taskset, seeds)
    lines = ["| strategy, members | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in names:
        alone: dict[str, np.ndarray] = {}
        for members in sizes:
            cells: list[str] = []
            for column, campaigns in columns.items():
                results: list[float] = []
                for build, budget, seed in campaigns:
                    problem = build()
                    strategy = make_strategy(name, start=problem.recipe, fusible=FUSIBLE, members=members)
                    results.append(measure(problem, strategy, budget, seed, members, most))
                cells.append(_cell(np.array(results), alone.setdefault(column, np.array(results))))
            lines.append(f"| {name}, {members} | " + " | ".join(cells) + " |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def _cell(values: np.ndarray, reference: np.ndarray) -> str:
    """The mean, and the mean difference to the reference ± one standard error where there is any."""
    worse = values - reference
    error = worse.std(ddof=1) / math.sqrt(len(worse))
    return f"{values.mean():.2f}" + (f" ({worse.mean():+.2f} ± {error:.2f})" if worse.any() else "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated campaigns: which strategy finds better configs?")
    parser.add_argument("--taskset", type=Path, help="folder with TaskSet's *.npz files; left out when absent")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--members", type=int, nargs="+", help="compare these sizes of groups instead, such as 1 8 16")
    parser.add_argument("--speedup", type=float, default=3.0, help="of a group over its members one by one, at most")
    parser.add_argument("--strategies", nargs="+", default=["halving"], help="compared with --members")
    parser.add_argument("--out", type=Path, help="write the page here instead of standard output")
    args = parser.parse_args()
    taskset = args.taskset if args.taskset is not None and args.taskset.is_dir() else None
    if args.taskset is not None and taskset is None:
        print(f"{args.taskset} is not a folder: its column is left out.", file=sys.stderr)
    if args.members is not None:
        print(members_table(taskset, args.seeds, args.members, args.strategies, args.speedup))
        return
    start = time.perf_counter()
    results = table(taskset, args.seeds)
    page = PAGE.format(
        table=results,
        seeds=args.seeds,
        minutes=(time.perf_counter() - start) / 60,
        taskset=" --taskset DIR" if taskset else "",
    )
    if args.out is None:
        print(page)
    else:
        args.out.write_text(page)


PAGE = """# Which strategy finds better configs for the same training?

`python benchmarks/search.py --seeds {seeds}{taskset} --out benchmarks/results/search.md` ({minutes:.0f} minutes on one core)

Simulated campaigns with two workers, three rungs (1/9, 1/3, 1) and the recipe first; a column's number is its budget in
full trainings. Values: mean log ratio of the true loss of the best of three finalists to the recipe's (-0.69: half the
loss; smaller is better), in brackets the difference to the default, paired over landscapes and seeds, ± one standard
error.

- *gan*: {seeds} random landscapes made like the tuning of a GAN (18 mixed parameters, few of which matter, interactions,
  diverging regions, crossing curves, noise). The optimum lies 0.2 (good priors) or 0.4 (poor priors) of each
  range away from the prior's centre. They are made up: their additive part suits models that assume one.
- *taskset*: recorded curves of 1000 settings of Adam on four recurrent networks (Metz et al. 2020), no priors, starting
  from a middling setting; a config is trained as the nearest recorded one not yet used.

{table}
"""


if __name__ == "__main__":
    main()
