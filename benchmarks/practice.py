"""What draws are worth around a published recipe, and around what has become practice since.

    python benchmarks/practice.py [--draws 36] [--steps 2600] [--json FILE]

Configurations of a GAN on digits drawn from three spaces of equal ranges: priors around the recipe, the same with an average of
the weights alone as it is practised, and with everything that is. Each is trained in full once, with the same seed, and
judged as in a search; learning rates are drawn for the length in all three. Quantiles of the Fréchet distance tell what a
search begins with.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from maestune.campaign.prepare import prepare
from maestune.campaign.settings import Settings
from maestune.execution.jobs import Ended, Job, Outcome
from maestune.execution.processes import Processes
from maestune.space import Space, rescale_rates, with_current_priors

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75)
FAILED = 300.0  # Fréchet distance of a training that diverged: that of noise


def spaces_of(space: Space, steps: int) -> Mapping[str, Space]:
    """The three."""
    whole, _ = with_current_priors(space)
    averaged = replace(space, params=tuple(whole[p.name] if p.name == "ema" else p for p in space))
    spaces = {"recipe": space, "recipe with an average": averaged, "practice": whole}
    return {name: rescale_rates(each, steps)[0] for name, each in spaces.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=36)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write everything here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.make(model="gan", data="digits", budget="2m", out=f"{folder}/campaign")
        prepared = prepare(settings, None, "cpu", lambda text: None)
        workers = Processes(2, threads=1)
        workers.prepare(prepared.setup)
        rng = np.random.default_rng(given.seed)
        drawn: list[tuple[str, Any]] = []
        for _ in range(given.draws):
            drawn += [(name, each.sample_prior(rng)) for name, each in spaces_of(prepared.space, given.steps).items()]
        queue = [
            Job(trial=k, config=config, seed=123, sample_seed=5, split="search", folder=Path(folder) / str(k), until_steps=given.steps,
                full_steps=given.steps, score_at=(), picture_at=())
            for k, (_, config) in enumerate(drawn)
        ]  # fmt: skip
        found: dict[int, tuple[float, float]] = {}
        while len(found) < len(drawn):
            while workers.free and queue:
                workers.submit([queue.pop(0)])
            for event in workers.events(1.0):
                if isinstance(event, Ended):
                    reached = event.outcome == Outcome.REACHED
                    found[event.trial] = (event.rungs[-1].scores["fd"].value if reached else FAILED, event.seconds)
        workers.close()
    print(f"- command: {shlex.join(['python', *sys.argv])}\n")
    print(f"| drawn around | draws | {' | '.join(f'{q:.0%}' for q in QUANTILES)} | s a training |")
    print(f"|---|---:|{'---:|' * len(QUANTILES)}---:|")
    rows: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in drawn):
        values = [found[k] for k, (each, _) in enumerate(drawn) if each == name]
        scores, seconds = zip(*values, strict=True)
        rows[name] = {"fd": scores, "seconds": seconds}
        cells = [f"{np.quantile(scores, q):.2f}" for q in QUANTILES]
        print(f"| {name} | {len(scores)} | {' | '.join(cells)} | {np.mean(seconds):.1f} |")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
