"""Where every random number of a campaign comes from: the campaign's seed and the name of its purpose."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 32-bit seed that depends on the campaign's seed and the purpose alone.

    >>> derive_seed(0, "finals", 1) == derive_seed(0, "finals", 1) != derive_seed(0, "finals", 2)
    True
    """
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def derive_rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """A numpy generator for a purpose."""
    return np.random.default_rng(derive_seed(seed, *purpose))
