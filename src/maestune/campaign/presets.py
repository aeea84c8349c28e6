"""Named bundles of objectives and bounds: what a person means by a word, for images and for texts.

A preset is nothing but its parts: campaign.toml holds these, so that what a name stands for may change later without
changing a campaign that was begun with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maestune.data import Modality
from maestune.errors import SettingsError


@dataclass(frozen=True)
class Preset:
    """What a preset stands for, as it would be written on the command line, and why these parts."""

    objectives: tuple[str, ...]
    constraints: tuple[str, ...]
    why: str


PRESETS: Mapping[str, Mapping[Modality, Preset]] = {
    "quality-diversity": {
        "image": Preset(
            objectives=("fd", "coverage"),
            constraints=(),
            why="The Fréchet distance sees looks and variety at once and lets one pay for the other; coverage is variety "
            "alone, and with it followed human judgement best of the metrics compared by Stein et al. 2023 "
            "(arXiv:2306.04675). A front of the two leaves the trade to the person.",
        ),
        "text": Preset(
            objectives=("cluster_js",),
            # On pydoc and tinyshakespeare a small honest model has up to 0.14, 1.3 and 1 (misspelt words alone make 0.1 and
            # 1.1), loops a rep_gap of 0.8, low temperature an entropy_gap of 2.1, half copies a novelty of 0.57
            # (benchmarks/results/quality_text.md).
            constraints=("rep_gap<=0.3", "entropy_gap<=1.6", "text_novelty>=0.8"),
            why="The divergence between histograms of clusters of texts sees what is said and how varied it is, and follows "
            "human judgement (Pimentel et al. 2023, arXiv:2205.16001), but little of loops, of a flat or peaked use of words, "
            "and nothing of copies: these are bounded, since past being like human text more of them is no better.",
        ),
    },
}
"""Name → kind of data → what it stands for."""

# Tuned for adherence alone, a conditional GAN ends with a recall of 0 and an asked_diversity of 0.12 and 0.16 (digits, 12 full
# trainings of 1,500 steps, seeds 0 and 1). One to ten pictures of each class, again and again, have a recall of 0, since the
# nearest samples of each are its likes; honest models, tuned or not, 0.20 to 0.81, with intervals from 0.11
# (benchmarks/results/adherence.md). With this bound the same campaigns end with an adherence of 1.00 and 0.94, a recall of 0.37
# and 0.40 and half the Fréchet distance of the recipe. Other floors do worse: asked_diversity is kept by noise, which is varied,
# too, and with asked_diversity>=0.6 one of the two campaigns ended with an adherence of 0.16; with coverage>=0.5 one of them
# with an asked_diversity of 0.38, and the recipe on MNIST has a coverage of 0.30.
FLOOR_OF_VARIETY = "recall>=0.1"
"""The bound that comes with a score of adherence where nothing beside it sees variety."""


def expanded(objectives: Sequence[str], modality: Modality) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Objectives with presets replaced by their parts, each once, and the bounds that come with them.

    >>> expanded(["quality-diversity", "kid", "fd"], "image")
    (('fd', 'coverage', 'kid'), ())

    Raises SettingsError for a preset that there is not for this kind of data.
    """
    parts: list[str] = []
    constraints: list[str] = []
    for name in objectives:
        if name not in PRESETS:
            parts.append(name)
            continue
        if modality not in PRESETS[name]:
            raise SettingsError(
                f"There is no preset {name!r} for data of the kind {modality!r}, only for {', '.join(PRESETS[name])}."
            )
        preset = PRESETS[name][modality]
        parts += preset.objectives
        constraints += preset.constraints
    # What a preset brings may be asked for beside it; twice the same of a person's own is a mistake, told elsewhere.
    brought = {part for name in objectives if name in PRESETS for part in PRESETS[name][modality].objectives}
    once = [part for i, part in enumerate(parts) if part not in brought or part not in parts[:i]]
    return tuple(once), tuple(dict.fromkeys(constraints))


def presets_for(modality: Modality) -> tuple[str, ...]:
    """Names of the presets for a kind of data."""
    return tuple(name for name, kinds in PRESETS.items() if modality in kinds)
