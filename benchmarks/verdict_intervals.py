"""Do the intervals of a verdict hold the true difference and the true ratio at their rate of 95 %?

Simulated finals: recipe and best on n paired seeds, scores on a ratio scale (`fd`: logarithms are normal) and of a user's own
(`own`: normal). For each setting, the share of campaigns whose interval holds the truth: the difference and the ratio of the means
(geometric on a ratio scale), and beside them the interval of the difference that takes the recipe's mean as known.

    python benchmarks/verdict_intervals.py
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np

from maestune.campaign.verdict import difference_over_seeds, relative_over_seeds

RESULTS = Path(__file__).parent / "results"
CAMPAIGNS = 2_000
LEVEL = 7.0
LEAST_TOLD = 200  # ratios, below which their share tells nothing
SEEDS, RATIOS, SPREADS, CORRELATIONS = (2, 3, 4, 6, 10), (0.2, 0.4, 0.7, 1.0), (0.05, 0.17, 0.4), (0.0, 0.9)
BEST_SPREADS = (1.0, 0.3)  # of the best's spread, as a share of the recipe's


def simulate(
    metric: str, seeds: int, ratio: float, spread: float, correlation: float, share: float
) -> dict[str, float]:
    rng = np.random.default_rng([seeds, int(100 * ratio), int(100 * spread), int(10 * correlation)])
    shared, alone = rng.normal(size=(2, CAMPAIGNS, seeds))
    other = correlation * shared + math.sqrt(1 - correlation**2) * alone
    if metric == "fd":
        recipe, best = LEVEL * np.exp(spread * shared), LEVEL * ratio * np.exp(share * spread * other)
    else:
        recipe, best = LEVEL * (1 + spread * shared), LEVEL * (ratio + share * spread * other)
    found = {"difference": 0, "ratio": 0, "bounded": 0, "recipe_known": 0}
    for r, b in zip(recipe.tolist(), best.tolist(), strict=True):
        difference = difference_over_seeds(metric, r, b, 0.95)
        relative = relative_over_seeds(metric, r, b, 0.95)
        bounded = math.isfinite(relative.low) and math.isfinite(relative.high)
        level = math.exp(np.log(r).mean()) if metric == "fd" else float(np.mean(r))
        found["difference"] += difference.low <= LEVEL * (ratio - 1) <= difference.high
        found["bounded"] += bounded
        found["ratio"] += bounded and relative.low <= ratio - 1 <= relative.high
        found["recipe_known"] += bounded and level * relative.low <= LEVEL * (ratio - 1) <= level * relative.high
    told = found["bounded"]
    shares = {name: count / CAMPAIGNS for name, count in found.items()}
    return shares | {"ratio": found["ratio"] / told if told >= LEAST_TOLD else math.nan}


def main() -> None:
    rows = [
        {"metric": m, "seeds": n, "ratio": r, "spread": s, "correlation": c, "share": b, **simulate(m, n, r, s, c, b)}
        for m, n, r, s, c, b in itertools.product(("fd", "own"), SEEDS, RATIOS, SPREADS, CORRELATIONS, BEST_SPREADS)
    ]
    (RESULTS / "verdict_intervals.json").write_text(
        json.dumps([{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows])
        + "\n"
    )
    lines = [
        "# Do the intervals of a verdict hold their rate?",
        "",
        f"`python benchmarks/verdict_intervals.py`: {CAMPAIGNS:,} simulated finals for each of {len(rows)} settings (seeds {SEEDS}, ratio of the",
        f"means {RATIOS}, spread over seeds {SPREADS} of the mean, correlation of the pairs {CORRELATIONS}, the best's spread {BEST_SPREADS} of",
        "the recipe's). Share of campaigns whose 95 % interval holds the truth; the standard error of each setting is 0.5 %. Of ratios, the",
        "share of those that are told: one whose set is not bounded is not. `recipe known`: the difference as the ratio's interval times the recipe's mean, as if that were known.",
        "",
        "| scores | seeds | difference: mean, least | ratio: mean, least | ratio told | recipe known: mean, least |",
        "|---|---|---|---|---|---|",
    ]
    for metric, n in itertools.product(("fd", "own"), SEEDS):
        group = [row for row in rows if (row["metric"], row["seeds"]) == (metric, n)]

        def told(name: str, group: list[dict[str, float]] = group) -> str:
            values = [row[name] for row in group if not math.isnan(row[name])]
            return f"{100 * np.mean(values):.1f} %, {100 * min(values):.1f} %"

        bounded = 100 * np.mean([row["bounded"] for row in group])
        kind = "ratio scale" if metric == "fd" else "own"
        lines.append(
            f"| {kind} | {n} | {told('difference')} | {told('ratio')} | {bounded:.0f} % | {told('recipe_known') if metric == 'fd' else '–'} |"
        )
    (RESULTS / "verdict_intervals.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
