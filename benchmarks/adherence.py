"""Do tuned class- and text-conditional models draw what they are asked for? On digits and, where it is given, on MNIST.

One campaign each of the GAN (conditioned by projection) and of the flow, with the Fréchet distance as objective and
`adherence>=0.95` as constraint. What is told are the campaign's own final trainings: the recipe and the best configuration, trained
in full on fresh seeds, asked for the conditions of images that neither training nor search has seen, and evaluated by a
classifier trained on real images. Coverage and recall stand beside it, since a model that draws one digit of each kind
obeys perfectly.

    python benchmarks/adherence.py [--budget 3m] [--mnist FOLDER --mnist-budget 15m] [--only gan flow] [--out FILE.md]

Means and 95 % intervals over seeds (Student's t; of the Fréchet distance geometric).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

import maestune
from maestune.campaign.record import Record
from maestune.types import Score, Value

SCORES = ("adherence", "asked_diversity", "fd", "coverage", "recall", "precision")
CONSTRAINT = "adherence>=0.95"
CONDITIONED = {"gan": {"condition": "projection"}, "flow": {}}
# A small transformer: a U-Net, or patches of 2 pixels (196 tokens), train a fraction of the steps in the same time.
MNIST = {"gan": {}, "flow": {"network": "dit", "patch": 4, "width": 96, "depth": 4}}


@dataclass(frozen=True)
class Case:
    """One campaign."""

    model: str
    data: str
    name: str  # of the data, for people
    budget: str
    steps: int | None = None
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def run(self, folder: Path) -> Record:
        """The campaign's record."""
        campaign = maestune.Campaign(
            model=self.model,
            data=self.data,
            budget=self.budget,
            steps=self.steps,
            set={**CONDITIONED[self.model], **self.fixed},
            objective=("fd:min",),
            constraint=(CONSTRAINT,),
            out=str(folder),
        )
        return maestune.run_campaign(campaign).record


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """The campaigns asked for, the quick ones first."""
    if arguments.budget != "0s":
        for model in arguments.only:
            yield Case(model, {"gan": "digits", "flow": "digits-captions"}[model], "digits", arguments.budget)
    if arguments.mnist is not None:
        for model in arguments.only:
            steps = arguments.flow_steps if model == "flow" else None
            yield Case(model, str(arguments.mnist), "MNIST", arguments.mnist_budget, steps, MNIST[model])


def rows(case: Case, record: Record) -> Iterator[str]:
    """Recipe, best and real images as lines of the table."""
    for finalist in record.finalists:
        if finalist.role == "recipe" or finalist.trial == record.best:
            cells = [_cell(name, finalist.scores.get(name)) for name in SCORES]
            who = "recipe" if finalist.role == "recipe" else "**best**"
            yield _line(case, who, str(len(finalist.runs)), cells)
    yield _line(case, "real images", "", [_cell(name, record.floor.get(name), floor=True) for name in SCORES])


def _line(case: Case, who: str, seeds: str, cells: list[str]) -> str:
    return f"| {case.model} | {case.name} | {who} | {seeds} | " + " | ".join(cells) + " |"


def _cell(name: str, score: Score | None, floor: bool = False) -> str:
    if score is None:
        return "–"
    places = 2 if name == "fd" else 3
    told = f"{score.value:.{places}f}"
    return told if floor or score.low != score.low else f"{told} ({score.low:.{places}f} … {score.high:.{places}f})"


def about(case: Case, record: Record) -> str:
    """What was run, in a line, with the best configuration."""
    best = record.trial(record.best).config if record.best is not None else {}
    values = ", ".join(f"{k} = {v:.4g}" if isinstance(v, float) else f"{k} = {v}" for k, v in dict(best).items())
    decided = record.verdicts[0].decision if record.verdicts else "none"
    return (
        f"- {case.model} on {case.name}: {record.budget_text}, {len(record.search_trials)} configurations, "
        f"{record.full_trainings:.1f} full trainings of {record.rungs[-1]:,} steps; verdict: {decided}. Best: {values}"
    )


def main() -> None:
    """Run the campaigns one after the other; the page is written anew after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="3m", help="of a campaign on digits; 0s leaves them out")
    parser.add_argument("--mnist", type=Path, help="folder with MNIST's IDX files; left out when absent")
    parser.add_argument("--mnist-budget", default="15m")
    parser.add_argument("--flow-steps", type=int, help="length of a full training of the flow on MNIST")
    parser.add_argument("--only", nargs="+", choices=sorted(CONDITIONED), default=["gan", "flow"])
    parser.add_argument("--keep", type=Path, help="folder in which the campaigns are kept")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    shown = [a if not Path(a).exists() else "FOLDER" for a in sys.argv[1:]]
    head = [
        "# Do tuned conditional models draw what they are asked for?",
        "",
        f"`python benchmarks/adherence.py {' '.join(shown)}`, torch {torch.__version__}, constraint `{CONSTRAINT}`. Share of samples in",
        "which a classifier trained on real images sees what was asked for; mean and 95 % interval over fresh seeds.",
        "",
        "| model | data | | seeds | " + " | ".join(SCORES) + " |",
        "|---" * (4 + len(SCORES)) + "|",
    ]
    table: list[str] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for case in cases(arguments):
            folder = (arguments.keep or Path(temporary)) / f"{case.model}-{case.name}"
            shutil.rmtree(folder, ignore_errors=True)
            record = case.run(folder)
            table += rows(case, record)
            notes.append(about(case, record))
            text = "\n".join([*head, *table, "", *notes]) + "\n"
            print(text, flush=True)
            if arguments.out is not None:
                arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
