"""What may vary in a GAN, and what is believed before anything was tried.

The centre of every prior is the DCGAN recipe, where the search starts. What later recipes have in common draws are centred on
instead (`Prior.practice`): an average of the weights, no momentum, a zero-centred penalty, labels by projection, a rate that
falls. Ranges are those of large studies and of published settings, named beside each parameter.
"""

from __future__ import annotations

from maestune.data import DataSpec
from maestune.errors import SpaceError, did_you_mean
from maestune.families import training_space
from maestune.families.augment import AUGMENTATIONS
from maestune.families.gan.adversarial import GAMES
from maestune.families.gan.losses import CONSISTENT
from maestune.families.gan.networks import attended_stage
from maestune.families.gan.penalties import ONE_CENTRED, ZERO_CENTRED
from maestune.recipes import find
from maestune.space import Choice, Float, Int, Param, Prior, Role, Space
from maestune.space.params import Confidence
from maestune.types import Value

ADA = "Karras et al. 2020, arXiv 2006.06676"
BCR = "Zhao et al. 2020, arXiv 2002.04724"
BROCK = "Brock et al. 2019, arXiv 1809.11096"
CR = "Zhang et al. 2020, arXiv 1910.12027"
DCGAN = "Radford et al. 2016, arXiv 1511.06434; pytorch/examples dcgan"
DIFFAUGMENT = "Zhao et al. 2020, arXiv 2006.10738"
GULRAJANI = "Gulrajani et al. 2017, arXiv 1704.00028"
HUANG = "Huang et al. 2024, arXiv 2501.05441"
KARRAS = "Karras et al. 2018, arXiv 1710.10196"
KODALI = "Kodali et al. 2017, arXiv 1705.07215"
KURACH = "Kurach et al. 2019, arXiv 1807.04720"
LIM = "Lim & Ye 2017, arXiv 1705.02894"
LUCIC = "Lucic et al. 2018, arXiv 1711.10337"
MESCHEDER = "Mescheder et al. 2018, arXiv 1801.04406"
MIYATO = "Miyato & Koyama 2018, arXiv 1802.05637"
SAGAN = "Zhang et al. 2019, arXiv 1805.08318"
SALIMANS = "Salimans et al. 2016, arXiv 1606.03498"
SNGAN = "Miyato et al. 2018, arXiv 1802.05957"
STYLEGAN2 = "Karras et al. 2020, arXiv 1912.04958"
TTUR = "Heusel et al. 2017, arXiv 1706.08500"
WGAN = "Arjovsky et al. 2017, arXiv 1701.07875"

LARGEST_MLP_SIDE = 16  # pixels
ACTIVATIONS = ("relu", "leaky_relu", "silu")

RECIPE = find("dcgan", "gan")


def full_steps(spec: DataSpec, n_train: int) -> int:
    """Default length of a full training in steps: some seconds on one core for dense networks, about a minute at 28 × 28.

    Up to 16 pixels 3,000 steps: by then good configs are at the floor on handwritten digits and the recipe is not far.
    Above, 2,000 steps, falling with the number of pixels beyond 28 × 28, because the cost of a step grows with them,
    but never below 1,000. At least one pass over the data in batches of 64, but never more than 10,000 for that reason.
    """
    _, h, w = spec.image
    by_size = 3000 if max(h, w) <= LARGEST_MLP_SIDE else min(2000, max(1000, 2000 * 28 * 28 // (h * w)))
    return max(by_size, min(-(-n_train // 64), 10_000))


def gan_space(spec: DataSpec, network: str | None = None) -> Space:
    """The default space for images (C, H, W); `network` overrides the choice by size.

    Raises SpaceError for a network that is neither "mlp" nor "conv".
    """
    if network is None:
        network = "mlp" if max(spec.image[1:]) <= LARGEST_MLP_SIDE else "conv"
    if network not in ("mlp", "conv"):
        raise SpaceError(f"network: {network!r} is no network of a GAN. {did_you_mean(network, ('mlp', 'conv'))}")
    return Space(
        (
            Choice("network", (network,)),
            *_adversarial(),
            *_optimiser(),
            *_architecture(spec, network),
            *_regularisation(),
            *_consistency(),
            *_course(),
            *_sampling(),
        )
    )


def _prior(name: str, confidence: Confidence = "medium", citation: str = DCGAN, practice: Prior | None = None) -> Prior:
    steps = RECIPE.data.steps if name == "lr" else None  # the only value that is known to depend on them
    return Prior(RECIPE.settings[name], confidence, citation, steps, practice)


def _off(
    citation: str = "", value: Value = "none", confidence: Confidence = "medium", practice: Prior | None = None
) -> Prior:
    """What the recipe does without; `citation`: who has it; `practice`: what it has become."""
    return Prior(value, confidence, f"{DCGAN}; {citation}" if citation else DCGAN, practice=practice)


def _adversarial() -> tuple[Param, ...]:
    return (
        Choice("loss", tuple(GAMES), prior=_prior("loss", "low"), role=Role.LOSS),
        Float(
            "margin", 0.1, 10.0, scale="log", prior=Prior(1.0, "medium", LIM), role=Role.LOSS, when={"loss": ("hinge",)}
        ),
        Choice("d_steps", (1, 2, 3, 5), ordered=True, prior=_prior("d_steps"), role=Role.LOSS, unit="per G step"),
    )


def _optimiser() -> tuple[Param, ...]:
    return (
        *training_space.optimiser(
            # RMSprop is at least as good in many short trainings.
            _prior("lr", "low"),
            kind=_prior("optimizer", "low"),
            beta1=_prior("beta1", practice=Prior(0.0, "medium", f"{SAGAN}; {BROCK}; {STYLEGAN2}; {HUANG}")),
            beta1_range=(0.0, 0.9),
            beta2=_prior("beta2", "low", f"{DCGAN}; {KURACH}"),
            beta2_range=(0.9, 0.999),
            momentum=Prior(0.0, "low", "Gidel et al. 2019, arXiv 1807.04740"),
            momentum_range=(0.0, 0.9),
        ),
        # TTUR has 3, SAGAN and BigGAN 4.
        Float("lr_ratio", 0.25, 8.0, scale="log", prior=_prior("lr_ratio", citation=f"{DCGAN}; {TTUR}"), unit="D / G"),
        *training_space.batch_size(_prior("batch_size")),
    )


def _architecture(spec: DataSpec, network: str) -> tuple[Param, ...]:
    conv = network == "conv"
    norms: tuple[Value, ...] = ("none", "batch", "instance", "layer") if conv else ("none", "batch", "layer")
    if conv:
        # 64 channels for 64 pixels and above; half of it for half the side.
        width = Choice(
            "width",
            (16, 32, 64),
            ordered=True,
            prior=Prior(64 if max(spec.image[1:]) >= 64 else 32, "medium", DCGAN),
            unit="channels",
        )
    else:
        # A quarter of PyTorch-GAN's 512 (for 28 pixels): the images have a quarter of the side.
        width = Choice("width", (64, 128, 256), ordered=True, prior=Prior(128, "medium", "PyTorch-GAN"), unit="units")
    depth = () if conv else (Int("depth", 1, 4, prior=Prior(2, "medium", "Goodfellow et al. 2014, arXiv 1406.2661")),)
    attention: tuple[Param, ...] = ()
    if conv and attended_stage(spec.image) is not None:
        attention = (Choice("attention", ("none", "self"), prior=_off(SAGAN, confidence="high")),)
    condition: tuple[Param, ...] = ()
    if spec.classes >= 2:
        condition = (
            Choice(
                "condition",
                ("none", "concat", "projection"),
                prior=_off(practice=Prior("projection", "medium", MIYATO)),
            ),
        )
    # Kurach et al. find spectral norm the most helpful of all normalisations: the recipe's own is no more than a start.
    norm_d = Prior("batch", "low", f"{DCGAN}; {KURACH}") if conv else Prior("none", "low", f"PyTorch-GAN; {KURACH}")
    return (
        Choice("latent_dim", (16, 32, 64, 100, 200), ordered=True, prior=_prior("latent_dim", "low")),
        width,
        *depth,
        Choice("norm_g", norms, prior=_prior("norm_g")),
        Choice("norm_d", (*norms, "spectral"), prior=norm_d),
        Choice("activation_g", ACTIVATIONS, prior=_prior("activation_g")),
        Choice("activation_d", ACTIVATIONS, prior=_prior("activation_d")),
        *attention,
        Choice("minibatch_std", ("none", "on"), prior=_off(KARRAS, confidence="high")),
        *condition,
    )


def _regularisation() -> tuple[Param, ...]:
    role = Role.REGULARISATION
    off = _off(value=0.0)
    return (
        *training_space.regularisation(off, Prior(0.0, "high", DCGAN), off),
        Choice(
            "penalty",
            ("none", *ZERO_CENTRED, *ONE_CENTRED),
            prior=_off(practice=Prior("r1", "medium", f"{MESCHEDER}; {STYLEGAN2}; {HUANG}")),
            role=role,
        ),
        # The γ of R1, R2 or both. Mescheder has 10 for 256 pixels, NVIDIA's rule 0.0002 · pixels / batch a hundredth for
        # 32, R3GAN 0.05 falling to 0.005 for 32.
        Float(
            "r1_gamma",
            1e-3,
            10.0,
            scale="log",
            prior=Prior(0.1, "low", f"{MESCHEDER}; {HUANG}"),
            role=role,
            when={"penalty": tuple(ZERO_CENTRED)},
        ),
        Float(
            "gp_lambda",
            0.1,
            100.0,
            scale="log",
            prior=Prior(10.0, "low", f"{GULRAJANI}; {KODALI}; range of {LUCIC}"),
            role=role,
            when={"penalty": ONE_CENTRED},
        ),
        Choice(
            "penalty_every",
            (1, 4, 16),
            ordered=True,
            prior=Prior(1, "high", f"{MESCHEDER}; 16: {STYLEGAN2}"),
            role=role,
            when={"penalty": (*ZERO_CENTRED, *ONE_CENTRED)},
            unit="steps",
        ),
        Float(
            "weight_clip",
            1e-3,
            1.0,
            scale="log",
            prior=Prior(0.01, "low", f"{WGAN}; range of {LUCIC}"),
            role=role,
            when={"loss": ("wgan",), "penalty": ("none",)},
        ),
        Float("dropout_d", 0.05, 0.5, prior=off, role=role, off=0.0),
        Float(
            "instance_noise",
            0.01,
            0.5,
            scale="log",
            prior=_off(value=0.0, confidence="low"),
            role=role,
            off=0.0,
            unit="of a range of 2",
        ),
        Float("label_smoothing", 0.05, 0.3, prior=off, role=role, off=0.0, when={"loss": ("ns", "ls")}),
        # One-sided smoothing is what is advised; both sides are what came first.
        Float(
            "label_smoothing_fake",
            0.05,
            0.3,
            prior=_off(SALIMANS, 0.0, "high"),
            role=role,
            off=0.0,
            when={"loss": ("ns", "ls")},
        ),
    )


def _consistency() -> tuple[Param, ...]:
    role, low, high = Role.REGULARISATION, 1.0, 100.0
    ten = Prior(10.0, "medium", f"{CR}; {BCR}")
    return (
        Choice("augment", AUGMENTATIONS, prior=_off(DIFFAUGMENT, confidence="high"), role=role),
        Choice("consistency", tuple(CONSISTENT), prior=_off(f"{CR}; {BCR}", confidence="high"), role=role),
        Float("cr_real", low, high, scale="log", prior=ten, role=role, when={"consistency": ("real", "both")}),
        Float("cr_fake", low, high, scale="log", prior=ten, role=role, when={"consistency": ("both",)}),
    )


def _course() -> tuple[Param, ...]:
    """How the rate changes, what is averaged, and when it ends."""
    off = _off(value=0.0)
    return (
        # Rates that fall do so to nothing: SN-GAN, WGAN-GP.
        *training_space.schedule(
            _off(value="constant", practice=Prior("wsd", "low", f"{MIYATO}; {GULRAJANI}; {HUANG}")),
            warmup=off,
            floor=Prior(0.0, "medium", f"{SNGAN}; {GULRAJANI}"),
        ),
        # Half-lives of 7 to 700 steps, in trainings of thousands. StyleGAN2-ADA has at most a twentieth of what was trained.
        *training_space.ema(
            _off(value=0.0, confidence="low", practice=Prior(0.99, "medium", f"{training_space.YAZICI}; {ADA}")),
            (0.9, 0.999),
        ),
        *training_space.ending(),
    )


def _sampling() -> tuple[Param, ...]:
    # Latents are scaled, as temperatures are used, not drawn again where they are large.
    return (Float("truncation", 0.5, 0.95, prior=_off(BROCK, 1.0, "high"), role=Role.SAMPLING, off=1.0),)
