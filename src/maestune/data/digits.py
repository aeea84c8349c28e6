"""The built-in set: 1,797 handwritten digits of 8×8 pixels (UCI ML, Alpaydin & Kaynak 1998), as scikit-learn has them."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from maestune.data.collection import Collection, Part
from maestune.data.fit import fit_note, fit_pixels


def read_digits(size: int | None = None) -> Collection:
    """The digits with labels 0…9; values 0…16 become 0…255."""
    values, labels = load_digits(return_X_y=True)  # (N, 64) whole numbers 0…16 as float64, (N,)
    pixels = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    side = 8 if size is None else size
    return Collection(
        name="digits",
        images=Part(fit_pixels(pixels, side), np.asarray(labels, dtype=np.int64)),
        class_names=tuple("0123456789"),
        note=fit_note({(8, 8): len(pixels)}, side),
    )
