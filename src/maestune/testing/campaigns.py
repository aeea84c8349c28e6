"""A campaign's folder of any size, written without training: what lists, tables, pages and stores of many trials are tested with."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.settings import Settings
from maestune.campaign.store import Store
from maestune.data import Data, load_images, load_text
from maestune.data.prompts import Prompts
from maestune.errors import SettingsError
from maestune.execution.artifacts import real_picture
from maestune.execution.folder import picture_path
from maestune.execution.model import built_in_family, recipe_of
from maestune.families.base import Family
from maestune.folder_files import replace_file
from maestune.recipes.writing import toml_text
from maestune.space import Space
from maestune.types import Config, Objective, Rung, Score, Trial, TrialState

ETA = 3  # of the rungs: the best third of the trials goes on
SEEDS = 3  # on which each finalist is retrained
CANDIDATES = 2  # in the finals, beside the recipe
TOGETHER = 1_000  # trials of one transaction
IMAGE_SCORES = ("kid", "coverage", "precision", "recall", "density")
TEXT_SCORES = ("val_loss", "perplexity")


def made_campaign(
    folder: Path,
    trials: int = 10_000,
    *,
    rungs: int = 4,
    rows: int = 500,
    family: str = "gan",
    finished: bool = True,
    seed: int = 0,
) -> Path:
    """Write a campaign of so many search trials of a built-in family, as successive halving leaves it; returns its folder.

    `rungs`: how often a full training is scored. `rows`: reports in the events of each trial. `finished`: with finals; else
    the last tenth of the trials is running or paused. The same arguments write the same trials and events. It can be read
    (report, trials, cite), not gone on with: there are no checkpoints. Raises SettingsError for numbers below 1.
    """
    for name, value in (("trials", trials), ("rungs", rungs), ("rows", rows)):
        if value < 1:
            raise SettingsError(f"made_campaign({name}={value}): expected at least 1.")
    data: Data = load_text("pydoc") if family == "lm" else load_images("digits")
    made = built_in_family(family)
    campaign = _Made(made, data, made.space(data.spec), [rows * ETA**k for k in range(rungs)], rows, seed)
    settings = Settings.make(model=family, data=data.name, budget=f"{trials}trials", out=str(folder), seed=seed)
    search = campaign.search(trials, finished)
    finals = campaign.finals(search) if finished else []
    store = Store(folder)
    try:
        store.create((campaign.objective,), _facts(campaign, settings, data, finished))
        everything = [*search, *finals]
        for start in range(0, len(everything), TOGETHER):
            for trial in store.add_all(everything[start : start + TOGETHER], campaign.space):
                campaign.write_events(store.trial_folder(trial.number), trial)
    finally:
        store.close()
    replace_file(folder / "campaign.toml", toml_text(settings.model_dump(mode="json", exclude_none=True)) + "\n")
    replace_file(folder / "recipe.toml", toml_text(campaign.space.centre()) + "\n")
    if family != "lm":
        images = load_images("digits").report.images
        real_picture(images, folder / "real.png")
        for number in range(len(search), len(search) + len(finals)):
            real_picture(images.roll(number, 0), picture_path(folder / "trials" / f"{number:04d}", campaign.rungs[-1]))
    return folder


@dataclass(frozen=True)
class _Made:
    """Trials that never ran: each config has a loss that its curve comes down to, and a noise of its seed."""

    family: Family
    data: Data
    space: Space
    rungs: Sequence[int]
    rows: int
    seed: int

    @property
    def objective(self) -> Objective:
        return Objective(self.family.objectives[0])

    def search(self, n: int, finished: bool) -> list[Trial]:
        """Search trials, the recipe first; of each rung the best third goes on."""
        rng = np.random.default_rng(self.seed)
        configs = [self.space.centre(), *(self.space.sample_prior(rng) for _ in range(n - 1))]
        losses = self._limits(configs, rng)
        diverged = set(np.flatnonzero(rng.uniform(size=n) < 0.02).tolist()) - {0}
        reached = np.zeros(n, dtype=int)
        going = np.array([i for i in range(n) if i not in diverged])
        noise = rng.lognormal(0.0, 0.1, size=(len(self.rungs), n))
        for rung in range(len(self.rungs)):
            reached[going] = rung + 1
            order = going[np.argsort(self._loss(losses[going], self.rungs[rung]) * noise[rung, going])]
            going = np.union1d(order[: max(len(order) // ETA, 1)], [0])
        open_from = n if finished else max(n - max(n // 10, 1), 1)
        found: list[Trial] = []
        for i, config in enumerate(configs):
            scored = tuple(
                self._rung(step, self._loss(losses[i], step) * noise[k, i])
                for k, step in enumerate(self.rungs[: reached[i]])
            )
            until = self.rungs[max(reached[i] - 1, 0)]
            state, decision = self._state(i, int(reached[i]), i in diverged, i >= open_from)
            if state is TrialState.RUNNING:
                scored = scored[:-1]
            seconds = round(0.002 * until * (0.5 if i in diverged else 1.0), 3)
            found.append(
                Trial(
                    number=-1,
                    config=config,
                    seed=self.seed,
                    stage="search",
                    state=state,
                    until_steps=until,
                    reason="drawn from the priors" if i else "the starting recipe",
                    decision=decision,
                    rungs=scored,
                    seconds=seconds,
                    role="" if i else "recipe",
                    clock_seconds=round(0.5 * i + 1.0, 3),
                )
            )
        return found

    def finals(self, search: Sequence[Trial]) -> list[Trial]:
        """The recipe and the best candidates on fresh seeds."""
        rng = np.random.default_rng((self.seed, 1))
        name = self.objective.name
        full = [i for i, t in enumerate(search) if t.state is TrialState.COMPLETE and i]
        order = sorted(full, key=lambda i: search[i].rungs[-1].scores[name].value)
        sources = [0, *order[:CANDIDATES]]
        last = self.rungs[-1]
        found: list[Trial] = []
        for k in range(SEEDS):
            for source in sources:
                of = search[source]
                value = of.rungs[-1].scores[name].value * rng.lognormal(0.0, 0.05)
                found.append(
                    of.with_(
                        seed=10_000 + k,
                        stage="finals",
                        until_steps=last,
                        reason=f"trial {source} on fresh seed {k + 1}",
                        decision="retrained in full",
                        rungs=(self._rung(last, value),),
                        role="candidate" if source else "recipe",
                        source=source,
                        clock_seconds=search[-1].clock_seconds + len(found) + 1.0,
                    )
                )
        return found

    def write_events(self, folder: Path, trial: Trial) -> None:
        """The events of a trial: its signals, evenly over its steps, and its scores."""
        if trial.number < 0 or (not trial.rungs and trial.state is TrialState.RUNNING):
            return
        last = trial.rungs[-1].step if trial.rungs else trial.until_steps // 2
        steps = np.unique(np.linspace(1, last, min(self.rows, last)).round().astype(int))
        rng = np.random.default_rng((self.seed, 2, trial.number))
        curve = (1.0 + 3.0 * np.exp(-4.0 * steps / self.rungs[-1])) * rng.lognormal(0.0, 0.05, len(steps))
        line = '{"kind": "signals", "step": %d, "seconds": %.3f, "signals": {"loss": %.5g, "grad_norm": %.5g}}\n'
        values = np.stack((steps, 0.002 * steps, curve, 0.3 * curve), axis=1).ravel()
        text = (line * len(steps)) % tuple(values.tolist())
        for rung in trial.rungs:
            scores = {name: [s.value, s.low, s.high] for name, s in rung.scores.items()}
            text += json.dumps({"kind": "scores", "step": rung.step, "scores": scores}) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events.jsonl").write_text(text, encoding="utf-8")

    def _limits(self, configs: Sequence[Config], rng: np.random.Generator) -> np.ndarray:
        """The loss that each config comes down to: it rises with the distance from a best point, most in few directions."""
        names = [param.name for param in self.space.varying]
        best, weight = rng.uniform(0.2, 0.8, len(names)), rng.pareto(1.5, len(names))
        units = np.full((len(configs), len(names)), 0.5)
        for column, name in enumerate(names):
            param = self.space[name]
            for row, config in enumerate(configs):
                if name in config:
                    units[row, column] = param.to_unit(config[name])
        return 1.0 + 4.0 * ((units - best) ** 2 @ weight) / weight.sum()

    def _loss(self, limit: np.ndarray | float, step: int) -> np.ndarray:
        return np.asarray(limit) * (1.0 + 3.0 * math.exp(-4.0 * step / self.rungs[-1]))

    def _rung(self, step: int, loss: float) -> Rung:
        loss = float(loss)
        if self.family.modality == "text":
            values = {self.objective.name: loss, "val_loss": loss * math.log(2.0), "perplexity": 2.0**loss}
        else:
            share = 1.0 / (1.0 + loss / 4.0)
            others = (loss / 40.0, share, 0.9 * share, 0.7 * share, share)
            values = {self.objective.name: 10.0 * loss, **dict(zip(IMAGE_SCORES, others, strict=True))}
        scores = {name: Score(v, 0.95 * v, 1.05 * v) for name, v in values.items()}
        return Rung(step, scores, round(0.002 * step, 3))

    def _state(self, number: int, reached: int, diverged: bool, is_open: bool) -> tuple[TrialState, str]:
        if diverged:
            return TrialState.DIVERGED, f"diverged at step {self.rungs[0] // 2}: loss is nan"
        if is_open:
            return (TrialState.PAUSED, "waits") if number % 2 else (TrialState.RUNNING, "")
        if reached == len(self.rungs):
            return TrialState.COMPLETE, "full training"
        return TrialState.STOPPED, f"outside the best third at step {self.rungs[reached - 1]}"


def _facts(campaign: _Made, settings: Settings, data: Data, finished: bool) -> dict[str, object]:
    recipe = recipe_of(settings.model)
    scored = campaign._rung(campaign.rungs[-1], 0.8).scores
    floor = {name: [s.value, s.low, s.high] for name, s in scored.items()}
    worst = {name: [s.value, s.low, s.high] for name, s in campaign._rung(campaign.rungs[-1], 50.0).scores.items()}
    samples = {"samples": 1_000, "reference": data.fingerprint}
    return {
        "id": f"{campaign.seed:032x}",
        "model": settings.model,
        "recipe_name": recipe.title if recipe is not None else "",
        "settings": settings.model_dump(mode="json"),
        "data_text": data.describe(),
        "spec": data.spec.to_dict(),
        "asking": Prompts.of(data).to_dict(),
        "conditional": False,
        "budget_text": settings.budget,
        "space": campaign.space.to_dict(),
        "rungs": list(campaign.rungs),
        "judging": vars(EvaluationPlan(tuple(campaign.rungs))),
        "constraints": [],
        "floor": floor,
        "search_floor": {campaign.objective.name: floor[campaign.objective.name]},
        "terms": {} if campaign.family.modality == "text" else {"search": samples, "finals": samples},
        "failure": worst,
        "class_names": data.class_names,
        "real_classes": (),
        "citations": [recipe.citation] if recipe is not None else [],
        "notes": ["written by maestune.testing.made_campaign, without training"],
        "identity": {},
        "environment": {},
        "done": finished,
        **({"seconds": 1.0} if finished else {}),
    }
