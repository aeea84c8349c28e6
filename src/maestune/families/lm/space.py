"""What may vary in a language model, and what is believed before anything was tried.

The centre of every prior is nanoGPT's setting for a CPU; ranges are those of published settings and studies, named beside
each parameter.
"""

from __future__ import annotations

from maestune.data import DataSpec
from maestune.errors import SpaceError, did_you_mean
from maestune.families import training_space
from maestune.families.lm.networks import ACTIVATIONS, NORMS
from maestune.recipes import find
from maestune.space import Choice, Float, Int, Param, Prior, Role, Space
from maestune.space.params import Confidence

NANOGPT = "karpathy/nanoGPT, config/train_shakespeare_char.py and README"
GPT2 = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners"
LADDER = "rates of the OPT and GPT-3 ladder by size: Zhang et al. 2022, arXiv 2205.01068"
PLAYBOOK = "Godbole et al. 2023, google-research/tuning_playbook"
PRESS = "Press & Wolf 2017, arXiv 1608.05859"
PRIMER = "So et al. 2021, arXiv 2109.08668; Shazeer 2020, arXiv 2002.05202"
QK_NORM = "Dehghani et al. 2023, arXiv 2302.05442; Wortsman et al. 2023, arXiv 2309.14322"
ROTARY = "Su et al. 2021, arXiv 2104.09864"
RMS = "Zhang & Sennrich 2019, arXiv 1910.07467"
SMOOTHING = "Szegedy et al. 2016, arXiv 1512.00567"
AVERAGE = "Polyak & Juditsky 1992; Sanyal et al. 2023, arXiv 2306.03241"

FULL_STEPS = 2000

RECIPE = find("nanogpt-cpu", "lm")


def lm_space(spec: DataSpec, network: str | None = None) -> Space:
    """The default space for text; there is one kind of network, "transformer". SpaceError for any other."""
    if network not in (None, "transformer"):
        raise SpaceError(
            f"network: {network!r} is no network of a language model. {did_you_mean(network, ('transformer',))}"
        )
    return Space((*_architecture(), *_training(), *_regularisation(), *_sampling()))


def _prior(name: str, confidence: Confidence = "medium", citation: str = NANOGPT) -> Prior:
    steps = RECIPE.data.steps if name == "lr" else None  # the only value that is known to depend on them
    return Prior(RECIPE.settings[name], confidence, citation, steps)


def _architecture() -> tuple[Param, ...]:
    # Sizes cost; what is below them costs the same whatever its value.
    return (
        Int("layers", 2, 8, scale="log", prior=_prior("layers", "high"), unit="blocks"),
        Choice("width", (64, 96, 128, 192, 256), ordered=True, prior=_prior("width", "high"), unit="channels"),
        Choice("context", (32, 64, 128, 256), ordered=True, prior=_prior("context", "high"), unit="tokens"),
        Choice("heads", (1, 2, 4, 8), ordered=True, prior=_prior("heads")),
        Choice("positions", ("learned", "rotary"), prior=_prior("positions", "low", f"{NANOGPT}; {ROTARY}")),
        Choice("activation", tuple(ACTIVATIONS), prior=_prior("activation", "low", f"{NANOGPT}; {PRIMER}")),
        Choice("norm", NORMS, prior=_prior("norm", "medium", f"{NANOGPT}; {RMS}")),
        Choice("qk_norm", ("none", "rms"), prior=_prior("qk_norm", "low", f"{NANOGPT}; {QK_NORM}")),
        Choice("head", ("tied", "untied"), prior=_prior("head", "medium", f"{NANOGPT}; {PRESS}")),
        Float("init", 0.005, 0.2, scale="log", prior=_prior("init", "low", GPT2), unit="standard deviation"),
    )


def _training() -> tuple[Param, ...]:
    return (
        *training_space.optimiser(
            # The ladder's line through the largest models ends at 3e-3 for a million parameters.
            _prior("lr", "low", f"{NANOGPT}; {LADDER}"),
            lr_range=(1e-4, 1e-2),
            beta1=_prior("beta1"),
            beta1_range=(0.8, 0.98),
            beta2=_prior("beta2"),
            beta2_range=(0.9, 0.999),
        ),
        *training_space.batch_size(_prior("batch_size", "high"), (6, 8, 12, 16, 24, 32, 64), "windows"),
        *training_space.schedule(
            _prior("schedule", citation=f"{NANOGPT}; {training_space.WSD}"),
            kinds=("cosine", "wsd", "constant", "step", "cyclical"),
            warmup=_prior("warmup", "low", f"{NANOGPT}; {PLAYBOOK}"),
            decay_range=(0.1, 0.8),
            floor=_prior("lr_floor"),
        ),
        *training_space.regularisation(
            _prior("weight_decay"), clip=_prior("clip"), weight_decay_range=(0.01, 0.3), clip_range=(0.25, 4.0)
        ),
        *training_space.ema(_prior("ema", "medium", AVERAGE), (0.9, 0.999)),
        *training_space.ending(),
    )


def _regularisation() -> tuple[Param, ...]:
    role = Role.REGULARISATION
    return (
        Float("dropout", 0.02, 0.3, prior=_prior("dropout"), role=role, off=0.0),
        Float("label_smoothing", 0.01, 0.1, prior=_prior("label_smoothing", "high", SMOOTHING), role=role, off=0.0),
    )


def _sampling() -> tuple[Param, ...]:
    # Fixed: bits per character do not depend on how text is drawn, so that a search over these would only be wasted.
    fixed = {
        **{name: RECIPE.settings[name] for name in ("temperature", "top_k")},
        "top_p": 1.0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repetition_penalty": 1.0,
    }
    return tuple(Choice(name, (value,), role=Role.SAMPLING) for name, value in fixed.items())
