"""What the samples of a final training have copied, as it is written down beside them for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maestune.data import Images, to_float
from maestune.quality import Evaluator, ImageEvaluator
from maestune.quality.copied import (
    CopiedImages,
    CopiedPassage,
    CopiedTexts,
    NearImage,
    copied_images,
    copied_texts,
)
from maestune.quality.text import TextEvaluator

Copied = CopiedTexts | CopiedImages
LARGEST = 2**53  # whole numbers below are exact in JSON


def copies_path(folder: Path, step: int) -> Path:
    """Where it lies what a trial's samples at a step have copied; their picture likewise, as .png."""
    return folder / f"copied-{step:08d}.json"


def copies_of(evaluator: Evaluator, features: Any) -> Copied | None:
    """What samples have copied, by the `features` that an evaluator extracted; None where it cannot tell."""
    if isinstance(evaluator, TextEvaluator):
        return copied_texts(evaluator, features)
    return copied_images(evaluator, features) if isinstance(evaluator, ImageEvaluator) else None


def pairs_of(found: CopiedImages, samples: Tensor, train: Images) -> Tensor:
    """The samples (n, C, H, W) nearest to training images, then these in the same order: (2n, C, H, W)."""
    nearest = train.images[torch.tensor([one.nearest for one in found.nearest])]
    chosen = samples[torch.tensor([one.row for one in found.nearest], device=samples.device)]
    return torch.cat((chosen.detach().cpu().to(torch.float32), to_float(nearest)))


def copies_text(found: Copied) -> str:
    """As JSON."""
    return json.dumps(asdict(found), ensure_ascii=False, allow_nan=False)


def copies_from(text: str) -> Copied:
    """Parse what `copies_text` wrote; ValueError, TypeError or KeyError for anything else."""
    data: Mapping[str, Any] = json.loads(text)
    if "texts" in data:
        passages = tuple(CopiedPassage(**_typed(CopiedPassage, one)) for one in data["longest"])
        return CopiedTexts(**_typed(CopiedTexts, data, longest=passages))
    nearest = tuple(NearImage(**_typed(NearImage, one)) for one in data["nearest"])
    return CopiedImages(**_typed(CopiedImages, data, nearest=nearest))


def _typed(cls: type[Any], data: Mapping[str, Any], **read: object) -> dict[str, Any]:
    """The fields of a dataclass from JSON, those that are `read` already put in; TypeError for a value of another type."""
    kinds = {"int": int, "float": int | float, "bool": bool, "str": str}
    for field in fields(cls):
        value = data[field.name]
        if field.name in read:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(value, kinds[str(field.type)]) or number is (field.type in ("bool", "str")):
            raise TypeError(f"{field.name} is of type {type(value).__name__}, {field.type} was expected")
        if number and not 0 <= value < LARGEST:
            raise ValueError(f"{field.name} is out of range")
    return {**data, **read}
