"""The spaces of the families, for all kinds of data and networks: what recipes and domains must fit."""

from functools import cache

from maestune.data import DataSpec
from maestune.errors import SettingsError, SpaceError
from maestune.execution.model import FAMILIES

SPECS = (
    DataSpec(shape=(1, 8, 8)),
    DataSpec(shape=(1, 28, 28), classes=10),
    DataSpec(shape=(3, 32, 32), classes=10),
    DataSpec(shape=(3, 64, 64)),
    DataSpec(shape=(3, 32, 32), words=20, caption_words=5),
    DataSpec(tokens=65),
)


@cache
def spaces(family):
    """[(data, space)] of a family, for all data that it accepts and all its networks."""
    made, found = FAMILIES[family](), []
    for spec in SPECS:
        try:
            made.check(spec)
            found.append((spec, made.space(spec)))
        except (SettingsError, ValueError):
            continue
        for network in ("mlp", "conv", "dit", "unet"):
            try:
                found.append((spec, made.space(spec, network)))
            except SpaceError:
                continue
    assert found, family
    return found


def names(family):
    return {param.name for _, space in spaces(family) for param in space}


def side(spec):
    return max(spec.shape[1:]) if spec.shape else None
