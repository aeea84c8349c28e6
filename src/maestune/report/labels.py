"""What things are called when people read them: metrics, signals, states."""

from __future__ import annotations

from collections.abc import Mapping

from maestune.quality.catalogue import DESCRIBED
from maestune.types import Objective, TrialState

AXES: Mapping[str, str] = {
    "realism": "Does each sample look real?",
    "diversity": "Is all of the variety there?",
    "coherence": "Do the parts of a sample fit together?",
    "adherence": "Does it show what was asked for?",
    "novelty": "Is it new, or a copy of what was learnt from?",
    "likelihood": "How likely does it make unseen data?",
}
"""What each axis asks, in the order in which people should read them."""

STATES: Mapping[TrialState, str] = {
    TrialState.RUNNING: "running",
    TrialState.PAUSED: "paused",
    TrialState.COMPLETE: "complete",
    TrialState.STOPPED: "stopped",
    TrialState.DIVERGED: "diverged",
    TrialState.CRASHED: "crashed",
}


SIGNALS: Mapping[str, str] = {
    "lr": "learning rate",
    "score_real": "discriminator's score, real",
    "score_fake": "discriminator's score, samples",
    "d_accuracy": "discriminator's accuracy",
    "sample_std": "spread of samples (1: as real)",
    "reconstruction": "cost of the pixels (nats per image)",
    "kl": "KL of the latents (nats per image)",
    "beta_now": "weight of the KL",
    "active_share": "share of latents in use",
    "pixel_scale": "spread of pixels (of a range of 2)",
    "accuracy": "accuracy of the next token",
    "entropy": "entropy of the next token (nats)",
    "attention_logit": "largest attention logit",
}
"""What models tell of their training, beside losses and norms of gradients."""


EXHIBITS: Mapping[str, tuple[str, str]] = {
    "reconstructions": (
        "Reconstructions",
        "Held-out images above what encoder and decoder make of them, in pairs of rows.",
    ),
    "walk": (
        "Walks through the latent space",
        "In each row, from one held-out image to another in equal steps between their latents.",
    ),
    "guidance": (
        "Guidance",
        "In each column the same noise and prompt, with guidance rising from 1 at the top to 8 at the bottom: what is asked for "
        "shows more, and varies less.",
    ),
}
"""Titles of a family's other pictures, and how to read them."""


def exhibit(name: str) -> tuple[str, str]:
    """Title and reading of one of a family's other pictures."""
    return EXHIBITS.get(name, (sentence_case(name.replace("_", " ")), ""))


def metric_name(name: str) -> str:
    """A metric's name for people; its own name, underscores as spaces, where none is known.

    >>> metric_name("fd"), metric_name("my_score")
    ('Fréchet distance', 'my score')
    """
    return DESCRIBED[name].label if name in DESCRIBED else name.replace("_", " ")


def metric_axis(name: str) -> str:
    """What a metric looks at; empty where none is known (a user's own score)."""
    return DESCRIBED[name].axis if name in DESCRIBED else ""


def metric_meaning(name: str) -> str:
    """What a metric measures and which way is good; empty where none is known (a user's own score)."""
    return DESCRIBED[name].meaning if name in DESCRIBED else ""


def direction(objective: Objective) -> str:
    """Which way is good.

    >>> direction(Objective("fd"))
    'lower is better'
    """
    return "higher is better" if objective.higher_is_better else "lower is better"


def sentence_case(text: str) -> str:
    """The text with its first letter in upper case, the rest untouched.

    >>> sentence_case("kernel distance (KID)")
    'Kernel distance (KID)'
    """
    return text[:1].upper() + text[1:]


def axis_title(objective: Objective) -> str:
    """An objective as the title of an axis."""
    return f"{sentence_case(metric_name(objective.name))} ({direction(objective)})"


def signal_name(name: str) -> str:
    """A signal's name for people.

    >>> signal_name("loss_generator"), signal_name("grad_norm_discriminator"), signal_name("lr")
    ('generator', 'discriminator', 'learning rate')
    """
    if name in SIGNALS:
        return SIGNALS[name]
    for prefix in ("loss_", "grad_norm_"):
        if name.startswith(prefix) and len(name) > len(prefix):
            return name.removeprefix(prefix).replace("_", " ")
    return name.replace("_", " ")
