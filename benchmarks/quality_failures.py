"""Which failure does each metric of images see? Known failures x every metric.

Real images of the training part are made worse in known ways and scored as samples are, against the held-out images of the
report part. How far a score moves is told in standard deviations of what real images score (several draws of as many), with
the sign turned so that positive means "worse". |z| below 3 is not seen; a metric that says "better" of a failure is misled by it.

    real             other images of the training part: the null
    blur, noise      the same, blurred by a Gaussian or with noise
    grid swap        each image's quarters exchanged: the parts are right, the whole is not
    drop 1, 5, 9     so many of the classes left out
    repeated         ten images, again and again
    copies           the very images of the training part (all others are other real images that the evaluator has not learnt from)
    near copies      the same with a little noise
    swapped labels   right images that show another class than was asked for
    half-trained     samples of the recipe's GAN after a tenth of its training
    trained          the same after all of it

    python benchmarks/quality_failures.py [--data digits] [--draws 10] [--out FILE.md]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maestune.data import ImageData, Images, load_images, to_float
from maestune.families.gan import GAN
from maestune.families.gan.space import full_steps, gan_space
from maestune.quality import METRICS, ImageEvaluator, prepare_extractor
from maestune.quality.features.choice import choose
from maestune.quality.features.damages import blur_widths_pixels, blurred
from maestune.training import Run, train

Row = dict[str, float]
SEEN = 3.0
TRAINED = 3  # trainings of a GAN: the others are draws
COPIES = "copies"


def without_classes(images: Images, dropped: int) -> Tensor:
    """Positions of the images of all but the first classes."""
    assert images.labels is not None
    return torch.nonzero(images.labels >= dropped).flatten()


def quarters_swapped(images: Tensor) -> Tensor:
    """Each image with its quarters exchanged across the diagonal."""
    h, w = images.shape[-2] // 2, images.shape[-1] // 2
    return torch.roll(images, (h, w), (-2, -1))


def gan_samples(data: ImageData, n: int, share: float, seed: int) -> Tensor:
    """Samples of the recipe's GAN after a share of its full training."""
    full = full_steps(data.spec, len(data.train))
    steps = max(1, round(full * share))
    run = Run(
        until_steps=steps,
        full_steps=full,
        seed=seed,
        sample_seed=seed,
        samples_at={steps: n},
        data=data,
        split="report",
    )
    *_, last = train(GAN(), gan_space(data.spec).centre(), run)
    assert last.samples is not None
    return last.samples


def failures(unseen: Images, data: ImageData, n: int) -> Mapping[str, Callable[[int], tuple[Tensor, Tensor | None]]]:
    """Failure -> of a seed, its images (n, C, H, W) and what each was asked for."""
    shape = data.spec.image

    def some(seed: int, of: Images = unseen, where: Tensor | None = None) -> Images:
        generator = torch.Generator().manual_seed(seed)
        places = torch.arange(len(of)) if where is None else where
        # As many as there are, in a new order, and from the start again where n are more.
        order = places[torch.randperm(len(places), generator=generator)]
        return of.take(order.repeat(-(-n // len(order)))[:n])

    def made(change: Callable[[Tensor, torch.Generator], Tensor], of: Images = unseen) -> Any:
        def make(seed: int) -> tuple[Tensor, Tensor | None]:
            images = some(seed, of)
            return change(to_float(images.images), torch.Generator().manual_seed(seed + 7)), images.labels

        return make

    def noisy(deviation: float) -> Callable[[Tensor, torch.Generator], Tensor]:
        def change(images: Tensor, generator: torch.Generator) -> Tensor:
            noise = torch.empty_like(images).normal_(0.0, deviation, generator=generator)
            return (images + noise).clamp(-1.0, 1.0)

        return change

    def same(images: Tensor, _: torch.Generator) -> Tensor:
        return images

    def without(dropped: int) -> Any:
        def make(seed: int) -> tuple[Tensor, Tensor | None]:
            images = some(seed, where=without_classes(unseen, dropped))
            return to_float(images.images), images.labels

        return make

    def repeated(seed: int) -> tuple[Tensor, Tensor | None]:
        images = some(seed)
        rows = torch.arange(n) % 10
        return to_float(images.images[rows]), None if images.labels is None else images.labels[rows]

    def swapped(seed: int) -> tuple[Tensor, Tensor | None]:
        images = some(seed)
        assert images.labels is not None
        return to_float(images.images), (images.labels + 1) % data.spec.classes

    weak, strong = blur_widths_pixels(shape)
    return {
        "real": made(same),
        "blur 1": made(lambda x, _: blurred(x, weak)),
        "blur 2": made(lambda x, _: blurred(x, strong)),
        "noise": made(noisy(0.25)),
        "grid swap": made(lambda x, _: quarters_swapped(x)),
        "drop 1": without(1),
        "drop 5": without(5),
        "drop 9": without(9),
        "repeated": repeated,
        COPIES: made(same, data.train),
        "near copies": made(noisy(0.02), data.train),
        "swapped labels": swapped,
        "half-trained": lambda seed: (gan_samples(data, n, 0.1, seed), None),
        "trained": lambda seed: (gan_samples(data, n, 1.0, seed), None),
    }


def halved(data: ImageData) -> tuple[ImageData, Images]:
    """The data with half of its training images, and the other half, which the evaluator never sees."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    half = len(order) // 2
    return (
        replace(data, train=data.train.take(order[:half]), fingerprint=f"{data.fingerprint}-half"),
        data.train.take(order[half:]),
    )


def main() -> None:
    """Score every failure, several draws of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--samples", type=int, help="of each failure; default: half of the images left, up to 1,000")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    data, unseen = halved(load_images(arguments.data))
    n = arguments.samples or min(1000, len(unseen) // 2)  # less than there are: draws must differ
    evaluator = ImageEvaluator.prepare(
        data,
        "report",
        prepare_extractor(data),
        n,
        conditions=data.prompts("report", n),
        second=choose("random", data, None),
    )
    names = [name for name in METRICS if name in evaluator.metrics]
    table: dict[str, list[Row]] = {}
    for failure, make in failures(unseen, data, n).items():
        for seed in range(arguments.draws):
            if seed >= TRAINED and failure.endswith("trained"):
                break
            images, asked = make(seed)
            seen = evaluator.extract(images)
            labelled = None if asked is None else asked.numpy()
            wanted = [m for m in names if labelled is not None or not METRICS[m].needs_conditions]
            scores = evaluator.score(replace(seen, label=labelled, condition=labelled), wanted)
            table.setdefault(failure, []).append({m: s.value for m, s in scores.items()})
        print(failure, {m: round(v, 4) for m, v in table[failure][0].items()}, file=sys.stderr, flush=True)
    text = told(table, names, data, n, len(unseen), arguments)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
        found = {
            "data": data.name,
            "seen": SEEN,
            "effects": {name: effects(table, name, n, len(unseen)) for name in names},
            "scores": table,
        }
        arguments.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def effects(table: Mapping[str, list[Row]], metric: str, n: int, real: int) -> dict[str, float | None]:
    """Failure -> by how many standard deviations of real draws its mean is worse; None where it was not scored.

    A draw is n of `real` images: drawn without replacement, they vary by a factor of √(1 - n/real) too little.
    """
    null = np.array([row[metric] for row in table["real"]])
    sign = -1.0 if METRICS[metric].higher_is_better else 1.0
    spread = float(null.std(ddof=1)) / (1.0 - n / real) ** 0.5
    if spread < 1e-12:  # at its bound for all real draws: one sample more or less counts as one deviation
        spread = max(abs(float(null.mean())), 1.0) / n
    found: dict[str, float | None] = {}
    for failure, rows in table.items():
        values = [row[metric] for row in rows if metric in row]
        found[failure] = sign * (float(np.mean(values)) - float(null.mean())) / spread if values else None
    return found


def told(
    table: Mapping[str, list[Row]],
    names: list[str],
    data: ImageData,
    n: int,
    real: int,
    arguments: argparse.Namespace,
) -> str:
    """The table as Markdown."""
    kinds = [failure for failure in table if failure != "real"]
    lines = [
        f"# What each metric sees: {data.name}",
        "",
        f"`python benchmarks/quality_failures.py --data {Path(arguments.data).name} --draws {arguments.draws}` on "
        f"{platform.machine()}; {n:,} samples a score, {arguments.draws} draws a failure ({TRAINED} trainings of a GAN, where it is one).",
        "",
        "By how many standard deviations of real draws a score is worse (negative: it calls the failure better than real "
        f"images). **Bold**: seen, beyond {SEEN:g}. *Italic*: misled, below -{SEEN:g}.",
        "",
        f"| metric | axis | real | {' | '.join(kinds)} |",
        f"|---|---|---:|{'---:|' * len(kinds)}",
    ]
    for name in names:
        found = effects(table, name, n, real)
        values = [row[name] for row in table["real"]]
        cells = [_cell(found[kind]) for kind in kinds]
        lines.append(
            f"| {name} | {METRICS[name].axis} | {np.mean(values):.3g} ± {np.std(values, ddof=1):.2g} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def _cell(z: float | None) -> str:
    if z is None:
        return "–"
    text = f"{z:.0f}" if abs(z) >= 10 else f"{z:.1f}"
    if abs(z) > 999:
        text = ">999" if z > 0 else "<-999"
    return f"**{text}**" if z > SEEN else f"*{text}*" if z < -SEEN else text


if __name__ == "__main__":
    main()
