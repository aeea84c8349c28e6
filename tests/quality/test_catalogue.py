import pytest

from maestune.quality import DESCRIBED, METRICS
from maestune.quality.catalogue import READ_FIRST, adherence, coherence, diversity, measures, novelty, realism
from maestune.quality.text import TEXT_METRICS

AXES = {
    "realism": realism.REALISM_METRICS,
    "diversity": diversity.DIVERSITY_METRICS,
    "coherence": coherence.COHERENCE_METRICS,
    "adherence": adherence.ADHERENCE_METRICS,
    "novelty": novelty.NOVELTY_METRICS,
}


@pytest.mark.parametrize("axis", AXES)
def test_each_file_describes_one_axis(axis: str) -> None:
    assert {metric.axis for metric in AXES[axis]} == {axis}


def test_every_name_is_described_once() -> None:
    of_images = [metric.name for metrics in AXES.values() for metric in metrics]
    names = [*of_images, *TEXT_METRICS, *measures.MEASURES]
    assert len(set(names)) == len(names)
    assert set(of_images) == set(METRICS)
    assert set(names) == set(DESCRIBED)
    assert all(described.name == name for name, described in DESCRIBED.items())


def test_what_matters_most_is_read_first() -> None:
    assert tuple(METRICS)[: len(READ_FIRST)] == READ_FIRST
