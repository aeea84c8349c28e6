from __future__ import annotations

from maestune.campaign.record import Record
from maestune.report.changes import changes_between


def test_changes_follow_importance_and_leave_out_what_is_equal(full: Record) -> None:
    space = full.space
    recipe = space.centre()
    best = recipe.with_(lr=8e-4, beta1=0.0, depth=3)
    by_size = changes_between(space.params, recipe, best, {})
    assert [c.name for c in by_size] == ["beta1", "depth", "lr"]
    assert by_size[2].text == "lr 0.0002 → 0.0008 (×4.0)"
    by_weight = changes_between(space.params, recipe, best, {"lr": 0.5, "beta1": 0.01, "depth": -1.0})
    assert [c.name for c in by_weight] == ["lr", "beta1", "depth"]
    wgan = space.complete({"loss": "wgan"})
    texts = {c.name: c.text for c in changes_between(space.params, recipe, wgan, {})}
    assert texts == {"loss": "loss ns → wgan", "clip": "clip unused → 0.01"}
