"""The language model family: one player, that predicts the next token of text."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.data import Batch, DataSpec, Modality
from maestune.errors import SettingsError
from maestune.families import training_space
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player
from maestune.families.lm.networks import LanguageModel, Transformer, build_model
from maestune.families.lm.sampling import generate
from maestune.families.lm.space import FULL_STEPS, lm_space
from maestune.space import Choice, Float, Fusible, Param, Prior, Role, Space
from maestune.types import Config

SAMPLE_TOKENS = 128  # drawn behind the prompt
# Values that keys and values of texts drawn at once may take, and logits measured at once, so that memory stays bounded.
CACHE_VALUES = 2**23
LOGIT_VALUES = 2**23

# What a number of sampling is where it does nothing; there its code is left out.
OFF: Mapping[str, float] = {
    "temperature": 1.0,
    "top_k": 0.0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
}
FUSIBLE = Fusible(
    numbers=training_space.NUMBERS | {"init"},
    switches=training_space.SWITCHES | {"dropout", "label_smoothing", *OFF},
)


HOLTZMAN = "Holtzman et al. 2020, arXiv 1904.09751"


DECODING = frozenset({"temperature", "top_p"})  # how texts are drawn, once a model is trained


def decoding_freed(space: Space, names: Collection[str] = DECODING) -> Space:
    """The space with those of `DECODING` that are named to be searched, around the values that they are fixed to.

    Bits per character do not depend on them, what is written does.
    """

    def freed(param: Param) -> Param:
        if param.name not in names or not isinstance(param, Choice) or len(param.values) != 1:
            return param
        value = param.values[0]
        if param.name == "temperature" and isinstance(value, int | float) and 0.3 <= value <= 1.5:
            return Float("temperature", 0.3, 1.5, prior=Prior(value, "medium", HOLTZMAN), role=Role.SAMPLING)
        if param.name == "top_p" and value == 1.0:
            return Float("top_p", 0.5, 0.99, prior=Prior(1.0, "medium", HOLTZMAN), role=Role.SAMPLING, off=1.0)
        return param

    return replace(space, params=tuple(map(freed, space)))


@dataclass(frozen=True)
class LM(Family):
    """Next-token prediction on text: tokens (B, T + 1), of which the first T are to predict the last T."""

    name: str = "lm"
    fusible: Fusible = field(default=FUSIBLE, repr=False)
    objectives: tuple[str, ...] = ("bpc",)
    measures: tuple[str, ...] = ("bpc", "val_loss", "perplexity")
    modality: Modality = "text"

    @property
    def sampling_parameters(self) -> frozenset[str]:
        """What texts are drawn with, once a model is trained."""
        return DECODING

    @property
    def recipe(self) -> str:
        """The published setting at the centre of its space."""
        return "nanogpt-cpu"

    def check(self, spec: DataSpec) -> None:
        """SettingsError for anything but text."""
        if spec.tokens <= 0:
            raise SettingsError(
                "lm learns from text, and these data are images; give --data a text file, a folder of text files, or pydoc "
                "(Python's own documentation). For images use gan or vae."
            )

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        """The default space; its centre is nanoGPT's setting for a CPU."""
        return lm_space(spec, network)

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        """Default length of a full training: the recipe's 2,000 steps, one and a half minutes on one core."""
        return FULL_STEPS

    @property
    def shortest(self) -> float:
        """A tenth: language models learn steadily, and a full training takes a minute and a half on one core."""
        return 0.1

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> LanguageModel:
        """The network with fresh weights, drawn from the generator alone, on its device."""
        return build_model(config, spec, generator)

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        """The network alone."""
        noise: dict[str, NoiseSpec] = {}
        if config.number("dropout", 0.0) > 0:
            count = 1 + 2 * int(config.number("layers"))
            size, context, width = (int(config.number(name)) for name in ("batch_size", "context", "width"))
            noise["dropout"] = NoiseSpec("uniform", (count, size, context, width))
        return (Player("network", loss, noise, average="average" if config.number("ema", 0.0) > 0 else ""),)

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        """Dropout and label smoothing where they are on, and those numbers of sampling that do something."""
        on = {name: config.number(name, 0.0) for name in ("dropout", "label_smoothing") if config.number(name, 0.0) > 0}
        sampling = {name: config.number(name, off) for name, off in OFF.items()}
        return on | {name: value for name, value in sampling.items() if value != OFF[name]}

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        """One uniform for each token to be drawn."""
        return {"uniform": NoiseSpec("uniform", (n, SAMPLE_TOKENS))}

    @torch.no_grad()
    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        """Prompts and what follows them: tokens (n, P + L), L being how many uniforms (n, L) there are for each.

        Without a prompt, text follows token 0 (of characters, an end of line in most texts). Drawn from the moving average
        of the weights where it is kept. See `sampling.generate` on what is done where the context is full.
        """
        assert isinstance(model, LanguageModel)
        network, uniforms = model.sampler, noise["uniform"]
        prompt = noise["prompt"] if "prompt" in noise else torch.zeros_like(uniforms[:, :1], dtype=torch.int64)
        together = max(1, CACHE_VALUES // (2 * len(network.blocks) * network.context * network.embedding.shape[1]))
        chunks = zip(prompt.split(together), uniforms.split(together), strict=True)
        return torch.cat([generate(network, hyper, *chunk) for chunk in chunks])

    @torch.no_grad()
    def signals(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Mapping[str, Noise]) -> dict[str, Tensor]:
        """Of the network without dropout: its accuracy, its mean entropy, and the largest attention logit.

        `accuracy`: share of tokens that were the likeliest. `entropy`: of the predicted next token, nats; near 0 where the
        network is sure, rightly or not. `attention_logit`: where it grows beyond some tens, training is about to diverge.
        """
        assert isinstance(model, LanguageModel)
        found: list[Tensor] = []
        logits = model.network(batch["tokens"][:, :-1], attention_logits=found)
        log_chances = torch.log_softmax(logits, 2)
        return {
            "accuracy": (logits.argmax(2) == batch["tokens"][:, 1:]).to(logits.dtype).mean(),
            "entropy": -(log_chances.exp() * log_chances).sum(2).mean(),
            "attention_logit": torch.stack(found).amax(),
        }

    @torch.no_grad()
    def measure(self, model: nn.Module, hyper: Hyper, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Loss, bits per character and perplexity on windows of held-out text, of the average where it is kept.

        `val_loss`: nats a token, mean over all tokens of all windows. `bpc`: bits a character. `perplexity`: of a token.
        """
        assert isinstance(model, LanguageModel)
        network = model.sampler
        tokens = batch["tokens"]
        together = max(1, LOGIT_VALUES // (network.embedding.shape[0] * (tokens.shape[1] - 1)))
        nats = float(torch.cat([losses(network, chunk) for chunk in tokens.split(together)]).double().mean())
        return _scores(nats, model.characters_per_token)

    def failure(self, spec: DataSpec) -> dict[str, float]:
        """The scores of guessing: every token as likely as any other."""
        return _scores(math.log(spec.tokens), spec.characters_per_token)


def loss(model: nn.Module, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
    """Mean cross-entropy of a window's tokens, in nats, (B,).

    With label smoothing s (Szegedy et al. 2016, arXiv 1512.00567) the target is 1 - s for the token that came and s shared by
    all.
    """
    assert isinstance(model, LanguageModel)
    uniforms = noise["dropout"].unbind(0) if "dropout" in noise else ()
    return losses(model.network, batch["tokens"], uniforms, hyper.get("dropout", 0.0), hyper.get("label_smoothing"))


def losses(
    network: Transformer,
    tokens: Tensor,
    uniforms: tuple[Tensor, ...] = (),
    rate: float | Tensor = 0.0,
    smoothing: float | Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy (B,) of each window of tokens (B, T + 1)."""
    logits = network(tokens[:, :-1], uniforms, rate)
    target = tokens[:, 1:]
    if smoothing is None:
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)
    log_chances = torch.log_softmax(logits, 2)
    hit = log_chances.gather(2, target[:, :, None]).squeeze(2)
    return -((1.0 - smoothing) * hit + smoothing * log_chances.mean(2)).mean(1)


def _scores(nats: float, characters_per_token: float) -> dict[str, float]:
    # Beyond any guess, where a training diverges: still a number.
    perplexity = math.exp(min(nats, 700.0))
    return {"bpc": nats / math.log(2.0) / characters_per_token, "val_loss": nats, "perplexity": perplexity}
