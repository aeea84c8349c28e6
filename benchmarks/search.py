"""Which strategy finds better configs for the same training? Simulated, so that thousands of campaigns take minutes.

Two kinds of learning curves:

- *gan*: a family of random landscapes made like the tuning of a GAN: 18 mixed parameters of which few matter, priors
  that are off, interactions, regions that diverge, curves that cross, noise of seeds and of scores. One landscape a seed.
- *taskset* (with --taskset DIR): recorded curves of 1000 settings of Adam on four recurrent networks (Metz et al. 2020,
  arXiv 2002.11887, as packaged with DyHPO); a proposed config is trained as the recorded one nearest to it.

A campaign of B full trainings ends with its three best full trainings being retrained, so the measure is the true
(noise-free) loss of the best of these, as the log ratio to the starting recipe: -0.7 is half the recipe's loss.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maestune.search.guided import GuidedSampler
from maestune.search.halving import Halving
from maestune.search.named import make_strategy
from maestune.search.samplers import RandomSampler
from maestune.search.start import StartFrom
from maestune.search.strategy import FullTraining, Strategy
from maestune.space import Choice, Float, Int, Prior, Space
from maestune.testing.simulate import simulate
from maestune.types import Config, Objective, TrialState

RUNGS = (100, 300, 900)


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
    space = taskset_space().without_priors()
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
    """What is compared: name → strategy from the recipe."""

    def named(name: str) -> Callable[[Config], Strategy]:
        return lambda recipe: make_strategy(name, start=recipe)

    return {
        "random, no priors": lambda r: StartFrom(r, FullTraining(RandomSampler(from_prior=0))),
        "random": named("random"),
        "sobol": named("sobol"),
        "tpe": named("tpe"),
        "prior alone": lambda r: StartFrom(r, FullTraining(RandomSampler(from_prior=10**6))),
        "halving, prior alone": lambda r: StartFrom(r, Halving(RandomSampler(from_prior=10**6))),
        "halving-random": named("halving-random"),
        "halving-tpe": named("halving-tpe"),
        "halving": named("halving"),
        "guided, in full": lambda r: StartFrom(r, FullTraining(GuidedSampler())),
    }


def measure(problem: Problem, strategy: Strategy, budget: float, seed: int) -> tuple[float, float]:
    """(Log ratio to the recipe of the best of the three finalists, seconds taken)."""
    start = time.perf_counter()
    history = simulate(strategy, problem.space, problem.curve, rungs=RUNGS, budget_full=budget, workers=2, seed=seed)
    seconds = time.perf_counter() - start
    done = [t for t in history.trials if t.state is TrialState.COMPLETE]
    done.sort(key=lambda t: t.rungs[-1].scores["fd"].value)
    finalists = [problem.recipe, *(t.config for t in done[:3])]
    return min(map(problem.truth, finalists)) - problem.truth(problem.recipe), seconds
