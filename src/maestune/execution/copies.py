"""What the samples of a final training have copied, as it is written down beside them for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maestune.data import Images, to_float
from maestune.quality import ImageJudge, Judge
from maestune.quality.copied import (
    CopiedImages,
    CopiedPassage,
    CopiedTexts,
    NearImage,
    copied_images,
    copied_texts,
)
from maestune.quality.text import TextJudge

Copied = CopiedTexts | CopiedImages


def copies_path(folder: Path, step: int) -> Path:
    """Where it lies what a trial's samples at a step have copied; their picture likewise, as .png."""
    return folder / f"copied-{step:08d}.json"


def copies_of(judge: Judge, seen: Any) -> Copied | None:
    """What samples have copied, of which a judge `seen` something; None where it cannot tell."""
    if isinstance(judge, TextJudge):
        return copied_texts(judge, seen)
    return copied_images(judge, seen) if isinstance(judge, ImageJudge) else None


def pairs_of(found: CopiedImages, samples: Tensor, train: Images) -> Tensor:
    """The samples (n, C, H, W) nearest to training images, then these in the same order: (2n, C, H, W)."""
    nearest = train.images[torch.tensor([one.nearest for one in found.nearest])]
    chosen = samples[torch.tensor([one.row for one in found.nearest], device=samples.device)]
    return torch.cat((chosen.detach().cpu().to(torch.float32), to_float(nearest)))


def copies_text(found: Copied) -> str:
    """As JSON."""
    return json.dumps(asdict(found), ensure_ascii=False, allow_nan=False)


def copies_from(text: str) -> Copied:
    """What `copies_text` wrote; ValueError, TypeError or KeyError for anything else."""
    data: Mapping[str, Any] = json.loads(text)
    if "texts" in data:
        return CopiedTexts(**{**data, "longest": tuple(CopiedPassage(**one) for one in data["longest"])})
    return CopiedImages(**{**data, "nearest": tuple(NearImage(**one) for one in data["nearest"])})
