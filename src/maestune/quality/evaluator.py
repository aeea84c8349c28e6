"""What an evaluator is: whoever holds samples against what is real, and says how good they are, always on equal terms.

Equal terms: one way of looking, one reference set, one number of samples. Many scores depend on the number of samples,
so values at different numbers must never meet in one comparison; `extract` refuses any other number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from torch import Generator, Tensor

from maestune.types import Score


class Evaluator(Protocol):
    """Scores samples against a held-out part of the data. Can be sent to other processes.

    What `extract` returns is the evaluator's own matter (features of images, texts and their statistics); it is scored as often as
    wanted without being extracted again.
    """

    @property
    def split(self) -> Literal["search", "report"]:
        """The part that samples are held against."""
        ...

    @property
    def n_samples(self) -> int:
        """How many samples it scores; no other number."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what it can measure, in the order in which people should read them."""
        ...

    @property
    def fingerprint(self) -> str:
        """Fingerprint of its models: scores are comparable between evaluators of the same, and only then."""
        ...

    def min_samples(self, metrics: Sequence[str]) -> int:
        """On how few samples these metrics can be measured by `subset`."""
        ...

    def subset(self, n_samples: int) -> Evaluator:
        """An evaluator of the first of the samples only: quicker, and on terms of its own. MetricError below `min_samples`."""
        ...

    def extract(self, samples: Tensor) -> Any:
        """Extract what is scored from samples: images (n_samples, C, H, W) float in [-1, 1] or uint8, or tokens (n_samples, T) int64.

        Raises MetricError for another number of samples and for samples that cannot be evaluated.
        """
        ...

    def extract_all(self, several: Sequence[Tensor]) -> Sequence[Any]:
        """`extract` for the samples of several models, together where that is quicker."""
        ...

    def on(self, device: str) -> Evaluator:
        """The same evaluator on a device."""
        ...

    def score(self, features: Any, metrics: Sequence[str], intervals: bool = False) -> dict[str, Score]:
        """Scores of what `extract` returned, by name; bounds are NaN without `intervals`."""
        ...

    def floor(self, metrics: Sequence[str], generator: Generator) -> dict[str, Score]:
        """What a perfect model would score: real data that it learns from, in place of samples."""
        ...

    @property
    def floor_note(self) -> str:
        """What to know about the floor; mostly nothing."""
        ...

    def limits(self, metrics: Sequence[str]) -> dict[str, tuple[float, float]]:
        """The least and the greatest value that each metric can have on these data; infinite where there is none."""
        ...

    def failure(self, metrics: Sequence[str]) -> dict[str, Score]:
        """What a training that made nothing usable is given: finite, and worse than anything usable."""
        ...

    def classes(self, features: Any) -> tuple[float, ...]:
        """Share of the samples in each class of the data; empty where there are none."""
        ...

    @property
    def real_classes(self) -> tuple[float, ...]:
        """The same of the real data of the split."""
        ...
