"""The evaluator of texts: what models make of held-out beginnings, against what really follows them.

Intervals are those of half-samples over texts (see `interval`). Measured on Python's documentation, with 80 draws each of 100
and of 200 pieces of 128 characters: they hold the mean of all draws in 88 to 100 % of cases. Novelty's is that of a share: in
400 repeats of 100 and of 200 texts, of which 0.5 to 100 % are copied whole or in part, it holds the expected value in 91 to
100 %, and that of half-samples in 11 to 100 %, least where hardly any are copied.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from maestune.data import TextData
from maestune.errors import MetricError
from maestune.quality.interval import scores
from maestune.quality.metric import Limits
from maestune.quality.text.catalogue import available_text_metrics, find_text_metric
from maestune.quality.text.copying import Known, Passage
from maestune.quality.text.text_models import DECODED_TOGETHER, TextModels, vocabulary_of
from maestune.quality.text.texts import RealTexts, TextKind, Texts
from maestune.quality.text.windows import held_out_pieces, texts_of, train_pieces
from maestune.types import Score

DEFAULT_TEXTS = 100  # drawing a text costs as much as scoring ten
MOST_PIECES = 1000  # of the training text, that clusters are found among
PIECES_SEED = 0


@dataclass(frozen=True)
class TextEvaluator:
    """Scores texts against those of a held-out part. Made by `TextEvaluator.prepare`; can be sent to other processes.

    Samples are tokens (n_samples, P + length): the prompts that `data.prompts` gives, and `length` tokens that follow. Only
    what follows is scored; the prompt is what coherence and cost are told by. `metrics`: what it can measure.
    """

    split: Literal["search", "report"]
    models: TextModels
    n_samples: int
    length: int
    metrics: tuple[str, ...]
    real: RealTexts
    data: TextData = field(repr=False)
    # What each kind of metric keeps of the real texts; filled when first asked for. A cache, not state.
    _references: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    @staticmethod
    def prepare(
        data: TextData,
        split: Literal["search", "report"],
        models: TextModels,
        length: int,
        n_samples: int = DEFAULT_TEXTS,
        known: Known | None = None,
    ) -> TextEvaluator:
        """An evaluator for a part of the data, and for texts of `length` tokens behind their prompts.

        `known`: the training text as another evaluator of the same data has it (`known_text`), else it is read now. MetricError
        where the part or the number of samples is too small.
        """
        if n_samples < 4:
            raise MetricError(
                f"{n_samples} texts cannot be scored with an interval; use at least 4, better {DEFAULT_TEXTS}."
            )
        held_out = _real(data, split, n_samples, length, models)
        begun = _prompt_tokens(data, split)
        generator = torch.Generator().manual_seed(PIECES_SEED)
        train = train_pieces(data, max(MOST_PIECES, n_samples), begun + length, generator)
        known = known_text(data, length, n_samples, models) if known is None else known
        real = RealTexts(held_out, texts_of(data, train, begun, models), known, vocabulary_of(data))
        return TextEvaluator(split, models, n_samples, length, available_text_metrics(held_out), real, data)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the models."""
        return self.models.fingerprint

    def min_samples(self, metrics: Sequence[str]) -> int:
        """As many as there are: fewer texts would be asked to go on from other places."""
        return self.n_samples

    def subset(self, n_samples: int) -> TextEvaluator:
        """This evaluator: it has no fewer."""
        if n_samples != self.n_samples:
            raise MetricError(f"Texts are evaluated {self.n_samples} at a time, as prepared; not {n_samples}.")
        return self

    def extract(self, samples: Tensor) -> Texts:
        """Samples (n_samples, P + length), numbers of tokens on any device, as texts: what is scored.

        Raises MetricError for another number or length, and for what are no tokens of the data.
        """
        wanted = (self.n_samples, _prompt_tokens(self.data, self.split) + self.length)
        if tuple(samples.shape) != wanted:
            raise MetricError(
                f"Texts of shape {tuple(samples.shape)} were given to an evaluator of {wanted} (texts, tokens with their prompts). "
                "Scores at different numbers or lengths cannot be compared; give exactly these, or make an evaluator for others."
            )
        if samples.is_floating_point() or int(samples.min()) < 0 or int(samples.max()) >= self.data.tokenizer.size:
            raise MetricError(
                f"The texts are no numbers of tokens 0 … {self.data.tokenizer.size - 1} ({samples.dtype}, {samples.min().item():g} … "
                f"{samples.max().item():g}); give what the data's tokenizer encodes to."
            )
        return texts_of(self.data, samples.detach().cpu(), wanted[1] - self.length, self.models)

    def extract_all(self, several: Sequence[Tensor]) -> list[Texts]:
        """`extract` for the texts of several models, one after the other."""
        return [self.extract(samples) for samples in several]

    def on(self, device: str) -> TextEvaluator:
        """This evaluator; its models are small, and the statistics of texts run on the CPU."""
        return self

    def score(self, texts: Texts, metrics: Sequence[str], intervals: bool = False) -> dict[str, Score]:
        """Scores of what `extract` returned, by name of the metric.

        `intervals`: with 95 % intervals over the choice of texts (see `interval`), else their bounds are NaN. Raises
        MetricError for unknown metrics, and for coherence where real text shows none.
        """
        wanted = [find_text_metric(name) for name in metrics]
        for metric in wanted:
            if metric.name not in metric.kind.limits(self._reference(metric.kind)):
                raise MetricError(
                    f"{metric.name} cannot be measured on {self.data.name}: held-out text is no more alike within a text than between "
                    "texts, as the embedder sees it. Give longer texts, more of them, or another embedder."
                )
        return scores(wanted, self._reference, texts, intervals)

    def floor(self, metrics: Sequence[str], generator: torch.Generator) -> dict[str, Score]:
        """What a perfect model would score: real text in place of samples, pieces of the training text that do not repeat.

        To metrics that see copies, the other held-out part is shown instead.
        """
        fresh = [name for name in metrics if find_text_metric(name).sees_copies]
        begun = _prompt_tokens(self.data, self.split)
        pieces = train_pieces(self.data, self.n_samples, begun + self.length, generator)
        known = [name for name in metrics if name not in fresh]
        found = self.score(texts_of(self.data, pieces, begun, self.models), known, intervals=True)
        if fresh:
            other: Literal["search", "report"] = "search" if self.split == "report" else "report"
            others = _real(self.data, other, self.n_samples, self.length, self.models)
            found |= self.score(others, fresh, intervals=True)
        return {name: found[name] for name in metrics}

    @property
    def floor_note(self) -> str:
        """What to know about the floor; empty when it rests on as many texts as every other score."""
        places = len(self.data.train) - _prompt_tokens(self.data, self.split) - self.length + 1
        if places >= self.n_samples:
            return ""
        return f"The floor rests on {places:,} pieces of training text, fewer than the {self.n_samples:,} texts of a model: it is a little high."

    def limits(self, metrics: Sequence[str]) -> dict[str, Limits]:
        """The least and the greatest value that each metric can have on these data; infinite where there is none."""
        return {m.name: m.kind.limits(self._reference(m.kind))[m.name] for m in map(find_text_metric, metrics)}

    def failure(self, metrics: Sequence[str]) -> dict[str, Score]:
        """What a training that made nothing usable is given: worst possible, or what no text at all would score.

        Bounded metrics get their worst bound; unbounded ones the worse of two: one sign over and over, and tokens drawn
        blindly.
        """
        begun = self.data.prompts(self.split, self.n_samples)["prompt"]
        shape = (self.n_samples, self.length)
        blind = torch.randint(self.data.tokenizer.size, shape, generator=torch.Generator().manual_seed(PIECES_SEED))
        dull = torch.full(shape, int(torch.mode(self.data.train[:DECODED_TOGETHER].long()).values))
        tries = [self.score(self.extract(torch.cat((begun, made), dim=1)), metrics) for made in (blind, dull)]
        found: dict[str, Score] = {}
        for name, (low, high) in self.limits(metrics).items():
            metric = find_text_metric(name)
            values = [one[name].value for one in tries] + [low if metric.higher_is_better else high]
            values = [value for value in values if math.isfinite(value)]
            value = min(values) if metric.higher_is_better else max(values)
            found[name] = Score(value, value, value)
        return found

    def classes(self, texts: Texts) -> tuple[float, ...]:
        """Text has no classes."""
        return ()

    @property
    def real_classes(self) -> tuple[float, ...]:
        """Text has no classes."""
        return ()

    def copied(self, texts: Texts) -> list[Passage]:
        """The longest copied passage of each text that has one, the longest of all first."""
        return self.real.known.longest(texts.made)

    def _reference(self, kind: TextKind[Any]) -> Any:
        if kind.name not in self._references:
            self._references[kind.name] = kind.reference(self.real)
        return self._references[kind.name]


def known_text(data: TextData, length: int, n_samples: int, models: TextModels) -> Known:
    """The training text, with what counts as copied in texts of `length` tokens: told by the part to search with alone."""
    parts = data.train.split(DECODED_TOGETHER)
    known = Known.of(data.tokenizer.decode(part) for part in parts)
    return known.with_reference(_real(data, "search", n_samples, length, models).made)


def _real(data: TextData, split: Literal["search", "report"], n: int, length: int, models: TextModels) -> Texts:
    return texts_of(data, held_out_pieces(data, split, n, length), _prompt_tokens(data, split), models)


def _prompt_tokens(data: TextData, split: Literal["search", "report"]) -> int:
    return data.prompts(split, 1)["prompt"].shape[1]
