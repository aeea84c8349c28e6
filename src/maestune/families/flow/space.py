"""What may vary in a flow, and what is believed before anything was tried.

The centre of the priors is what transformers and U-Nets of flows and diffusions are published with, brought to the size
of small images; ranges are those of published settings, named beside each parameter.
"""

from __future__ import annotations

from maestune.data import DataSpec
from maestune.errors import SpaceError, did_you_mean
from maestune.families import training_space
from maestune.families.flow.networks import condition_of
from maestune.families.flow.solvers import SOLVERS
from maestune.recipes import find
from maestune.space import Choice, Float, Int, Param, Prior, Role, Space
from maestune.space.params import Confidence

DIT = "Peebles & Xie 2023, arXiv 2212.09748; facebookresearch/DiT"
EDM = "Karras et al. 2022, arXiv 2206.00364; NVlabs/edm"
ESSER = "Esser et al. 2024, arXiv 2403.03206"
GUIDANCE = "Ho & Salimans 2022, arXiv 2207.12598"
LIPMAN = "Lipman et al. 2023, arXiv 2210.02747"
LIU = "Liu et al. 2023, arXiv 2209.03003"
UNET = "Ho et al. 2020, arXiv 2006.11239; Dhariwal & Nichol 2021, arXiv 2105.05233"
WSD = "Hägele et al. 2024, arXiv 2405.18392"

LARGEST_DIT_SIDE = 16  # pixels
MOST_TOKENS = 256
NETWORKS = ("dit", "unet")

RECIPE = find("dit-small", "flow")


def full_steps(spec: DataSpec, n_train: int) -> int:
    """Default length of a full training in steps: some fifteen seconds on one core at 8 × 8, minutes at 28 × 28.

    Up to 16 pixels 1,500 steps: by then digits are what their captions ask for. Above 2,000. At least one pass over the
    data in batches of 64, but never more than 10,000 for that reason.
    """
    by_size = 1500 if max(spec.image[1:]) <= LARGEST_DIT_SIDE else 2000
    return max(by_size, min(-(-n_train // 64), 10_000))


def flow_space(spec: DataSpec, network: str | None = None) -> Space:
    """The default space for images (C, H, W); `network` overrides the choice by size.

    What concerns captions or guidance is there only where the data have captions or labels. Raises SpaceError for a
    network that is neither "dit" nor "unet".
    """
    if network is None:
        network = "dit" if max(spec.image[1:]) <= LARGEST_DIT_SIDE else "unet"
    if network not in NETWORKS:
        raise SpaceError(f"network: {network!r} is no network of a flow. {did_you_mean(network, NETWORKS)}")
    return Space(
        (
            Choice("network", (network,)),
            *_training(),
            *(_dit(spec) if network == "dit" else _unet()),
            *(_text(spec) if spec.words else ()),
            *_times(),
            *_sampling(condition_of(spec) != ""),
        )
    )


def patches(spec: DataSpec) -> tuple[int, ...]:
    """Sides of patches that divide an image into at least one and at most 256 tokens.

    >>> patches(DataSpec((1, 8, 8))), patches(DataSpec((1, 28, 28))), patches(DataSpec((3, 7, 5)))
    ((1, 2, 4), (2, 4, 7, 14), (1,))
    """
    _, h, w = spec.image
    sides = [
        p for p in range(1, min(h, w) + 1) if h % p == 0 and w % p == 0 and 4 <= (h // p) * (w // p) <= MOST_TOKENS
    ]
    return tuple(sides) or (max(p for p in range(1, min(h, w) + 1) if h % p == 0 and w % p == 0),)


def _prior(name: str, confidence: Confidence = "medium", citation: str = DIT) -> Prior:
    return Prior(RECIPE.settings[name], confidence, citation)


def _training() -> tuple[Param, ...]:
    role = Role.REGULARISATION
    return (
        # 1e-4 for large networks, 1e-3 for EDM's of CIFAR-10; the smallest bear more.
        *training_space.optimiser(
            _prior("lr", citation=f"{DIT}; {EDM}"),
            lr_range=(1e-4, 1e-2),
            kind=_prior("optimizer", "high"),
            beta1=_prior("beta1"),
            beta1_range=(0.8, 0.95),
            beta2=_prior("beta2"),
            beta2_range=(0.9, 0.9999),
            kinds=("adam",),
        ),
        *training_space.batch_size(_prior("batch_size", "high"), (32, 64, 128)),
        *training_space.regularisation(
            weight_decay=_prior("weight_decay"), clip=Prior(0.0, "medium", f"{DIT}; {UNET} have 1")
        ),
        # EDM: 0.05 for 70,000 faces, 0.13 for 50,000 images of CIFAR-10, 0.25 for 15,000 animals.
        Float("dropout", 0.02, 0.4, prior=_prior("dropout", "low", f"{DIT}; {EDM}"), role=role, off=0.0),
        *training_space.schedule(
            Prior("wsd", "medium", WSD),
            kinds=("constant", "wsd", "cosine"),
            warmup=Prior(0.02, "medium", UNET),
            decay=Prior(0.3, "medium", WSD),
            floor=Prior(0.0, "medium", WSD),
        ),
        *training_space.ema(Prior(0.995, "medium", f"{DIT}; {EDM}"), (0.98, 0.9995)),
    )


def _dit(spec: DataSpec) -> tuple[Param, ...]:
    sides = patches(spec)
    # DiT has 256 patches of 32 × 32 latents; what a patch of a small image shows is worth a token of its own from about 4 × 4
    # pixels on.
    patch = min(sides, key=lambda side: abs(side - 4))
    small = max(spec.image[1:]) <= LARGEST_DIT_SIDE
    return (
        Choice("patch", sides, ordered=True, prior=Prior(patch, "medium", DIT), unit="pixels"),
        Choice(
            "width", (64, 96, 128, 192), ordered=True, prior=Prior(96 if small else 128, "medium", DIT), unit="channels"
        ),
        Int("depth", 1, 6, scale="log", prior=Prior(2 if small else 4, "medium", DIT), unit="blocks"),
        Choice("heads", (2, 4, 8), ordered=True, prior=_prior("heads", "low")),
    )


def _unet() -> tuple[Param, ...]:
    return (
        Choice("width", (16, 32, 48, 64), ordered=True, prior=Prior(32, "medium", UNET), unit="channels"),
        Int("depth", 1, 3, prior=Prior(1, "medium", UNET), unit="blocks per size"),
        Choice("heads", (2, 4, 8), ordered=True, prior=_prior("heads", "low", UNET)),
    )


def _text(spec: DataSpec) -> tuple[Param, ...]:
    few = spec.words <= 256
    pooled = Prior("pooled", "medium", f"{DIT} has one vector for what is asked; {ESSER} also attends to words")
    return (
        Choice(
            "text_width", (32, 64, 128), ordered=True, prior=Prior(32 if few else 64, "medium", ESSER), unit="channels"
        ),
        Choice("text_depth", (0, 1, 2), ordered=True, prior=Prior(1, "medium", ESSER), unit="blocks"),
        Choice("caption_use", ("pooled", "attended"), prior=pooled),
    )


def _times() -> tuple[Param, ...]:
    both = f"{LIPMAN}; {LIU} have uniform, {ESSER} logit-normal times"
    return (
        Choice(
            "time_sampling", ("uniform", "logit_normal"), prior=_prior("time_sampling", "low", both), role=Role.LOSS
        ),
        Float(
            "time_mean",
            -1.0,
            1.0,
            prior=Prior(0.0, "medium", ESSER),
            role=Role.LOSS,
            when={"time_sampling": ("logit_normal",)},
            unit="logit",
        ),
    )


def _sampling(conditional: bool) -> tuple[Param, ...]:
    role = Role.SAMPLING
    asked = (
        # 0.1 to 0.2 are best in Ho & Salimans, 0.5 is worse.
        Float(
            "condition_dropout",
            0.02,
            0.3,
            scale="log",
            prior=_prior("condition_dropout", "medium", f"{DIT}; {GUIDANCE}"),
            role=Role.REGULARISATION,
            unit="of the images",
        ),
        # 1.1 to 1.3 for the Fréchet distance, 4 and more for the eye (Ho & Salimans; EDM2, Karras et al. 2024).
        Float("guidance", 1.0, 4.0, prior=_prior("guidance", "medium", f"{DIT}; {GUIDANCE}"), role=role),
    )
    return (
        *(asked if conditional else ()),
        Choice("solver", tuple(SOLVERS), prior=_prior("solver", "low", f"{LIPMAN}; {EDM}"), role=role),
        Choice("solver_steps", (2, 4, 8, 16, 32), ordered=True, prior=Prior(8, "medium", EDM), role=role, unit="steps"),
    )
