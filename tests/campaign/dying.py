"""The GAN family, with trials that diverge, and workers that are slow or die when a test asks for it."""

import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from maestune.families.gan import GAN

data = "digits"


@dataclass(frozen=True)
class Dying(GAN):
    name: str = "dying"
    data: str = data

    def hyper(self, config, progress):
        numbers = super().hyper(config, progress)
        # Early for one, at the end of the first rung for another, never for most.
        if config["lr_ratio"] > 1.0 and progress > (0.03 if config["beta1"] < 0.4 else 0.1):
            numbers = dict.fromkeys(numbers, math.nan)
        _misbehave(progress, config)
        return numbers


_seen = {}  # of a step, by its progress, the configs that were in it


def _misbehave(progress, config):
    folder = os.environ.get("DYING_FOLDER")
    if folder is None:
        return
    if (Path(folder) / "slow").exists():
        time.sleep(0.002)
    if progress not in _seen:
        _seen.clear()
    _seen.setdefault(progress, set()).add(config)
    victim = Path(folder) / "kill-worker-once"  # in a group of so many
    if progress > 0.02 and victim.exists() and len(_seen[progress]) == int(victim.read_text()):
        victim.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


family = Dying()
