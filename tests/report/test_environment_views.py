from __future__ import annotations

from dataclasses import replace

from maestune.campaign.record import Record
from maestune.report.environment_views import environment_view


def test_the_environment_tells_how_trials_were_trained(full: Record) -> None:
    settings = dict(environment_view(full).settings)
    assert settings["Trained as one"] == (
        "31 trials in 7 groups, up to 8 at a time; the newest: a step takes 1.2 ms alone, 0.4 ms as one of 8"
    )
    assert "BatchNorm2d" in settings["Trained one by one"]
    assert "Trained as one" not in dict(environment_view(replace(full, training_modes=())).settings)
