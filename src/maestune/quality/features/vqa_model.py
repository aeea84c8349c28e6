"""A model that answers questions about images, and how it is asked.

Questions are tokenised one by one, and only those of equal shapes are asked together. Nothing is padded, so that an answer does
not depend on who else is asked (BLIP for VQA, for one, looks at padding).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and transformers publish partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maestune.errors import MetricError
from maestune.quality.features.weights import hugging_face, in_silence, last_line
from maestune.quality.metric import Array

ANSWER = "Yes"
TOGETHER = 8  # questions that are asked at a time: each brings hundreds of tokens of its image

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class VqaModel:
    """A model that was read, with its processor, on its device. `token`: the number of the token that answers yes."""

    path: Path
    model: Any
    processor: Any
    device: str
    chat: bool
    token: int

    @property
    def name(self) -> str:
        """What the library calls it."""
        return type(self.model).__name__

    @property
    def answer(self) -> str:
        """The token whose probability is read; shorter than Yes where the tokenizer cuts it."""
        return str(self.processor.tokenizer.decode([self.token])).strip()

    def yes(self, images: Sequence[Image.Image], questions: Sequence[str]) -> Array:
        """The probability (N,) in [0, 1] that the answer to each question about its image begins with the token.

        Raises MetricError where a question cannot be asked, or the model makes no finite numbers of it.
        """
        found = np.empty(len(questions))
        # Those of equal length mostly have equal shapes.
        lengths: list[int] = [len(ids) for ids in self.processor.tokenizer(list(questions)).input_ids]
        order = sorted(range(len(questions)), key=lengths.__getitem__)
        for rows in (order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)):
            with in_silence(hugging_face()), torch.inference_mode():
                inputs = [self._inputs(images[i], questions[i]) for i in rows]
                for some in _alike(inputs):
                    found[[rows[i] for i in some]] = self._answered([inputs[i] for i in some])
        if not np.isfinite(found).all():
            raise MetricError(
                f"vqa: {self.path} answers with numbers that are not finite; its file is damaged, or its numbers are too "
                f"coarse for {self.device}."
            )
        return found

    def _inputs(self, image: Image.Image, question: str) -> Inputs:
        """One question about one image, as the model takes it."""
        try:
            if self.chat:
                told = self.processor.apply_chat_template(
                    [question_message(question, image)],
                    tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt",
                )  # fmt: skip
            else:
                told = self.processor(images=image, text=question, return_tensors="pt")
        except Exception as error:  # the library raises errors of many others, and of its own
            raise MetricError(
                f"vqa: {self.path} cannot be asked {question!r} ({type(error).__name__}: {last_line(error)}). Leave signs "
                "that mean something to it out of the caption, or give another model."
            ) from error
        return {name: value for name, value in told.items() if isinstance(value, Tensor)}

    def _answered(self, inputs: Sequence[Inputs]) -> Array:
        """Probabilities for questions of equal shapes."""
        together = {name: torch.cat([one[name] for one in inputs]).to(self.device) for name in inputs[0]}
        dtype = self.model.dtype
        together = {name: part.to(dtype) if part.is_floating_point() else part for name, part in together.items()}
        try:
            told = self.model.generate(
                **together,
                max_new_tokens=1, do_sample=False, num_beams=1, output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
        except Exception as error:  # the library raises errors of many others, and of its own
            raise MetricError(
                f"vqa: {self.path} does not answer ({type(error).__name__}: {last_line(error)}). Give another model, or another "
                "--device where memory ran out."
            ) from error
        return torch.softmax(told.logits[0].double(), dim=-1)[:, self.token].cpu().numpy()


def question_message(question: str, image: Image.Image | None = None) -> dict[str, Any]:
    """A turn of a chat that asks about an image."""
    shown = {"type": "image"} if image is None else {"type": "image", "image": image}
    return {"role": "user", "content": [shown, {"type": "text", "text": question}]}


def _alike(inputs: Sequence[Inputs]) -> list[list[int]]:
    """Positions of inputs of equal shapes, together."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, one in enumerate(inputs):
        groups.setdefault(tuple((name, tuple(part.shape)) for name, part in one.items()), []).append(i)
    return list(groups.values())
