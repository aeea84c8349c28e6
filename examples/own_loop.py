"""Tune your own training code: a generative moment matching network (Li et al. 2015), which is no family of maestune.

    maestune tune examples/own_loop.py:train --budget 2m

What a training needs: a generator function `train(config, run)` that yields a `Report` wherever `run.due(step)`, with
samples where `run.n_samples(step) > 0`, and a `state` from which it can go on. It never hears of the search: being paused,
promoted and resumed all look like starting at `run.start_steps` with `run.state`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import maestune
from maestune import Choice, Config, Float, Int, Prior, Report, Role, Run, Space

data = "digits"  # what to learn from, and to be evaluated by; any folder of images will do
objective = "fd"
full_steps = 2000

space = Space(
    (
        Float("lr", 1e-5, 1e-1, scale="log", prior=Prior(1e-3, "medium", "Kingma & Ba 2015, arXiv:1412.6980")),
        Float("beta1", 0.0, 0.95, prior=Prior(0.9)),
        Choice("batch_size", (64, 128, 256, 512), ordered=True, prior=Prior(128)),
        Int("latent_dim", 2, 64, scale="log", prior=Prior(10)),
        Choice("width", (64, 128, 256), ordered=True, prior=Prior(64)),
        Float("bandwidth", 0.1, 10.0, scale="log", prior=Prior(1.0), role=Role.LOSS, unit="typical distances"),
    )
)


def build(config: Config, shape: tuple[int, int, int]) -> nn.Module:
    """Latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
    c, h, w = shape
    latent, width = int(config.number("latent_dim")), int(config.number("width"))
    return nn.Sequential(
        nn.Linear(latent, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, c * h * w),
        nn.Tanh(),
        nn.Unflatten(1, (c, h, w)),
    )


def mmd(fake: Tensor, real: Tensor, bandwidth: float) -> Tensor:
    """Squared maximum mean discrepancy with a sum of Gaussian kernels, biased estimate."""
    both = torch.cat((fake, real)).flatten(1)
    squared = torch.cdist(both, both).square()
    scale = bandwidth * squared.detach().mean()
    kernel = torch.stack([torch.exp(-squared / (scale * factor)) for factor in (0.1, 0.3, 1.0)]).sum(0)
    n = len(fake)
    return kernel[:n, :n].mean() - 2 * kernel[:n, n:].mean() + kernel[n:, n:].mean()


def train(config: Config, run: Run) -> Iterator[Report]:
    """Train until `run.until_steps`, from the start or from `run.state`."""
    assert isinstance(run.data, maestune.ImageData)  # not text
    images = maestune.to_float(run.data.train.images).to(run.device)
    torch_rng = run.generator("train")  # explicit generators: the same seed gives the same training
    net = build(config, run.data.shape).to(run.device)
    init = run.generator("weights")
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.0, 0.05, generator=init)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.number("lr"), betas=(config.number("beta1"), 0.999))
    batch, latent = int(config.number("batch_size")), int(config.number("latent_dim"))
    if run.state is not None:
        net.load_state_dict(run.state["net"])
        optimizer.load_state_dict(run.state["optimizer"])
        torch_rng.set_state(run.state["generator"])

    def state() -> dict[str, Any]:
        return {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "generator": torch_rng.get_state()}

    for step in run.steps():
        z = torch.randn(batch, latent, generator=torch_rng, device=run.device)
        index = torch.randint(len(images), (batch,), generator=torch_rng, device=run.device)
        loss = mmd(net(z), images[index], config.number("bandwidth"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if run.due(step):
            n = run.n_samples(step)
            samples = draw(net, n, latent, run.sample_generator()) if n else None
            yield Report(step, {"loss": loss.item()}, samples, state=state)


@torch.no_grad()
def draw(net: nn.Module, n: int, latent: int, generator: torch.Generator) -> Tensor:
    """Samples (n, C, H, W)."""
    return net(torch.randn(n, latent, generator=generator, device=generator.device))


def generate(config: Config, state: dict[str, Any], n: int, generator: torch.Generator) -> Tensor:
    """Optional: lets `maestune generate DIR` draw from a checkpoint of this training."""
    pixels = state["net"]["4.bias"].numel()
    side = round(pixels**0.5)
    net = build(config, (1, side, side))
    net.load_state_dict(state["net"])
    return draw(net, n, int(config.number("latent_dim")), generator)


if __name__ == "__main__":
    print(maestune.tune(train, space, data=data, objective=objective, budget="2m").best)
