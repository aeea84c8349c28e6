"""Are two close generators ranked rightly more often when both are scored on samples of the same latents?

A GAN (the recipe) learns the built-in digits. Three pairs of close generators are made of it:

    scaled    the same network, its latents as they are and scaled by 0.95
    later     the same training, 90 % and 100 % of its steps
    retrained the same config, trained with another seed

Each pair is scored many times against the same real images at 250, 1,000 and 2,000 samples, once with the same latents for
both ("shared": what a search does) and once with latents of their own ("fresh"). A comparison is right when it orders the two
as their mean scores over all repeats do, at the same number of samples. Of each block of two sets of latents there are
two shared and two fresh comparisons, so that both rest on the same scores.

    python benchmarks/common_noise.py [--blocks 125] [--out FILE.md]

Writes FILE.md with .json and .svg beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from maestune.data import ImageData, load_images
from maestune.families.gan import GAN
from maestune.quality import ImageEvaluator, prepare_extractor
from maestune.training import Run, train
from maestune.training.evaluation import sample_inputs
from maestune.types import Config

FAMILY = GAN()
METRICS = {"fd": -1, "kid": -1, "coverage": 1}  # the sign that turns more into better
SIZES = (250, 1000, 2000)
SCALE = 0.95
EARLIER = 0.9
# Okabe and Ito 2008: told apart by colour-blind people.
COLOURS = {"fd": "#000000", "kid": "#0072B2", "coverage": "#D55E00"}
PAIRS = {
    "scaled": "same network, latents scaled by 0.95",
    "later": "same training, 90 % and 100 % of its steps",
    "retrained": "same config, another seed",
}


@dataclass(frozen=True)
class Generator:
    """A trained network and how its latents are scaled."""

    model: nn.Module
    scale: float = 1.0


def trained(config: Config, data: ImageData, seed: int) -> tuple[Generator, Generator]:
    """A generator late in its training, and at its end."""
    steps = FAMILY.full_steps(data.spec, data.size)
    run = Run(until_steps=steps, full_steps=steps, report_every=round((1 - EARLIER) * steps), seed=seed, data=data)
    found: dict[int, Generator] = {}
    for report in train(FAMILY, config, run):
        if report.step in (round(EARLIER * steps), steps) and report.state is not None:
            model = FAMILY.build(config, data.spec, run.generator("weights"))
            model.load_state_dict(report.state()["model"])
            found[report.step] = Generator(model)
    return found[round(EARLIER * steps)], found[steps]


def scores(
    generator: Generator, config: Config, data: ImageData, evaluators: Mapping[int, ImageEvaluator], seed: int
) -> np.ndarray:
    """Scores (sizes, metrics) of the first so many samples of the latents of a seed."""
    run = Run(until_steps=1, full_steps=1, sample_seed=seed, data=data, split="report")
    noise = sample_inputs(FAMILY, config, run, max(SIZES))
    noise["latent"] = noise["latent"] * generator.scale
    with torch.no_grad():
        samples = FAMILY.generate(generator.model, FAMILY.hyper(config, 1.0), noise)
    rows = [evaluators[n].score(evaluators[n].extract(samples[:n]), tuple(METRICS)) for n in SIZES]
    return np.array([[row[m].value for m in METRICS] for row in rows])


def compared(one: np.ndarray, other: np.ndarray) -> list[dict[str, Any]]:
    """For each metric and number of samples: how often the two are ranked rightly, and how sure a difference is.

    Scores of both: (blocks, latents, sizes, metrics).
    """
    blocks = len(one)
    rows: list[dict[str, Any]] = []
    for i, n in enumerate(SIZES):
        for j, (metric, sign) in enumerate(METRICS.items()):
            a, b = sign * one[:, :, i, j], sign * other[:, :, i, j]  # (blocks, latents)
            gap = float((b - a).mean())
            shared, fresh = (b - a).ravel(), (b[:, ::-1] - a).ravel()
            error = float((b - a).mean(axis=1).std(ddof=1) / math.sqrt(blocks))
            rows.append(
                {
                    "metric": metric,
                    "n": n,
                    "gap": sign * gap,
                    "gap_error": error,
                    "shared": _right(shared, gap),
                    "fresh": _right(fresh, gap),
                    "sd_shared": float(shared.std(ddof=1)),
                    "sd_fresh": float(fresh.std(ddof=1)),
                }
            )
    return rows


def _right(differences: np.ndarray, gap: float) -> float:
    """The share of differences that have the sign of the gap; a tie is half right."""
    signs = np.sign(differences) * np.sign(gap)
    return float(np.mean((signs > 0) + 0.5 * (signs == 0)))


def page(found: Mapping[str, Any], command: str, figure: str) -> str:
    """The results as Markdown."""
    lines = [
        "# Common random numbers: how often two close generators are ranked rightly",
        "",
        f"`{command}`, torch {torch.__version__}, {found['seconds']:.0f} s on one thread. A GAN (the recipe, {found['steps']:,} steps) on "
        f"the digits of 8 × 8 pixels, scored against {found['reals']} real images; {2 * found['blocks']} comparisons of each kind a "
        "row. Shared: both score samples of the same latents, as all trials of a search do. Fresh: of latents of their own. The "
        "gap is the mean difference over all repeats, ± one standard error; the spread is the standard deviation of one "
        "difference.",
        "",
        f"![share of right ranks over the number of samples]({figure})",
        "",
    ]
    for key, title in PAIRS.items():
        lines += [
            f"## {title[0].upper()}{title[1:]}",
            "",
            "| metric | samples | gap | right, fresh | right, shared | spread, fresh | spread, shared |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {r['metric']} | {r['n']:,} | {r['gap']:.3g} ± {r['gap_error']:.1g} | {r['fresh']:.2f} | {r['shared']:.2f} "
            f"| {r['sd_fresh']:.3g} | {r['sd_shared']:.3g} |"
            for r in found["pairs"][key]
        ]
        lines.append("")
    return "\n".join(lines)


def drawing(found: Mapping[str, Any]) -> str:
    """A panel for each pair as SVG: share of right ranks over the number of samples; solid: shared, dashed: fresh."""
    width, y_top, y_low = 230, 40, 240

    def y(value: float) -> float:
        return y_low - (y_low - y_top) * (min(max(value, 0.4), 1.0) - 0.4) / 0.6

    parts: list[str] = []
    for k, (key, title) in enumerate(PAIRS.items()):
        x0 = 50 + 290 * k
        xs = {n: x0 + 20 + i * (width - 40) / (len(SIZES) - 1) for i, n in enumerate(SIZES)}
        parts.append(f'<text x="{x0}" y="24">{title}</text>')
        for tick in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
            stroke = "#888" if tick == 0.5 else "#ddd"  # chance
            parts.append(f'<path d="M{x0},{y(tick):.1f}h{width}" stroke="{stroke}"/>')
            parts.append(f'<text x="{x0 - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts += [f'<text x="{x:.1f}" y="258" text-anchor="middle">{n:,}</text>' for n, x in xs.items()]
        parts.append(f'<text x="{x0 + width / 2}" y="276" text-anchor="middle">samples</text>')
        for metric, colour in COLOURS.items():
            rows = [r for r in found["pairs"][key] if r["metric"] == metric]
            for how, dash in (("shared", ""), ("fresh", ' stroke-dasharray="5 4"')):
                points = " ".join(f"{xs[r['n']]:.1f},{y(r[how]):.1f}" for r in rows)
                parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
                parts += [f'<circle cx="{xs[r["n"]]:.1f}" cy="{y(r[how]):.1f}" r="3" fill="{colour}"/>' for r in rows]
    for i, (metric, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{50 + 90 * i}" y="304" fill="{colour}">● {metric}</text>')
    parts.append(
        '<text x="340" y="304">solid: the same latents for both; dashed: latents of their own; 0.5 is chance</text>'
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="880" height="316" font-family="sans-serif" font-size="12">'
        f'<rect width="880" height="316" fill="white"/>{"".join(parts)}</svg>\n'
    )


def measured(blocks: int) -> dict[str, Any]:
    """Everything that the page tells."""
    begun = time.perf_counter()
    data = load_images("digits")
    config = FAMILY.space(data.spec).centre()
    extractor = prepare_extractor(data)
    evaluators = {n: ImageEvaluator.prepare(data, "report", extractor, n) for n in SIZES}
    early, late = trained(config, data, seed=0)
    _, retrained = trained(config, data, seed=1)

    def scored(generator: Generator) -> np.ndarray:
        of = [[scores(generator, config, data, evaluators, 2 * b + k) for k in (0, 1)] for b in range(blocks)]
        return np.array(of)

    others = {"scaled": Generator(late.model, SCALE), "later": early, "retrained": retrained}
    reference = scored(late)
    pairs = {key: compared(reference, scored(other)) for key, other in others.items()}
    return {
        "blocks": blocks,
        "steps": FAMILY.full_steps(data.spec, data.size),
        "reals": len(data.report),
        "pairs": pairs,
        "seconds": time.perf_counter() - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=125)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/common_noise.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measured(arguments.blocks)
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".svg").write_text(drawing(found), encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    command = f"python benchmarks/common_noise.py --blocks {arguments.blocks}"
    out.write_text(page(found, command, out.with_suffix(".svg").name), encoding="utf-8")


if __name__ == "__main__":
    main()
