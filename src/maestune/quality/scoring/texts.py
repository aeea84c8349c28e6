"""Texts scored by the evaluator of texts, and the ones that people should look at.

Samples of others come in any length and mostly without prompts. Each is therefore held against a piece of held-out text of its own
length, and the floor is told by pieces of training text of the same lengths.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maestune.data import TextData, load_text
from maestune.errors import DataError, SettingsError
from maestune.quality.scoring.measuring import Tell, check_names, chosen, measure, skipped_note
from maestune.quality.scoring.result import FeatureSpace, Measured, ScoreResult, Side
from maestune.quality.scoring.text_highlights import text_highlights
from maestune.quality.scoring.text_samples import FakeTexts, pieces_like, read_fake_texts
from maestune.quality.text.catalogue import TEXT_METRICS, available_text_metrics
from maestune.quality.text.copying import Known
from maestune.quality.text.text_evaluator import DEFAULT_TEXTS, MOST_PIECES, TextEvaluator
from maestune.quality.text.text_models import TextModels, decoded, prepare_text_models, vocabulary_of
from maestune.quality.text.texts import RealTexts, Texts
from maestune.types import Score

AUTO, EMBEDDER = "auto", "embedder:"


@dataclass(frozen=True)
class TextRequest:
    """What is to be scored and how; see `maestune.score`."""

    real: str
    fake: str | Path | Sequence[str]
    metrics: tuple[str, ...] = ()
    prompts: Path | None = None
    features: str | None = None
    samples: int | None = None
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class _Real:
    # The real text in its parts: to learn from, for the verdict (what samples are held against, as in the finals of a
    # campaign), and the other held-out one (what counts as copied, and the floor of novelty).
    data: TextData
    training: str
    held_out: str
    others: str

    @staticmethod
    def read(source: str, tell: Tell) -> _Real:
        data = load_text(source, tokens="bytes", progress=tell)  # bytes: no character of a sample is unknown
        tell(data.describe())
        return _Real(data, decoded(data, data.train), decoded(data, data.report), decoded(data, data.search))

    @property
    def side(self) -> Side:
        characters = len(self.training) + len(self.held_out) + len(self.others)
        return Side(self.data.name, characters, characters, self.data.fingerprint, self.data.skipped)


def score_texts(request: TextRequest, tell: Tell) -> ScoreResult:
    """Scores of texts; DataError, MetricError or SettingsError for what cannot be read, measured or found."""
    check_names(request.metrics, TEXT_METRICS)
    pretrained = _pretrained(request.features)
    _check_apart(request.real, request.fake)
    real = _Real.read(request.real, tell)
    fakes = read_fake_texts(request.fake, request.samples, request.seed, request.prompts, tell)
    _check_length(real, fakes)
    models = prepare_text_models(real.data, pretrained=pretrained, progress=tell).on(request.device)
    evaluator = _evaluator(real, fakes, models, request.seed)
    names = chosen(request.metrics, evaluator.metrics, lambda name: _why_not(name, fakes))
    tell(f"Looking at {len(fakes):,} texts")
    features = Texts(fakes.begun, fakes.made, models)
    values, floors, notes = measure(
        names,
        {name: TEXT_METRICS[name].kind.name for name in names},
        lambda group: evaluator.score(features, group, intervals=True),
        lambda group: _floor(evaluator, real, fakes, group, request.seed),
        named=bool(request.metrics),
        tell=tell,
    )
    tell("Choosing what to show")
    notes = [real.data.note, *fakes.notes, skipped_note("samples", fakes.skipped), *_number_notes(real, fakes), *notes]
    return ScoreResult(
        modality="text",
        real=replace(real.side, source=request.real),
        fake=_fake_side(request, fakes),
        measured=tuple(
            Measured(TEXT_METRICS[name], values[name], floors.get(name)) for name in names if name in values
        ),
        reference=len(evaluator.real.held_out),
        feature_space=FeatureSpace("embedder" if pretrained else "readers", models.fingerprint, models.description),
        seed=request.seed,
        highlights=text_highlights(evaluator, features, fakes.names),
        notes=tuple(filter(None, notes)),
    )


def _evaluator(real: _Real, fakes: FakeTexts, models: TextModels, seed: int) -> TextEvaluator:
    """An evaluator who holds each sample against a piece of held-out text of its own length."""
    n = len(fakes)
    held_out = Texts(*pieces_like(real.held_out, fakes.begun, fakes.made, np.arange(n) / n), models)
    rows = np.arange(max(n, MOST_PIECES)) % n
    begun, made = [fakes.begun[i] for i in rows], [fakes.made[i] for i in rows]
    train = Texts(*pieces_like(real.training, begun, made, np.random.default_rng(seed).random(len(rows))), models)
    known = Known.of(real.training).with_reference(
        pieces_like(real.others, fakes.begun, fakes.made, np.arange(n) / n)[1]
    )
    texts = RealTexts(held_out, train, known, vocabulary_of(real.data))
    return TextEvaluator("report", models, n, 0, available_text_metrics(held_out, fakes.prompted), texts, real.data)


def _floor(
    evaluator: TextEvaluator, real: _Real, fakes: FakeTexts, names: Sequence[str], seed: int
) -> dict[str, Score]:
    """What real text scores in place of samples: training text; for what sees copies, the other held-out part."""
    n = len(fakes)
    fresh = [name for name in names if TEXT_METRICS[name].sees_copies]
    places = np.random.default_rng([seed, 1]).permutation(n) / n
    pieces = Texts(*pieces_like(real.training, fakes.begun, fakes.made, places), evaluator.models)
    found = evaluator.score(pieces, [name for name in names if name not in fresh], intervals=True)
    if fresh:
        others = Texts(*pieces_like(real.others, fakes.begun, fakes.made, np.arange(n) / n), evaluator.models)
        found |= evaluator.score(others, fresh, intervals=True)
    return {name: found[name] for name in names}


def _pretrained(features: str | None) -> Path | None:
    if features in (None, AUTO):
        return None
    if features.startswith(EMBEDDER) and features != EMBEDDER:
        return Path(features.removeprefix(EMBEDDER)).expanduser()
    raise SettingsError(
        f"features: {features!r} is no way of looking at texts; expected auto (readers trained on the real text), or "
        "embedder:PATH with the folder of a pretrained sentence embedder."
    )


def _check_apart(real: str, fake: str | Path | Sequence[str]) -> None:
    if not isinstance(fake, str | Path):
        return
    a, b = Path(real).expanduser().resolve(), Path(fake).expanduser().resolve()
    if a == b:
        raise DataError(
            f"{fake}: the samples are the real text itself (--real {real}). Give what a model made as --fake."
        )
    if (a.is_dir() and (a in b.parents)) or (b.is_dir() and b in a.parents):
        raise DataError(
            f"{fake} and {real} lie in each other: texts would count as both real and made. Move one of them out."
        )


def _check_length(real: _Real, fakes: FakeTexts) -> None:
    longest = max(len(a) + len(b) for a, b in zip(fakes.begun, fakes.made, strict=True))
    shortest = min(map(len, (real.held_out, real.others, real.training)))
    if 2 * longest > shortest:
        raise DataError(
            f"{real.data.name}: a part of the real text has {shortest:,} characters, and there are samples of {longest:,} to be held "
            "against it. Give more real text, or shorter samples."
        )


def _number_notes(real: _Real, fakes: FakeTexts) -> list[str]:
    notes: list[str] = []
    if len(fakes) < DEFAULT_TEXTS:
        notes.append(
            f"{len(fakes):,} texts are few: values are uncertain and distances come out larger. Use {DEFAULT_TEXTS} or more."
        )
    wanted = sum(map(len, fakes.made)) + sum(map(len, fakes.begun))
    if wanted > len(real.held_out):
        notes.append(
            f"The samples have {wanted:,} characters and the held-out text {len(real.held_out):,}: its pieces overlap, so that real "
            "text looks less varied than it is."
        )
    return notes


def _why_not(name: str, fakes: FakeTexts) -> str:
    if name == "prompt_coherence" and not fakes.prompted:
        return 'it needs to know how each text had begun; give lines {"prompt": …, "text": …}, or --prompts FILE with a column prompt.'
    return "held-out text is no more alike within a text than between texts, as the embedder sees it. Give longer texts, or more."


def _fake_side(request: TextRequest, fakes: FakeTexts) -> Side:
    source = str(request.fake) if isinstance(request.fake, str | Path) else "a list of texts"
    digest = hashlib.blake2b(digest_size=8)
    for text in (*fakes.begun, *fakes.made):
        digest.update(text.encode("utf-8", "replace") + b"\0")
    return Side(source, fakes.found, len(fakes), digest.hexdigest(), fakes.skipped)
