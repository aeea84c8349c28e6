"""What may vary in a VAE, and what is believed before anything was tried.

The centre of every prior is the VAE of pytorch/examples; ranges are those of published settings, named beside each
parameter.
"""

from __future__ import annotations

from maestune.data import DataSpec
from maestune.errors import SpaceError, did_you_mean
from maestune.families import training_space
from maestune.families.vae.losses import ANNEALING, LIKELIHOODS
from maestune.families.vae.networks import ACTIVATIONS, NORMS
from maestune.recipes import find
from maestune.space import Choice, Float, Fusible, Int, Param, Prior, Role, Space
from maestune.space.params import Confidence

KINGMA = "Kingma & Welling 2014, arXiv 1312.6114; pytorch/examples vae"
BETA = "Higgins et al. 2017, beta-VAE; Locatello et al. 2019, arXiv 1811.12359"
BOWMAN = "Bowman et al. 2016, arXiv 1511.06349"
CYCLICAL = "Fu et al. 2019, arXiv 1903.10145"
FREE_BITS = "Kingma et al. 2016, arXiv 1606.04934; Li et al. 2020 (Optimus), arXiv 2004.04092"
RADFORD = "Radford et al. 2016, arXiv 1511.06434"
TEMPERATURE = "Vahdat & Kautz 2020 (NVAE), arXiv 2007.03898"

LARGEST_MLP_SIDE = 16  # pixels

# What changes numbers alone: the KL's weight reaches the loss as a number at every step, whatever its schedule.
FUSIBLE = Fusible(
    numbers=training_space.NUMBERS | {"beta", "kl_schedule", "kl_warmup", "kl_cycles", "free_bits", "temperature"},
    switches=training_space.SWITCHES,
)

RECIPE = find("vae-mlp", "vae")


def full_steps(spec: DataSpec, n_train: int) -> int:
    """Default length of a full training in steps: some seconds on one core for dense networks, about a minute at 28 × 28.

    Up to 16 pixels 3,000 steps. Above, 2,000 steps, falling with the number of pixels beyond 28 × 28, because the cost of
    a step grows with them, but never below 1,000. At least one pass over the data in batches of 128, but never more than
    10,000 for that reason.
    """
    _, h, w = spec.image
    by_size = 3000 if max(h, w) <= LARGEST_MLP_SIDE else min(2000, max(1000, 2000 * 28 * 28 // (h * w)))
    return max(by_size, min(-(-n_train // 128), 10_000))


def vae_space(spec: DataSpec, network: str | None = None) -> Space:
    """The default space for images (C, H, W); `network` overrides the choice by size.

    Raises SpaceError for a network that is neither "mlp" nor "conv".
    """
    if network is None:
        network = "mlp" if max(spec.image[1:]) <= LARGEST_MLP_SIDE else "conv"
    if network not in ("mlp", "conv"):
        raise SpaceError(f"network: {network!r} is no network of a VAE. {did_you_mean(network, ('mlp', 'conv'))}")
    return Space(
        (
            Choice("network", (network,)),
            *_loss(),
            *_architecture(network),
            *_training(),
            *_sampling(),
        )
    )


def _prior(name: str, confidence: Confidence = "medium", citation: str = KINGMA) -> Prior:
    steps = RECIPE.data.steps if name == "lr" else None  # the only value that is known to depend on them
    return Prior(RECIPE.settings[name], confidence, citation, steps)


def _loss() -> tuple[Param, ...]:
    role = Role.LOSS
    return (
        Choice("likelihood", tuple(LIKELIHOODS), prior=_prior("likelihood", "low"), role=role),
        # The losses are sums over pixels: 1 is the bound itself, below it sharper and above it more regular.
        Float("beta", 0.1, 16.0, scale="log", prior=_prior("beta", "medium", f"{KINGMA}; range of {BETA}"), role=role),
        Choice("kl_schedule", ANNEALING, prior=_prior("kl_schedule"), role=role),
        Float(
            "kl_warmup",
            0.05,
            0.8,
            prior=Prior(0.3, "low", f"{BOWMAN}; NVAE has 0.3, {CYCLICAL} 0.5"),
            role=role,
            when={"kl_schedule": ("linear", "cyclical")},
            unit="of the full training",
        ),
        Int("kl_cycles", 2, 8, prior=Prior(4, "low", CYCLICAL), role=role, when={"kl_schedule": ("cyclical",)}),
        Float(
            "free_bits",
            0.03,
            3.0,
            scale="log",
            prior=Prior(0.0, "medium", f"{KINGMA}; range of {FREE_BITS}"),
            role=role,
            off=0.0,
            unit="nats per latent",
        ),
    )


def _training() -> tuple[Param, ...]:
    off = Prior(0.0, "medium", KINGMA)
    return (
        *training_space.optimiser(
            _prior("lr"),
            lr_range=(1e-4, 1e-2),  # from disentanglement_lib's, over 300,000 steps, to twice PyTorch-VAE's
            kind=_prior("optimizer", "high"),
            beta1=_prior("beta1"),
            beta2=_prior("beta2", "low"),
        ),
        *training_space.batch_size(_prior("batch_size"), (32, 64, 128, 256)),
        # Gradients of nats per image have norms of a few for 8 × 8 pixels and of hundreds early in a training at 28 × 28.
        *training_space.regularisation(off, Prior(0.0, "high", KINGMA), off, clip_range=(1.0, 100.0)),
        *training_space.schedule(Prior("constant", "medium", KINGMA), warmup=off),
        *training_space.ema(off, (0.9, 0.999)),  # half-lives of 7 to 700 steps, in trainings of thousands
        *training_space.ending(),
    )


def _architecture(network: str) -> tuple[Param, ...]:
    if network == "conv":
        # Half of DCGAN's channels for half the side, as disentanglement_lib has 32 for 64 pixels.
        width = Choice("width", (16, 32, 64), ordered=True, prior=Prior(32, "medium", RADFORD), unit="channels")
        depth = Int("depth", 1, 2, prior=_prior("depth"), unit="per size")
    else:
        width = Choice("width", (100, 200, 400, 800), ordered=True, prior=Prior(400, "medium", KINGMA), unit="units")
        depth = Int("depth", 1, 4, prior=_prior("depth"), unit="layers")
    return (
        # 10 in disentanglement_lib, 20 in the recipe, 40 and 50 in studies of likelihood, 128 for faces.
        Choice("latent_dim", (5, 10, 20, 40, 64, 128), ordered=True, prior=_prior("latent_dim", "low")),
        width,
        depth,
        Choice("norm", NORMS, prior=_prior("norm")),
        Choice("activation", ACTIVATIONS, prior=_prior("activation")),
    )


def _sampling() -> tuple[Param, ...]:
    # Below 1 samples keep to where the latents of most images are.
    prior = Prior(1.0, "medium", f"{KINGMA}; range of {TEMPERATURE}")
    return (Float("temperature", 0.5, 1.2, prior=prior, role=Role.SAMPLING, unit="of the prior's spread"),)
