"""Which failure does each metric of texts see? Known failures x every metric.

Texts made worse in known ways are scored as samples are, against the held-out text of the report part. How far a score moves
is told in standard deviations of what real text scores (several draws of as many pieces of the part to search with, which
neither models nor the scoring models have learnt from), with the sign turned so that positive means "worse". |z| below 3 is not
seen; a metric that says "better" of a failure is misled by it. Of bare statistics (no goals) the sign only says "less" or "more".

    real                 other pieces of that part, not among the draws: the null
    shuffled words       the words of each text in another order
    shuffled characters  its characters
    loops                the first twenty characters of each text over and over
    few                  ten texts again and again
    copied               pieces of the training text
    half copied          the second half of each text is a piece of the training text
    wrong topic          pieces of another text
    other beginnings     real texts behind the beginnings of others
    torn                 the last third of each text comes from another
    half-trained         samples of a small language model after a tenth of its training
    trained              after all of it
    temperature 0.3, 1.5 the same, drawn colder and hotter

    python benchmarks/quality_text.py [--text FILE] [--other FILE] [--seeds 3] [--steps 600] [--out FILE.md]

Without --text: Python's documentation (pydoc), and Python's own modules as the other text; with --text FILE pydoc is the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maestune.data import TextData, load_text
from maestune.families.base import drawer
from maestune.families.lm.family import LM, SAMPLE_TOKENS
from maestune.quality.text import DEFAULT_TEXTS, TEXT_METRICS, TextEvaluator, prepare_text_models
from maestune.training import Run, train
from maestune.training.run import seeded

DRAWS = 24  # of real text, for the noise
SEEN = 3.0
Make = Callable[[int], Tensor]


def pieces(tokens: Tensor, n: int, whole: int, seed: int) -> Tensor:
    """Windows (n, whole) of a text in a random order, none overlapping another where there is text enough; int64."""
    generator = torch.Generator().manual_seed(seed)
    start = int(torch.randint(whole, (), generator=generator))
    every = tokens[start:].unfold(0, whole, whole)
    if len(every) < n:
        every = tokens.unfold(0, whole, 1)
    return every[torch.randperm(len(every), generator=generator)[:n]].long()


def rewritten(data: TextData, samples: Tensor, begun: int, change: Callable[[str], str]) -> Tensor:
    """Samples with what follows their beginnings changed; cut, or filled with its own beginning, to the same length."""
    length = samples.shape[1] - begun
    rows = []
    for sample in samples:
        text = change(data.tokenizer.decode(sample[begun:]))
        made = data.tokenizer.encode(text)
        rows.append(torch.cat((sample[:begun], made.repeat(-(-length // max(len(made), 1)))[:length])))
    return torch.stack(rows)


def model_samples(data: TextData, n: int, steps: int, share: float, seed: int) -> Mapping[float, Tensor]:
    """Samples of the recipe's language model after a share of its training, by temperature."""
    family = LM()
    config = family.space(data.spec).centre()
    until = max(1, round(steps * share))
    run = Run(until_steps=until, full_steps=steps, seed=seed, sample_seed=seed, data=data, split="report")
    *_, last = train(family, config, run)
    assert last.state is not None
    model = family.build(config, data.spec, run.generator("weights"))
    model.load_state_dict(last.state()["model"])
    noise = {**drawer(family.latents(config, data.spec, n))(seeded(seed, "samples")), **run.prompts(n)}
    temperatures = (1.0, 0.3, 1.5) if share == 1.0 else (1.0,)
    return {t: family.generate(model, family.hyper(config.with_(temperature=t), 1.0), noise) for t in temperatures}


def failures(data: TextData, other: Tensor, n: int, steps: int) -> Mapping[str, Make]:
    """Failure -> of a seed, its samples (n, P + L)."""
    begun = data.prompts("report", 1)["prompt"].shape[1]
    whole = begun + SAMPLE_TOKENS
    trained: dict[tuple[float, int], Mapping[float, Tensor]] = {}

    def real(seed: int) -> Tensor:
        return pieces(data.search, n, whole, 1000 + seed)

    def changed(change: Callable[[str, np.random.Generator], str]) -> Make:
        def make(seed: int) -> Tensor:
            rng = np.random.default_rng(seed)
            return rewritten(data, real(seed), begun, lambda text: change(text, rng))

        return make

    def exchanged(first: int) -> Make:
        def make(seed: int) -> Tensor:
            samples = real(seed)
            return torch.cat((samples[:, :first], samples[:, first:].roll(n // 2, dims=0)), dim=1)

        return make

    def half_copied(seed: int) -> Tensor:
        half = begun + SAMPLE_TOKENS // 2
        return torch.cat((real(seed)[:, :half], pieces(data.train, n, whole, seed)[:, half:]), dim=1)

    def model(share: float, temperature: float = 1.0) -> Make:
        def make(seed: int) -> Tensor:
            if (share, seed) not in trained:
                trained[share, seed] = model_samples(data, n, steps, share, seed)
            return trained[share, seed][temperature]

        return make

    return {
        "real": real,
        "shuffled words": changed(lambda text, rng: " ".join(rng.permutation(text.split(" ")))),
        "shuffled characters": changed(lambda text, rng: "".join(rng.permutation(list(text)))),
        "loops": changed(lambda text, _: text[:20]),
        "few": lambda seed: real(seed)[torch.arange(n) % 10 * (n // 10)],
        "copied": lambda seed: pieces(data.train, n, whole, seed),
        "half copied": half_copied,
        "wrong topic": lambda seed: pieces(other, n, whole, seed),
        "other beginnings": exchanged(begun),
        "torn": exchanged(begun + 2 * SAMPLE_TOKENS // 3),
        "half-trained": model(0.1),
        "trained": model(1.0),
        "temperature 0.3": model(1.0, 0.3),
        "temperature 1.5": model(1.0, 1.5),
    }


def measured(data: TextData, other: Tensor, n: int, seeds: int, steps: int) -> dict[str, Any]:
    """Values of every metric by failure and seed, what real text scores, and z."""
    evaluator = TextEvaluator.prepare(data, "report", prepare_text_models(data), SAMPLE_TOKENS, n)
    whole = evaluator.extract(pieces(data.search, n, evaluator.length + 32, 0))

    def scores(samples: Tensor) -> dict[str, float]:
        return {
            name: score.value for name, score in evaluator.score(evaluator.extract(samples), evaluator.metrics).items()
        }

    null = [scores(pieces(data.search, n, evaluator.length + 32, seed)) for seed in range(DRAWS)]
    found: dict[str, Any] = {}
    for name, make in failures(data, other, n, steps).items():
        values = [scores(make(seed)) for seed in range(seeds)]
        found[name] = {metric: [one[metric] for one in values] for metric in evaluator.metrics}
        print(name, {m: round(statistics.fmean(v), 3) for m, v in found[name].items()}, flush=True)
    noise = {m: [one[m] for one in null] for m in evaluator.metrics}
    z = {
        name: {m: _z(m, statistics.fmean(values[m]), noise[m]) for m in evaluator.metrics}
        for name, values in found.items()
    }
    known = evaluator.real.known
    copied = {"shortest": known.shortest, "usual": known.usual, "real": [p.length for p in evaluator.copied(whole)][:3]}
    return {"real": noise, "values": found, "z": z, "copied": copied, "eyes": evaluator.models.description}


def _z(metric: str, value: float, real: list[float]) -> float:
    sign = -1.0 if TEXT_METRICS[metric].higher_is_better else 1.0
    spread = statistics.stdev(real)
    # Where real text always scores the same (novelty of 1), a thousandth is taken for noise.
    return sign * (value - statistics.fmean(real)) / max(spread, 1e-3)


def table(found: dict[str, Any]) -> str:
    """Metrics down, failures across: z where it is seen, in bold, else a dot."""
    names = list(found["z"])
    lines = ["| metric | axis | real text |" + "".join(f" {name} |" for name in names), "|---" * (len(names) + 3) + "|"]
    for metric in found["real"]:
        real = found["real"][metric]
        cells = [f"{metric}{'' if TEXT_METRICS[metric].goal else ' †'}", TEXT_METRICS[metric].axis]
        cells.append(f"{statistics.fmean(real):.3g} ± {statistics.stdev(real):.2g}")
        for name in names:
            z = found["z"][name][metric]
            cells.append(f"{z:+.1f}" if abs(z) < SEEN else f"**{z:+.0f}**")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def values_table(found: dict[str, Any]) -> str:
    """The same in the metrics' own units, means over seeds."""
    names = list(found["values"])
    lines = ["| metric |" + "".join(f" {name} |" for name in names), "|---" * (len(names) + 1) + "|"]
    for metric in found["real"]:
        cells = [metric, *(f"{statistics.fmean(found['values'][name][metric]):.3g}" for name in names)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def other_text(path: Path | None, data: TextData, own: bool) -> Tensor:
    """Tokens of another text, in the data's own tokens."""
    if path is not None:
        return data.tokenizer.encode(path.read_text(encoding="utf-8"))
    if own:
        text = load_text("pydoc")
        return data.tokenizer.encode(text.tokenizer.decode(text.train[:500_000]))
    modules = sorted(Path(os.__file__).parent.glob("*.py"))
    return data.tokenizer.encode("\n".join(m.read_text(encoding="utf-8") for m in modules)[:500_000])


def main() -> None:
    """Measure one text and write (or add to) the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="the text; default: pydoc")
    parser.add_argument("--other", type=Path, help="the text of another topic")
    parser.add_argument("--samples", type=int, default=2 * DEFAULT_TEXTS, help="as many as a verdict rests on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="full training of the small language model")
    parser.add_argument("--out", type=Path, help="a Markdown file; a JSON file of that name lies beside it")
    arguments = parser.parse_args()
    data = load_text(arguments.text or "pydoc")
    other = other_text(arguments.other, data, own=arguments.text is not None)
    found = measured(data, other, arguments.samples, arguments.seeds, arguments.steps)
    command = " ".join(
        [
            "python",
            *(Path(a).name if Path(a).is_file() and "/" in a and not a.startswith("bench") else a for a in sys.argv),
        ]
    )
    found |= {
        "command": command,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "samples": arguments.samples,
    }
    text = f"## {data.name}\n\n`{command}`\n\n{data.describe()}. {found['eyes']}. A passage counts as copied from "
    text += f"{found['copied']['shortest']} characters on; so is {found['copied']['usual']:.0%} of held-out text.\n\n{table(found)}\nMeans over seeds, in each metric's unit:\n\n{values_table(found)}"
    print(text)
    if arguments.out is None:
        return
    results = arguments.out.with_suffix(".json")
    kept = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    kept[data.name] = found | {"text": text}
    results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    head = f"# Which failure does each metric of texts see?\n\n{(__doc__ or '').split('python benchmarks')[0].partition('metric.')[2].strip()}\n\n"
    head += "Cells are z, in bold from 3 on; † marks bare statistics.\n\n"
    arguments.out.write_text(head + "\n".join(one["text"] for one in kept.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
