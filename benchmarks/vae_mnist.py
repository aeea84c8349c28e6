"""Does our VAE reach what is published for its recipe? The VAE of pytorch/examples on MNIST, 10 epochs, some seeds.

What is compared: the mean loss of the 10,000 test images in nats an image, cross-entropy with grey values plus KL, one draw
of the latents each, after 10 epochs over all 60,000 training images (784-400-20-400-784, ReLU, batch 128, Adam, rate 1e-3).
The example prints it as "Test set loss", and its authors publish no table; these logs of it, of one seed each, are public:

    105.59, 105.61   kampta/pytorch-distributions, README.md (the same model written in two ways), 10 epochs
    106.66           pytorch/examples, pull request 1416, the log after 7 epochs

Values of papers are of other images (binarised by drawing) and of trainings 50 to 330 times as long (Burda et al. 2016, arXiv
1509.00519: 86.76 after 3,280 epochs with 5,000 draws), and are not compared with.

The bound of Burda et al. with 64 draws, the latents' KL and the number of active ones are told beside it.

    python benchmarks/vae_mnist.py --data FOLDER [--seeds 5] [--out FILE.md]

FOLDER has MNIST's four IDX files; without --data it is taken from MAESTUNE_DATA (that folder, or its `mnist`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from maestune.data import ImageData, Images, to_float
from maestune.data.idx import read_idx
from maestune.families.vae import VAE
from maestune.training import Run, train

EPOCHS = 10
STEPS_OF_EPOCH = 469  # of 60,000 images in batches of 128
PUBLISHED: Mapping[int, tuple[float, ...]] = {7: (106.66,), 10: (105.59, 105.61)}
# Nats: the published values are of single seeds, which differ with a standard deviation of about 0.15.
WITHIN = 0.5
FAMILY = VAE()


def mnist(folder: Path) -> ImageData:
    """All training images to learn from, all test images held out, as the example has them (a campaign keeps some back)."""
    collection = read_idx(folder, 28)
    if collection.held_out is None:
        raise SystemExit(f"{folder}: there are no test images (t10k-images-idx3-ubyte.gz) beside the training images.")
    learn, test = (Images(torch.from_numpy(part.pixels.copy())) for part in (collection.images, collection.held_out))
    return ImageData("mnist", learn, test, test, (), "mnist")


def trained(data: ImageData, seed: int) -> Iterator[dict[str, float]]:
    """The scores of the test images after each epoch that something is published of, and the seconds of training so far."""
    config = FAMILY.space(data.spec, "mlp").centre()
    steps = EPOCHS * STEPS_OF_EPOCH
    run = Run(until_steps=steps, full_steps=steps, report_every=STEPS_OF_EPOCH, seed=seed, data=data)
    held_out = {"image": to_float(data.report.images)}
    seconds, begun = 0.0, time.perf_counter()
    for report in train(FAMILY, config, run):
        seconds += time.perf_counter() - begun
        epoch = report.step // STEPS_OF_EPOCH
        if epoch in PUBLISHED:
            assert report.state is not None
            model = FAMILY.build(config, data.spec, torch.Generator().manual_seed(0))
            model.load_state_dict(report.state()["model"])
            scores = FAMILY.measure(model, {}, held_out, torch.Generator().manual_seed(seed))
            yield {"seed": seed, "epoch": epoch, "seconds": seconds, **scores}
        begun = time.perf_counter()


def compared(rows: list[dict[str, float]]) -> list[dict[str, Any]]:
    """For each published epoch our mean over seeds beside it."""
    found: list[dict[str, Any]] = []
    for epoch, published in PUBLISHED.items():
        ours = [row["elbo_nats"] for row in rows if row["epoch"] == epoch]
        mean, reference = statistics.fmean(ours), statistics.fmean(published)
        spread = statistics.stdev(ours) if len(ours) > 1 else math.nan
        found.append(
            {
                "epoch": epoch,
                "mean": mean,
                "spread": spread,
                "published": published,
                "difference": mean - reference,
                "reached": abs(mean - reference) <= WITHIN,
            }
        )
    return found


def page(rows: list[dict[str, float]], command: str) -> str:
    """The results as Markdown."""
    seeds = len({row["seed"] for row in rows})
    last = [row for row in rows if row["epoch"] == EPOCHS]
    minutes = statistics.fmean(row["seconds"] for row in last) / 60
    lines = [
        "# The VAE of pytorch/examples on MNIST",
        "",
        f"`{command}`, torch {torch.__version__}, one thread, {minutes:.1f} min a training. Losses: nats an image, the 10,000 "
        f"test images, mean and standard deviation over {seeds} seeds.",
        "",
        "| epochs | ours | published, one seed each | difference |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {c['epoch']} | {c['mean']:.2f} ± {c['spread']:.2f} | {', '.join(f'{p:.2f}' for p in c['published'])} "
        f"| {c['difference']:+.2f} |"
        for c in compared(rows)
    ]
    lines += [
        "",
        "Published: 10 epochs in the README of github.com/kampta/pytorch-distributions, 7 epochs in the log of "
        "github.com/pytorch/examples/pull/1416. Cross-entropy with grey values and KL, not a likelihood of binary images: values "
        "of papers (86.76 in Burda et al. 2016, after 3,280 epochs) are of something else.",
        "",
        "| seed | epochs | loss | with 64 draws | KL | active latents of 20 | training, s |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['seed']:.0f} | {row['epoch']:.0f} | {row['elbo_nats']:.2f} | {row['iwae_nats']:.2f} | {row['kl_nats']:.2f} "
        f"| {row['active_units']:.0f} | {row['seconds']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def folder_of(given: Path | None) -> Path | None:
    """MNIST's folder, as given or from MAESTUNE_DATA; None where there is none."""
    base = given or (Path(os.environ["MAESTUNE_DATA"]) if os.environ.get("MAESTUNE_DATA") else None)
    if base is None:
        return None
    return next((f for f in (base, base / "mnist") if f.is_dir() and any(f.glob("*images*idx3*"))), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of MNIST's IDX files; default: MAESTUNE_DATA")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the page here instead of standard output, and .json beside it")
    arguments = parser.parse_args()
    folder = folder_of(arguments.data)
    if folder is None:
        print(
            "No MNIST found: give the folder of its IDX files with --data or MAESTUNE_DATA. Skipped.", file=sys.stderr
        )
        return 0
    torch.set_num_threads(1)
    data = mnist(folder)
    rows: list[dict[str, float]] = []
    for seed in range(arguments.seeds):
        for row in trained(data, seed):
            rows.append(row)
            print(
                f"seed {seed}, {row['epoch']} epochs: {row['elbo_nats']:.2f} nats, {row['seconds']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    text = page(rows, f"python benchmarks/vae_mnist.py --data FOLDER --seeds {arguments.seeds}")
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")
        result = {"rows": rows, "compared": compared(rows)}
        arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(c["reached"] for c in compared(rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
