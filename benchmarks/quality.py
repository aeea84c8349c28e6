"""How fast metrics of features are, and in how much memory, beside the code that is usually taken for them.

The Fréchet distance is held against what pytorch-fid does: covariances by numpy, the root of their product by scipy's `sqrtm`
(called as current scipy wants it). Precision, recall, density and coverage are held against `prdc.compute_prdc`. Both sides run in
turn in one process on one core, medians over repeats; peak memory is what a process of its own grows by during the call. Last, what all metrics
together cost that are measured at each full training: 1000 samples of 64 features with intervals.

    OMP_NUM_THREADS=1 python benchmarks/quality.py --repeats 3 --json benchmarks/results/quality.json --markdown benchmarks/results/quality.md
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy
from prdc import compute_prdc
from scipy.linalg import sqrtm

from maestune.quality import METRICS
from maestune.quality.interval import scores
from maestune.quality.metric import Array, Features, Kind, Reals
from maestune.quality.metrics.frechet import (
    frechet_distance,
    frechet_reference,
    moments_distance,
    moments_init,
    moments_update,
    samples_distance,
)
from maestune.quality.metrics.neighbours import neighbour_metrics

FRECHET_ROWS = {
    "whole": "from features of both sides",
    "kept": "from features, real side known",
    "moments": "means and covariances known",
}
EPSILON = 1e-6  # what pytorch-fid adds to the diagonals of a singular product


def features(n: int, d: int, seed: int) -> Array:
    """Features as networks make them: rectified mixtures of fewer directions, some of them hardly varying."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(d, d)) / np.sqrt(d)
    return np.maximum(rng.normal(size=(n, d)) @ mix + 0.1 * seed, 0.0)


def statistics_of(values: Array) -> tuple[Array, Array]:
    """Mean and covariance, as pytorch-fid computes them."""
    return values.mean(axis=0), np.cov(values, rowvar=False)


def distance_by_sqrtm(one: tuple[Array, Array], other: tuple[Array, Array]) -> float:
    """The Fréchet distance as pytorch-fid computes it from means and covariances."""
    (mean, covariance), (other_mean, other_covariance) = one, other
    root = sqrtm(covariance @ other_covariance)
    if not np.isfinite(root).all():
        offset = EPSILON * np.eye(len(covariance))
        root = sqrtm((covariance + offset) @ (other_covariance + offset))
    shift = mean - other_mean
    return float(shift @ shift + np.trace(covariance) + np.trace(other_covariance) - 2.0 * np.trace(root).real)


def prdc_quietly(real: Array, generated: Array) -> dict[str, float]:
    """The package's four values; it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return {name: float(value) for name, value in compute_prdc(real, generated, nearest_k=5).items()}


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Seconds of both sides in turn (medians), and what they returned."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    returned: dict[str, Any] = {}
    for _ in range(repeats):
        for name, call in (("ours", ours), ("theirs", theirs)):
            begun = time.perf_counter()
            returned[name] = call()
            seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"seconds": seconds, "medians": medians, "ratio": medians["theirs"] / medians["ours"], "returned": returned}


def frechet(n: int, d: int, repeats: int) -> dict[str, Any]:
    """The whole distance from features, the same with the real side known already, and with both sides' moments known."""
    real, generated = features(n, d, 0), features(n, d, 1)
    reference, known, seen = frechet_reference(real), statistics_of(real), statistics_of(generated)
    moments = moments_update(moments_init(reference.mean), generated)
    whole = compare(
        lambda: frechet_distance(real, generated),
        lambda: distance_by_sqrtm(statistics_of(real), statistics_of(generated)),
        repeats,
    )
    kept = compare(
        lambda: samples_distance(reference, generated),
        lambda: distance_by_sqrtm(known, statistics_of(generated)),
        repeats,
    )
    result = {"whole": whole, "kept": kept}
    if n >= d:  # with fewer samples the distance is computed from them, without a covariance
        result["moments"] = compare(
            lambda: moments_distance(reference, moments), lambda: distance_by_sqrtm(known, seen), repeats
        )
    ours, theirs = whole["returned"]["ours"], whole["returned"]["theirs"]
    return {**result, "relative_difference": abs(ours - theirs) / abs(ours)}


def peak_growth_mib(who: str, n: int, d: int) -> float:
    """By how many MiB a process grows at most while it computes the metrics of neighbours."""
    command = [sys.executable, __file__, "--peak", who, "--n", str(n), "--d", str(d)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_peak(who: str, n: int, d: int) -> float:
    """The same in this process, which should have done nothing else (Linux only)."""
    real, generated = features(n, d, 0), features(n, d, 1)
    np.dot(np.ones((64, 64)), np.ones((64, 64)))  # BLAS allocates once
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far: that of making the features
    before = psutil.Process().memory_info().rss
    (neighbour_metrics if who == "ours" else prdc_quietly)(real, generated)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**10 - before / 2**20


def neighbours(n: int, d: int, repeats: int) -> dict[str, Any]:
    """All metrics of neighbours: seconds, peak memory, and how far the values are apart."""
    real, generated = features(n, d, 0), features(n, d, 1)
    result = compare(lambda: neighbour_metrics(real, generated), lambda: prdc_quietly(real, generated), repeats)
    ours, theirs = result["returned"]["ours"], result["returned"]["theirs"]
    result["difference"] = max(abs(ours[name] - theirs[name]) for name in theirs)
    result["peak_mib"] = {who: peak_growth_mib(who, n, d) for who in ("ours", "theirs")}
    return result


def full_training(
    repeats: int, n: int = 1000, d: int = 64, n_held_out: int = 360, n_train: int = 1077
) -> dict[str, Any]:
    """Milliseconds of each kind of metric with intervals, at the sizes of the built-in digits."""

    def seen(count: int, seed: int) -> Features:
        values = features(count, d, 0) + 0.1 * np.random.default_rng(seed).normal(size=(count, d))
        values = (values - values.mean(axis=0)) / values.std(axis=0)
        probabilities = np.exp(values[:, :10]) / np.exp(values[:, :10]).sum(axis=1, keepdims=True)
        asked = probabilities.argmax(axis=1)
        return Features(values, probabilities, asked, values.reshape(count, 4, d // 4), values, asked)

    reals = Reals(seen(n_held_out, 1), seen(n_train, 2))
    generated = seen(n, 3)
    known: dict[str, Any] = {}

    def reference(kind: Kind[Any]) -> Any:
        if kind.name not in known:
            known[kind.name] = kind.reference(reals, n)
        return known[kind.name]

    milliseconds: dict[str, dict[str, Any]] = {}
    for kind in {m.kind.name: m.kind for m in METRICS.values() if not (m.needs_captions or m.needs_answers)}.values():
        metrics = [m for m in METRICS.values() if m.kind.name == kind.name and not m.needs_captions]
        scores(metrics, reference, generated, True)
        taken: list[float] = []
        for _ in range(repeats):
            begun = time.perf_counter()
            scores(metrics, reference, generated, True)
            taken.append(1000.0 * (time.perf_counter() - begun))
        milliseconds[kind.name] = {
            "metrics": [m.name for m in metrics],
            "costly": all(m.costly for m in metrics),
            "median": statistics.median(taken),
        }
    return {
        "kinds": milliseconds,
        "always": sum(kind["median"] for kind in milliseconds.values() if not kind["costly"]),
        "costly": sum(kind["median"] for kind in milliseconds.values() if kind["costly"]),
    }


def markdown(results: Mapping[str, Any], command: str) -> str:
    """The tables."""
    lines = [
        "# Speed and memory of the metrics",
        "",
        f"`{command}`, {results['machine']}. Medians of {results['repeats']} repeats, both sides in turn in one process.",
        "",
        "| Fréchet distance | ours, s | sqrtm, s | ratio | relative difference |",
        "|---|---|---|---|---|",
    ]
    for name, result in results["frechet"].items():
        for what, label in FRECHET_ROWS.items():
            if what not in result:
                continue
            medians = result[what]["medians"]
            lines.append(
                f"| {name}, {label} | {medians['ours']:.3f} | {medians['theirs']:.3f} | {result[what]['ratio']:.1f} | "
                f"{result['relative_difference']:.1e} |"
            )
    lines += ["", "| neighbours | ours | prdc | ratio |", "|---|---|---|---|"]
    for name, result in results["neighbours"].items():
        medians, peak = result["medians"], result["peak_mib"]
        lines += [
            f"| {name}, s | {medians['ours']:.2f} | {medians['theirs']:.2f} | {result['ratio']:.1f} |",
            f"| {name}, peak growth, MiB | {peak['ours']:.0f} | {peak['theirs']:.0f} | {peak['theirs'] / peak['ours']:.1f} |",
            f"| {name}, largest difference of the four values | {result['difference']:.1e} | | |",
        ]
    training = results["full_training"]
    lines += [
        "",
        "Ours are precision, recall, density and coverage and both clipped forms, prdc's the first four. It computes them in "
        "eight threads, here on the one core that both sides have.",
        "",
        "| 1000 samples × 64 features with intervals | metrics | ms |",
        "|---|---|---|",
    ]
    for name, kind in training["kinds"].items():
        lines.append(
            f"| {name}{' (verdict only)' if kind['costly'] else ''} | {', '.join(kind['metrics'])} | {kind['median']:.1f} |"
        )
    lines += [
        f"| **at each full training** | | **{training['always']:.0f}** |",
        f"| at the verdict beside these | | {training['costly']:.0f} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--peak", choices=["ours", "theirs"], help="only print the growth of this process in MiB")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=768)
    arguments = parser.parse_args()
    if arguments.peak:
        print(measure_peak(arguments.peak, arguments.n, arguments.d))
        return
    # prdc starts threads of its own: on one core both sides have the same.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    threads = os.environ.get("OMP_NUM_THREADS", "as many threads as cores")
    repeats = arguments.repeats
    results: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, one of {os.cpu_count()} cores, OMP_NUM_THREADS={threads}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}",
        "repeats": repeats,
        "frechet": {
            "10 000 × 768": frechet(10_000, 768, repeats),
            "1 000 × 2 048": frechet(1_000, 2_048, min(repeats, 3)),
        },
        "neighbours": {
            f"{arguments.n:,} × {arguments.d}".replace(",", " "): neighbours(arguments.n, arguments.d, min(repeats, 3))
        },
        "full_training": full_training(repeats),
    }
    text = markdown(results, "python benchmarks/quality.py " + " ".join(sys.argv[1:]))
    print(text)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(text)


if __name__ == "__main__":
    main()
