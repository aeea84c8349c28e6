"""A folder that is opened again: whether it is the same campaign."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from maestune.campaign import Campaign, Settings
from maestune.campaign.opening import FIXED, check_same
from maestune.campaign.store import Store
from maestune.errors import StoreError

SYNTHETIC = str(Path(__file__).parent / "synthetic.py")
MAY_CHANGE = {
    "budget",
    "space",
    "device",
    "workers",
    "fuse",
    "members",
    "trial_timeout",
    "out",
}  # the space is what others make of it
OTHERS: dict[str, Any] = {
    "model": "vae",
    "data": "elsewhere",
    "objective": ("coverage",),
    "constraint": ("novelty>=0.4",),
    "seed": 1,
    "strategy": "random",
    "set": {"lr": 0.1},
    "range": {"lr": (0.1, 0.2)},
    "rungs": 3,
    "eta": 2,
    "steps": 77,
    "size": 16,
    "recipe": "dcgan",
    "domain": ("medical",),
    "tokens": "bytes",
    "captions": ("a {}",),
    "samples": 300,
    "report_samples": 400,
    "screen_samples": 250,
    "features": "random",
    "vqa": "blip",
}


def finished(**values: Any) -> Store:
    """A campaign that is done, as far as its settings go."""
    written = Settings.make(**values).model_dump(mode="json")
    return cast(Store, SimpleNamespace(folder=Path("there"), facts={"settings": written}))


def test_every_setting_either_makes_another_campaign_or_may_change() -> None:
    assert set(FIXED) | MAY_CHANGE == set(Settings.model_fields)
    assert set(FIXED) == set(OTHERS)


@pytest.mark.parametrize("name", FIXED)
def test_a_finished_campaign_is_not_continued_with_another_setting(name: str) -> None:
    with pytest.raises(StoreError, match=rf"there holds a different campaign:\n  {name}: .* → "):
        check_same(finished(), Settings.make(**{name: OTHERS[name]}))
    check_same(finished(**{name: OTHERS[name]}), Settings.make(**{name: OTHERS[name]}))


def test_features_may_be_spelled_in_other_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_same(finished(), Settings.make(features="auto", budget="9m", workers=1))
    monkeypatch.chdir(tmp_path)
    check_same(finished(features="dinov2:weights"), Settings.make(features=f"dinov2:{tmp_path / 'weights'}"))
    with pytest.raises(StoreError, match=r"features: auto → ssl"):
        check_same(finished(), Settings.make(features="ssl"))


def test_a_folder_refuses_other_features_once_it_is_finished(tmp_path: Path) -> None:
    def campaign(**values: Any) -> Campaign:
        folder = str(tmp_path / "c")
        return Campaign(Settings.make(model=SYNTHETIC, budget="3trials", workers=0, out=folder, **values))

    record = campaign().run()
    assert record.done
    with pytest.raises(StoreError, match="features: auto → random"):
        campaign(features="random").run()
    assert campaign(features="auto").run().best == record.best
