"""Does a text-conditional flow draw what its captions ask for, and what does guidance cost? On the built-in digits.

A config (the best of a campaign, or the recipe) is trained in full with fresh seeds. Each model is asked for the captions of
the report split, which neither training nor search has seen, with guidance from 1 to 6, and scored as a campaign scores:

    adherence   share of samples in which the evaluator's classifier, trained on real training images, sees the digit asked for
    fd, coverage, recall, precision   of the same samples against the real images of the split

Then each digit is asked for as "bold", "thin", "leaning left" and "leaning right", and the samples are measured as the
captions of the training images were made: by their ink and by their slant. No training caption says "bold" of a
seven: that pair can only be put together.

    python benchmarks/flow_adherence.py [--budget 5m | --campaign FOLDER] [--seeds 5] [--out FILE.md]

Without --budget and --campaign the recipe is used. Writes FILE.md, with .json and .svg beside it. Intervals are Student's t
over seeds, 95 %.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

import maestune
from maestune.data import ImageData, load_images
from maestune.data.captions import NEVER_TOGETHER, NUMERALS, Vocabulary, digit_attributes
from maestune.families.flow import Flow
from maestune.quality.features.cache import prepare_extractor
from maestune.quality.image_evaluator import ImageEvaluator
from maestune.training import Run, train
from maestune.types import Config

FAMILY = Flow()
SCORES = ("adherence", "fd", "coverage", "recall", "precision")
GUIDANCES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
SAMPLES = 1000
EACH = 40  # samples of each digit and attribute
FIRST_SEED = 1000  # apart from those of campaigns
ATTRIBUTES: Mapping[str, str] = {
    "bold": "a bold handwritten {}",
    "thin": "a thin handwritten {}",
    "left": "a handwritten {}, leaning left",
    "right": "a handwritten {}, leaning right",
}
# Okabe and Ito 2008: told apart by colour-blind people.
COLOURS = {"adherence": "#0072B2", "coverage": "#009E73", "recall": "#D55E00", "precision": "#CC79A7", "fd": "#000000"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """What is trained: a config and how long; `origin` says where it is from, for people."""

    config: Config
    steps: int
    origin: str


def subject(arguments: argparse.Namespace, data: ImageData) -> Subject:
    """The config of a campaign, run now or before, or the recipe."""
    if arguments.campaign or arguments.budget:
        with tempfile.TemporaryDirectory() as folder:
            if arguments.campaign:
                result = maestune.open_campaign(arguments.campaign)
            else:
                campaign = maestune.Campaign(model="flow", data="digits-captions", budget=arguments.budget, out=folder)
                result = maestune.run_campaign(campaign)
        record = result.record
        told = f"the best of a campaign ({record.budget_text}, {len(record.search_trials)} configurations)"
        return Subject(Config.of(result.best), record.rungs[-1], told)
    steps = FAMILY.full_steps(data.spec, data.size)
    return Subject(FAMILY.space(data.spec).centre(), steps, "the recipe")


def trained(what: Subject, data: ImageData, seed: int) -> tuple[nn.Module, float]:
    """A fully trained model and its seconds of training."""
    run = Run(until_steps=what.steps, full_steps=what.steps, report_every=what.steps, seed=seed, data=data)
    begun = time.perf_counter()
    *_, report = train(FAMILY, what.config, run)
    seconds = time.perf_counter() - begun
    assert report.state is not None
    model = FAMILY.build(what.config, data.spec, run.generator("weights"))
    model.load_state_dict(report.state()["model"])
    return model, seconds


def scored(
    model: nn.Module, what: Subject, data: ImageData, evaluator: ImageEvaluator, seed: int, guidance: float
) -> Row:
    """Scores of samples of the report split's captions."""
    latent = torch.randn(SAMPLES, *data.shape, generator=torch.Generator().manual_seed(seed))
    noise = {"latent": latent, **data.prompts("report", SAMPLES)}
    samples = FAMILY.generate(model, {**FAMILY.hyper(what.config, 1.0), "guidance": guidance}, noise)
    scores = evaluator.score(evaluator.extract(samples), SCORES)
    return {"seed": seed, "guidance": guidance, **{name: score.value for name, score in scores.items()}}


def attributed(
    model: nn.Module,
    what: Subject,
    data: ImageData,
    evaluator: ImageEvaluator,
    words: Vocabulary,
    seed: int,
    guidance: float,
) -> list[Row]:
    """For each attribute and digit the share of samples that have it, and the share in which the digit is seen."""
    rows: list[Row] = []
    for attribute, wording in ATTRIBUTES.items():
        digits = np.repeat(np.arange(10), EACH)
        texts = [wording.format(NUMERALS[d] if i % 2 else d) for i, d in enumerate(digits.tolist())]
        latent = torch.randn(len(texts), *data.shape, generator=torch.Generator().manual_seed(seed))
        noise = {"latent": latent, "caption": words.encode_all(texts)}
        samples = FAMILY.generate(model, {**FAMILY.hyper(what.config, 1.0), "guidance": guidance}, noise)
        inks, leans = digit_attributes(samples.numpy(), digits)
        has = np.array([attribute in pair for pair in zip(inks, leans, strict=True)])
        probabilities = evaluator.extractor.extract(samples).probabilities
        assert probabilities is not None
        seen = probabilities.argmax(1) == digits
        rows += [
            {
                "seed": seed,
                "guidance": guidance,
                "attribute": attribute,
                "digit": digit,
                "has": float(has[digits == digit].mean()),
                "seen": float(seen[digits == digit].mean()),
                "both": float((has & seen)[digits == digit].mean()),
            }
            for digit in range(10)
        ]
    return rows


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval (NaN of a single value)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan
    return mean, float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def by_guidance(rows: Sequence[Row]) -> dict[float, dict[str, tuple[float, float]]]:
    """Mean and half-width of every score at each guidance."""
    guidances = sorted({row["guidance"] for row in rows})
    return {g: {s: interval([row[s] for row in rows if row["guidance"] == g]) for s in SCORES} for g in guidances}


def told(mean: float, half: float, digits: int = 3) -> str:
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def page(found: Mapping[str, Any], command: str, figure: str) -> str:
    """The results as Markdown."""
    table, floor, own = by_guidance(found["scores"]), found["floor"], found["own"]
    mean, half = interval([row["adherence"] for row in own])
    lines = [
        "# Prompt adherence of a text-conditional flow, and what guidance costs",
        "",
        f"`{command}`, torch {torch.__version__}, {torch.get_num_threads()} thread(s). Digits of 8 × 8 pixels with captions; "
        f"{found['origin']}, {found['steps']:,} steps, {found['seconds']:.0f} s a training, {found['seeds']} fresh seeds, "
        f"{SAMPLES:,} samples each, captions of images that were never seen. Mean and 95 % interval over seeds.",
        "",
        f"**Adherence with the config's own guidance {found['guidance']:g}: {told(mean, half)}.** The classifier names "
        f"{floor['adherence']:.3f} of real training images rightly.",
        "",
        f"![adherence, variety and distance over guidance]({figure})",
        "",
        "Dashed: real training images in place of samples.",
        "",
        "| guidance | " + " | ".join(SCORES) + " |",
        "|---|" + "---|" * len(SCORES),
    ]
    lines += [
        f"| {g:g} | " + " | ".join(told(*row[s], 2 if s == "fd" else 3) for s in SCORES) + " |"
        for g, row in table.items()
    ]
    lines += ["| real images | " + " | ".join(f"{floor[s]:.{2 if s == 'fd' else 3}f}" for s in SCORES) + " |", ""]
    word, digit = NEVER_TOGETHER
    lines += [
        "## Attributes",
        "",
        "Share of samples that have what was asked for beside the digit, measured on the pixels; in brackets, that also show "
        f'the digit. "{word} {NUMERALS[digit]}" stands in no training caption.',
        "",
        "| guidance | bold | thin | leaning left | leaning right | bold seven |",
        "|---|---|---|---|---|---|",
    ]
    for g in sorted({row["guidance"] for row in found["attributes"]}):
        some = [row for row in found["attributes"] if row["guidance"] == g]
        cells = [
            _pair([r for r in some if r["attribute"] == a and (a, r["digit"]) != NEVER_TOGETHER]) for a in ATTRIBUTES
        ]
        cells.append(_pair([r for r in some if (r["attribute"], r["digit"]) == NEVER_TOGETHER]))
        lines.append(f"| {g:g} | " + " | ".join(cells) + " |")
    lines += ["", "The config:", "", "```", *(f"{k} = {v!r}" for k, v in found["config"].items()), "```"]
    return "\n".join(lines) + "\n"


def _pair(rows: Sequence[Row]) -> str:
    return f"{np.mean([r['has'] for r in rows]):.2f} ({np.mean([r['both'] for r in rows]):.2f})"


def drawing(rows: Sequence[Row], floor: Mapping[str, float]) -> str:
    """Two panels over guidance as SVG: shares on the left, the Fréchet distance on the right; dashed: real images."""
    table = by_guidance(rows)
    shares = ("adherence", "coverage", "recall", "precision")
    left = _panel(
        table, shares, floor, 60, (min(0.5, *(v[s][0] for v in table.values() for s in shares)), 1.0), "share"
    )
    top = 1.1 * max(v["fd"][0] for v in table.values())
    right = _panel(table, ("fd",), floor, 500, (0.0, top), "Fréchet distance")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="880" height="340" font-family="sans-serif" font-size="12">'
        f'<rect width="880" height="340" fill="white"/>{left}{right}</svg>\n'
    )


def _panel(
    table: Mapping[float, Mapping[str, tuple[float, float]]],
    names: Sequence[str],
    floor: Mapping[str, float],
    x0: int,
    limits: tuple[float, float],
    title: str,
) -> str:
    low, high = limits
    width, y_top, y_low = 340, 40, 280
    first, last = min(table), max(table)

    def x(g: float) -> float:
        return x0 + width * (g - first) / (last - first)

    def y(value: float) -> float:
        return y_low - (y_low - y_top) * (min(max(value, low), high) - low) / (high - low)

    parts = [
        f'<text x="{x0 + width / 2}" y="318" text-anchor="middle">guidance</text>',
        f'<text x="{x0}" y="24">{title}</text>',
        f'<path d="M{x0},{y_top}V{y_low}H{x0 + width}" fill="none" stroke="#888"/>',
    ]
    whole = [g for g in table if g == int(g)]
    parts += [f'<text x="{x(g):.1f}" y="298" text-anchor="middle">{g:g}</text>' for g in whole]
    for i in range(6):
        value = low + (high - low) * i / 5
        parts.append(f'<text x="{x0 - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2g}</text>')
        parts.append(f'<path d="M{x0},{y(value):.1f}h{width}" stroke="#ddd"/>')
    for i, name in enumerate(names):
        colour = COLOURS[name]
        points = " ".join(f"{x(g):.1f},{y(row[name][0]):.1f}" for g, row in table.items())
        parts.append(
            f'<path d="M{x0},{y(floor[name]):.1f}h{width}" stroke="{colour}" stroke-dasharray="4 4" opacity="0.6"/>'
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for g, row in table.items():
            mean, half = row[name]
            half = 0.0 if math.isnan(half) else half
            parts.append(f'<path d="M{x(g):.1f},{y(mean - half):.1f}V{y(mean + half):.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{x(g):.1f}" cy="{y(mean):.1f}" r="3" fill="{colour}"/>')
        if len(names) > 1:
            parts.append(f'<text x="{x0 + 90 * i}" y="336" fill="{colour}">● {name}</text>')
    return "".join(parts)


def measured(what: Subject, data: ImageData, seeds: int) -> dict[str, Any]:
    """Everything that the page tells."""
    assert data.vocabulary is not None
    evaluator = ImageEvaluator.prepare(
        data, "report", prepare_extractor(data), SAMPLES, conditions=data.prompts("report", SAMPLES)
    )
    floor = evaluator.floor(SCORES, torch.Generator().manual_seed(0))
    own = float(what.config["guidance"])
    found: dict[str, Any] = {
        "origin": what.origin,
        "steps": what.steps,
        "seeds": seeds,
        "guidance": own,
        "config": dict(what.config),
        "floor": {name: score.value for name, score in floor.items()},
        "own": [],
        "scores": [],
        "attributes": [],
    }
    seconds: list[float] = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        model, spent = trained(what, data, seed)
        seconds.append(spent)
        found["own"].append(scored(model, what, data, evaluator, seed, own))
        found["scores"] += [scored(model, what, data, evaluator, seed, g) for g in GUIDANCES]
        for guidance in sorted({1.0, own, 2.0, 3.0, 6.0}):
            found["attributes"] += attributed(model, what, data, evaluator, data.vocabulary, seed, guidance)
        print(f"seed {seed}: {spent:.0f} s, {found['own'][-1]}", file=sys.stderr, flush=True)
    found["seconds"] = float(np.mean(seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--budget", help="run a campaign first, with this budget")
    source.add_argument("--campaign", type=Path, help="folder of a campaign that has been run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="length of a training; default: the campaign's, or the family's own")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/flow_adherence.md"))
    arguments = parser.parse_args()
    data = load_images("digits-captions")
    what = subject(arguments, data)
    if arguments.steps:
        what = Subject(what.config, arguments.steps, what.origin)
    found = measured(what, data, arguments.seeds)
    source_text = (
        f" --budget {arguments.budget}" if arguments.budget else " --campaign FOLDER" if arguments.campaign else ""
    )
    steps_text = f" --steps {arguments.steps}" if arguments.steps else ""
    command = f"python benchmarks/flow_adherence.py{source_text} --seeds {arguments.seeds}{steps_text}"
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".svg").write_text(drawing(found["scores"], found["floor"]), encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    out.write_text(page(found, command, out.with_suffix(".svg").name), encoding="utf-8")


if __name__ == "__main__":
    main()
