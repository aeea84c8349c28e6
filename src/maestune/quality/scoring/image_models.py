"""What samples of images are looked with, and what to know about it."""

from __future__ import annotations

from dataclasses import dataclass

from maestune.data import ImageData
from maestune.errors import MetricError
from maestune.quality.features.captions import CaptionEncoder
from maestune.quality.features.choice import AUTO, choose, choose_caption_encoder, choose_second
from maestune.quality.features.extractor import Extractor
from maestune.quality.features.self_test import SelfTest, self_test
from maestune.quality.features.vqa import VqaScorer, choose_vqa_scorer
from maestune.quality.scoring.measuring import Tell
from maestune.quality.scoring.result import FeatureSpace


@dataclass(frozen=True)
class ImageModels:
    """The extractor and the test it took, another one for a second opinion, who reads captions, and who is asked about them."""

    extractor: Extractor
    second: Extractor
    test: SelfTest
    reader: CaptionEncoder | None
    answerer: VqaScorer | None

    @property
    def feature_space(self) -> FeatureSpace:
        """What values are comparable by."""
        models = self.extractor
        return FeatureSpace(models.kind, models.fingerprint, models.description, self.test.passed, self.test.sentence)

    @property
    def vqa(self) -> FeatureSpace | None:
        """The same of the model that is asked."""
        one = self.answerer
        return None if one is None else FeatureSpace("vqa", one.fingerprint, one.description, one.able, one.warning)

    @property
    def warnings(self) -> list[str]:
        """What speaks against the values."""
        told = "" if self.answerer is None else self.answerer.warning
        return list(filter(None, ("" if self.test.passed else self.test.sentence, told)))

    @property
    def notes(self) -> list[str]:
        """Who reads captions and who is asked about them; empty where nobody does."""
        read = "" if self.reader is None else f"Captions are read by {self.reader.description}."
        vqa = "" if self.answerer is None else f"About captions is asked {self.answerer.description}."
        return [read, vqa]


def choose_image_models(
    features: str | None, data: ImageData, captions: bool, vqa: str | None, device: str, tell: Tell
) -> ImageModels:
    """What is looked with on a device; MetricError where an extractor that nobody insisted on fails its test.

    `features`: as `choose` spells it, None for auto. `captions`: whether samples were asked for some. `vqa`: folder of the
    model that is asked about them.
    """
    name = features or AUTO
    extractor = choose(name, data, tell).on(device)
    second = choose_second(extractor, data, tell).on(device)
    tell("Testing the extractor on real images made worse")
    test = self_test(extractor, data, second=second)
    if not test.passed and test.conclusive and features in (None, AUTO):
        raise MetricError(
            f"{test.sentence} Values would rest on what it cannot see. Choose another extractor (--features ssl, random, or "
            f"dinov2:PATH), give more real images, or insist on this one with --features {extractor.kind}."
        )
    reader = choose_caption_encoder(name, data, tell) if captions else None
    reader = None if reader is None else reader.on(device)
    answerer = None if vqa is None else choose_vqa_scorer(vqa, data, device, tell)
    return ImageModels(extractor, second, test, reader, answerer)
