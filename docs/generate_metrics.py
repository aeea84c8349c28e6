"""Writes docs/metrics.md from the catalogue of metrics and what the benchmarks measured: `python docs/generate_metrics.py`.

With `--check` it writes nothing, and ends with 1 where the page is out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maestune.quality import DESCRIBED
from maestune.quality.metric import Measure

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
IMAGES, TEXTS = ("quality_failures.json", "quality_failures_mnist.json"), "quality_text.json"
SEEN = 3.0  # standard deviations of real draws

AXES: Mapping[str, str] = {
    "realism": "Realism: does a sample look real?",
    "diversity": "Diversity: is the variety of the data there?",
    "coherence": "Coherence: do the parts of a sample fit together?",
    "adherence": "Adherence: does it show what was asked for?",
    "novelty": "Novelty: is it more than a copy?",
    "likelihood": "Likelihood: what does the model make of real data?",
}

HEAD = """# Metrics

<!-- Made by docs/generate_metrics.py; do not edit. -->

What each score means, what it is blind to, and where it comes from. "Sees" and "misled by" are measured: known failures are
scored as samples are, and a metric sees one where the score is worse than that of real data by more than three standard
deviations of real draws (`benchmarks/quality_failures.py`, `benchmarks/quality_text.py`; the whole tables are in
`benchmarks/results/`). It is misled where it calls a failure better than real data by as much.

Every score of samples comes with a 95 % interval over the choice of samples, a floor (what real data that models learn from
would score) and the number of samples; scores at different numbers of samples, or against another reference, are never
compared.
"""


@dataclass(frozen=True)
class Measured:
    """What a benchmark found: on which data, and metric -> failure -> effect in standard deviations."""

    data: str
    seen: float
    effects: Mapping[str, Mapping[str, float | None]]


def measured() -> list[Measured]:
    """The results that are there."""
    found: list[Measured] = []
    for name in IMAGES:
        if (path := RESULTS / name).is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(Measured(content["data"], content["seen"], content["effects"]))
    if (path := RESULTS / TEXTS).is_file():
        for data, content in json.loads(path.read_text(encoding="utf-8")).items():
            effects = {m: {failure: z[m] for failure, z in content["z"].items()} for m in content["real"]}
            found.append(Measured(Path(data).stem, SEEN, effects))
    return found


def page() -> str:
    """The whole page."""
    results = measured()
    return HEAD + "".join(line + "\n" for axis in AXES for line in _axis(axis, results))


def _axis(axis: str, results: Sequence[Measured]) -> Iterator[str]:
    measures = [measure for measure in DESCRIBED.values() if measure.axis == axis]
    if not measures:
        return
    yield f"\n## {AXES[axis]}"
    for measure in measures:
        yield f"\n### `{measure.name}`: {measure.label}\n"
        yield measure.meaning + "\n"
        yield f"- {_direction(measure)}"
        for result in results:
            if measure.name in result.effects:
                yield from _told(result, result.effects[measure.name])
        yield f"- Source: {measure.citation}"


def _direction(measure: Measure) -> str:
    better = "Higher is better" if measure.higher_is_better else "Lower is better"
    unit = f", in {measure.unit}" if measure.unit else ""
    within = f"; comparable only between models of the same `{measure.within}`" if measure.within else ""
    return f"{better}{unit}{within}."


def _told(result: Measured, effects: Mapping[str, float | None]) -> Iterator[str]:
    known = {failure: z for failure, z in effects.items() if z is not None and failure != "real"}
    sees = [failure for failure, z in known.items() if z > result.seen]
    misled = [failure for failure, z in known.items() if z < -result.seen]
    blind = [failure for failure in known if failure not in sees and failure not in misled]
    yield f"- On {result.data} it sees {_listed(sees)}; it does not see {_listed(blind)}."
    if misled:
        yield f"- On {result.data} it is misled by {_listed(misled)}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nothing"


def main() -> int:
    """Write the page, or say that it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    path = HERE / "metrics.md"
    if not parser.parse_args().check:
        path.write_text(page(), encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != page():
        print("docs/metrics.md is out of date; run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
