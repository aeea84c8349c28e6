"""What does `maestune score` say of known failures? The failures of `quality_failures.py`, each scored as a person would.

Nothing is told beside the samples, so that swapped labels cannot be seen. The evaluator knows half of the training images; the failures are made
of the other half.

    python benchmarks/score_words.py [--data digits] [--out FILE.md]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import maestune
from maestune.data import load_images
from maestune.report.score_views import score_view
from quality_failures import failures, halved


def main() -> None:
    """Score one draw of every failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    data, unseen = halved(load_images(arguments.data))
    n = min(1000, len(unseen) // 2)
    lines = [
        f"# What `maestune score` says of known failures of {data.name}",
        "",
        f"`python benchmarks/score_words.py --data {data.name}`: {n:,} images each, one draw, without prompts.",
        "",
        "| samples | it says | weakest |",
        "|---|---|---|",
    ]
    for name, make in failures(unseen, data, n).items():
        images, _ = make(0)
        view = score_view(maestune.score(data, images))
        lines.append(f"| {name} | {view.headline} | {view.sentences[-1].split(';')[0]} |")
        print(lines[-1], flush=True)
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
