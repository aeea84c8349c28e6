"""Records of campaigns that never ran, as realistic as needed: three rungs, failures, finals, pictures, hostile texts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from maestune.campaign.record import Finalist, Record, Terms, TrainingMode, Verdict
from maestune.space import Choice, Float, Int, Prior, Role, Space
from maestune.types import Config, Objective, Rung, Score, Trial, TrialState

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/a.png> [bold red]markup[/] \x1b[31mred"
RUNGS = (111, 333, 1000)

SPACE = Space(
    (
        Choice("loss", ("ns", "hinge", "ls", "wgan"), prior=Prior("ns"), role=Role.LOSS),
        Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(2e-4)),
        Float("lr_ratio", 0.25, 8.0, scale="log", prior=Prior(1.0), unit="D / G"),
        Float("beta1", 0.0, 0.9, prior=Prior(0.5)),
        Float("beta2", 0.9, 0.999, scale="logit", prior=Prior(0.999)),
        Choice("batch_size", (16, 32, 64, 128), ordered=True, prior=Prior(64), unit="images"),
        Int("depth", 1, 4, prior=Prior(2)),
        Float("r1", 0.01, 100.0, scale="log", off=0.0, prior=Prior(0.0), role=Role.REGULARISATION),
        Float("clip", 0.001, 0.1, scale="log", prior=Prior(0.01), when={"loss": ("wgan",)}),
        Choice('odd"<name>', ("<b>bold</b>", "plain"), role=Role.DATA),
    )
)


def build(
    folder: Path,
    *,
    seed: int = 0,
    n: int = 40,
    objectives: tuple[Objective, ...] = (Objective("fd"),),
    finals: bool = True,
    decision: str = "better",
    files: bool = True,
) -> Record:
    """A campaign of `n` search trials, and three finalists on five seeds where `finals`."""
    rng = np.random.default_rng(seed)
    trials = [_search_trial(i, rng) for i in range(n)]
    complete = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=_final_fd)
    best = complete[0].number if complete else None
    finalists: tuple[Finalist, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    if finals:
        sources = [trials[0], *[t for t in complete if t.number != 0][:2]]
        runs = [_final_run(n + i, source, i // len(sources), rng) for i, source in enumerate(sources * 5)]
        finalists = tuple(_finalist(source, [r for r in runs if r.source == source.number]) for source in sources)
        trials += runs
        winner = min(finalists[1:], key=lambda f: f.scores["fd"].value)
        best = winner.trial
        verdicts = tuple(_verdict(o, finalists[0], winner, decision) for o in objectives)
    record = Record(
        folder=folder,
        model="gan",
        data_text=f"digits: 8×8 grey images, 1,257 to learn from, 270 to search with, 270 for the verdict, 10 classes {HOSTILE}",
        strategy="default",
        budget_text="2 minutes",
        seed=seed,
        space=SPACE,
        objectives=objectives,
        rungs=RUNGS,
        trials=tuple(trials),
        finalists=finalists,
        best=best,
        verdicts=verdicts,
        search_floor={"fd": Score(1.4, 1.2, 1.6)},
        terms={"search": Terms(1000, f"digits {HOSTILE}, search part"), "finals": Terms(1257, "digits, report part")},
        floor={"fd": Score(1.21, 1.02, 1.44), "coverage": Score(0.97, 0.95, 0.99), "kid": Score(0.0001, -0.001, 0.001)},
        seconds=123.4,
        environment={"python": "3.11.2", "torch": "2.13.0", "machine": f"2 cores, {HOSTILE}"},
        citations=("Radford et al. 2016, arXiv 1511.06434", "Heusel et al. 2017, arXiv 1706.08500", HOSTILE),
        notes=("one truncated file was skipped: a<b>.png", HOSTILE),
        done=finals,
        class_names=(*"01234567", "a long name", HOSTILE),
        real_classes=(0.1,) * 10,
        training_modes=(
            TrainingMode("fused", 7, 31, 8, "a step takes 1.2 ms alone, 0.4 ms as one of 8"),
            TrainingMode(
                "serial", 2, 5, 1, f"it cannot be fused: norm (BatchNorm2d) keeps running statistics {HOSTILE}"
            ),
        ),
    )
    if files:
        write_files(record, rng)
    return record


def empty(folder: Path) -> Record:
    """A campaign that has only just begun."""
    return build(folder, n=0, finals=False, files=False)


def all_diverged(folder: Path, n: int = 5) -> Record:
    """A campaign in which nothing could be scored."""
    rng = np.random.default_rng(0)
    trials = tuple(
        _search_trial(i, rng).with_(state=TrialState.DIVERGED, rungs=(), decision="loss is not finite at step 40")
        for i in range(n)
    )
    record = build(folder, n=0, finals=False, files=False)
    return Record(**{**vars(record), "trials": trials})


def _final_fd(trial: Trial) -> float:
    score = trial.score("fd")
    return math.inf if score is None else score.value


def _fd(config: Config, step: int, rng: np.random.Generator) -> float:
    distance = (math.log10(config.number("lr")) + 3.0) ** 2 + 1.5 * (config.number("beta1")) ** 2
    distance += 0.15 * (config["loss"] == "wgan") + 0.3 * abs(config.number("depth") - 3)
    return float((5.5 + 9.0 * distance) * (1 + 3.0 * math.exp(-step / 300)) * rng.lognormal(0, 0.06))


def _scores(config: Config, step: int, rng: np.random.Generator) -> dict[str, Score]:
    fd = _fd(config, step, rng)
    coverage = 1 / (1 + fd / 15)
    return {
        "fd": Score(fd, fd * 0.91, fd * 1.1),
        "kid": Score(fd / 400, fd / 450, fd / 360),
        "coverage": Score(coverage, coverage - 0.03, coverage + 0.03),
        "own_score": Score(fd * 2),
    }


def _search_trial(number: int, rng: np.random.Generator) -> Trial:
    config = SPACE.centre() if number == 0 else SPACE.sample_prior(rng) if number % 2 else SPACE.sample(rng)
    reason = "the starting recipe" if number == 0 else f"drawn around the prior {HOSTILE if number == 3 else ''}"
    base = Trial(
        number=number,
        config=config,
        seed=number,
        stage="search",
        state=TrialState.RUNNING,
        until_steps=RUNGS[0],
        reason=reason,
        role="recipe" if number == 0 else "",
        clock_seconds=2.0 * number + 1,
    )
    if number and config.number("lr") > 4e-3:
        return base.with_(state=TrialState.DIVERGED, decision="loss is not finite at step 60", seconds=0.2)
    if number == 7:
        return base.with_(state=TrialState.CRASHED, decision=f"worker died (signal 9) {HOSTILE}", seconds=0.4)
    reached = 3 if number == 0 or _fd(config, 1000, rng) < 17 else 2 if number % 3 == 0 else 1
    rungs = tuple(Rung(step, _scores(config, step, rng), step / 500) for step in RUNGS[:reached])
    states = {1: TrialState.STOPPED, 2: TrialState.PAUSED, 3: TrialState.COMPLETE}
    decisions = {
        1: "rank 9 of 12 after 111 steps: not among the best third",
        2: "rank 3 of 8 after 333 steps: kept in case it is wanted",
        3: "reached its full training",
    }
    return base.with_(
        state=states[reached],
        decision=decisions[reached],
        rungs=rungs,
        until_steps=RUNGS[reached - 1],
        seconds=rungs[-1].seconds + 0.3,
    )


def _final_run(number: int, source: Trial, round_: int, rng: np.random.Generator) -> Trial:
    classes = tuple(np.random.default_rng(number).dirichlet([8.0] * 9).tolist())
    rungs = (Rung(1000, _scores(source.config, 1000, rng), 2.0, (*classes, 0.0)),)  # the last class is lost
    return Trial(
        number=number,
        config=source.config,
        seed=900 + round_,
        stage="finals",
        state=TrialState.COMPLETE,
        until_steps=1000,
        reason=f"trial {source.number} on fresh seed {round_ + 1}",
        rungs=rungs,
        decision="reached its full training",
        seconds=2.2,
        role="recipe" if source.role == "recipe" else "candidate",
        source=source.number,
        clock_seconds=90.0 + number,
    )


def _finalist(source: Trial, runs: list[Trial]) -> Finalist:
    scores: dict[str, Score] = {}
    for name in runs[0].rungs[-1].scores:
        values = np.array([run.rungs[-1].scores[name].value for run in runs])
        half = 2.776 * values.std(ddof=1) / math.sqrt(len(values))
        scores[name] = Score(float(values.mean()), float(values.mean() - half), float(values.mean() + half))
    role = "recipe" if source.role == "recipe" else "candidate"
    classes = tuple(np.mean([r.rungs[-1].classes for r in runs], axis=0).tolist())
    return Finalist(role, source.number, source.config, tuple(r.number for r in runs), scores, 2.2, classes)


def _verdict(objective: Objective, recipe: Finalist, best: Finalist, decision: str) -> Verdict:
    one, other = recipe.scores[objective.name], best.scores[objective.name]
    difference = other.value - one.value
    half = 0.12 * abs(difference)
    if decision == "inconclusive":
        half = 1.7 * abs(difference)
    if decision == "worse":
        difference = -difference
    return Verdict(
        objective=objective,
        recipe=one,
        best=other,
        difference=difference,
        low=difference - half,
        high=difference + half,
        relative=difference / one.value,
        relative_low=(difference - half) / one.value,
        relative_high=(difference + half) / one.value,
        decision=decision,
        seeds=5,
    )


def write_files(record: Record, rng: np.random.Generator) -> None:
    """The folder of the campaign: real.png, best.toml, events and sample grids."""
    record.folder.mkdir(parents=True, exist_ok=True)
    _grid(record.folder / "real.png", rng, 0.0)
    best = {} if record.best is None else record.trial(record.best).config
    lines = [f'"{name}" = {json.dumps(value)}' for name, value in best.items()]
    (record.folder / "best.toml").write_text("# </pre><script>alert(1)</script>\n" + "\n".join(lines) + "\n")
    for trial in record.trials:
        folder = record.trial_folder(trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        events = _events(trial, rng)
        (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events) + '{"kind":"signals","st')
        for rung in trial.rungs:
            _grid(folder / f"samples-{rung.step:08d}.png", rng, min(rung.scores["fd"].value / 60, 1.0))


def _events(trial: Trial, rng: np.random.Generator) -> list[dict[str, object]]:
    events: list[dict[str, object]] = []
    for step in range(20, max(trial.step, 80) + 1, 20):
        blow = 10 ** (step / 10) if trial.state == TrialState.DIVERGED else 1.0
        signals = {
            "loss_generator": blow * (0.9 + 0.4 * math.exp(-step / 200) + 0.05 * rng.normal()),
            "loss_discriminator": blow * (1.2 - 0.3 * math.exp(-step / 150) + 0.05 * rng.normal()),
            "grad_norm_generator": blow * rng.lognormal(-1, 0.3),
            "grad_norm_discriminator": blow * rng.lognormal(0, 0.3),
            "real_score": math.nan if step == 60 else 0.6 + 0.03 * rng.normal(),
            "fake_score": 0.4 + 0.03 * rng.normal(),
        }
        events.append({"kind": "signals", "step": step, "seconds": step / 500, "signals": signals})
    if trial.number % 5 == 0:
        events.append({"kind": "note", "text": f"worker died (signal 9); segment repeated {HOSTILE}"})
    return events


def _grid(path: Path, rng: np.random.Generator, noise: float) -> None:
    from sklearn.datasets import load_digits

    digits = np.asarray(load_digits().images)[rng.permutation(1797)[:64]] / 16
    noisy = np.clip((1 - noise) * digits + noise * rng.random(digits.shape), 0, 1)
    tiles = noisy.reshape(8, 8, 8, 8).transpose(0, 2, 1, 3).reshape(64, 64)
    Image.fromarray((tiles * 255).astype(np.uint8)).save(path)
