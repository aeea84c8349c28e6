"""Which columns of a table of Hugging Face hold images, labels and captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maestune.errors import DataError, did_you_mean

# Columns of these names are preferred, the first one most.
IMAGES = ("image", "img", "images", "picture", "photo", "jpg", "png")
LABELS = ("label", "labels", "fine_label", "class", "category", "target")
CAPTIONS = ("caption", "captions", "text", "prompt", "description", "sentence", "sentences")
NONE = "none"  # told of a column: there is to be none


@dataclass(frozen=True)
class Columns:
    """The columns of images, labels and captions by name; None where there are none."""

    image: str
    label: str | None
    caption: str | None

    @property
    def note(self) -> str:
        """Which they are, in a sentence."""
        named = {"labels": self.label, "captions": self.caption}
        others = "".join(f", {what} from {column!r}" for what, column in named.items() if column)
        return f"Images are taken from the column {self.image!r}{others}."


def find_columns(name: str, features: Mapping[str, Any], told: Mapping[str, str]) -> Columns:
    """The columns of a set by their features and names, or as they were told, by role: "image", "label", "caption".

    Raises DataError where a column was told that is not there, and where several could be meant.
    """
    for role, column in told.items():
        if role != "split" and column not in features and (column != NONE or role == "image"):
            raise DataError(f"{name}: no column {column!r} for the {role}. {did_you_mean(column, features)}")
    images = [column for column, feature in features.items() if _is_image(feature)]
    image = told.get("image") or next((c for c in IMAGES if c in images), None)
    if image is None:
        if len(images) != 1:
            raise DataError(
                f"{name}: {len(images)} of its columns hold images, and none has a usual name; expected one. It has "
                f"{', '.join(features)}. Say which: hf:{name}?image=COLUMN."
            )
        image = images[0]
    named = [column for column, feature in features.items() if kind(feature) == "ClassLabel"]
    label = told.get("label") or next((c for c in LABELS if c in features and c != image), None)
    if label is None and named:
        if len(named) > 1:
            raise DataError(
                f"{name}: the columns {', '.join(named)} hold labels; expected one. "
                f"Say which: hf:{name}?label={named[0]} (or label={NONE})."
            )
        label = named[0]
    caption = told.get("caption") or next((c for c in CAPTIONS if c in features and _is_text(features[c])), None)
    if caption == label and "caption" not in told:
        caption = None
    return Columns(image, None if label == NONE else label, None if caption == NONE else caption)


def kind(feature: Any) -> str:
    """What the library calls a feature: "Image", "ClassLabel", "Value" …."""
    return type(feature).__name__


def _is_image(feature: Any) -> bool:
    # Parquet files without the library's own notes have a struct of bytes and path, or the bytes alone.
    if isinstance(feature, Mapping):
        return "bytes" in feature
    return kind(feature) == "Image" or getattr(feature, "dtype", "") in ("binary", "large_binary")


def _is_text(feature: Any) -> bool:
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)  # a list of captions
    return getattr(inner, "dtype", "") in ("string", "large_string")
