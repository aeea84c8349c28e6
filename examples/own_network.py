"""Tune a network of your own: a small transformer that paints a digit pixel by pixel (after Chen et al. 2020, Image GPT).

    maestune tune examples/own_network.py:family --budget 60s

You bring what may vary, a network in plain PyTorch, its loss for each image, and how samples are made. The training loop,
optimisers, schedules, checkpoints and the training of many configurations as one step are maestune's. Two rules: random
numbers come in as `noise`, and numbers of the configuration that the loss uses come in as `hyper`.
"""

import torch
from torch import Tensor, nn

import maestune
from maestune import Batch, Choice, Config, DataSpec, Float, Fusible, NoiseSpec, Prior, Space

LEVELS = 17  # grey levels of the digits: 0 is black, 16 is white
HEADS = 2
LAYERS = 2
Seen = tuple[Tensor, Tensor]  # keys and values of the pixels before, (B, HEADS, T, width / HEADS) each


class Block(nn.Module):
    """Attention to the pixels before, then a small network for each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, seen: Seen | None = None) -> tuple[Tensor, Seen]:
        """(B, T, width) → the same, and what the next pixels need to see of these."""
        b, t, width = x.shape
        q, k, v = self.qkv(self.before_attention(x)).view(b, t, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        if seen is not None:
            k, v = torch.cat((seen[0], k), 2), torch.cat((seen[1], v), 2)
        scores = q / (width / HEADS) ** 0.5 @ k.mT
        future = torch.ones(t, k.shape[2], dtype=torch.bool, device=x.device).triu(k.shape[2] - t + 1)
        # Written out: torch's scaled_dot_product_attention cannot yet be computed for many members in one call.
        attended = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        x = x + self.out(attended.transpose(1, 2).reshape(b, t, width))
        return x + self.mlp(self.before_mlp(x)), (k, v)


class PixelTransformer(nn.Module):
    """The logits of every pixel's grey level from the pixels before it."""

    def __init__(self, width: int, pixels: int) -> None:
        super().__init__()
        self.level = nn.Embedding(LEVELS + 1, width)  # one more: nothing was painted yet
        self.position = nn.Embedding(pixels, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(LAYERS))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, LEVELS))

    def embed(self, before: Tensor, start: int = 0) -> Tensor:
        """Grey levels (B, T) of the pixels before each of start, start + 1, … → (B, T, width)."""
        return self.level(before) + self.position.weight[start : start + before.shape[1]]


def build(config: Config, spec: DataSpec) -> nn.Module:
    c, h, w = spec.image
    return PixelTransformer(int(config.number("width")), c * h * w)


def noise(config: Config, spec: DataSpec) -> dict[str, NoiseSpec]:
    """What the loss draws in a step: where dropout is used, one number in [0, 1) for every value that may be dropped."""
    if config.number("dropout") == 0:
        return {}
    c, h, w = spec.image
    return {"keep": NoiseSpec("uniform", (int(config.number("batch_size")), c * h * w, int(config.number("width"))))}


def loss(network: PixelTransformer, batch: Batch, hyper: maestune.Hyper, noise: maestune.Noise) -> Tensor:
    """Mean negative log likelihood of an image's pixels, for each image (B,)."""
    levels = ((batch["image"].flatten(1) + 1) / 2 * (LEVELS - 1)).round().long()
    x = network.embed(torch.cat((torch.full_like(levels[:, :1], LEVELS), levels[:, :-1]), 1))
    if "keep" in noise:
        x = x * (noise["keep"] >= hyper["dropout"]) / (1 - hyper["dropout"])
    for block in network.blocks:
        x, _ = block(x)
    chances = network.head(x).log_softmax(-1)
    return -chances.gather(-1, levels.unsqueeze(-1)).squeeze(-1).mean(1)


def latents(config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
    return {"pixel": NoiseSpec("uniform", (n, *spec.shape))}


def generate(network: PixelTransformer, hyper: maestune.Hyper, noise: maestune.Noise) -> Tensor:
    """One pixel after the other: the first grey level whose cumulative probability exceeds the pixel's random number."""
    uniforms = noise["pixel"].flatten(1)
    last = torch.full_like(uniforms[:, :1], LEVELS, dtype=torch.long)
    seen: list[Seen | None] = [None] * LAYERS
    levels: list[Tensor] = []
    for pixel in range(uniforms.shape[1]):
        x = network.embed(last, pixel)
        for i, block in enumerate(network.blocks):
            x, seen[i] = block(x, seen[i])
        cumulative = network.head(x).softmax(-1).cumsum(-1)
        last = (cumulative <= uniforms[:, pixel, None, None]).sum(-1).clamp(max=LEVELS - 1)
        levels.append(last)
    return torch.cat(levels, 1).view_as(noise["pixel"]) * (2 / (LEVELS - 1)) - 1


family = maestune.Network(
    space=Space(
        (
            Float("lr", 1e-4, 3e-2, scale="log", prior=Prior(3e-3)),
            Float("beta1", 0.0, 0.95, prior=Prior(0.9)),
            Float("weight_decay", 1e-4, 0.3, scale="log", off=0.0, prior=Prior(0.0)),
            Choice("batch_size", (16, 32, 64), ordered=True, prior=Prior(32)),
            Choice("width", (32, 48, 64), ordered=True, prior=Prior(32)),
            Float("dropout", 0.02, 0.4, off=0.0, prior=Prior(0.0)),
            Choice("schedule", ("wsd",)),
            Float("warmup", 0.01, 0.2, prior=Prior(0.05)),
            Float("decay", 0.1, 0.8, prior=Prior(0.3)),
        )
    ),
    build=build,
    loss=loss,
    noise=noise,
    latents=latents,
    generate=generate,
    # Dropout is used by all configurations trained as one, each with its own rate, or by none.
    fusible=Fusible(switches=frozenset({"dropout"})),
    full_steps=600,
    data="digits",
)

if __name__ == "__main__":
    print(maestune.tune(family, budget="60s").best)
