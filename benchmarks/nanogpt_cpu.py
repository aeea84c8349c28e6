"""Tunes nanoGPT's setting for a CPU at equal cost: is there something better than the published setting, and by how much?

Needs the text that nanoGPT's README uses ("tiny Shakespeare", 1.1 million characters) as a file: --data, or the variable
TINYSHAKESPEARE. Its first 90 % are learnt from, its last 10 % held out, as there.

First (--recipe does this alone) the published setting is trained from three seeds: its held-out loss should be the published
1.88 nats a character within 0.05. Then one campaign of 20 full trainings searches a space in which every config costs as many
multiplications as the recipe: number and width of layers, context, batch and steps are fixed. Its finals train its best config
and the recipe from the same fresh seeds and compare them on the held-out text, of which the search has seen nothing.

    python benchmarks/nanogpt_cpu.py --data tinyshakespeare.txt --out benchmarks/results/nanogpt_cpu
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from maestune.api import Result, run_campaign
from maestune.campaign import Campaign, Record
from maestune.data import TextData, load_text
from maestune.families.lm import LM
from maestune.families.lm.family import loss
from maestune.report.console import make_console
from maestune.space import Choice, Float, Prior, Space
from maestune.training import Run, train
from maestune.types import Config

PUBLISHED = 1.88  # nats a character, nanoGPT's README
REPRODUCED_WITHIN = 0.05
WANTED = 0.20  # nats
SHARE = 0.9  # nanoGPT, data/shakespeare_char/prepare.py
STEPS = 2000
FAMILY = LM()
# What a step costs depends on these (and, by less than a hundredth, on a gate's rounding down).
COSTLY = ("layers", "width", "context", "batch_size")
# Off in the recipe, and of no use where text is not seen more than twice.
IDLE: Mapping[str, Any] = {"optimizer": "adam", "l1": 0.0, "keep": "last", "patience": 0}


def divided(text: str, folder: Path) -> tuple[TextData, TextData]:
    """The text as nanoGPT divides it, and as a campaign does, which takes a tenth of what there is to learn from to search with."""
    cut = int(SHARE * len(text))
    for name, part in (("train", text[:cut]), ("val", text[cut:])):
        (folder / f"{name}.txt").write_text(part, encoding="utf-8")
    data = load_text(folder)
    whole = data.tokenizer.encode(text[:cut]).to(data.train.dtype)
    return replace(data, train=whole, fingerprint=f"{data.fingerprint}-whole"), data


def space_of(data: TextData) -> Space:
    """The family's space without what changes the cost of a step, and without beliefs on what the recipe leaves open.

    The recipe stays the centre. Kinds of layers newer than it are as likely as its own, and rates go up to where trainings of
    this size diverge.
    """
    space = FAMILY.space(data.spec)
    centre = space.centre()
    for name in COSTLY:
        space = space.fix(name, centre[name])
    for name, value in IDLE.items():
        space = space.fix(name, value)
    params = []
    for param in space:
        if param.name == "schedule":
            param = replace(param, values=("cosine", "wsd"))
        if isinstance(param, Choice) and len(param.values) > 1 and not param.ordered:
            first = centre[param.name]
            param = replace(param, values=(first, *(v for v in param.values if v != first)), prior=None)
        if isinstance(param, Float) and param.name == "lr":
            param = replace(param, low=5e-4, high=1.5e-2, prior=Prior(centre["lr"], "low", "nanoGPT"))
        params.append(param)
    return _without_unmet(Space(tuple(params)))


def _without_unmet(space: Space) -> Space:
    """Without parameters whose condition no choice of theirs can meet any more."""
    kept = []
    for param in space:
        met = {parent: tuple(v for v in allowed if v in space[parent].values) for parent, allowed in param.when.items()}  # type: ignore[union-attr]
        if all(met.values()):
            kept.append(replace(param, when=met))
    return Space(tuple(kept))


def flops_of_step(config: Config, data: TextData) -> int:
    """Floating-point operations of a step, counted in its products of matrices."""
    model = FAMILY.build(config, data.spec, torch.Generator().manual_seed(0))
    tokens = torch.zeros(int(config.number("batch_size")), int(config.number("context")) + 1, dtype=torch.int64)
    plain = config.with_(dropout=0.0)
    with FlopCounterMode(display=False) as counter:
        loss(model, {"tokens": tokens}, FAMILY.hyper(plain, 0.5), {}).mean().backward()
    return counter.get_total_flops()


def trained(config: Config, data: TextData, seed: int) -> tuple[float, float]:
    """Held-out loss (nats a character) of a full training, and its seconds."""
    begun = time.perf_counter()
    run = Run(STEPS, STEPS, seed=seed, report_every=STEPS, scored_at=frozenset({STEPS}), data=data, split="report")
    (report,) = train(FAMILY, config, run)
    return float(report.scores.get("val_loss", math.nan)), time.perf_counter() - begun


def reproduce(data: TextData, seeds: Sequence[int]) -> dict[str, Any]:
    """The recipe on nanoGPT's own split."""
    rows = []
    for seed in seeds:
        value, seconds = trained(FAMILY.space(data.spec).centre(), data, seed)
        rows.append({"seed": seed, "val_loss": value, "seconds": seconds})
        print(f"recipe, seed {seed}: {value:.4f} nats a character, {seconds:.0f} s", flush=True)
    mean = statistics.fmean(row["val_loss"] for row in rows)
    found = {"rows": rows, "mean": mean, "reproduced": abs(mean - PUBLISHED) <= REPRODUCED_WITHIN}
    print(
        f"recipe: {mean:.4f} on average, published {PUBLISHED}: {'reproduced' if found['reproduced'] else 'NOT reproduced'}"
    )
    return found


def search(folder: Path, data: TextData, arguments: argparse.Namespace) -> Result:
    """One campaign."""
    campaign = Campaign(
        model="lm",
        data=str(folder),
        budget=arguments.budget,
        strategy=arguments.strategy,
        seed=arguments.seed,
        steps=STEPS,
        space=space_of(data).to_dict(),
        fuse="off",  # at this width one core's arithmetic is the limit: nothing is gained by training several as one
        workers=arguments.workers,
        out=str(arguments.campaign or folder.parent / "campaign"),
    )
    return run_campaign(campaign, [make_console(sys.stderr)])


def confirmed(record: Record, data: TextData) -> dict[str, Any]:
    """The campaign's finals: recipe and best from the same fresh seeds, on the held-out text, of which the search saw nothing."""
    recipe, best = (next(f for f in record.finalists if f.role == "recipe"), record.finalists[-1])
    if record.best is not None:
        best = next(f for f in record.finalists if f.trial == record.best)
    rows = []
    for runs in zip(recipe.runs, best.runs, strict=True):
        trials = [record.trial(number) for number in runs]
        scores = [trial.rungs[-1].scores["val_loss"].value for trial in trials]
        rows.append({"seed": trials[0].seed, "recipe": scores[0], "best": scores[1]})
    gains = [row["recipe"] - row["best"] for row in rows]
    flops = {name: flops_of_step(each.config, data) for name, each in (("recipe", recipe), ("best", best))}
    print(f"better by {statistics.fmean(gains):.3f} nats on average, by {min(gains):.3f} at least")
    return {"rows": rows, "gain": statistics.fmean(gains), "least_gain": min(gains), "flops_per_step": flops}


def as_text(result: Mapping[str, Any], command: str) -> str:
    """The result as a page of Markdown."""
    reproduced = result["reproduced"]
    lines = [
        "# nanoGPT's setting for a CPU, tuned at equal cost",
        "",
        f"`{command}` on {platform.machine()}, {os.cpu_count()} cores. Losses are nats a character on the last tenth of the text.",
        "",
        f"**The recipe**, on nanoGPT's own split: {reproduced['mean']:.3f} on average of {len(reproduced['rows'])} seeds "
        f"({', '.join(format(row['val_loss'], '.3f') for row in reproduced['rows'])}); published {PUBLISHED}.",
        "",
    ]
    if "confirmed" in result:
        finals, summary = result["confirmed"], result["campaign"]
        flops = finals["flops_per_step"]
        lines += [
            f"**The campaign**: {summary['full_trainings']:.1f} full trainings ({summary['configurations']} configurations), "
            f"{summary['seconds'] / 60:.0f} min. Its verdict: {summary['verdict']['decision']}, "
            f"{summary['verdict']['recipe']:.3f} → {summary['verdict']['best']:.3f} bits a character.",
            "",
            f"**Confirmed** on fresh seeds, the same for both, at {flops['best'] / flops['recipe']:.3f} times the operations of the recipe's step: "
            f"better by {finals['gain']:.3f} nats on average, by {finals['least_gain']:.3f} at least.",
            "",
            "| seed | recipe | best | difference |",
            "|---|---|---|---|",
            *(
                f"| {row['seed']} | {row['recipe']:.4f} | {row['best']:.4f} | {row['best'] - row['recipe']:+.4f} |"
                for row in finals["rows"]
            ),
            "",
            "| parameter | recipe | best |",
            "|---|---|---|",
            *(
                f"| {name} | {summary['recipe']['config'].get(name, '–')} | {summary['best']['config'].get(name, '–')} |"
                for name in dict.fromkeys([*summary["recipe"]["config"], *summary["best"]["config"]])
                if summary["recipe"]["config"].get(name) != summary["best"]["config"].get(name)
            ),
            "",
        ]
    return "\n".join(lines)


def main() -> int:
    """Reproduce, search, confirm; 0 where the recipe is reproduced and the best is better by what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("TINYSHAKESPEARE"), help="tiny Shakespeare, a file")
    parser.add_argument("--recipe", action="store_true", help="only reproduce the recipe")
    parser.add_argument("--budget", default="20full")
    parser.add_argument("--strategy", default="halving")
    parser.add_argument("--seed", type=int, default=0, help="of the campaign")
    parser.add_argument("--seeds", type=int, default=3, help="of the recipe")
    parser.add_argument("--workers", type=int, help="worker processes of the campaign; default: one a core")
    parser.add_argument("--campaign", type=Path, help="the campaign's folder, to keep it and to go on with it")
    parser.add_argument("--out", type=Path, help="where .md and .json are written")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("the text is needed: --data FILE, or TINYSHAKESPEARE=FILE")
    torch.set_num_threads(1)
    given = " ".join(Path(word).name if Path(word).is_file() else word for word in sys.argv[1:])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "tinyshakespeare"
        folder.mkdir()
        whole, data = divided(Path(arguments.data).read_text(encoding="utf-8"), folder)
        result: dict[str, Any] = {"reproduced": reproduce(whole, range(arguments.seeds))}
        if not arguments.recipe:
            found = search(folder, data, arguments)
            result["campaign"] = found.summary
            result["confirmed"] = confirmed(found.record, data)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        text = as_text(result, f"python benchmarks/nanogpt_cpu.py {given}")
        arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
        arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    good = result["reproduced"]["reproduced"] and result.get("confirmed", {"gain": WANTED})["gain"] >= WANTED
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
