"""A training whose score is a formula: fast, deterministic, and carrying a state that a wrong resume would betray."""

import math
import os
import signal
import time
from pathlib import Path

import torch

from maestune import Choice, Float, Int, Prior, Report, Space

objective = "miss:min"
full_steps = 90

space = Space(
    (
        Float("lr", 1e-5, 1.0, scale="log", prior=Prior(1e-4)),
        Int("depth", 1, 6, prior=Prior(2)),
        Choice("kind", ("plain", "bad", "explodes"), prior=Prior("plain")),
    )
)


def train(config, run):
    rng = run.generator()
    # The walk depends on every random number drawn so far: a training that is resumed wrongly ends elsewhere.
    walk = torch.zeros(())
    if run.state is not None:
        walk = run.state["walk"]
        rng.set_state(run.state["rng"])
    for step in run.steps():
        walk = walk + 0.01 * torch.randn((), generator=rng)
        if config["kind"] == "explodes" and step > 20:
            yield Report(step, {"loss": math.nan}, state=dict)
            return
        if run.due(step):
            _misbehave(config, step)
            miss = (math.log10(config["lr"]) + 2) ** 2 + 0.1 * abs(config["depth"] - 4) + (config["kind"] == "bad")
            miss = miss + 3.0 / step + 0.001 * float(walk) + 0.001 * (run.seed % 7)
            state = {"walk": walk.clone(), "rng": rng.get_state()}
            yield Report(step, {"loss": float(walk)}, scores={"miss": miss}, state=lambda s=state: s)


def _misbehave(config, step):
    """What tests ask for through files beside the working folder: a slow step, a killed worker, an error."""
    folder = os.environ.get("SYNTHETIC_FOLDER")
    if folder is None:
        return
    if (Path(folder) / "slow").exists():
        time.sleep(0.02)
    victim = Path(folder) / "kill-worker-once"
    if victim.exists():
        victim.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (Path(folder) / "always-kill").exists() and step >= 2:  # before the first rung
        os.kill(os.getpid(), signal.SIGKILL)
    if (Path(folder) / "raise").exists():
        raise ValueError("no such luck")
