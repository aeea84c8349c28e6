from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from maestune.data import TextData, load_text
from maestune.quality.text import TextModels, prepare_text_models
from maestune.quality.text import text_models as text_models_module

NOUNS = [
    "river",
    "mountain",
    "teacher",
    "window",
    "engine",
    "garden",
    "letter",
    "doctor",
    "kitchen",
    "planet",
    "market",
    "violin",
    "bridge",
    "forest",
    "captain",
]
VERBS = [
    "sees",
    "follows",
    "builds",
    "remembers",
    "paints",
    "carries",
    "answers",
    "opens",
    "leaves",
    "draws",
    "measures",
    "hears",
]
TOPICS = ("in the morning", "under the old roof", "with great care", "near the station", "for the first time")


def _prose(n: int, seed: int = 0) -> str:
    """n paragraphs, each a tale, a table, a speech or a list of its own, so that its parts belong together."""
    rng = np.random.default_rng(seed)
    paragraphs: list[str] = []
    for _ in range(n):
        kind, topic = rng.integers(4), TOPICS[rng.integers(len(TOPICS))]
        lines: list[str] = []
        for _ in range(6):
            subject, thing = rng.choice(NOUNS, 2, replace=False)
            verb, number = VERBS[rng.integers(len(VERBS))], rng.integers(1000)
            lines.append(
                (
                    f"The {subject} {verb} the {thing} {topic}, {number} times.",
                    " | ".join(str(value) for value in rng.integers(10, 99, size=12)),
                    f"{subject.upper()}! {thing.upper()}! WHO {verb.upper()} IT {number} TIMES?",
                    f"- {subject}_{thing} = {verb}({number})",
                )[kind]
            )
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs) + "\n"


@pytest.fixture(scope="session")
def prose() -> Callable[..., str]:
    """Text of n paragraphs, of a seed."""
    return _prose


@pytest.fixture(scope="session")
def prose_data(tmp_path_factory: pytest.TempPathFactory) -> TextData:
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    path.write_text(_prose(400), encoding="utf-8")
    return load_text(path)


@pytest.fixture(scope="session")
def prose_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readers")


@pytest.fixture(scope="session")
def short_course() -> Iterator[None]:
    """Readers that learn for a second."""
    patch = pytest.MonkeyPatch()
    whole = text_models_module.fit_reader
    patch.setattr(text_models_module, "fit_reader", lambda text, generator: whole(text, generator, multiply_adds=8e9))
    yield None
    patch.undo()


@pytest.fixture(scope="session")
def prose_models(prose_data: TextData, prose_cache: Path, short_course: object) -> TextModels:
    return prepare_text_models(prose_data, cache=prose_cache)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
